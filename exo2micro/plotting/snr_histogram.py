"""Histogram of the significance against the unit Gaussian that pure background would follow."""

import math
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exo2micro._typing import Mask
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import tell_beyond
from exo2micro.plotting.figure import (
    BLUE,
    ORANGE,
    VERMILION,
    finish,
    legend_below,
    logarithmic_counts,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_raster
from exo2micro.plotting.statistics import (
    MAX_READ_PX,
    Values,
    histogram,
    sample_tiles,
    sample_unit,
)

ENOUGH_PX: Final = MAX_READ_PX // 4
"""Pixels that give every bin its height to some percent."""

MOST_DOUBLINGS: Final = 5
"""How often the number of tiles is doubled where most of them are empty."""

STEP: Final = 1 / 8
"""Width of a bin in sigma: two steps of the values in the file, so that none falls between."""

LIMITS: Final = (-12.0 - STEP / 4, 20.0 - STEP / 4)
THRESHOLD: Final = 5.0
"""The usual threshold of the segmentation, sigma."""

CORE: Final = 2.0
"""Values within this are taken for background when its width is measured, sigma."""

CORE_DEVIATION: Final = 0.8796
"""Standard deviation of a unit Gaussian that is cut at 2 sigma."""

_NONE: Final = np.empty(0, np.float32)


def plot_snr_histogram(
    snr: ImageLike | None,
    *,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the distribution of the significance with the unit Gaussian.

    Parameters
    ----------
    snr : Raster, numpy.ndarray or None
        Difference over its standard deviation, shape ``(ny, nx)``; None where it is not known.
    valid : Raster, numpy.ndarray of bool, callable, optional
        Where there are data; None: where it is not exactly 0.
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
    """
    values, fraction = (_NONE, 1.0) if snr is None else _sampled(snr, valid, window)
    with style():
        figure = new_figure(
            "significance of the pixels, and of noise alone", sample=sample, dye=dye, height_in=3.8
        )
        axes = figure.subplots()
        if snr is None:
            say(axes, "the significance is not known (parameter planes is not all)")
        elif not len(values):
            say(axes, "no data: the significance is 0 wherever it was looked at")
        else:
            _draw(axes, values, fraction)
            legend_below(figure)
        return finish(figure, save_path)


def core_width(values: Values) -> tuple[float, float]:
    """Return centre and standard deviation of the background, from the values around the median."""
    centre = float(np.median(values))
    core = values[np.abs(values - centre) < CORE]
    return centre, float(core.std()) / CORE_DEVIATION if len(core) else 0.0


def _sampled(snr: ImageLike, valid: Validity, window: Window | None) -> tuple[Values, float]:
    """Return evenly spread values where there are data, and the part of the pixels looked at.

    An empty border costs nothing: more tiles are read until enough of them hold data.
    """
    raster = image_raster(snr, "snr")
    mask = None if valid is None or callable(valid) else image_raster(valid, "valid")
    area = window or (slice(0, raster.shape[0]), slice(0, raster.shape[1]))
    whole = math.prod(part.stop - part.start for part in area)
    parts, seen, read = [_NONE], set(), 0
    for doublings in range(MOST_DOUBLINGS + 1):
        for rows, cols in sample_tiles(area, ENOUGH_PX << doublings):
            if (rows.start, cols.start) in seen:
                continue
            seen.add((rows.start, cols.start))
            values = raster.read(rows, cols)
            read += values.size
            good: Mask = values != 0
            if callable(valid):
                good = np.asarray(valid(rows, cols), np.bool_)
            elif mask is not None:
                good = mask.read(rows, cols) != 0
            parts.append(values[good & np.isfinite(values)].astype(np.float32))
        if read == whole or 2 * sum(map(len, parts)) >= ENOUGH_PX:
            break
    return np.concatenate(parts), read / whole


def _draw(axes: Axes, values: Values, fraction: float) -> None:
    bins = round((LIMITS[1] - LIMITS[0]) / STEP)
    counts, edges = histogram(values, LIMITS, bins)
    tell_beyond(axes, 1 - int(counts.sum()) / len(values))
    centre, width = core_width(values)
    drawn = np.maximum(counts, 0.5)
    axes.stairs(
        drawn,
        edges,
        baseline=0.5,
        fill=True,
        color=BLUE,
        alpha=0.35,
        label=f"pixels: centre {centre:.2f}, width {width:.2f}",
    )
    start = int(np.searchsorted(edges, THRESHOLD))
    sampled = " sampled" if fraction < 1 else ""
    above, below = (int(np.count_nonzero(sign * values > THRESHOLD)) for sign in (1, -1))
    axes.stairs(
        drawn[start:],
        edges[start:],
        baseline=0.5,
        fill=True,
        color=ORANGE,
        label=f"above +{THRESHOLD:g} sigma: {above} of {len(values)}{sampled} "
        f"(below \N{MINUS SIGN}{THRESHOLD:g}: {below})",
    )
    axes.stairs(drawn, edges, baseline=0.5, color=BLUE)
    x = np.linspace(-5, 5, 201)
    inside = int(np.count_nonzero(np.abs(values - centre) < 1)) / 0.6826894921
    height = inside * STEP / np.sqrt(2 * np.pi)
    curve = height * np.exp(-0.5 * x**2)
    axes.plot(x, curve, color=VERMILION, linestyle="--", label="noise alone: centre 0, width 1")
    axes.set_xlabel("significance (difference / its standard deviation)")
    axes.set_ylabel(f"{sample_unit(fraction)} per bin")
    logarithmic_counts(axes, float(drawn.max()))
    axes.set(xlim=LIMITS)


class SnrHistogram(Diagnostic):
    """Histogram of the significance against the unit Gaussian."""

    name = "snr_histogram"
    revision = 2
    shows = (
        "How many pixels have which significance: the difference in units of its own predicted "
        "noise. The dashed curve is what pure noise would give; orange is what exceeds the usual "
        "threshold. The count axis is logarithmic; of a large slide it counts an even sample."
    )
    good = "Blue follows the dashed curve on the left side and in the middle (width 0.95 to 1.05)."
    bad = (
        "A core wider than the curve: the noise is underestimated and thresholds in sigma let too "
        "much through. A heavy left side: grain edges that do not cancel."
    )
    action = (
        "For a wide core give gain and read noise of the cameras, or raise the threshold in "
        "proportion; for a heavy left side look at the fine-alignment picture."
    )
    needs_difference = True

    def draw(self, view: PairView) -> Figure:
        """Draw the significance that was written beside the difference."""
        return plot_snr_histogram(
            view.snr,
            **view.keywords,
        )
