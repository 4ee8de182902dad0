"""Histograms of post-stain, pre-stain and scaled pre-stain brightness."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA, tell_adapted, tell_beyond
from exo2micro.plotting.figure import (
    BLUE,
    GREEN,
    ORANGE,
    finish,
    logarithmic_counts,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_pair
from exo2micro.plotting.scale_lines import ScaleLike, ScaleLine, scale_lines
from exo2micro.plotting.statistics import (
    PixelSample,
    Values,
    histogram,
    robust_range,
    sample_pixels,
)

BINS: Final = 160


def plot_pre_post_histograms(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    scale: float | None = None,
    offset: float = 0.0,
    scales: Sequence[ScaleLike] = (),
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the distributions of brightness before and after staining, with counts as logarithms.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    scale, offset : float, optional
        If given, the distribution of ``scale * pre + offset`` is drawn too.
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
    return _figure(sample_pixels(pair), lines, sample, dye, save_path)


def _figure(
    pixels: PixelSample,
    lines: tuple[ScaleLine, ...],
    sample: str,
    dye: str,
    save_path: str | Path | None = None,
) -> Figure:
    """Return the figure of pixels that have been read."""
    series = [("post-stain", pixels.post, ORANGE), ("pre-stain, aligned", pixels.pre, BLUE)]
    if lines:
        scaled = np.float32(lines[0].scale) * pixels.pre + np.float32(lines[0].offset)
        series.append((f"pre-stain \N{MULTIPLICATION SIGN} {lines[0].scale:.4g}", scaled, GREEN))
    with style():
        figure = new_figure("distribution of brightness", sample=sample, dye=dye, height_in=3.6)
        axes = figure.subplots()
        if not len(pixels.post):
            say(axes, NO_DATA)
            return finish(figure, save_path)
        _draw(axes, series, pixels)
        tell_adapted(axes, pixels)
        axes.set(xlabel="brightness (counts)", ylabel=f"{pixels.unit} per bin")
        return finish(figure, save_path)


def _draw(axes: Axes, series: Sequence[tuple[str, Values, str]], pixels: PixelSample) -> None:
    ranges = [robust_range(pixels.trusted(values), 0.0002, 0.9995) for _, values, _ in series]
    limits = min(low for low, _ in ranges), max(high for _, high in ranges)
    top, fewest = 1, len(pixels.post)
    for label, values, colour in series:
        counts, edges = histogram(values, limits, BINS)
        top, fewest = max(top, int(counts.max())), min(fewest, int(counts.sum()))
        is_scaled = colour == GREEN
        axes.stairs(
            np.maximum(counts, 0.5),  # below one pixel is the floor of the axis, not log of zero
            edges,
            baseline=0.5,
            color=colour,
            label=label,
            fill=False,
            linestyle="--" if is_scaled else "-",
            linewidth=1.4,
        )
        if not is_scaled:
            axes.stairs(
                np.maximum(counts, 0.5), edges, baseline=0.5, color=colour, fill=True, alpha=0.15
            )
    tell_beyond(axes, 1 - fewest / len(pixels.post))
    logarithmic_counts(axes, float(top))
    axes.set(xlim=limits)
    axes.legend(loc="upper right")


class PrePostHistograms(Diagnostic):
    """Histograms of post-stain, pre-stain and scaled pre-stain brightness."""

    name = "pre_post_histograms"
    revision = 2
    shows = (
        "How many pixels have which brightness after staining (orange), before staining (blue), "
        "and before staining times the scale (green, dashed). The count axis is logarithmic. Where "
        "the scale follows a surface or sharpness was matched, the images are shown as they were "
        "subtracted."
    )
    good = "The dashed line covers the orange one except at the bright end, where microbes add."
    bad = (
        "Dashed and orange peaks apart (wrong scale), a spike at the left (black level clipped), "
        "or more than a few per cent of the pixels beyond the axes (saturation and debris, which "
        "do not set their range)."
    )
    action = (
        "For saturation repeat the scan with a shorter exposure; for peaks apart look at the ratio "
        "histogram."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the three distributions."""
        return _figure(view.pixels, scale_lines(scales=view.scales), view.sample, view.dye)
