"""Where to look closely: places with texture, far apart."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.plotting.overviews import display_factor, overview
from exo2micro.plotting.pair import ImagePair, Window

SEARCH_PX: Final = 250_000
"""Pixels of the reduced images in which texture is sought."""

LEAST_TEXTURE: Final = 0.25
"""Texture of a place, relative to the best one: below it there is mostly noise to see."""

SMOOTHING_CELLS: Final = 3
"""Texture is judged on averages over this side, where noise counts little."""


@dataclass(frozen=True)
class Place:
    """A full-resolution detail.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns of the canvas.
    texture : float
        Root of the slope of the brightness in post times that in pre; 0 if flat.
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

    They are sought in the overviews, so that a slide of any size takes the same time.

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
    factor = display_factor(pair.shape, SEARCH_PX)
    post, pre = (overview(image, pair.window, factor) for image in (pair.post, pair.pre))
    side = max(1, min(size // factor, *post.values.shape))
    texture = _texture(post.values, side) * _texture(pre.values, side)
    texture *= (
        cv2.blur(((post.values != 0) & (pre.values != 0)).astype(np.float32), (side, side)) ** 4
    )
    half = side // 2
    rows, cols = (
        np.arange(half, max(half + 1, n - half), max(1, half // 2)) for n in texture.shape
    )
    y, x = (part.ravel() for part in np.meshgrid(rows, cols, indexing="ij"))
    worth = texture[y, x].astype(np.float64)
    left, _, _, top = post.extent
    places: list[Place] = []
    for _ in range(count):
        best = int(np.argmax(worth))
        here = float(texture[y[best], x[best]])
        if not worth[best] > 0 or (places and here < LEAST_TEXTURE * places[0].texture):
            break
        centre = left + (x[best] + 0.5) * factor, top + (y[best] + 0.5) * factor
        places.append(_place(pair, centre, size, here))
        distance = np.hypot(x - x[best], y - y[best])
        worth = np.minimum(worth if len(places) > 1 else np.inf, texture[y, x] * distance)
        worth[distance < side] = 0.0
    return places


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


def _place(pair: ImagePair, centre: tuple[float, float], size: int, texture: float) -> Place:
    """Return the place about a centre in pixels of the pair's window."""
    rows, cols = (
        slice(part.start + full.start, part.stop + full.start)
        for part, full in zip(window_around(centre, size, pair.shape), pair.window, strict=True)
    )
    return Place((rows, cols), texture)


def _texture(image: FloatImage, side: int) -> FloatImage:
    """Return the mean slope of the brightness about each cell, deaf to noise and bright specks.

    The square root keeps a few steep slopes from deciding alone.
    """
    smooth = cv2.blur(np.nan_to_num(image), (SMOOTHING_CELLS, SMOOTHING_CELLS))
    down, across = np.gradient(smooth) if min(image.shape) > 1 else (smooth * 0, smooth * 0)
    mean: FloatImage = cv2.blur(np.sqrt(np.abs(down) + np.abs(across)), (side, side))
    return mean
