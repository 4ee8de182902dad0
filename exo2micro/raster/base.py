"""Raster: a 2-D image that is read by window, so that nothing full-size sits in memory."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from exo2micro._typing import FloatImage, Image
from exo2micro.raster.windows import block_mean, row_bands


class Raster(ABC):
    """A single-channel image that can be read by window.

    Attributes
    ----------
    shape : tuple of int
        ``(ny, nx)`` in pixels.
    dtype : numpy.dtype
        Type of the pixels that `read` returns, in native byte order.
    saturation : float or None
        Level at and above which a pixel is saturated, where more is known of it than the type
        tells.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    saturation: float | None = None

    @abstractmethod
    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window ``[rows, cols]``.

        Parameters
        ----------
        rows, cols : slice
            Start and stop in pixels, both given, inside the image; no step.

        Returns
        -------
        numpy.ndarray
            Shape ``(rows.stop - rows.start, cols.stop - cols.start)``. The caller must not
            write to it. Safe to call from several threads at once.
        """

    @property
    def saturates_at(self) -> float | None:
        """`saturation`, else the largest value of an unsigned type; None: nothing is known."""
        if self.saturation is not None:
            return self.saturation
        return float(np.iinfo(self.dtype).max) if self.dtype.kind == "u" else None

    @property
    def extent(self) -> tuple[slice, slice]:
        """Rows and columns outside which all pixels are known to be zero."""
        return slice(0, self.shape[0]), slice(0, self.shape[1])

    def read_all(self) -> Image:
        """Return the whole image; only for images known to be small."""
        return self.read(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def overview(self, factor: int) -> FloatImage:
        """Return the image reduced by block averaging.

        Parameters
        ----------
        factor : int
            Block side in pixels, >= 1. Overview pixel ``(i, j)`` averages rows
            ``factor*i .. factor*i + factor - 1`` (fewer at the far edges), so its centre lies at
            ``factor * i + (factor - 1) / 2`` in image pixels.

        Returns
        -------
        numpy.ndarray of float32
            Shape ``(ceil(ny / factor), ceil(nx / factor))``.
        """
        ny, nx = self.shape
        out = np.empty((-(-ny // factor), -(-nx // factor)), np.float32)
        band = factor * max(1, 512 // factor)
        for rows in row_bands(ny, band):
            window = self.read(rows, slice(0, nx))
            reduced = block_mean(window, factor)
            start = rows.start // factor
            out[start : start + reduced.shape[0]] = reduced
        return out

    def read_reduced(self, rows: slice, cols: slice, factor: int) -> FloatImage:
        """Return a window of `overview`, of which no more than that is computed.

        Parameters
        ----------
        rows, cols : slice
            Start and stop in pixels of the overview, inside it.
        factor : int
            As for `overview`.
        """
        window = (
            slice(part.start * factor, min(part.stop * factor, size))
            for part, size in zip((rows, cols), self.shape, strict=True)
        )
        return block_mean(self.read(*window), factor)


class ArrayRaster(Raster):
    """A raster over an array in memory.

    Parameters
    ----------
    array : numpy.ndarray
        Shape ``(ny, nx)``.
    """

    def __init__(self, array: Image) -> None:
        if array.ndim != 2:
            msg = f"a raster is 2-D (ny, nx), got an array of shape {array.shape}"
            raise ValueError(msg)
        self._array = array.astype(array.dtype.newbyteorder("="), copy=False)
        self.shape = (array.shape[0], array.shape[1])
        self.dtype = self._array.dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window as a view."""
        return self._array[rows, cols]


class OffsetRaster(Raster):
    """Another raster placed on a canvas, zero outside; a negative offset crops it.

    Parameters
    ----------
    source : Raster
        The image to place.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    offset : tuple of int
        ``(y, x)`` of the source's first pixel on the canvas; may be negative.
    """

    def __init__(self, source: Raster, shape: tuple[int, int], offset: tuple[int, int]) -> None:
        self.source = source
        self.shape = shape
        self.offset = offset
        self.dtype = source.dtype
        self.saturation = source.saturation

    @property
    def extent(self) -> tuple[slice, slice]:
        """The part of the canvas that the source covers."""
        rows, cols = (
            slice(min(max(start, 0), size), min(max(start + length, 0), size))
            for start, length, size in zip(self.offset, self.source.shape, self.shape, strict=True)
        )
        return rows, cols

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window, zero where the source has no pixels."""
        spans = [
            window_overlap(window, start, size)
            for window, start, size in zip(
                (rows, cols), self.offset, self.source.shape, strict=True
            )
        ]
        (dst_y, src_y), (dst_x, src_x) = spans
        inner = (src_y.stop - src_y.start, src_x.stop - src_x.start)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if inner == shape:
            return self.source.read(src_y, src_x)
        out = np.zeros(shape, self.dtype)
        if min(inner) > 0:
            out[dst_y, dst_x] = self.source.read(src_y, src_x)
        return out


def as_raster(image: Raster | Image) -> Raster:
    """Return `image` itself if it is a raster, else a raster over the array."""
    return image if isinstance(image, Raster) else ArrayRaster(np.asarray(image))


def window_overlap(window: slice, start: int, size: int) -> tuple[slice, slice]:
    """Return the overlap of a window with a block at `start`, as slices of both."""
    low = max(window.start, start)
    high = max(low, min(window.stop, start + size))
    return (
        slice(low - window.start, high - window.start),
        slice(low - start, high - start),
    )
