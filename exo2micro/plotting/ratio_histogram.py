"""Histogram of the ratio post/pre with the fit that gives the brightness scale."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA
from exo2micro.plotting.figure import (
    BLACK,
    BLUE,
    GREY,
    finish,
    legend_below,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.pair import ImageLike, ImagePair, Validity, Window, image_pair
from exo2micro.plotting.scale_lines import ScaleLike, ScaleLine, scale_lines
from exo2micro.plotting.statistics import histogram, robust_range, sample_pixels
from exo2micro.subtraction.scale import ScaleEstimate
from exo2micro.subtraction.statistics import weighted_quantile

BINS: Final = 160

Curve = NDArray[np.float64]


def plot_ratio_histogram_simple(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    scale_estimate: ScaleEstimate | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    scales: Sequence[ScaleLike] = (),
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the ratio post / pre of the pixels, the fit to it, and the scale with its interval.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    scale_estimate : ScaleEstimate, optional
        The estimate whose curve, fit, scale and 95 % interval are drawn; None: the first
        `ScaleEstimate` among `scales`.
    scale, offset : float, optional
        A scale given as a number, drawn as a line.
    scales : sequence of ScaleEstimate or tuple
        Further scales, drawn as lines.
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
        The figure; it shows itself in Jupyter. Without an estimate that carries a curve the
        histogram is that of single pixels.

    Raises
    ------
    ParameterError
        If the images, the scales or the file type cannot be used.
    """
    pair = image_pair(post_im, pre_im, window=window, valid=valid)
    estimate = scale_estimate or next((s for s in scales if isinstance(s, ScaleEstimate)), None)
    others = [s for s in scales if s is not estimate]
    lines = scale_lines(scale, offset, [estimate, *others] if estimate else others)
    if estimate is not None and len(estimate.curve.get("centres", ())) > 1:
        centres, counts = estimate.curve["centres"], estimate.curve["counts"]
        fitted, unit = estimate.curve.get("fitted"), "weight per bin"
    else:
        shift = lines[0].offset if lines else 0.0
        centres, counts, unit = _pixel_ratios(pair, shift)
        fitted = None
    with style():
        figure = new_figure("ratio post / pre", sample=sample, dye=dye, height_in=4.0)
        axes = figure.subplots()
        if not np.any(counts > 0):
            say(axes, NO_DATA)
            return finish(figure, save_path)
        _draw(axes, centres, counts, fitted, lines, estimate)
        axes.set_title(_headline(estimate, lines), loc="left")
        removed = " after removal of the pedestal" if lines and lines[0].offset else ""
        axes.set(xlabel=f"post / pre{removed}", ylabel=unit)
        legend_below(figure)
        return finish(figure, save_path)


def _pixel_ratios(pair: ImagePair, offset: float) -> tuple[Curve, Curve, str]:
    """Return bin centres, counts and the unit of the histogram of single pixels."""
    pixels = sample_pixels(pair)
    # Below the median the noise of pre, not the ratio, decides about post / pre.
    usable = pixels.pre > max(0.0, float(np.median(pixels.pre)) if len(pixels.pre) else 0.0)
    if not usable.any():
        usable = pixels.pre > 0
    ratio = (pixels.post[usable] - np.float32(offset)) / pixels.pre[usable]
    counts, edges = histogram(ratio, robust_range(ratio, 0.01, 0.99, margin=0.1), BINS)
    return (edges[:-1] + edges[1:]) / 2, counts.astype(np.float64), f"{pixels.unit} per bin"


def _draw(
    axes: Axes,
    centres: Curve,
    counts: Curve,
    fitted: Curve | None,
    lines: tuple[ScaleLine, ...],
    estimate: ScaleEstimate | None,
) -> None:
    axes.fill_between(centres, counts, step="mid", color=BLUE, alpha=0.3, label="data")
    if fitted is not None:
        axes.plot(centres, fitted, color=BLACK, linestyle="--", label="fit")
    if estimate is not None and estimate.interval[1] > estimate.interval[0]:
        axes.axvspan(*estimate.interval, color=GREY, alpha=0.4, linewidth=0, label="95 % interval")
    for line in lines:
        axes.axvline(line.scale, color=line.colour, label=line.legend)
    limits = _range(centres, counts, [line.scale for line in lines])
    if limits[0] < 1.0 < limits[1]:
        axes.axvline(1.0, color=GREY, linestyle=":", linewidth=0.9, label="post = pre")
    axes.set(xlim=limits, ylim=(0, None))


def _range(centres: Curve, counts: Curve, scales: list[float]) -> tuple[float, float]:
    """Return limits that hold nearly all of the weight, and every scale."""
    low, high = (weighted_quantile(centres, counts, q) for q in (0.002, 0.99))
    low, high = min([low, *scales]), max([high, *scales])
    margin = 0.08 * (high - low) or 0.1
    return low - margin, high + margin


def _headline(estimate: ScaleEstimate | None, lines: tuple[ScaleLine, ...]) -> str:
    if estimate is None:
        return f"scale {lines[0].scale:.4g}, given" if lines else "no scale estimated"
    low, high = estimate.interval
    if high <= low:
        return f"scale {estimate.scale:.4g}, given ({estimate.name})"
    return (
        f"scale {estimate.scale:.4f}, 95 % interval {low:.4f} to {high:.4f} "
        f"(\N{PLUS-MINUS SIGN}{100 * estimate.half_width:.2g} %), {estimate.n_tiles} tiles"
    )


class RatioHistogram(Diagnostic):
    """Histogram of the ratio post/pre with the fit that gives the brightness scale."""

    name = "ratio_histogram"
    shows = (
        "How often each ratio of post-stain to pre-stain brightness occurs, the curve fitted to it "
        "(dashed), and the brightness scale (solid line) with its 95 % interval (grey band)."
    )
    good = "One peak, the fit on top of it, the scale at its centre with an interval below 1 %."
    bad = (
        "Two peaks or a broad flat top (the ratio differs across the slide), a fit beside it, "
        "or a wide interval."
    )
    action = (
        "If the peak is clear but the line is not on it, set manual_scale to the peak's position; "
        "if there are two peaks, one scale is not enough: treat the difference with care."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the canonical estimate's curve and every scale."""
        return plot_ratio_histogram_simple(
            view.post,
            view.pre,
            scales=view.scales,
            **view.keywords,
        )
