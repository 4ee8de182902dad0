"""Tile-compressed FITS image extensions, written band by band.

Layout: FITS Standard 4.0, section 10 (White, Greenfield, Pence et al.), algorithm GZIP_1, one
table row per tile, tiles in row-major order. astropy reads them as ordinary image extensions.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from astropy.io import fits

from exo2micro._typing import Image
from exo2micro.raster.fits_checksum import (
    NO_CHECKSUM,
    NO_DATASUM,
    add_words,
    sum_words,
    with_checksums,
)
from exo2micro.raster.stream import TILE

_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "f4": -32}
_GZIP_LEVEL = 1
_COPY_BLOCK = 1 << 22
_BLOCK = 2880


@dataclass(frozen=True)
class PlaneSpec:
    """A companion plane of an image.

    Attributes
    ----------
    name : str
        Name of the plane; upper-case, it is the EXTNAME.
    dtype : numpy.dtype
        Pixel type.
    background : int
        Value outside the image's extent.
    header : astropy.io.fits.Header
        Further cards.
    """

    name: str
    dtype: np.dtype[Any]
    background: int
    header: fits.Header


class CompressedPlane:
    """One plane on its way into a FITS file; its tiles wait in a spool file.

    Parameters
    ----------
    spool : Path
        File that holds the compressed tiles until the primary image is complete.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    spec : PlaneSpec
        What the plane is.
    """

    def __init__(self, spool: Path, shape: tuple[int, int], spec: PlaneSpec) -> None:
        self._spool = spool
        self._file = spool.open("w+b")
        self._spec = spec
        self._shape = shape
        self._stored = spec.dtype.newbyteorder(">")
        self._sizes: list[int] = []

    def add(self, rows: slice, cols: slice, data: Image | None) -> None:
        """Compress one band; `data` covers `cols`, elsewhere the plane is background."""
        height, nx = rows.stop - rows.start, self._shape[1]
        full = np.full((height, nx), self._spec.background, self._stored)
        if data is not None:
            full[:, cols] = data
        for start in range(0, nx, TILE):
            tile = np.ascontiguousarray(full[:, start : start + TILE])
            encoded = imagecodecs.gzip_encode(tile.tobytes(), _GZIP_LEVEL)
            self._sizes.append(len(encoded))
            self._file.write(encoded)

    def append_to(self, file: BinaryIO) -> None:
        """Write the extension at the file's position."""
        sizes = np.array(self._sizes, np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        wide = int(sizes.sum()) >= 2**31
        table = np.stack([sizes, starts], axis=1).astype(">i8" if wide else ">i4").tobytes()
        header = self._header(len(sizes), len(table), int(sizes.sum()), wide=wide)
        self._file.seek(0)
        total, position = sum_words(table), len(table)
        for block in iter(lambda: self._file.read(_COPY_BLOCK), b""):
            total = add_words(total, sum_words(block, position % 4))
            position += len(block)
        file.write(with_checksums(header, total))
        file.write(table)
        self._file.seek(0)
        for block in iter(lambda: self._file.read(_COPY_BLOCK), b""):
            file.write(block)
        file.write(bytes(-position % _BLOCK))

    def discard(self) -> None:
        """Remove the spool file."""
        self._file.close()
        self._spool.unlink(missing_ok=True)

    def _header(self, tiles: int, table: int, heap: int, *, wide: bool) -> fits.Header:
        header = fits.Header()
        header["XTENSION"] = ("BINTABLE", "binary table extension")
        header["BITPIX"] = (8, "array data type")
        header["NAXIS"] = (2, "number of array dimensions")
        header["NAXIS1"] = (table // tiles, "bytes per table row")
        header["NAXIS2"] = (tiles, "number of tiles")
        header["PCOUNT"] = (heap, "bytes of compressed tiles")
        header["GCOUNT"] = (1, "number of groups")
        header["TFIELDS"] = (1, "number of table fields")
        header["TTYPE1"] = ("COMPRESSED_DATA", "compressed tiles")
        longest = max(self._sizes)
        header["TFORM1"] = (f"1{'Q' if wide else 'P'}B({longest})", "variable length bytes")
        header["ZIMAGE"] = (True, "this table is a compressed image")
        header["ZCMPTYPE"] = ("GZIP_1", "compression algorithm")
        header["ZBITPIX"] = (_BITPIX[self._stored.str[1:]], "array data type of the image")
        header["ZNAXIS"] = (2, "dimensions of the image")
        header["ZNAXIS1"] = (self._shape[1], "pixels along x")
        header["ZNAXIS2"] = (self._shape[0], "pixels along y")
        header["ZTILE1"] = (min(TILE, self._shape[1]), "tile size along x")
        header["ZTILE2"] = (min(TILE, self._shape[0]), "tile size along y")
        header["EXTNAME"] = (self._spec.name.upper(), "name of this plane")
        header.extend(self._spec.header, end=True)
        header["CHECKSUM"] = (NO_CHECKSUM, "HDU checksum")
        header["DATASUM"] = (NO_DATASUM, "data unit checksum")
        return header
