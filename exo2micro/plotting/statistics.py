"""A bounded sample of full-resolution pixels, and histograms of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Image, Mask
from exo2micro.plotting.overviews import thin
from exo2micro.plotting.pair import ImagePair, Window
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import map_ordered
from exo2micro.subtraction.quality import DQ

TILE: Final = 512
"""Side of a sampled tile in pixels: that of the tiles of the files."""

MAX_READ_PX: Final = 8 << 20
MAX_KEPT_PX: Final = 2 << 20
"""Pixels of each image that are read and kept at most. A million give each bin of a histogram
its height to some percent; two keep the tails."""

READERS: Final = 2
"""Threads that decode tiles: their number changes no figure, and two cores are common."""

DITHER_SEED: Final = 71

DOUBTFUL: Final = int(DQ.SATURATED | DQ.DEBRIS)
"""Flags of pixels that must not set the range of an axis."""

Values = NDArray[np.float32]


@dataclass(frozen=True)
class PixelSample:
    """Pixels of a pair where both images have data.

    Attributes
    ----------
    post, pre : numpy.ndarray of float32
        Shape ``(n,)``. Whole numbers are dithered by +-0.5, because they would pile up at small
        ratios and beat with the bins.
    difference : numpy.ndarray of float32 or None
        Pixels of a third image.
    fraction : float
        Part of the window's pixels that were looked at, 0 to 1.
    is_doubtful : numpy.ndarray of bool or None
        Saturated pixels and debris; None where that is not known.
    adapted : str
        What was done to the images before they were subtracted, in words; empty: nothing.
    is_whole : bool
        Whether post held whole numbers.
    """

    post: Values
    pre: Values
    difference: Values | None
    fraction: float
    is_doubtful: Mask | None = None
    adapted: str = ""
    is_whole: bool = False

    @property
    def spread_difference(self) -> Values | None:
        """The difference, over the unit of post that each pixel stands for: free of stripes."""
        if self.difference is None or not self.is_whole:
            return self.difference
        return self.difference + _dither(len(self.difference), np.random.default_rng(DITHER_SEED))

    def trusted(self, values: Values) -> Values:
        """Return those of one value per pixel that are neither saturated nor debris."""
        if self.is_doubtful is None or self.is_doubtful.all():
            return values
        return values[~self.is_doubtful]

    @property
    def unit(self) -> str:
        """Label of a count axis."""
        return sample_unit(self.fraction)


def sample_pixels(
    pair: ImagePair, difference: Raster | None = None, quality: Raster | None = None
) -> PixelSample:
    """Read a deterministic sample of pixels, evenly spread over the window.

    Parameters
    ----------
    pair : ImagePair
        The images.
    difference : Raster, optional
        A third image of the same canvas.
    quality : Raster, optional
        DQ flags of the same canvas.
    """
    rng = np.random.default_rng(DITHER_SEED)
    tiles = list(sample_tiles(pair.window, MAX_READ_PX))
    read = sum((r.stop - r.start) * (c.stop - c.start) for r, c in tiles)
    step = max(1, math.ceil(read / MAX_KEPT_PX))
    others = [raster for raster in (difference, quality) if raster is not None]

    def pixels_of(tile: Window) -> list[Image]:
        post, pre, mask = pair.read(*tile)
        images = [post, pre, *(raster.read(*tile) for raster in others)]
        if difference is not None:
            mask = mask & np.isfinite(images[2])
        return [image[::step][mask[::step]] for image in images]

    columns: list[list[Image]] = [[np.empty(0, np.float32)] for _ in range(2 + len(others))]
    for images in map_ordered(pixels_of, tiles, READERS):
        for number, (column, image) in enumerate(zip(columns, images, strict=True)):
            column.append(_dithered(image, rng) if number < 2 else image)
    post_all, pre_all, *rest = (np.concatenate(column) for column in columns)
    flags = rest.pop() if quality is not None else None
    ny, nx = pair.shape
    return PixelSample(
        post_all,
        pre_all,
        rest[0].astype(np.float32) if rest else None,
        min(1.0, read / step / (ny * nx)),
        None if flags is None else (flags.astype(np.uint8) & DOUBTFUL) != 0,
        is_whole=pair.post.dtype.kind in "ui",
    )


def sample_unit(fraction: float) -> str:
    """Return what an axis counts, if that part of all pixels was looked at."""
    return "pixels" if fraction >= 1 else f"pixels (of a {100 * fraction:.2g} % sample)"


def sample_tiles(window: Window, max_px: int) -> Iterator[Window]:
    """Yield tiles of a window, all of them or as many as fit, evenly spread and always the same.

    The tiles are picked along the R2 sequence, which fills a plane evenly at any length.

    References
    ----------
    M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    rows, cols = window
    first = rows.start // TILE, cols.start // TILE
    counts = tuple(-(-part.stop // TILE) - start for part, start in zip(window, first, strict=True))
    wanted = max(1, max_px // TILE**2)
    total = counts[0] * counts[1]
    if total <= wanted:
        chosen = [(index // counts[1], index % counts[1]) for index in range(total)]
    else:
        chosen = _spread(counts, wanted)
    for row, col in chosen:
        yield _clip(first[0] + row, rows), _clip(first[1] + col, cols)


def robust_range(
    values: Values, low: float, high: float, margin: float = 0.05
) -> tuple[float, float]:
    """Return quantiles of the values with a margin, always at least a little apart.

    Parameters
    ----------
    values : numpy.ndarray
        Shape ``(n,)``; may be empty.
    low, high : float
        Quantiles, 0 to 1.
    margin : float
        Added on both sides, relative to their distance.
    """
    if not len(values):
        return 0.0, 1.0
    bottom, top = (float(q) for q in np.quantile(thin(values), (low, high)))
    space = margin * (top - bottom)
    if space <= 0:
        space = max(0.5, 0.01 * abs(bottom))
    return bottom - space, top + space


def histogram(
    values: Values, limits: tuple[float, float], n_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts, shape ``(n_bins,)``, and edges, of equal bins; values outside are left out."""
    index, inside = _bin(values, limits, n_bins)
    return np.bincount(index[inside], minlength=n_bins), np.linspace(*limits, n_bins + 1)


def joint_histogram(
    x: Values,
    y: Values,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    n_bins: int,
) -> NDArray[np.int64]:
    """Return the counts of pairs of values, shape ``(n_bins, n_bins)``: rows are y, columns x."""
    column, inside_x = _bin(x, x_limits, n_bins)
    row, inside_y = _bin(y, y_limits, n_bins)
    row *= n_bins
    row += column
    return np.bincount(row[inside_x & inside_y], minlength=n_bins**2).reshape(n_bins, n_bins)


def _bin(
    values: Values, limits: tuple[float, float], n_bins: int
) -> tuple[NDArray[np.int32], Mask]:
    """Return the bin of each value and whether it lies inside the limits."""
    low, high = limits
    place = (values - np.float32(low)) * np.float32(n_bins / (high - low))
    inside = (place >= 0) & (place < n_bins)
    np.clip(place, 0, n_bins - 1, out=place)
    return place.astype(np.int32), inside


def _dithered(image: Image, rng: np.random.Generator) -> Values:
    """Return pixels as float32, whole numbers spread over the unit that each stands for."""
    values: Values = image.astype(np.float32)
    if image.dtype.kind in "ui":
        values += _dither(len(values), rng)
    return values


def _dither(count: int, rng: np.random.Generator) -> Values:
    return rng.random(count, np.float32) - np.float32(0.5)


def _spread(counts: tuple[int, ...], wanted: int) -> list[tuple[int, int]]:
    """Return `wanted` different cells of a grid, in order of rows, along the R2 sequence."""
    root = 1.32471795724474602596  # real root of x**3 = x + 1
    steps = 1 / root, 1 / root**2
    cells: dict[tuple[int, int], None] = {}
    for index in range(1, 50 * wanted):
        row, col = (int((0.5 + index * s) % 1 * n) for s, n in zip(steps, counts, strict=True))
        cells[row, col] = None
        if len(cells) == wanted:
            break
    return sorted(cells)


def _clip(tile: int, part: slice) -> slice:
    return slice(max(tile * TILE, part.start), min((tile + 1) * TILE, part.stop))
