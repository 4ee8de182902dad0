"""What is left after subtraction, against the pre-stain brightness."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA, axis_limits, column_medians, draw_density
from exo2micro.plotting.figure import (
    BLACK,
    SKY,
    PlotFigure,
    finish,
    halo,
    legend_below,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.overviews import thin
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_pair, image_raster
from exo2micro.plotting.scale_lines import ScaleLike, ScaleLine, scale_lines
from exo2micro.plotting.statistics import PixelSample, Values, robust_range, sample_pixels
from exo2micro.subtraction.statistics import robust_sigma

WIDEST: Final = 30.0
"""Excess shown at most, in widths of the background, unless a line lies further out."""


def plot_excess_heatmap(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    scale: float | None = None,
    offset: float = 0.0,
    scales: Sequence[ScaleLike] = (),
    difference: ImageLike | None = None,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the excess ``post - scale * pre - offset`` against pre, with every scale as a line.

    The first scale is subtracted, so it is the horizontal line at 0; every other scale is drawn
    where its own zero would lie. Without any scale the plain ratio post / pre is shown.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    scale, offset : float, optional
        The scale to subtract.
    scales : sequence of ScaleEstimate or tuple
        Further scales, or all of them, the one to subtract first; tuples are ``(label, scale)``
        or ``(label, scale, offset)``.
    difference : Raster or numpy.ndarray, optional
        The difference, drawn as the excess where a scale is given, which matters where the scale
        varied or sharpness was matched; None: computed from the first scale.
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
    lines: tuple[ScaleLine, ...],
    sample: str,
    dye: str,
    save_path: str | Path | None = None,
) -> Figure:
    """Return the figure of pixels that have been read."""
    kind = "excess after subtraction" if lines else "ratio post / pre (no scale known)"
    with style():
        figure = new_figure(kind, sample=sample, dye=dye, height_in=5.2)
        axes = figure.subplots()
        if not len(pixels.post):
            say(axes, NO_DATA)
        elif lines:
            _draw_excess(figure, axes, pixels, lines)
        else:
            _draw_ratio(figure, axes, pixels)
        return finish(figure, save_path)


def _draw_excess(
    figure: PlotFigure, axes: Axes, pixels: PixelSample, lines: tuple[ScaleLine, ...]
) -> None:
    first = lines[0]
    excess = pixels.spread_difference
    if excess is None:
        excess = pixels.post - np.float32(first.scale) * pixels.pre - np.float32(first.offset)
    x_limits = axis_limits(pixels, pixels.pre)
    heights = [_height(line, first, x_limits[1]) for line in lines]
    limits = x_limits, _excess_limits(pixels.trusted(excess), heights)
    counts = draw_density(figure, axes, pixels.pre, excess, limits, pixels)
    ends = limits[0]
    for line in lines:
        height = [_height(line, first, end) for end in ends]
        axes.plot(ends, height, color=line.colour, path_effects=halo(), label=line.legend)
    _draw_median(axes, counts, limits)
    axes.set(xlim=limits[0], ylim=limits[1])
    formula = f"post \N{MINUS SIGN} {first.scale:.4g} \N{MULTIPLICATION SIGN} pre"
    if first.offset:
        sign = "\N{MINUS SIGN}" if first.offset > 0 else "+"
        formula += f" {sign} {abs(first.offset):.3g}"
    axes.set(xlabel="pre-stain, aligned (counts)", ylabel=f"excess: {formula} (counts)")
    legend_below(figure)


def _height(line: ScaleLine, first: ScaleLine, pre: float) -> float:
    """Return where the zero of a line lies above that of the first, at one pre brightness."""
    return (line.scale - first.scale) * pre + (line.offset - first.offset)


def _excess_limits(excess: Values, heights: list[float]) -> tuple[float, float]:
    """Return the range of the excess: the background's band and every line stay easy to judge."""
    low, high = robust_range(excess, 0.001, 0.9985, margin=0.0)
    enough = WIDEST * robust_sigma(thin(excess).astype(np.float64))
    if enough > 0:
        low, high = max(low, -enough), min(high, enough)
    low, high = min([low, *heights]), max([high, *heights])
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def _draw_ratio(figure: PlotFigure, axes: Axes, pixels: PixelSample) -> None:
    positive = pixels.pre > 0
    if not positive.any():
        say(axes, NO_DATA)
        return
    pre = pixels.pre[positive]
    ratio = pixels.post[positive] / pre
    limits = robust_range(pre, 0.0005, 0.9995), robust_range(ratio, 0.005, 0.99)
    counts = draw_density(figure, axes, pre, ratio, limits, pixels)
    axes.axhline(1.0, color=BLACK, linestyle=(0, (4, 3)), path_effects=halo(), label="post = pre")
    _draw_median(axes, counts, limits)
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.set(xlabel="pre-stain, aligned (counts)", ylabel="post / pre")
    legend_below(figure)


def _draw_median(
    axes: Axes,
    counts: NDArray[np.int64],
    limits: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    x, y = column_medians(counts, *limits)
    axes.plot(
        x,
        y,
        color=SKY,
        linestyle=(0, (1, 1)),
        linewidth=2.0,
        label="median at this brightness",
    )


class ExcessHeatmap(Diagnostic):
    """What is left after subtraction, against the pre-stain brightness."""

    name = "excess_heatmap"
    revision = 2
    shows = (
        "What is left of every pixel after subtraction (up), against its brightness before "
        "staining (across). The first scale in the legend is the one subtracted: its line lies at "
        "zero; each other line shows where another scale would put zero. The light-blue dotted "
        "line follows the middle of the pixels. Where the scale follows a surface or sharpness was "
        "matched, the line above the axes says so, and brightness is that after it. If no scale "
        "is known, nothing was subtracted and the plain ratio post / pre is drawn."
    )
    good = (
        "The dense band and the dotted line both lie flat on zero; microbes form the veil above. A "
        "mineral of one brightness, or empty ground, gives a tilted spot, from the noise of the "
        "pre-stain image alone: its middle must lie on zero."
    )
    bad = (
        "A band that rises (scale too low: minerals are left and look like microbes) or falls "
        "(scale too high: faint microbes are lost), or that bends (a pedestal or saturation)."
    )
    action = (
        "If another line follows the band better, set manual_scale or scale_percentile to it and "
        "compare the differences."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the excess over the canonical scale."""
        return _figure(view.pixels, scale_lines(scales=view.scales), view.sample, view.dye)
