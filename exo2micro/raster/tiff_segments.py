"""Reading a window of one TIFF page: only the tiles or strips that meet it are decoded."""

import logging
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from exo2micro.errors import RawReadError
from exo2micro.raster.shared_file import SharedFile

logger = logging.getLogger(__name__)

CACHE_BYTES = 64 * 2**20
"""Decoded segments kept per image, or as many as `CACHED_ROWS` need, up to `MOST_CACHE_BYTES`."""

CACHED_ROWS = 3
"""Rows of segments that a band with a margin meets; the next band meets two of them again."""

MOST_CACHE_BYTES = 256 * 2**20
"""Three rows of 512 px tiles across 30 000 px are 184 MB in 32 bit."""

_LARGE_SEGMENT_BYTES = 256 * 2**20
_JPEG = frozenset({6, 7, 33007, 34892})
_DECODE_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """One segment: its index and where its decoded pixels lie in the image."""

    index: int
    y: int
    x: int


class PageReader:
    """Reads windows of one page of a TIFF file, safe to use from several threads.

    Uncompressed pages stored in one piece are read directly; others segment by segment, with a
    small cache of decoded segments.

    Parameters
    ----------
    file : SharedFile
        The file.
    page : tifffile.TiffPage
        Its directory entry. Its TiffFile may be closed.
    plane : int
        Index among planes that follow each other without directory entries of their own
        (ImageJ stacks); 0 otherwise.
    cache_bytes : int, optional
        Decoded segments kept; by default `CACHED_ROWS` rows of them.
    """

    def __init__(
        self,
        file: SharedFile,
        page: Any,  # noqa: ANN401
        plane: int = 0,
        *,
        cache_bytes: int | None = None,
    ) -> None:
        self._file = file
        self._page = page
        self.shape: tuple[int, int] = (page.imagelength, page.imagewidth)
        self.dtype: np.dtype[Any] = np.dtype(page.dtype).newbyteorder("=")
        self.n_samples: int = page.samplesperpixel
        self._is_planar = page.planarconfig == 2 and page.samplesperpixel > 1
        self._segment_shape = _segment_shape(page)
        self._offsets: tuple[int, ...] = tuple(page.dataoffsets)
        self._bytecounts: tuple[int, ...] = tuple(page.databytecounts)
        self._is_direct = bool(page.is_final) and not page.is_tiled
        self._plane_offset = plane * self.shape[0] * self.shape[1] * self._bytes_per_pixel
        self._cache: OrderedDict[tuple[int, tuple[int, ...]], NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        row_bytes = self._segment_shape[0] * self.shape[1] * self.dtype.itemsize
        rows_bytes = min(max(CACHE_BYTES, CACHED_ROWS * row_bytes), MOST_CACHE_BYTES)
        self._most_cached = rows_bytes if cache_bytes is None else cache_bytes
        self._lock = threading.Lock()
        self._large_lock = threading.Lock()
        self._check_extent()
        self._is_large = False
        if not self._is_direct:
            self._decode = page.decode
            self._decode_options = _decode_options(page)
            self._is_large = self._warn_of_large_segments()

    def read(self, rows: slice, cols: slice, samples: Sequence[int]) -> NDArray[Any]:
        """Return a window of some samples, shape ``(len(samples), rows, cols)``."""
        out = np.zeros((len(samples), rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        if out.size == 0:
            return out
        if self._is_direct:
            self._read_direct(rows, cols, samples, out)
        elif self._is_planar:
            for k, sample in enumerate(samples):
                self._paste(rows, cols, (sample,), out[k : k + 1], first_sample=sample)
        else:
            self._paste(rows, cols, tuple(samples), out)
        return out

    @property
    def _bytes_per_pixel(self) -> int:
        return self.dtype.itemsize * self.n_samples

    def _check_extent(self) -> None:
        """Raise RawReadError if the file is shorter than the page needs."""
        expected = self._n_segments()
        if min(len(self._offsets), len(self._bytecounts)) < expected and not self._is_direct:
            msg = (
                f"{self._file.path} lists {len(self._offsets)} of {expected} image segments: the "
                "file is damaged; copy or export it again"
            )
            raise RawReadError(msg)
        if self._is_direct:
            size = self.shape[0] * self.shape[1] * self._bytes_per_pixel
            needed = self._offsets[0] + self._plane_offset + size
        else:
            needed = max(o + n for o, n in zip(self._offsets, self._bytecounts, strict=False))
        if needed > self._file.size:
            msg = (
                f"{self._file.path} is truncated: its image needs {needed} bytes, the file has "
                f"{self._file.size}; copying or writing it was interrupted, copy it again"
            )
            raise RawReadError(msg)

    def _n_segments(self) -> int:
        """Return how many tiles or strips the page should have."""
        height, width = self._segment_shape
        per_plane = ceil(self.shape[0] / height) * ceil(self.shape[1] / width)
        return per_plane * (self.n_samples if self._is_planar else 1)

    def _warn_of_large_segments(self) -> bool:
        """Tell whether the page can only be decoded in huge pieces; log what that costs."""
        height, width = self._segment_shape
        samples = 1 if self._is_planar else self.n_samples
        size = min(height, self.shape[0]) * width * samples * self.dtype.itemsize
        if size <= _LARGE_SEGMENT_BYTES:
            return False
        if self._page.compression != 1:
            logger.warning(
                "%s is compressed in pieces of %d MB: reading it takes that much memory and up to "
                "twice that for a moment; export it tiled, or uncompressed, to avoid that",
                self._file.path,
                size // 10**6,
            )
        return True

    def _read_direct(
        self, rows: slice, cols: slice, samples: Sequence[int], out: NDArray[Any]
    ) -> None:
        """Read from an uncompressed page that is stored in one piece."""
        samples_per_row = 1 if self._is_planar else self.n_samples
        for k, sample in enumerate(samples):
            if k and not self._is_planar:
                break
            start = self._offsets[0] + self._plane_offset
            if self._is_planar:
                start += sample * self.shape[0] * self.shape[1] * self.dtype.itemsize
            for part, pixels in self._read_rows(start, rows, cols, samples_per_row):
                if self._is_planar:
                    out[k, part] = pixels[:, :, 0]
                else:
                    for j, channel in enumerate(samples):
                        out[j, part] = pixels[:, :, channel]

    def _read_rows(
        self, start: int, rows: slice, cols: slice, samples: int
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield parts of a window as ``(rows within the window, pixels (ny, nx, samples))``.

        Narrow windows are read row by row, wide ones several whole rows at a time.
        """
        pixel = self.dtype.itemsize * samples
        stored = np.dtype(self.dtype).newbyteorder(self._page.parent.byteorder)
        row_bytes = self.shape[1] * pixel
        n_rows, n_cols = rows.stop - rows.start, cols.stop - cols.start
        is_wide = 4 * n_cols >= self.shape[1]
        step = max(1, _DIRECT_CHUNK_BYTES // row_bytes) if is_wide else 1
        for low in range(0, n_rows, step):
            high = min(low + step, n_rows)
            offset = start + (rows.start + low) * row_bytes
            if is_wide:
                data = self._file.read_at(offset, (high - low) * row_bytes)
                pixels = np.frombuffer(data, stored).reshape(high - low, self.shape[1], samples)
                yield slice(low, high), pixels[:, cols]
            else:
                data = self._file.read_at(offset + cols.start * pixel, n_cols * pixel)
                yield slice(low, high), np.frombuffer(data, stored).reshape(1, n_cols, samples)

    def _paste(
        self,
        rows: slice,
        cols: slice,
        samples: tuple[int, ...],
        out: NDArray[Any],
        first_sample: int = 0,
    ) -> None:
        """Copy the segments that meet a window into it."""
        for place in self._places(rows, cols, first_sample):
            pixels = self._segment(place.index, (0,) if self._is_planar else samples)
            if pixels is None:
                continue
            y0, x0 = max(place.y, rows.start), max(place.x, cols.start)
            y1 = min(place.y + pixels.shape[1], rows.stop)
            x1 = min(place.x + pixels.shape[2], cols.stop)
            out[:, y0 - rows.start : y1 - rows.start, x0 - cols.start : x1 - cols.start] = pixels[
                :, y0 - place.y : y1 - place.y, x0 - place.x : x1 - place.x
            ]

    def _places(self, rows: slice, cols: slice, sample: int) -> Iterator[_Place]:
        """Yield the segments that meet a window."""
        height, width = self._segment_shape
        across = ceil(self.shape[1] / width)
        base = sample * across * ceil(self.shape[0] / height)
        for i in range(rows.start // height, (rows.stop - 1) // height + 1):
            for j in range(cols.start // width, (cols.stop - 1) // width + 1):
                yield _Place(base + i * across + j, i * height, j * width)

    def _segment(self, index: int, samples: tuple[int, ...]) -> NDArray[Any] | None:
        """Return a decoded segment, shape ``(samples, ny, nx)``, or None if it is not stored."""
        if self._bytecounts[index] == 0:
            return None
        if self._is_large:
            with self._large_lock:  # decoding the same huge piece twice at once would double memory
                return self._cached_segment(index, samples)
        return self._cached_segment(index, samples)

    def _cached_segment(self, index: int, samples: tuple[int, ...]) -> NDArray[Any]:
        """Return a decoded segment from the cache, decoding it where it is not there."""
        key = (index, samples)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        pixels = self._decode_segment(index, samples)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > self._most_cached and len(self._cache) > 1:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= dropped.nbytes
        return pixels

    def _decode_segment(self, index: int, samples: tuple[int, ...]) -> NDArray[Any]:
        """Read and decode one segment and keep the samples that are wanted."""
        data = self._file.read_at(self._offsets[index], self._bytecounts[index])
        try:
            decoded, _, _ = self._decode(data, index, **self._decode_options)
            decoded = decoded.astype(self.dtype, casting="safe", copy=False)
        except _DECODE_ERRORS as error:
            msg = (
                f"{self._file.path} cannot be decoded at segment {index} "
                f"({_compression_name(self._page)}): {error}; the file is damaged or compressed in "
                "a way that is not supported: copy it again or export it as uncompressed TIFF"
            )
            raise RawReadError(msg) from error
        if decoded.shape[-1] == 1 == len(samples):
            only: NDArray[Any] = decoded[0].transpose(2, 0, 1)
            return only
        return np.stack([decoded[0, :, :, sample] for sample in samples])


_DIRECT_CHUNK_BYTES = 8 * 2**20


def _segment_shape(page: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return the height and width of the page's tiles or strips."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return max(1, min(page.rowsperstrip, page.imagelength)), page.imagewidth


def _decode_options(page: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what decoding needs besides the bytes."""
    if page.compression not in _JPEG:
        return {}
    return {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}


def _compression_name(page: Any) -> str:  # noqa: ANN401
    """Return what the page's compression is called."""
    try:
        return str(tifffile.COMPRESSION(page.compression).name)
    except ValueError:
        return f"compression {page.compression}"
