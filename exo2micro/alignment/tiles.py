"""Choice of tiles: a lattice over post, the best-textured place in each cell, some held out."""

from dataclasses import dataclass

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Mask, Points
from exo2micro.alignment.matching import tile_reach
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.transform import Transform

# Overview side on which texture is judged.
CHOICE_OVERVIEW_PX = 1024
# One cell in four is held out of every fit, in a pattern where held-out cells never share a side
# and cover the sample evenly.
HELD_OUT_PERIOD = 4
HELD_OUT_STEP = 2
# Cells with less than this part of the median texture hold no tile.
LEAST_TEXTURE = 0.02


@dataclass(frozen=True, eq=False)
class TileChoice:
    """Places where tiles are matched.

    Attributes
    ----------
    centres : numpy.ndarray
        Whole pixels of post, shape ``(n, 2)``, ``(x, y)``.
    held_out : numpy.ndarray of bool
        Which of them no fit may use. Their windows do not overlap those of the others.
    cell_px : int
        Side of the lattice cells.
    """

    centres: Points
    held_out: Mask
    cell_px: int


def choose_tiles(
    post: Overviews, pre: Overviews, transform: Transform, *, size: int, cells: int, factor: int = 1
) -> TileChoice:
    """Choose at most one tile per lattice cell, where both images have texture.

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

    Returns
    -------
    TileChoice
        In pixels of the level.
    """
    ny, nx = (-(-n // factor) for n in post.raster.shape)
    reach = tile_reach(size)
    cell = max(2 * reach, int(np.sqrt(ny * nx / cells)))
    rows, cols = max(1, ny // cell), max(1, nx // cell)
    choice_factor = max(post.factor_for(CHOICE_OVERVIEW_PX), factor)
    choice_factor -= choice_factor % post.base_factor
    texture = _common_texture(post, pre, transform, choice_factor)
    scale = choice_factor / factor
    centres, held_out = [], []
    for i in range(rows):
        for j in range(cols):
            top, bottom = _usable(i, rows, ny, reach)
            left, right = _usable(j, cols, nx, reach)
            place = _best_place(texture, scale, (top, bottom), (left, right))
            if place is not None:
                centres.append(place)
                held_out.append((i + HELD_OUT_STEP * j) % HELD_OUT_PERIOD == 0)
    return TileChoice(
        np.array(centres, np.float64).reshape(-1, 2), np.array(held_out, np.bool_), cell
    )


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
