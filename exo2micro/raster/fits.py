"""Writing FITS by bands: a plain primary image, empty rows as holes, compressed planes after it.

The layout follows the FITS Standard 4.0 (Pence et al. 2010, A&A 524, A42, and its successors); the
checksums follow its Appendix J. Only the header cards are astropy's work: astropy itself writes
whole arrays, which a slide of a gigapixel does not allow.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from astropy.io import fits

from exo2micro._typing import Image
from exo2micro.raster.base import Raster
from exo2micro.raster.fits_checksum import (
    NO_CHECKSUM,
    NO_DATASUM,
    add_words,
    sum_rows,
    with_checksums,
)
from exo2micro.raster.fits_table import TableSpec, encode_table
from exo2micro.raster.fits_tiles import CompressedPlane, PlaneSpec
from exo2micro.raster.mapping import release_pages
from exo2micro.raster.stream import Band, pixels_of
from exo2micro.raster.windows import row_bands

BLOCK = 2880
_ROWS_AT_ONCE = 32

# BITPIX that holds each pixel type exactly and keeps zero as zero bytes, so that holes stay holes.
_BITPIX = {"u1": 8, "u2": 32, "f4": -32, "f8": -64, "u4": -64}
_STORED: dict[int, np.dtype[Any]] = {
    8: np.dtype("u1"),
    32: np.dtype(">i4"),
    -32: np.dtype(">f4"),
    -64: np.dtype(">f8"),
}


class FitsWriter:
    """A FITS file that is written band by band; use it as a context manager.

    Parameters
    ----------
    path : Path
        File to write, not atomically; the caller renames it.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    dtype : numpy.dtype
        Pixel type of the primary image.
    header : astropy.io.fits.Header
        Cards of the primary header; structural and checksum cards are added here.
    planes : sequence of PlaneSpec, optional
        The companion planes, written as compressed extensions.
    tables : sequence of TableSpec, optional
        Tables, written after them.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        header: fits.Header,
        planes: Sequence[PlaneSpec] = (),
        tables: Sequence[TableSpec] = (),
    ) -> None:
        self._path = path
        self._tables = tables
        self._shape = shape
        bitpix = _BITPIX[dtype.str[1:]]
        self._stored = _STORED[bitpix]
        self._header = _primary_header(header, bitpix, shape, extended=bool(planes or tables))
        self._data_start = len(self._header.tostring())
        self._sum = 0
        self._planes = {
            plane.name: CompressedPlane(path.with_name(f"{path.name}.{plane.name}"), shape, plane)
            for plane in planes
        }

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            for plane in self._planes.values():
                plane.discard()

    def __call__(self, band: Band) -> None:
        """Write one band; bands come in order."""
        if "data" in band.planes:
            self._write_primary(band)
        for name, plane in self._planes.items():
            plane.add(band.rows, band.cols, band.planes.get(name))

    def _write_primary(self, band: Band) -> None:
        pixels, nx = pixels_of(band.planes["data"]), self._shape[1]
        step = nx * self._stored.itemsize
        for rows in row_bands(len(pixels), _ROWS_AT_ONCE):
            data = np.ascontiguousarray(pixels[rows], self._stored)
            first = band.rows.start + rows.start
            start = first * step + band.cols.start * data.itemsize
            self._sum = add_words(self._sum, sum_rows(data, start, step))
            for index, row in enumerate(data):
                self._file.seek(self._data_start + start + index * step)
                self._file.write(row.data)

    def _finish(self) -> None:
        ny, nx = self._shape
        size = ny * nx * self._stored.itemsize
        self._file.seek(0)
        self._file.write(with_checksums(self._header, self._sum))
        end = self._data_start + -(-size // BLOCK) * BLOCK
        self._file.flush()
        os.ftruncate(self._file.fileno(), end)
        self._file.seek(end)
        for plane in self._planes.values():
            plane.append_to(self._file)
        for table in self._tables:
            self._file.write(encode_table(table))
        self._file.flush()


def _primary_header(
    cards: fits.Header, bitpix: int, shape: tuple[int, int], *, extended: bool
) -> fits.Header:
    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    header["BITPIX"] = (bitpix, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = (shape[1], "pixels along x")
    header["NAXIS2"] = (shape[0], "pixels along y")
    if extended:
        header["EXTEND"] = (True, "extensions follow")
    header.extend(cards, end=True)
    header["CHECKSUM"] = (NO_CHECKSUM, "HDU checksum")
    header["DATASUM"] = (NO_DATASUM, "data unit checksum")
    return header


class FitsRaster(Raster):
    """The primary image of a FITS file, read by window through a memory map.

    Parameters
    ----------
    path : Path
        FITS file with an uncompressed 2-D primary image.
    """

    def __init__(self, path: Path) -> None:
        with fits.open(path, memmap=True) as hdus:
            header = hdus[0].header
            start = hdus[0].fileinfo()["datLoc"]
        if header.get("NAXIS") != 2 or not {"BSCALE", "BZERO", "BLANK"}.isdisjoint(header):
            msg = f"{path}: the primary HDU is not a plain 2-D image"
            raise ValueError(msg)
        self.shape = (header["NAXIS2"], header["NAXIS1"])
        kinds = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
        stored = np.dtype(kinds[header["BITPIX"]])
        self._map = np.memmap(path, stored, "r", start, self.shape)
        self.dtype = stored.newbyteorder("=")

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window in native byte order."""
        window = self._map[rows, cols].astype(self.dtype)
        release_pages(self._map)
        return window
