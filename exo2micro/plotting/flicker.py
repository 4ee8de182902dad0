"""Details of a pair to be blinked: post, pre in each state of the alignment, the difference."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image
from exo2micro.plotting.base import PairView
from exo2micro.plotting.difference_image import difference_colours, symmetric_limit
from exo2micro.plotting.overviews import display_factor, matched_limits, overview, stretch
from exo2micro.plotting.pair import Window
from exo2micro.plotting.places import window_around
from exo2micro.plotting.scale_bar import stamp_scale_bar
from exo2micro.plotting.statistics import TILE
from exo2micro.raster.base import Raster
from exo2micro.stages.frames import post_window
from exo2micro.subtraction.quality import DQ

OVERVIEW_PX: Final = 250_000
"""Pixels of the reduced image in which places are sought."""

SAMPLE_LEVEL: Final = 0.25
"""Brightness between the dark and the bright quantile from which on a pixel is taken for sample."""

EXCESS_SIGMA: Final = 3.0
TILES_CHECKED: Final = 64
"""Tiles whose flags are read when debris is sought: a second at most, on a slide of any size."""

APART: Final = 1 / 3
"""Places nearer to each other than this part of their side show the same."""


@dataclass(frozen=True)
class Spot:
    """A place worth looking at.

    Attributes
    ----------
    title : str
        Why it was chosen.
    window : tuple of slice
        Rows and columns of the canvas.
    """

    title: str
    window: Window


@dataclass(frozen=True)
class Frame:
    """One picture of a place.

    Attributes
    ----------
    name : str
        ``post``, ``before``, ``coarse``, ``final`` or ``difference``.
    pixels : numpy.ndarray of uint8
        Shape ``(ny, nx)``, or ``(ny, nx, 3)`` for colours.
    limits : tuple of float
        Counts at the ends of the display range.
    """

    name: str
    pixels: NDArray[np.uint8]
    limits: tuple[float, float]


def flicker_frames(view: PairView, window: Window, factor: int = 1) -> list[Frame]:
    """Return post, pre in each state and the difference of one window, ready to be shown.

    Post and pre are stretched so that their common background looks the same. All have a scale
    bar where the size of a pixel is known.

    Parameters
    ----------
    view : PairView
        The pair.
    window : tuple of slice
        Rows and columns of the canvas.
    factor : int
        Side of the blocks that are averaged; 1: full resolution.
    """
    read = partial(_read, window=window, factor=factor)
    post, final = read(view.post), read(view.pre)
    post_limits, pre_limits = matched_limits(post, final)
    frames = [Frame("post", _grey(post, post_limits), post_limits)]
    for name, image in (("before", view.before), ("coarse", view.coarse)):
        frames.append(Frame(name, _grey(read(image), pre_limits), pre_limits))
    frames.append(Frame("final", _grey(final, pre_limits), pre_limits))
    if view.difference is not None:
        values = read(view.difference)
        limit = symmetric_limit(values)
        frames.append(Frame("difference", _coloured(values, limit), (-limit, limit)))
    if view.pixel_size_um is not None:
        for frame in frames:
            stamp_scale_bar(frame.pixels, factor * view.pixel_size_um)
    return frames


def spots_of(view: PairView, size: int) -> list[Spot]:
    """Return the places of ``size`` x ``size`` px that a person should look at.

    They are the corners and the centre of the sample, the largest held-out residual, and where
    most and where the strongest signal is that is no debris. A place has all the titles of those
    that show the same; the reasons that weigh most come last.

    Parameters
    ----------
    view : PairView
        The pair.
    size : int
        Side in pixels.
    """
    map_ = _Map.of(view)
    points = [*_corners(map_, size), ("centre", map_.middle()), *_worst_residual(view)]
    points += _signal(map_, size)
    rows, cols = view.window
    shape = rows.stop - rows.start, cols.stop - cols.start
    places: list[tuple[str, tuple[float, float]]] = []
    for title, (x, y) in points:
        same = [p for p in places if np.hypot(p[1][0] - x, p[1][1] - y) < APART * size]
        places = [p for p in places if p not in same]
        places.append((", ".join([*(p[0] for p in same), title]), (x, y)))
    spots = []
    for title, point in places:
        y_part, x_part = window_around((point[0] - cols.start, point[1] - rows.start), size, shape)
        window = (
            slice(y_part.start + rows.start, y_part.stop + rows.start),
            slice(x_part.start + cols.start, x_part.stop + cols.start),
        )
        spots.append(Spot(title, window))
    return spots


@dataclass(frozen=True)
class _Map:
    """A reduced view of the slide in which places are sought.

    Attributes
    ----------
    sample : numpy.ndarray of bool
        Where the sample is.
    excess : numpy.ndarray of float32 or None
        Signal above the background, counts.
    factor, left, top : int
        Block side, and the canvas position of the first block.
    """

    sample: NDArray[np.bool_]
    excess: FloatImage | None
    factor: int
    left: int
    top: int

    @classmethod
    def of(cls, view: PairView) -> "_Map":
        """Return the map of a pair."""
        rows, cols = view.window
        factor = display_factor((rows.stop - rows.start, cols.stop - cols.start), OVERVIEW_PX)
        post = overview(view.post, view.window, factor).values
        dark, bright = np.quantile(post, [0.02, 0.8])
        smooth = cv2.blur(post, (9, 9))
        sample = smooth >= dark + SAMPLE_LEVEL * (bright - dark)
        excess = None
        if view.difference is not None:
            values = overview(view.difference, view.window, factor).values
            known = values[values != 0]
            sigma = 1.4826 * float(np.median(np.abs(known))) if known.size else 0.0
            excess = np.maximum(values - np.float32(EXCESS_SIGMA * sigma), np.float32(0))
        left, top = (part.start // factor * factor for part in (cols, rows))
        if excess is not None and view.quality is not None:
            _remove_debris(excess, view.quality, factor, (left, top))
        return cls(sample, excess, factor, left, top)

    def point(self, row: float, col: float) -> tuple[float, float]:
        """Return a cell's centre on the canvas, ``(x, y)``."""
        return self.left + (col + 0.5) * self.factor, self.top + (row + 0.5) * self.factor

    def middle(self) -> tuple[float, float]:
        """Return the middle of the sample's outline on the canvas."""
        row, col = np.nonzero(self.sample)
        if not row.size:
            ny, nx = self.sample.shape
            return self.point(ny / 2, nx / 2)
        return self.point((row.min() + row.max()) / 2, (col.min() + col.max()) / 2)


def _remove_debris(
    excess: FloatImage, quality: Raster, factor: int, corner: tuple[int, int]
) -> None:
    """Set the excess to 0 in cells that hold debris, in the tiles where it is strongest.

    Debris is brighter than microbes, so that the flags of few tiles tell.
    """
    side = max(1, TILE // factor)
    ny, nx = excess.shape
    starts = [(row, col) for row in range(0, ny, side) for col in range(0, nx, side)]
    parts = [excess[row : row + side, col : col + side] for row, col in starts]
    for index in np.argsort([-part.max() for part in parts], kind="stable")[:TILES_CHECKED]:
        part, (row, col) = parts[index], starts[index]
        if not part.any():
            return
        rows, cols = (
            slice(first + cell * factor, min(first + (cell + n) * factor, end))
            for first, cell, n, end in zip(
                (corner[1], corner[0]), (row, col), part.shape, quality.shape, strict=True
            )
        )
        is_debris = (quality.read(rows, cols).astype(np.uint8) & int(DQ.DEBRIS)) != 0
        for axis in (0, 1):
            blocks = np.arange(0, is_debris.shape[axis], factor)
            is_debris = np.logical_or.reduceat(is_debris, blocks, axis=axis)
        part[is_debris] = 0


def _corners(map_: _Map, size: int) -> list[tuple[str, tuple[float, float]]]:
    """Return the cells of the sample that are nearest to each corner, moved inwards."""
    rows, cols = np.nonzero(map_.sample)
    if not rows.size:
        return []
    ny, nx = map_.sample.shape
    inwards = 0.35 * size / map_.factor
    found = []
    for title, row, col in (
        ("upper left", 0, 0),
        ("upper right", 0, nx),
        ("lower left", ny, 0),
        ("lower right", ny, nx),
    ):
        nearest = int(np.argmin((rows - row) ** 2 + (cols - col) ** 2))
        y = rows[nearest] + inwards * (1 if row == 0 else -1)
        x = cols[nearest] + inwards * (1 if col == 0 else -1)
        found.append((title, map_.point(y, x)))
    return found


def _worst_residual(view: PairView) -> list[tuple[str, tuple[float, float]]]:
    """Return the held-out tile at which the alignment is off most."""
    record = view.records.get(3)
    certificate = record.metrics.get("certificate") if record is not None else None
    if record is None or not certificate or not certificate["positions"]:
        return []
    lengths = np.hypot(*np.asarray(certificate["residuals"], float).T)
    worst = int(np.argmax(lengths))
    x, y = certificate["positions"][worst]
    rows, cols = post_window(record.facts)
    title = f"largest residual, {lengths[worst]:.2f} px"
    return [(title, (x + cols.start, y + rows.start))]


def _signal(map_: _Map, size: int) -> list[tuple[str, tuple[float, float]]]:
    """Return where most signal is within a picture, and the strongest signal."""
    if map_.excess is None or not map_.excess.any():
        return []
    side = max(1, size // map_.factor)
    dense = cv2.blur(map_.excess, (side, side), borderType=cv2.BORDER_CONSTANT)
    found = []
    for title, values in (("densest signal", dense), ("strongest excess", map_.excess)):
        row, col = np.unravel_index(int(np.argmax(values)), values.shape)
        found.append((title, map_.point(float(row), float(col))))
    return found


def _read(image: Raster, window: Window, factor: int) -> Image:
    return image.read(*window) if factor == 1 else overview(image, window, factor).values


def _grey(image: Image, limits: tuple[float, float]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.rint(255 * stretch(image, limits)).astype(np.uint8)
    return grey


def _coloured(values: Image, limit: float) -> NDArray[np.uint8]:
    """Return the difference in colours: black at 0, white where there is no data."""
    masked = np.ma.masked_where((values == 0) | ~np.isfinite(values), values)
    colours: Callable[..., Image] = difference_colours()
    rgba = colours((masked + limit) / (2 * limit), bytes=True)
    coloured: NDArray[np.uint8] = np.ascontiguousarray(rgba[..., :3])
    return coloured
