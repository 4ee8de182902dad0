"""Tile-compressed FITS image extensions, written band by band.

Layout: FITS Standard 4.0, section 10 (White, Greenfield, Pence et al.), one table row per tile,
tiles in row-major order. astropy reads them as ordinary image extensions. Whole numbers are stored
exactly with algorithm GZIP_1, measurements as multiples of a step that each tile states, with
algorithm RICE_1.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image
from exo2micro.raster.fits_checksum import (
    NO_CHECKSUM,
    NO_DATASUM,
    add_words,
    sum_words,
    with_checksums,
)
from exo2micro.raster.stream import TILE, EncodedTile, Plane

_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "f4": -32}
_GZIP_LEVEL = 1
_RICE_BLOCK = 32
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

    A plane of float32 comes as encoded tiles and has background 0.
    """

    name: str
    dtype: np.dtype[Any]
    background: int
    header: fits.Header

    @property
    def is_quantised(self) -> bool:
        """Whether pixels are multiples of a step rather than exact."""
        return self.dtype.kind == "f"


def encode_quantised(tile: FloatImage, step: float) -> EncodedTile:
    """Return a tile rounded to multiples of a step, compressed by Rice's algorithm.

    Parameters
    ----------
    tile : numpy.ndarray of float32
        Within 2^31 steps of 0, which stays exactly 0.
    step : float
        A power of two keeps the values exact in float32.
    """
    scaled = tile * np.float32(1 / step)
    codes = np.rint(scaled, out=scaled).astype(np.int32)
    return EncodedTile(bytes(imagecodecs.rcomp_encode(codes, nblock=_RICE_BLOCK)), step)


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
        self._steps: list[float] = []
        self._alike: dict[tuple[tuple[int, int], int], EncodedTile] = {}
        self._heap = self._sum = 0

    def add(self, rows: slice, cols: slice, data: Plane | None) -> None:
        """Add one band; `data` covers `cols`, whole tiles, elsewhere the plane is background."""
        height = rows.stop - rows.start
        first = cols.start // TILE
        given = () if data is None else self._tiles(data)
        for index, start in enumerate(range(0, self._shape[1], TILE)):
            if first <= index < first + len(given):
                self._append(given[index - first])
            else:
                width = min(TILE, self._shape[1] - start)
                self._append(self._uniform((height, width), self._spec.background))

    def _tiles(self, data: Plane) -> Sequence[EncodedTile]:
        """Return the encoded tiles of a band from left to right."""
        if isinstance(data, tuple):
            return data
        starts = range(0, data.shape[1], TILE)
        return [self._encode(data[:, start : start + TILE]) for start in starts]

    def _encode(self, tile: Image) -> EncodedTile:
        value = tile.flat[0]
        if (tile == value).all():
            return self._uniform((tile.shape[0], tile.shape[1]), int(value))
        return self._compress(tile)

    def _uniform(self, size: tuple[int, int], value: int) -> EncodedTile:
        """Return a tile of one value; all of one size are the same."""
        key = (size, value)
        if key not in self._alike:
            self._alike[key] = self._compress(np.full(size, value))
        return self._alike[key]

    def _compress(self, tile: Image) -> EncodedTile:
        if self._spec.is_quantised:
            return encode_quantised(tile.astype(np.float32), 1.0)
        exact: Any = np.ascontiguousarray(tile, self._stored)
        return EncodedTile(bytes(imagecodecs.gzip_encode(exact, _GZIP_LEVEL)), 1.0)

    def _append(self, tile: EncodedTile) -> None:
        """Spool one tile; the table before the tiles has whole words, so that sums can go on."""
        self._sum = add_words(self._sum, sum_words(tile.content, self._heap % 4))
        self._heap += len(tile.content)
        self._sizes.append(len(tile.content))
        self._steps.append(tile.step)
        self._file.write(tile.content)

    def append_to(self, file: BinaryIO) -> None:
        """Write the extension at the file's position."""
        sizes = np.array(self._sizes, np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        table = self._table(sizes, starts)
        header = self._header(len(sizes), len(table), self._heap)
        file.write(with_checksums(header, add_words(sum_words(table), self._sum)))
        file.write(table)
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, _COPY_BLOCK)
        file.write(bytes(-(len(table) + self._heap) % _BLOCK))

    def _table(self, sizes: NDArray[np.int64], starts: NDArray[np.int64]) -> bytes:
        """Return the rows of the table: where each tile lies, and its step and zero.

        Places are 64 bits wide in any case: to 32-bit ones astropy adds the table's place in the
        file, which overflows beyond 2 GB.
        """
        fields = [("size", ">i8"), ("start", ">i8")]
        if self._spec.is_quantised:
            fields += [("step", ">f8"), ("zero", ">f8")]
        table = np.zeros(len(sizes), fields)
        table["size"], table["start"] = sizes, starts
        if self._spec.is_quantised:
            table["step"] = self._steps
        return table.tobytes()

    def discard(self) -> None:
        """Remove the spool file."""
        self._file.close()
        self._spool.unlink(missing_ok=True)

    def _header(self, tiles: int, table: int, heap: int) -> fits.Header:
        header = fits.Header()
        header["XTENSION"] = ("BINTABLE", "binary table extension")
        header["BITPIX"] = (8, "array data type")
        header["NAXIS"] = (2, "number of array dimensions")
        header["NAXIS1"] = (table // tiles, "bytes per table row")
        header["NAXIS2"] = (tiles, "number of tiles")
        header["PCOUNT"] = (heap, "bytes of compressed tiles")
        header["GCOUNT"] = (1, "number of groups")
        quantised = self._spec.is_quantised
        header["TFIELDS"] = (3 if quantised else 1, "number of table fields")
        header["TTYPE1"] = ("COMPRESSED_DATA", "compressed tiles")
        longest = max(self._sizes)
        header["TFORM1"] = (f"1QB({longest})", "variable length bytes")
        if quantised:
            for number, name in ((2, "ZSCALE"), (3, "ZZERO")):
                header[f"TTYPE{number}"] = (name, "of the tile: pixel = ZSCALE * number + ZZERO")
                header[f"TFORM{number}"] = "1D"
        header["ZIMAGE"] = (True, "this table is a compressed image")
        header["ZCMPTYPE"] = ("RICE_1" if quantised else "GZIP_1", "compression algorithm")
        header["ZBITPIX"] = (_BITPIX[self._stored.str[1:]], "array data type of the image")
        header["ZNAXIS"] = (2, "dimensions of the image")
        header["ZNAXIS1"] = (self._shape[1], "pixels along x")
        header["ZNAXIS2"] = (self._shape[0], "pixels along y")
        header["ZTILE1"] = (min(TILE, self._shape[1]), "tile size along x")
        header["ZTILE2"] = (min(TILE, self._shape[0]), "tile size along y")
        if quantised:
            header["ZNAME1"] = ("BLOCKSIZE", "pixels per block of the algorithm")
            header["ZVAL1"] = _RICE_BLOCK
            header["ZNAME2"] = ("BYTEPIX", "bytes per number")
            header["ZVAL2"] = 4
            header["ZQUANTIZ"] = ("NO_DITHER", "how pixels were rounded")
        header["EXTNAME"] = (self._spec.name.upper(), "name of this plane")
        header.extend(self._spec.header, end=True)
        header["CHECKSUM"] = (NO_CHECKSUM, "HDU checksum")
        header["DATASUM"] = (NO_DATASUM, "data unit checksum")
        return header
