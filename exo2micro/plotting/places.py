"""Where to look closely: places with texture, far apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from exo2micro._typing import Image
from exo2micro.plotting.pair import ImagePair, Window
from exo2micro.plotting.statistics import sample_tiles
from exo2micro.raster.windows import block_mean

CANDIDATE_TILES: Final = 40
SMOOTHING_PX: Final = 4
"""Texture is judged on blocks of this side, where noise counts little."""


@dataclass(frozen=True)
class Place:
    """A full-resolution detail.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns of the canvas.
    texture : float
        Slope of the brightness in post times that in pre; 0 if flat.
    """

    window: Window
    texture: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the window, ``(x, y)`` on the canvas."""
        rows, cols = self.window
        return (cols.start + cols.stop - 1) / 2, (rows.start + rows.stop - 1) / 2


def textured_places(pair: ImagePair, count: int, size: int) -> list[Place]:
    """Return up to `count` places of ``size`` x ``size`` pixels with texture in both images.

    Parameters
    ----------
    pair : ImagePair
        The images.
    count : int
        Places wanted; fewer are returned where there are no more.
    size : int
        Side in pixels; cut to the window's.

    Returns
    -------
    list of Place
        Each lies where both images have data (or most of it, if nowhere all), the best first.
        The same images always give the same places.
    """
    places = [place for window in _candidates(pair, size) if (place := _judged(pair, window))]
    chosen: list[Place] = []
    diagonal = float(np.hypot(*pair.shape))
    while places and len(chosen) < count:
        best = max(places, key=lambda place: place.texture * _distance(place, chosen) / diagonal)
        if chosen and _distance(best, chosen) < size:
            break
        chosen.append(best)
        places.remove(best)
    return chosen


def window_around(centre: tuple[float, float], size: int, shape: tuple[int, int]) -> Window:
    """Return a window of ``size`` x ``size`` pixels about ``(x, y)``, moved inside the image."""
    x, y = centre
    rows, cols = (
        slice(
            start := int(np.clip(round(c - (size - 1) / 2), 0, max(0, n - size))),
            min(start + size, n),
        )
        for c, n in ((y, shape[0]), (x, shape[1]))
    )
    return rows, cols


def _candidates(pair: ImagePair, size: int) -> Iterator[Window]:
    """Yield the middles of evenly spread tiles, moved inside the window."""
    rows, cols = pair.window
    for tile_rows, tile_cols in sample_tiles(pair.window, CANDIDATE_TILES << 18):
        centre = (
            (tile_cols.start + tile_cols.stop - 1) / 2 - cols.start,
            (tile_rows.start + tile_rows.stop - 1) / 2 - rows.start,
        )
        inner_rows, inner_cols = window_around(centre, size, pair.shape)
        yield (
            slice(inner_rows.start + rows.start, inner_rows.stop + rows.start),
            slice(inner_cols.start + cols.start, inner_cols.stop + cols.start),
        )


def _judged(pair: ImagePair, window: Window) -> Place | None:
    """Return the place with its texture, None where the images have little in common."""
    post, pre, mask = pair.read(*window)
    covered = float(mask.mean())
    texture = covered**4 * _texture(post) * _texture(pre)
    return Place(window, texture) if texture > 0 else None


def _texture(image: Image) -> float:
    """Return the mean slope of the brightness, deaf to noise, a bright speck or a single edge."""
    smooth = block_mean(image, SMOOTHING_PX if min(image.shape) > 8 * SMOOTHING_PX else 1)
    slopes = np.abs(np.concatenate([np.diff(smooth, axis=axis).ravel() for axis in (0, 1)]))
    slopes = slopes[np.isfinite(slopes)]
    if not len(slopes):
        return 0.0
    return float(np.minimum(slopes, np.quantile(slopes, 0.8)).mean())


def _distance(place: Place, chosen: list[Place]) -> float:
    """Return the distance to the nearest chosen place; 1 where there is none yet."""
    x, y = place.centre
    return min(
        (float(np.hypot(x - other.centre[0], y - other.centre[1])) for other in chosen), default=1.0
    )
