"""Choice of tiles: the best-textured places on a lattice, or in the held-out zones."""

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Points
from exo2micro.alignment.held_out import HeldOutZones
from exo2micro.alignment.matching import tile_reach
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.transform import Transform

# Overview side on which texture is judged.
CHOICE_OVERVIEW_PX = 1024
# Cells with less than this part of the median texture hold no tile.
LEAST_TEXTURE = 0.02
# Tiles of a fit have at least this part outside the held-out zones.
LEAST_OPEN = 0.55


def choose_tiles(
    post: Overviews,
    pre: Overviews,
    transform: Transform,
    *,
    size: int,
    cells: int,
    factor: int = 1,
    everywhere: bool = False,
) -> Points:
    """Choose at most one tile per lattice cell, where both images have texture, for a fit.

    Parameters
    ----------
    post, pre : Overviews
        The images.
    transform : Transform
        Post to pre, full-resolution pixels.
    size : int
        Tile side in pixels of the level where the tiles are matched.
    cells : int
        Wanted number of cells over the whole of post.
    factor : int
        Block side of that level; the centres are in its pixels.
    everywhere : bool
        Also in the held-out zones, where nothing is fitted.

    Returns
    -------
    numpy.ndarray
        Whole pixels of the level, shape ``(n, 2)``, ``(x, y)``.
    """
    ny, nx = (-(-n // factor) for n in post.raster.shape)
    reach = tile_reach(size)
    cell = max(2 * reach, int(np.sqrt(ny * nx / cells)))
    # One cell where a tile fits, none where it does not.
    rows, cols = (max(n // cell, int(n >= 2 * reach)) for n in (ny, nx))
    choice_factor = _choice_factor(post, factor)
    scale = choice_factor / factor
    texture = _common_texture(post, pre, transform, choice_factor)
    if not everywhere:
        texture = texture * _open_part(post, choice_factor, size / scale)
    places = [
        _best_place(texture, scale, _usable(i, rows, ny, reach), _usable(j, cols, nx, reach))
        for i in range(rows)
        for j in range(cols)
    ]
    return _as_points(places)


def choose_held_out(post: Overviews, pre: Overviews, transform: Transform, *, size: int) -> Points:
    """Choose the best-textured place in every held-out zone, for the certificate.

    Parameters
    ----------
    post, pre : Overviews
        The images.
    transform : Transform
        Post to pre.
    size : int
        Tile side in pixels.

    Returns
    -------
    numpy.ndarray
        Whole pixels of post, shape ``(n, 2)``, ``(x, y)``.
    """
    zones, reach = HeldOutZones.of(post.raster.shape), tile_reach(size)
    factor = _choice_factor(post, 1)
    texture = _common_texture(post, pre, transform, factor)
    inner = (reach, max(reach, zones.side - reach))
    places = [
        _best_place(
            texture, factor, (top + inner[0], top + inner[1]), (left + inner[0], left + inner[1])
        )
        for top, left in zones.corners()
    ]
    return _as_points(places)


def _choice_factor(post: Overviews, factor: int) -> int:
    """Return the block side of the overview on which tiles of one level are chosen."""
    choice_factor = max(post.factor_for(CHOICE_OVERVIEW_PX), factor)
    return choice_factor - choice_factor % post.base_factor


def _open_part(post: Overviews, factor: int, size: float) -> FloatImage:
    """Return which part of a tile around each pixel is open, 0 where that is too little."""
    ny, nx = post.at(factor).shape
    hidden = HeldOutZones.of(post.raster.shape).hidden(slice(0, ny), slice(0, nx), factor)
    side = max(1, round(size)) | 1
    part = cv2.blur(1.0 - hidden.astype(np.float32), (side, side))
    part[part < LEAST_OPEN] = 0.0
    return np.asarray(part, np.float32)


def _as_points(places: list[tuple[int, int] | None]) -> Points:
    """Return those places that exist as an array."""
    found = [place for place in places if place is not None]
    return np.array(found, np.float64).reshape(-1, 2)


def _usable(index: int, count: int, length: int, reach: int) -> tuple[int, int]:
    """Return the first and last tile centre in one cell of an axis divided evenly."""
    start, stop = index * length // count, (index + 1) * length // count
    return start + reach, max(start + reach, stop - reach)


def _best_place(
    texture: FloatImage, scale: float, rows: tuple[int, int], cols: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the centre ``(x, y)`` with the most texture within limits, None if there is none."""
    top, bottom = (int((r + 0.5) / scale) for r in rows)
    left, right = (int((c + 0.5) / scale) for c in cols)
    window = texture[top : bottom + 1, left : right + 1]
    if window.size == 0 or window.max() < LEAST_TEXTURE:
        return None
    i, j = np.unravel_index(int(np.argmax(window)), window.shape)
    y = min(max(int((top + i + 0.5) * scale), rows[0]), rows[1])
    x = min(max(int((left + j + 0.5) * scale), cols[0]), cols[1])
    return x, y


def _common_texture(
    post: Overviews, pre: Overviews, transform: Transform, factor: int
) -> FloatImage:
    """Return the lesser of both images' texture on post's overview, in units of its median."""
    here, there = post.derived(factor, _texture), pre.derived(factor, _texture)
    small = transform.scaled(factor, factor)
    ny, nx = here.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    there = cv2.warpPerspective(there, small.matrix, (nx, ny), flags=flags)
    return np.asarray(np.minimum(here, there), np.float32)


def _texture(overview: FloatImage) -> FloatImage:
    """Return the local strength of texture in units of its mean."""
    fine = cv2.GaussianBlur(overview, (0, 0), 0.8)
    band = np.abs(fine - cv2.GaussianBlur(overview, (0, 0), 4.0))
    limit = float(np.quantile(band, 0.98))
    strength = cv2.GaussianBlur(np.minimum(band, limit), (0, 0), 8.0)
    mean = float(strength.mean())
    return np.asarray(strength / mean if mean > 0 else strength, np.float32)
