"""One place, or several, at full resolution: post, pre and difference side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exo2micro._typing import Image
from exo2micro.errors import ParameterError
from exo2micro.plotting.difference_image import difference_colours, symmetric_limit
from exo2micro.plotting.figure import WIDTH_IN, PlotFigure, finish, new_figure, style
from exo2micro.plotting.overviews import robust_limits
from exo2micro.plotting.pair import ImageLike, ImagePair, Window, image_pair, image_raster
from exo2micro.plotting.places import window_around
from exo2micro.plotting.scale_lines import ScaleLine, scale_lines
from exo2micro.raster.base import Raster

SIZE_PX: Final = 256


def plot_zoom(
    post_im: ImageLike,
    pre_im: ImageLike,
    diff_im: ImageLike | None = None,
    *,
    centre: tuple[float, float],
    size: int = SIZE_PX,
    scale: float | None = None,
    offset: float = 0.0,
    limit: float | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot post, pre and difference of one place at full resolution.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    diff_im : Raster or numpy.ndarray, optional
        The difference, 0 where there is no data; None: computed where `scale` is given, else
        left out.
    centre : tuple of float
        ``(x, y)`` in pixels of the images, the middle of the place.
    size : int
        Side in pixels; moved and cut at the images' border.
    scale, offset : float, optional
        For ``post - scale * pre - offset`` where `diff_im` is None.
    limit : float, optional
        Difference in counts at which the colours end; None: chosen robustly.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter. Axes are in pixels of the images.

    Raises
    ------
    ParameterError
        If the images, the scale or the file type cannot be used, or the centre lies outside.
    """
    return plot_zoom_multi(
        post_im,
        pre_im,
        diff_im,
        centres=[centre],
        size=size,
        scale=scale,
        offset=offset,
        limit=limit,
        sample=sample,
        dye=dye,
        save_path=save_path,
    )


def plot_zoom_multi(
    post_im: ImageLike,
    pre_im: ImageLike,
    diff_im: ImageLike | None = None,
    *,
    centres: Sequence[tuple[float, float]],
    size: int = SIZE_PX,
    scale: float | None = None,
    offset: float = 0.0,
    limit: float | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot post, pre and difference of several places at full resolution, one row each.

    Parameters
    ----------
    post_im, pre_im, diff_im
        As in `plot_zoom`.
    centres : sequence of (x, y)
        Middles of the places in pixels of the images.
    size, scale, offset, limit, sample, dye, save_path
        As in `plot_zoom`; all rows share one size and one difference limit.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter. Axes are in pixels of the images.

    Raises
    ------
    ParameterError
        If the images, the scale or the file type cannot be used, or a centre lies outside.
    """
    pair = image_pair(post_im, pre_im)
    lines = scale_lines(scale, offset)
    difference = None if diff_im is None else image_raster(diff_im, "diff_im", pair.post.shape)
    windows = [_window(centre, size, pair.post.shape) for centre in centres]
    if not windows:
        msg = "centres must hold at least one (x, y), got none"
        raise ParameterError(msg)
    differences = [_difference(pair, difference, lines, window) for window in windows]
    columns = 2 if differences[0] is None else 3
    bound = limit or max((symmetric_limit(d) for d in differences if d is not None), default=1.0)
    side = WIDTH_IN / 3
    with style():
        figure = new_figure(
            f"{size} px at full resolution",
            sample=sample,
            dye=dye,
            height_in=(side + 0.25) * len(windows) + 0.4,
            width_in=max(side * columns, 4.8),
        )
        grid = figure.subplots(len(windows), columns, squeeze=False)
        for row, window, values in zip(grid, windows, differences, strict=True):
            _draw_row(figure, list(row), pair, window, values, bound)
        for axes, title in zip(
            grid[0], ("post-stain", "pre-stain, aligned", "difference"), strict=False
        ):
            axes.set_title(title, loc="left")
        return finish(figure, save_path)


def _draw_row(
    figure: PlotFigure,
    axes: list[Axes],
    pair: ImagePair,
    window: Window,
    difference: Image | None,
    bound: float,
) -> None:
    rows, cols = window
    extent = cols.start - 0.5, cols.stop - 0.5, rows.stop - 0.5, rows.start - 0.5
    for place, raster in zip(axes, (pair.post, pair.pre), strict=False):
        image = raster.read(rows, cols)
        low, high = robust_limits(image, 0.002, 0.998)
        drawn = place.imshow(
            image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest"
        )
        figure.colorbar(drawn, ax=place, location="bottom", shrink=0.9, pad=0.02, aspect=30)
    if difference is not None:
        # A true zero, where both images have data, is black and not taken for missing.
        hidden = ~np.isfinite(difference) | ((difference == 0) & ~pair.read(rows, cols)[2])
        drawn = axes[2].imshow(
            np.ma.MaskedArray(difference, mask=hidden),
            cmap=difference_colours(),
            vmin=-bound,
            vmax=bound,
            extent=extent,
            interpolation="nearest",
        )
        figure.colorbar(drawn, ax=axes[2], location="bottom", shrink=0.9, pad=0.02, aspect=30)
    for place in axes[1:]:
        place.set_yticks([])
    for place in axes:
        place.locator_params(nbins=4)


def _difference(
    pair: ImagePair, given: Raster | None, lines: tuple[ScaleLine, ...], window: Window
) -> Image | None:
    if given is not None:
        return given.read(*window)
    if not lines:
        return None
    post, pre, mask = pair.read(*window)
    values = post.astype(np.float32) - np.float32(lines[0].scale) * pre.astype(np.float32)
    values -= np.float32(lines[0].offset)
    values[~mask] = 0
    return values


def _window(centre: tuple[float, float], size: int, shape: tuple[int, int]) -> Window:
    x, y = centre
    if not (-0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5):
        msg = (
            f"centre must be (x, y) inside the image, 0 <= x < {shape[1]} and 0 <= y < {shape[0]}, "
            f"got ({x:g}, {y:g})"
        )
        raise ParameterError(msg)
    if size < 1:
        msg = f"size must be a number of pixels >= 1, got {size}"
        raise ParameterError(msg)
    return window_around(centre, size, shape)
