"""Searching one window for the objects that begin in it, whole even where they reach beyond it."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.detection.flags import FROM_QUALITY, NOT_COUNTED, Flag
from exo2micro.detection.measure import SKIRT_PX, Columns, measure
from exo2micro.detection.segments import Components, Labels, find_components, part
from exo2micro.detection.significance import MatchedFilter, Window, empty_window
from exo2micro.raster.base import Raster

FIRST_MARGIN_PX: Final = 48
"""Beyond the window; longer than all microbes but filaments in a row."""

LONGEST_PX: Final = 768
"""A structure that reaches farther than this from its first pixel is cut there: no microbe."""

_NEIGHBOUR_PX: Final = 2 * SKIRT_PX + 2
"""Nearer objects share light."""

_DOUBT_PX: Final = 12
"""Objects of the negative image that begin this near to saturated or masked pixels are left out."""

_STRIP_PX: Final = 2
"""Pixels along a window's border whose curvature is not known."""


@dataclass(frozen=True)
class Scene:
    """What is known of the sample besides its difference.

    Attributes
    ----------
    background : Raster or None
        Brightness before staining.
    bright_level : float or None
        Level from which on `background` is bright.
    region : Raster or None
        Bool; where the sample is. None: everywhere.
    """

    background: Raster | None = None
    bright_level: float | None = None
    region: Raster | None = None

    def bright(self, rows: slice, cols: slice) -> Mask | None:
        """Return where the background is bright, None if that is unknown."""
        if self.background is None or self.bright_level is None:
            return None
        return np.asarray(self.background.read(rows, cols) >= self.bright_level)

    def on_sample(self, rows: slice, cols: slice) -> Mask:
        """Return where the sample is."""
        if self.region is None:
            return np.ones((rows.stop - rows.start, cols.stop - cols.start), np.bool_)
        return np.asarray(self.region.read(rows, cols), np.bool_)


@dataclass(frozen=True)
class Found:
    """What one window holds.

    Attributes
    ----------
    columns : dict
        One row per object that begins in the window; ``row``, ``col``, ``x``, ``y`` on the canvas.
    footprints : numpy.ndarray of int32
        Pixels of these objects, 1 .. n, on `rows`, `cols`.
    rows, cols : slice
        The window with its surroundings.
    negatives : int
        Objects of the negative image that begin on the sample in the window.
    pixels : int
        Pixels of the sample in the window with data on which objects count.
    masked : int
        Pixels of the sample in the window with data on which they do not.
    cut : int
        Structures that were cut for their length.
    """

    columns: Columns
    footprints: Labels
    rows: slice
    cols: slice
    negatives: int
    pixels: int
    masked: int
    cut: int


def search_window(
    filtered: MatchedFilter,
    rows: slice,
    cols: slice,
    threshold: float,
    scene: Scene,
) -> Found:
    """Find and measure all objects whose first pixel lies in a window.

    The surroundings are read as far as needed to see these objects and their neighbours whole, so
    the result does not depend on how the image is cut into windows.
    """
    core, margin, shape = (rows, cols), FIRST_MARGIN_PX, filtered.difference.shape
    while True:
        wide = tuple(
            slice(max(0, s.start - margin), min(n, s.stop + margin))
            for s, n in zip(core, shape, strict=True)
        )
        window = filtered.read(*wide)
        if not window.has_data.any():
            return _nothing(filtered, wide)
        components = find_components(window.significance, threshold)
        own = _beginning_in(components, core, wide)
        if margin >= LONGEST_PX or _are_whole(components.labels, own, wide, shape):
            break
        margin = min(2 * margin, LONGEST_PX)
    inside, cut = _inside(components, own)
    footprints = part(window.significance, window.sharp, inside, threshold)
    place = tuple(
        slice(s.start - w.start, s.stop - w.start) for s, w in zip(core, wide, strict=True)
    )
    on_sample = scene.on_sample(wide[0], wide[1])
    searched, masked = window.has_data & on_sample, (window.flags & np.uint8(NOT_COUNTED)) > 0
    columns, footprints = _measure_own(
        filtered, window, components.labels, own, footprints, wide, scene, on_sample
    )
    return Found(
        columns,
        footprints,
        rows=wide[0],
        cols=wide[1],
        negatives=_count_negatives(window, on_sample, core, wide, threshold),
        pixels=int(np.count_nonzero((searched & ~masked)[place])),
        masked=int(np.count_nonzero((searched & masked)[place])),
        cut=cut,
    )


def _nothing(filtered: MatchedFilter, wide: tuple[slice, ...]) -> Found:
    """Return what a window without data holds."""
    none = np.zeros((1, 1), np.int32)
    columns = measure(empty_window((1, 1)), none, none > 0, filtered, None)
    return Found(columns, none, wide[0], wide[1], negatives=0, pixels=0, masked=0, cut=0)


def _measure_own(
    filtered: MatchedFilter,
    window: Window,
    labels: Labels,
    own: NDArray[np.intp],
    footprints: Labels,
    wide: tuple[slice, ...],
    scene: Scene,
    on_sample: Mask,
) -> tuple[Columns, Labels]:
    """Measure all objects, return those of the window's own components."""
    edge = ~window.has_data
    for axis, (part_, size) in enumerate(zip(wide, filtered.difference.shape, strict=True)):
        turned = np.moveaxis(edge, axis, 0)
        turned[0] |= part_.start == 0
        turned[-1] |= part_.stop == size
    columns = measure(window, footprints, edge, filtered, scene.bright(wide[0], wide[1]))
    first = columns["row"], columns["col"]
    mine = np.isin(labels[first], own)
    columns["flags"] |= np.where(on_sample[first], 0, Flag.OFF_SAMPLE).astype(np.uint8)
    columns["row"] = columns["row"] + wide[0].start
    columns["col"] = columns["col"] + wide[1].start
    columns["x"] = columns["x"] + columns["col"]
    columns["y"] = columns["y"] + columns["row"]
    numbers = np.zeros(mine.size + 1, np.int32)
    numbers[1:][mine] = np.arange(1, np.count_nonzero(mine) + 1)
    return {name: values[mine] for name, values in columns.items()}, numbers[footprints]


def _beginning_in(
    components: Components, core: tuple[slice, ...], wide: tuple[slice, ...]
) -> NDArray[np.intp]:
    """Return the chosen components whose first pixel lies in the core."""
    row, col = np.divmod(components.first[components.chosen], wide[1].stop - wide[1].start)
    inside = np.ones(row.shape, np.bool_)
    for place, part_, around in zip((row, col), core, wide, strict=True):
        inside &= (place >= part_.start - around.start) & (place < part_.stop - around.start)
    return components.chosen[inside]


def _are_whole(
    labels: Labels, own: NDArray[np.intp], wide: tuple[slice, ...], shape: tuple[int, int]
) -> bool:
    """Tell whether own components and all that is near them lie within the window."""
    if own.size == 0:
        return True
    strip = np.zeros(labels.shape, np.bool_)
    for axis, (part_, size) in enumerate(zip(wide, shape, strict=True)):
        turned = np.moveaxis(strip, axis, 0)
        turned[:_STRIP_PX] |= part_.start > 0
        turned[-_STRIP_PX:] |= part_.stop < size
    open_ones = np.unique(labels[strip])
    open_ones = open_ones[open_ones > 0]
    if open_ones.size == 0:
        return True
    side = 2 * _NEIGHBOUR_PX + 1
    near = cv2.dilate(np.isin(labels, open_ones).view(np.uint8), np.ones((side, side), np.uint8))
    return not np.isin(labels[near > 0], own).any()


def _inside(components: Components, own: NDArray[np.intp]) -> tuple[Mask, int]:
    """Return the pixels of all chosen components, own ones cut where they are too long."""
    labels = components.labels
    is_chosen = np.zeros(components.first.size, np.bool_)
    is_chosen[components.chosen] = True
    inside = is_chosen[labels]
    row, col = np.nonzero(inside)
    if own.size == 0 or max(np.ptp(row), np.ptp(col)) <= LONGEST_PX:
        return inside, 0
    first_row, first_col = np.divmod(components.first[labels[row, col]], labels.shape[1])
    far = (row - first_row >= LONGEST_PX) | (np.abs(col - first_col) >= LONGEST_PX)
    far &= np.isin(labels[row, col], own)
    inside[row[far], col[far]] = False
    return inside, np.unique(labels[row[far], col[far]]).size


def _count_negatives(
    window: Window,
    on_sample: Mask,
    core: tuple[slice, ...],
    wide: tuple[slice, ...],
    threshold: float,
) -> int:
    """Return how many objects of the negative image begin in the core, where an object counts.

    Where post saturates, the difference is too low by as much: that says nothing about noise.
    """
    turned = -window.significance * on_sample
    if turned.max() < threshold:
        return 0
    negative = find_components(turned, threshold)
    own = _beginning_in(negative, core, wide)
    doubtful = (window.flags & np.uint8(FROM_QUALITY)) > 0
    side = 2 * _DOUBT_PX + 1
    near = cv2.dilate(doubtful.view(np.uint8), np.ones((side, side), np.uint8))
    return int(np.count_nonzero(near.ravel()[negative.first[own]] == 0))
