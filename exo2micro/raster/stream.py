"""One pass over an image that feeds all its files: bands in order, encoded in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice
from typing import Any, Protocol

import imagecodecs
import numpy as np

from exo2micro._typing import Image
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import block_mean, map_ordered, row_bands

TILE = 512
"""Side of the square tiles of all files, in pixels; a multiple of `OVERVIEW_STEP`."""

PART = 8 * TILE
"""Columns of a band that one thread works on at a time."""

OVERVIEW_STEP = 4
"""Each overview is this much smaller than the one before."""

_DEFLATE_LEVEL = 1  # measured: higher levels halve the speed for 2 % less disk


class Predictor(IntEnum):
    """What TIFF takes from pixels before they are compressed: what their neighbours tell."""

    NONE = 1
    HORIZONTAL = 2

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> "Predictor":
        """Return the one that suits a type of pixels.

        TIFF's predictor for floating-point numbers would save a fifth of the aligned image, but
        undoing it takes twice as long as all the rest of reading.
        """
        return cls.HORIZONTAL if dtype.kind in "ui" else cls.NONE


@dataclass(frozen=True)
class EncodedTile:
    """A tile of a companion plane that was compressed where it was computed.

    Attributes
    ----------
    content : bytes
        The compressed tile.
    step : float
        Pixel values are whole multiples of it.
    """

    content: bytes
    step: float


Plane = Image | tuple[EncodedTile, ...]
"""Pixels of a plane in a window, or its encoded tiles from left to right."""


class PlaneSource(Protocol):
    """An image with companion planes, all of one shape, read by row bands."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    extent: tuple[slice, slice]

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Plane]:
        """Return the window of every plane; the image itself, in pixels, is called ``data``."""


class RasterSource:
    """A plain raster as a source with one plane."""

    def __init__(self, raster: Raster) -> None:
        self.shape = raster.shape
        self.dtype = raster.dtype
        self.extent = raster.extent
        self._raster = raster

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Plane]:
        """Return the window as the only plane."""
        return {"data": self._raster.read(rows, cols)}


@dataclass(frozen=True)
class Band:
    """Some rows of an image, full canvas width left out where it is known to be empty.

    Attributes
    ----------
    rows, cols : slice
        Canvas window that `planes` covers; `rows` is always the whole band.
    planes : mapping
        Pixels or encoded tiles by plane name; empty where the band is known to be all zero.
    tiles : tuple
        Encoded TIFF tiles over the full canvas width; an empty one has no bytes.
    reduced : numpy.ndarray or None
        The band reduced by `OVERVIEW_STEP`, over `cols`.
    """

    rows: slice
    cols: slice
    planes: Mapping[str, Plane]
    tiles: tuple[bytes, ...]
    reduced: Image | None


Sink = Callable[[Band], None]


def stream_bands(source: PlaneSource, *, threads: int, encode: bool) -> Iterator[Band]:
    """Yield the bands of a source in order, read and encoded in threads.

    The threads work on parts of a band, so that few bands exist at once, whatever their number.
    """
    predictor = Predictor.of(source.dtype)
    ny, nx = source.shape
    extent_rows, extent_cols = source.extent
    cols = slice(extent_cols.start // TILE * TILE, min(nx, -(-extent_cols.stop // TILE) * TILE))
    parts = [slice(x, min(x + PART, cols.stop)) for x in range(cols.start, cols.stop, PART)]
    bands = list(row_bands(ny, TILE))
    filled = [r for r in bands if r.stop > extent_rows.start and r.start < extent_rows.stop]
    windows = ((rows, part) for rows in filled for part in parts)

    def load(window: tuple[slice, slice]) -> Band:
        planes = source.read_planes(*window)
        if not encode:
            return Band(*window, planes, (), None)
        data = pixels_of(planes["data"])
        reduced = as_type(block_mean(data, OVERVIEW_STEP), data.dtype)
        return Band(*window, planes, encode_tiles(data, predictor), reduced)

    with closing(map_ordered(load, windows, threads)) as loaded:
        for rows in bands:
            if parts and rows in filled:
                yield _joined(islice(loaded, len(parts)), rows, cols, nx)
            else:
                yield Band(rows, cols, {}, (b"",) * -(-nx // TILE), None)


def _joined(parts: Iterable[Band], rows: slice, cols: slice, nx: int) -> Band:
    """Return one band from its parts from left to right; its tiles span the canvas.

    Parts are copied one by one, so that they are not all in memory beside the band.
    """
    planes: dict[str, Plane] = {}
    tiles: list[bytes] = []
    reduced: list[Image] = []
    for part in parts:
        for name, plane in part.planes.items():
            planes[name] = _with_part(planes.get(name), plane, part.cols, cols)
        tiles += part.tiles
        if part.reduced is not None:
            reduced.append(part.reduced)
    if tiles:
        before = cols.start // TILE
        after = -(-nx // TILE) - before - len(tiles)
        tiles = [b""] * before + tiles + [b""] * after
    joined = np.concatenate(reduced, axis=1) if reduced else None
    return Band(rows, cols, planes, tuple(tiles), joined)


def _with_part(whole: Plane | None, part: Plane, columns: slice, cols: slice) -> Plane:
    """Return a plane of a band over `cols` with one more part of it, over `columns`."""
    if isinstance(part, tuple):
        return part if whole is None else (*whole, *part)
    if columns == cols:
        return part
    if whole is None:
        whole = np.empty((len(part), cols.stop - cols.start), part.dtype)
    pixels_of(whole)[:, columns.start - cols.start : columns.stop - cols.start] = part
    return whole


def feed(bands: Iterator[Band], sinks: Sequence[Sink]) -> Iterator[Band]:
    """Pass each band to all sinks, in order, and hand on its tiles.

    Nobody holds its pixels any more while the next band is made.
    """
    for band in bands:
        for sink in sinks:
            sink(band)
        tiles = replace(band, planes={})
        del band
        yield tiles
        del tiles


def drain(bands: Iterator[Band]) -> None:
    """Run an iterator of bands to its end."""
    deque(bands, maxlen=0)


def pixels_of(plane: Plane) -> Image:
    """Return a plane that is known to be handed on as pixels."""
    assert not isinstance(plane, tuple)
    return plane


def encode_tile(tile: Image, predictor: Predictor) -> bytes:
    """Return one tile as TIFF stores it: whole `TILE` x `TILE` block, predicted, Deflate."""
    block: Any = np.ascontiguousarray(tile)
    if tile.shape != (TILE, TILE):
        block = np.zeros((TILE, TILE), tile.dtype)
        block[: tile.shape[0], : tile.shape[1]] = tile
    if predictor == Predictor.HORIZONTAL:
        block = imagecodecs.delta_encode(block)
    return bytes(imagecodecs.deflate_encode(block.data, _DEFLATE_LEVEL))


def encode_tiles(data: Image, predictor: Predictor) -> tuple[bytes, ...]:
    """Return a row of tiles from left to right; one that is all zero has no bytes."""
    tiles = (data[:, start : start + TILE] for start in range(0, data.shape[1], TILE))
    return tuple(encode_tile(tile, predictor) if tile.any() else b"" for tile in tiles)


def as_type(values: Image, dtype: np.dtype[Any]) -> Image:
    """Return averaged values in an image's own type, rounded where that is an integer."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    return np.rint(values).astype(dtype)
