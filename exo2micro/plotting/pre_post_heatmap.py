"""Joint density of pre-stain and post-stain brightness."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA, axis_limits, draw_density
from exo2micro.plotting.figure import BLACK, finish, halo, legend_below, new_figure, say, style
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_pair
from exo2micro.plotting.scale_lines import ScaleLike, ScaleLine, scale_lines
from exo2micro.plotting.statistics import PixelSample, sample_pixels


def plot_pre_post_heatmap(
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
    """Plot how often each pair of pre-stain and post-stain brightness occurs.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    scale, offset : float, optional
        A scale to draw as the line ``post = scale * pre + offset``.
    scales : sequence of ScaleEstimate or tuple
        Further scales; tuples are ``(label, scale)`` or ``(label, scale, offset)``.
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
    with style():
        figure = new_figure(
            "brightness before and after staining", sample=sample, dye=dye, height_in=5.2
        )
        axes = figure.subplots()
        if not len(pixels.post):
            say(axes, NO_DATA)
            return finish(figure, save_path)
        limits = axis_limits(pixels, pixels.pre), axis_limits(pixels, pixels.post)
        draw_density(figure, axes, pixels.pre, pixels.post, limits, pixels)
        ends = np.array(limits[0])
        for line in lines:
            height = line.scale * ends + line.offset
            axes.plot(ends, height, color=line.colour, path_effects=halo(), label=line.legend)
        axes.plot(ends, ends, color=BLACK, linestyle=(0, (4, 3)), label="post = pre")
        axes.set(xlim=limits[0], ylim=limits[1])
        axes.set(xlabel="pre-stain, aligned (counts)", ylabel="post-stain (counts)")
        legend_below(figure)
        return finish(figure, save_path)


class PrePostHeatmap(Diagnostic):
    """Joint density of pre-stain and post-stain brightness."""

    name = "pre_post_heatmap"
    revision = 2
    shows = (
        "For every pixel its brightness before staining (across) against that after staining "
        "(up); dark means many pixels, white none. A solid line is a brightness scale. Where the "
        "scale follows a surface or sharpness was matched, the images are shown as they were "
        "subtracted, and the line above the axes says so."
    )
    good = "One narrow ridge that follows the scale line, with the stained microbes above it."
    bad = (
        "A round cloud without a ridge (the images are not aligned), two ridges (one scale is not "
        "enough), or a ridge that leaves the line or misses its foot (wrong scale, or a pedestal)."
    )
    action = (
        "For a cloud look at the registration picture; for a ridge beside the line look at the "
        "ratio histogram and consider manual_scale."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw post against the finally aligned pre."""
        return _figure(view.pixels, scale_lines(scales=view.scales), view.sample, view.dye)
