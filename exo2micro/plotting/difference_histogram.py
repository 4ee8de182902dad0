"""Histogram of the difference, with the background's Gaussian and the tail above it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA, tell_beyond
from exo2micro.plotting.figure import (
    BLACK,
    BLUE,
    ORANGE,
    VERMILION,
    finish,
    legend_below,
    logarithmic_counts,
    new_figure,
    say,
    signed,
    style,
)
from exo2micro.plotting.overviews import thin
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_pair, image_raster
from exo2micro.plotting.scale_lines import ScaleLike, ScaleLine, scale_lines
from exo2micro.plotting.statistics import PixelSample, Values, histogram, sample_pixels
from exo2micro.subtraction.statistics import robust_sigma

BINS: Final = 200
WIDEST: Final = 60.0
"""Half the width of the axis at most, in sigma: the core must stay wide enough to judge."""

TAIL_SIGMA: Final = 5.0
"""Where the tail begins; the usual threshold of the segmentation."""


def plot_difference_histogram(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    difference: ImageLike | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    scales: Sequence[ScaleLike] = (),
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the distribution of the difference with the Gaussian of its background.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    difference : Raster or numpy.ndarray, optional
        The difference, 0 where there is no data; None: ``post - scale * pre - offset``.
    scale, offset : float, optional
        Used where `difference` is None; without any scale it is 1.
    scales : sequence of ScaleEstimate or tuple
        The first one is used where `scale` is None.
    valid : Raster, numpy.ndarray of bool, callable, optional
        Where both images have data; None: where neither is exactly 0.
    window : tuple of slice, optional
        Rows and columns to look at; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter.

    Raises
    ------
    ParameterError
        If the images, the scales or the file type cannot be used.
    """
    pair = image_pair(post_im, pre_im, window=window, valid=valid)
    lines = scale_lines(scale, offset, scales)
    third = None if difference is None else image_raster(difference, "difference", pair.post.shape)
    return _figure(sample_pixels(pair, third), lines, sample, dye, save_path)


def _figure(
    pixels: PixelSample,
    lines: Sequence[ScaleLine],
    sample: str,
    dye: str,
    save_path: str | Path | None = None,
) -> Figure:
    """Return the figure of pixels that have been read."""
    values, scaled = pixels.difference, ""
    if values is None:
        factor, shift = (lines[0].scale, lines[0].offset) if lines else (1.0, 0.0)
        values = pixels.post - np.float32(factor) * pixels.pre - np.float32(shift)
        scaled = "" if lines else " without scale (post \N{MINUS SIGN} pre)"
    with style():
        figure = new_figure(
            f"distribution of the difference{scaled}", sample=sample, dye=dye, height_in=3.8
        )
        axes = figure.subplots()
        if not len(values):
            say(axes, NO_DATA)
            return finish(figure, save_path)
        _draw(axes, values)
        axes.set(xlabel="difference (counts)", ylabel=f"{pixels.unit} per bin")
        legend_below(figure)
        return finish(figure, save_path)


def _draw(axes: Axes, values: Values) -> None:
    part = thin(values)
    centre = float(np.median(part))
    sigma = robust_sigma(part.astype(np.float64)) or 0.5
    low, high = np.clip(
        np.quantile(part, (0.0005, 0.9998)), centre - WIDEST * sigma, centre + WIDEST * sigma
    )
    limits = min(low, centre - 8 * sigma), max(high, centre + 12 * sigma)
    counts, edges = histogram(values, limits, BINS)
    tell_beyond(axes, 1 - int(counts.sum()) / len(values))
    drawn = np.maximum(counts, 0.5)
    axes.stairs(drawn, edges, baseline=0.5, fill=True, color=BLUE, alpha=0.35, label="all pixels")
    start = int(np.searchsorted(edges, centre + TAIL_SIGMA * sigma))
    above, below = (
        float(np.mean(sign * (values - centre) > TAIL_SIGMA * sigma)) for sign in (1, -1)
    )
    if start < BINS:
        axes.stairs(
            drawn[start:],
            edges[start:],
            baseline=0.5,
            fill=True,
            color=ORANGE,
            label=f"above +{TAIL_SIGMA:g} sigma: {_percent(above)} "
            f"(below \N{MINUS SIGN}{TAIL_SIGMA:g} sigma: {_percent(below)})",
        )
    axes.stairs(drawn, edges, baseline=0.5, color=BLUE)
    x = np.linspace(centre - 6 * sigma, centre + 6 * sigma, 241)
    height = _core_height(values, centre, sigma) * (edges[1] - edges[0])
    axes.plot(
        x,
        height * np.exp(-0.5 * ((x - centre) / sigma) ** 2),
        color=VERMILION,
        linestyle="--",
        label=f"background: centre {signed(centre)}, sigma {sigma:.3g} counts",
    )
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    logarithmic_counts(axes, float(drawn.max()))
    axes.set(xlim=limits)


def _core_height(values: Values, centre: float, sigma: float) -> float:
    """Return the peak density of a Gaussian that holds as many pixels within one sigma."""
    inside = np.count_nonzero(np.abs(values - centre) <= sigma)
    return float(inside / 0.6826894921 / (sigma * np.sqrt(2 * np.pi)))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"


class DifferenceHistogram(Diagnostic):
    """Histogram of the difference, with the background's Gaussian and the tail above it."""

    name = "difference_histogram"
    revision = 2
    shows = (
        "How many pixels have which difference. The dashed curve is a bell curve with the width of "
        "the background; orange is what lies more than five of its widths above it. The count "
        "axis is logarithmic."
    )
    good = (
        "The core follows the dashed curve around 0. Further out both sides lie somewhat above it, "
        "because noise grows with brightness (the significance takes account of that), and the "
        "right side reaches much further: microbes."
    )
    bad = (
        "A core beside 0 (wrong scale or offset), or a left tail as heavy as the right one (edges "
        "of grains do not cancel: the alignment is off there)."
    )
    action = (
        "With a heavy left tail look at the fine-alignment picture before you count anything; with "
        "a shifted core look at the ratio histogram."
    )
    needs_difference = True

    def draw(self, view: PairView) -> Figure:
        """Draw the difference's distribution."""
        return _figure(view.pixels, scale_lines(scales=view.scales), view.sample, view.dye)
