"""Reading tile-compressed FITS images by window, from several threads at once.

The layout is that of FITS Standard 4.0, section 10, as `exo2micro.raster.fits_tiles` writes it.
astropy reads it too, but one window at a time, and takes about twice as long.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.errors import CheckpointError
from exo2micro.raster.base import Raster, window_overlap
from exo2micro.raster.shared_file import SharedFile

_DTYPES: Final = {8: ">u1", 16: ">i2", 32: ">i4", -32: ">f4"}
_PLACE: Final = [("size", ">i8"), ("start", ">i8")]
_QUANTUM: Final = [("step", ">f8"), ("zero", ">f8")]


class TiledPlane(Raster):
    """A compressed image of a FITS file that `exo2micro` wrote.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        Number of the HDU.

    Raises
    ------
    ValueError
        If the image is compressed in another way.
    """

    def __init__(self, path: Path, number: int) -> None:
        with fits.open(path, disable_image_compression=True) as hdus:
            header = hdus[number].header
            place = int(hdus[number].fileinfo()["datLoc"])
        self._is_quantised = _is_quantised(header, path)
        self.shape = (header["ZNAXIS2"], header["ZNAXIS1"])
        self._tile = (header["ZTILE2"], header["ZTILE1"])
        self._stored = np.dtype(_DTYPES[header["ZBITPIX"]])
        self.dtype = self._stored.newbyteorder("=")
        self._block = header.get("ZVAL1", 0)
        self._file = SharedFile(path)
        size = header["NAXIS1"] * header["NAXIS2"]
        table = self._file.read_at(place, size)
        self._places = np.frombuffer(table, _PLACE + (_QUANTUM if self._is_quantised else []))
        self._heap = place + header.get("THEAP", size)

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window in native byte order."""
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        height, width = self._tile
        across = -(-self.shape[1] // width)
        for row in range(rows.start // height, -(-rows.stop // height)):
            for col in range(cols.start // width, -(-cols.stop // width)):
                tile = self._decoded(row * across + col, row * height, col * width)
                into_y, from_y = window_overlap(rows, row * height, tile.shape[0])
                into_x, from_x = window_overlap(cols, col * width, tile.shape[1])
                out[into_y, into_x] = tile[from_y, from_x]
        return out

    def _decoded(self, index: int, top: int, left: int) -> NDArray[Any]:
        """Return one tile; those at the far edges are smaller."""
        place = self._places[index]
        shape = min(self._tile[0], self.shape[0] - top), min(self._tile[1], self.shape[1] - left)
        content = self._file.read_at(self._heap + int(place["start"]), int(place["size"]))
        try:
            if not self._is_quantised:
                exact = imagecodecs.gzip_decode(content)
                return np.frombuffer(exact, self._stored).reshape(shape)
            size = (shape[0] * shape[1],)
            codes = imagecodecs.rcomp_decode(
                content, shape=size, dtype=np.int32, nblock=self._block
            )
        except (RuntimeError, ValueError) as error:
            msg = f"{self._file.path} is damaged: tile {index} cannot be decoded ({error})"
            raise CheckpointError(msg) from error
        values = codes.reshape(shape) * float(place["step"]) + float(place["zero"])
        return np.asarray(values, np.float32)


def _is_quantised(header: Mapping[str, Any], path: Path) -> bool:
    """Tell whether pixels are multiples of a step; raise ValueError for an unknown layout."""
    names = [header.get(f"TTYPE{n}") for n in range(1, header.get("TFIELDS", 0) + 1)]
    layout = header.get("ZCMPTYPE"), tuple(names), str(header.get("TFORM1", ""))[:2]
    if header.get("ZBITPIX") in _DTYPES and "BSCALE" not in header:
        if layout == ("GZIP_1", ("COMPRESSED_DATA",), "1Q"):
            return False
        is_rice = layout == ("RICE_1", ("COMPRESSED_DATA", "ZSCALE", "ZZERO"), "1Q")
        bytes_per_number, rounding = header.get("ZVAL2"), header.get("ZQUANTIZ")
        if is_rice and (bytes_per_number, rounding) == (4, "NO_DITHER"):
            return True
    msg = f"{path} holds an image that is compressed in a way that exo2micro does not write"
    raise ValueError(msg)
