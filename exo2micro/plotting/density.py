"""Density of pairs of pixel values, as the heatmaps draw it."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from numpy.typing import NDArray

from exo2micro.plotting.figure import GREY, PlotFigure, plain_number
from exo2micro.plotting.statistics import PixelSample, Values, joint_histogram, robust_range

BINS: Final = 200
LEAST_PER_COLUMN: Final = 50
"""Pixels that a column needs for a median worth drawing."""

NO_DATA: Final = "no data: the images have no pixel in common"


def draw_density(
    figure: PlotFigure,
    axes: Axes,
    x: Values,
    y: Values,
    limits: tuple[tuple[float, float], tuple[float, float]],
    sample: PixelSample,
) -> NDArray[np.int64]:
    """Draw the counts per bin with a logarithmic colour scale, empty bins white.

    Returns
    -------
    numpy.ndarray of int64
        Counts, shape ``(BINS, BINS)``, rows y and columns x.
    """
    counts = joint_histogram(x, y, *limits, BINS)
    colours = LinearSegmentedColormap.from_list("density", ["#DDDDDD", "#707070", "#000000"])
    image = axes.imshow(
        np.ma.masked_equal(counts, 0),
        origin="lower",
        extent=(*limits[0], *limits[1]),
        aspect="auto",
        interpolation="nearest",
        cmap=colours,
        norm=LogNorm(1, max(10, int(counts.max()))),
    )
    bar = figure.colorbar(
        image, ax=axes, label=f"{sample.unit} per bin", pad=0.01, format=plain_number
    )
    bar.ax.minorticks_off()
    tell_beyond(axes, 1 - int(counts.sum()) / len(x))
    tell_adapted(axes, sample)
    return counts


def tell_beyond(axes: Axes, fraction: float) -> None:
    """Say above the axes which part of the pixels lies beyond them, if any does."""
    if fraction > 0:
        text = f"{100 * fraction:.2g} % of the pixels lie beyond the axes"
        axes.set_title(text, loc="right", fontsize=6.5, color=GREY)


def tell_adapted(axes: Axes, sample: PixelSample) -> None:
    """Say above the axes what was done to the images before they were subtracted."""
    if sample.adapted:
        axes.set_title(sample.adapted, loc="left", fontsize=6.5, color=GREY)


def axis_limits(sample: PixelSample, values: Values) -> tuple[float, float]:
    """Return the range of an axis: nearly all pixels, whatever debris and a few bright ones do."""
    return robust_range(sample.trusted(values), 0.0005, 0.9995)


def column_medians(
    counts: NDArray[np.int64],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and the median of y of each column of a density that holds enough pixels."""
    total = counts.sum(axis=0)
    enough = np.flatnonzero(total >= LEAST_PER_COLUMN)
    cumulative = np.cumsum(counts, axis=0)
    rows = np.argmax(cumulative >= total / 2, axis=0)
    x = x_limits[0] + (enough + 0.5) * (x_limits[1] - x_limits[0]) / BINS
    y = y_limits[0] + (rows[enough] + 0.5) * (y_limits[1] - y_limits[0]) / BINS
    return x, y
