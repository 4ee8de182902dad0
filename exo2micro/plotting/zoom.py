"""One place, or several, at full resolution: post, pre and difference side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle

from exo2micro._typing import Image
from exo2micro.errors import ParameterError
from exo2micro.plotting.difference_image import RING, difference_colours, symmetric_limit
from exo2micro.plotting.figure import WIDTH_IN, PlotFigure, finish, new_figure, style
from exo2micro.plotting.objects import ObjectTable, object_centres
from exo2micro.plotting.overviews import robust_limits
from exo2micro.plotting.pair import ImageLike, ImagePair, Window, image_pair, image_raster
from exo2micro.plotting.places import window_around
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.plotting.scale_lines import ScaleLine, scale_lines
from exo2micro.raster.base import Raster

SIZE_PX: Final = 256

ROW_EXTRA_IN: Final = 0.7
TITLE_IN: Final = 0.6
"""Height of axis labels and colour bar of a row, and of the titles above all."""

RING_PART: Final = 0.16
"""Radius of the ring about an object, relative to the side of the place."""

Point: TypeAlias = tuple[float, float]
"""``(x, y)``."""


def plot_zoom(
    post_im: ImageLike,
    pre_im: ImageLike,
    diff_im: ImageLike | None = None,
    *,
    centre: Point | None = None,
    centre_um: Point | None = None,
    object_id: int | None = None,
    objects: ObjectTable | None = None,
    pixel_size_um: float | None = None,
    size: int = SIZE_PX,
    scale: float | None = None,
    offset: float = 0.0,
    limit: float | None = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot post, pre and difference of one place at full resolution.

    The place is given by one of `centre`, `centre_um` and `object_id`.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    diff_im : Raster or numpy.ndarray, optional
        The difference, 0 where there is no data; None: computed where `scale` is given, else
        left out.
    centre : tuple of float, optional
        ``(x, y)`` in pixels of the images, the middle of the place.
    centre_um : tuple of float, optional
        The same in um from the corner of `window`; needs `pixel_size_um`. In a table of objects
        these are the columns ``x_um`` and ``y_um`` if `window` is that of the post-stain image.
    object_id : int, optional
        Number of an object in `objects`; the images are those of the whole canvas.
    objects : Table or path, optional
        What `detect` found, as a table or its file.
    pixel_size_um : float, optional
        Width of a pixel, for `centre_um` and for the scale bar.
    size : int
        Side in pixels; moved and cut at the images' border.
    scale, offset : float, optional
        For ``post - scale * pre - offset`` where `diff_im` is None.
    limit : float, optional
        Difference in counts at which the colours end; None: chosen robustly.
    window : tuple of slice, optional
        Rows and columns of the slide on the canvas, from whose corner `centre_um` and the axes
        count; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter. Axes are in pixels of the window, and an object
        asked for is ringed.

    Raises
    ------
    ParameterError
        If the images, the scale or the file type cannot be used, if no place or more than one is
        given, or if it lies outside.
    """
    return plot_zoom_multi(
        post_im,
        pre_im,
        diff_im,
        centres=None if centre is None else [centre],
        centres_um=None if centre_um is None else [centre_um],
        object_ids=None if object_id is None else [object_id],
        objects=objects,
        pixel_size_um=pixel_size_um,
        size=size,
        scale=scale,
        offset=offset,
        limit=limit,
        window=window,
        sample=sample,
        dye=dye,
        save_path=save_path,
    )


def plot_zoom_multi(
    post_im: ImageLike,
    pre_im: ImageLike,
    diff_im: ImageLike | None = None,
    *,
    centres: Sequence[Point] | None = None,
    centres_um: Sequence[Point] | None = None,
    object_ids: Sequence[int] | None = None,
    objects: ObjectTable | None = None,
    pixel_size_um: float | None = None,
    size: int = SIZE_PX,
    scale: float | None = None,
    offset: float = 0.0,
    limit: float | None = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot post, pre and difference of several places at full resolution, one row each.

    Parameters
    ----------
    post_im, pre_im, diff_im
        As in `plot_zoom`.
    centres, centres_um : sequence of (x, y), optional
        Middles of the places, as in `plot_zoom`.
    object_ids : sequence of int, optional
        Numbers of objects in `objects`.
    objects, pixel_size_um, size, scale, offset, limit, window, sample, dye, save_path
        As in `plot_zoom`; all rows share one size and one difference limit.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter. Axes are in pixels of the window, and an object
        asked for is ringed.

    Raises
    ------
    ParameterError
        As for `plot_zoom`.
    """
    pair = image_pair(post_im, pre_im, window=window)
    lines = scale_lines(scale, offset)
    difference = None if diff_im is None else image_raster(diff_im, "diff_im", pair.post.shape)
    points = _points(pair.window, centres, centres_um, object_ids, objects, pixel_size_um)
    places = [_place(point, size, pair.post.shape) for point in points]
    differences = [_difference(pair, difference, lines, place) for place in places]
    columns = 2 if differences[0] is None else 3
    bound = limit or max((symmetric_limit(d) for d in differences if d is not None), default=1.0)
    side = WIDTH_IN / 3
    with style():
        figure = new_figure(
            f"{size} px at full resolution",
            sample=sample,
            dye=dye,
            height_in=(side + ROW_EXTRA_IN) * len(places) + TITLE_IN,
            width_in=max(side * columns, 4.8),
        )
        grid = figure.subplots(len(places), columns, squeeze=False)
        for row, place, values in zip(grid, places, differences, strict=True):
            _draw_row(figure, list(row), pair, place, values, bound)
            scale_bar(row[0], pixel_size_um)
        for number, row, point in zip(object_ids or (), grid, points, strict=False):
            row[0].set_ylabel(f"object {number}\ny (px)")
            _mark(list(row), pair, point, size)
        for axes, title in zip(
            grid[0], ("post-stain", "pre-stain, aligned", "difference"), strict=False
        ):
            axes.set_title(title, loc="left")
        return finish(figure, save_path)


def _mark(axes: list[Axes], pair: ImagePair, point: Point, size: int) -> None:
    """Draw a ring about an object that was asked for."""
    rows, cols = pair.window
    centre = point[0] - cols.start, point[1] - rows.start
    for place in axes:
        ring = Circle(centre, RING_PART * size, fill=False, color=RING, linewidth=1.0)
        place.add_patch(ring)


def _points(
    window: Window,
    centres: Sequence[Point] | None,
    centres_um: Sequence[Point] | None,
    object_ids: Sequence[int] | None,
    objects: ObjectTable | None,
    pixel_size_um: float | None,
) -> list[Point]:
    """Return the places in pixels of the images, in whichever way they were given."""
    if sum(given is not None for given in (centres, centres_um, object_ids)) != 1:
        msg = (
            "give the place in one way: centre in pixels, centre_um with pixel_size_um, or "
            "object_id with objects"
        )
        raise ParameterError(msg)
    if object_ids is not None:
        if objects is None:
            msg = "object_id needs objects, the table that detect returned, or the path of its file"
            raise ParameterError(msg)
        points = object_centres(objects, object_ids)
    elif centres_um is not None:
        if pixel_size_um is None or not pixel_size_um > 0:
            msg = f"centre_um needs pixel_size_um, a length > 0 in um, got {pixel_size_um!r}"
            raise ParameterError(msg)
        top, left = (part.start for part in window)
        points = [(left + x / pixel_size_um, top + y / pixel_size_um) for x, y in centres_um]
    else:
        points = list(centres or ())
    if not points:
        msg = "centres must hold at least one (x, y), got none"
        raise ParameterError(msg)
    return points


def _draw_row(
    figure: PlotFigure,
    axes: list[Axes],
    pair: ImagePair,
    window: Window,
    difference: Image | None,
    bound: float,
) -> None:
    rows, cols = window
    top, left = (part.start for part in pair.window)
    extent = (
        cols.start - left - 0.5,
        cols.stop - left - 0.5,
        rows.stop - top - 0.5,
        rows.start - top - 0.5,
    )
    for place, raster in zip(axes, (pair.post, pair.pre), strict=False):
        image = raster.read(rows, cols)
        low, high = robust_limits(image, 0.002, 0.998)
        drawn = place.imshow(
            image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest"
        )
        _colour_bar(figure, drawn, place, "counts")
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
        _colour_bar(figure, drawn, axes[2], "difference (counts)")
    for place in axes[1:]:
        place.set_yticks([])
    axes[0].set_ylabel("y (px)")
    for place in axes:
        place.locator_params(nbins=4)
        place.set_xlabel("x (px)")


def _colour_bar(figure: PlotFigure, drawn: AxesImage, axes: Axes, label: str) -> None:
    figure.colorbar(
        drawn,
        ax=axes,
        label=label,
        extend="both",
        location="bottom",
        shrink=0.9,
        pad=0.02,
        aspect=30,
    )


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


def _place(centre: Point, size: int, shape: tuple[int, int]) -> Window:
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
