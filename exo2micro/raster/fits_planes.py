"""Any FITS image and its companion extensions, read by window."""

import contextlib
import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from exo2micro._typing import Image
from exo2micro.errors import CheckpointError
from exo2micro.raster.base import Raster
from exo2micro.raster.fits import FitsRaster
from exo2micro.raster.fits_tile_reader import TiledPlane

_IMAGES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


@dataclass(frozen=True)
class FitsPlanes:
    """The images of one FITS file.

    Attributes
    ----------
    path : Path
        The file.
    header : mapping
        Cards of the HDU that holds the image, keyword -> value.
    data : Raster
        The first 2-D image.
    extensions : mapping
        Other images of the same shape by EXTNAME, upper-case.
    misfits : mapping
        Shapes of the other images that have another one, by EXTNAME.
    """

    path: Path
    header: Mapping[str, Any]
    data: Raster
    extensions: Mapping[str, Raster]
    misfits: Mapping[str, tuple[int, ...]]


class SectionRaster(Raster):
    """One image HDU of a FITS file, compressed or not, scaled as its header says.

    The file stays open as long as the raster lives.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        Number of the HDU.
    shape : tuple of int
        ``(ny, nx)``.
    is_compressed : bool
        Whether the image is compressed by tiles.
    """

    def __init__(
        self, path: Path, number: int, shape: tuple[int, int], *, is_compressed: bool
    ) -> None:
        self.shape = shape
        # A mapped file cannot be scaled; one that is not mapped is decompressed as a whole.
        hdus = fits.open(path, memmap=is_compressed)
        weakref.finalize(self, hdus.close)
        self._hdu = hdus[number]
        self._lock = threading.Lock()
        self.dtype = self.read(slice(0, 1), slice(0, 1)).dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window in native byte order."""
        with self._lock:
            window = np.asarray(self._hdu.section[rows, cols])
        return window.astype(window.dtype.newbyteorder("="))


def open_fits_planes(path: Path) -> FitsPlanes:
    """Open a FITS file; nothing is read but headers.

    Parameters
    ----------
    path : Path
        A FITS file whose first image with pixels is 2-D.

    Raises
    ------
    CheckpointError
        If the file is missing, is no FITS file, is cut off, or its first image is not 2-D.
    """
    if not path.is_file():
        msg = f"there is no file {path}; give the path of a difference in FITS format"
        raise CheckpointError(msg)
    try:
        header, found = _images_of(path)
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, KeyError, Warning) as error:
        msg = (
            f"{path} cannot be read as FITS, or is cut off ({error}); give a difference in FITS "
            "format"
        )
        raise CheckpointError(msg) from error
    (_, first), *others = found
    extensions = {name: raster for name, raster in others if raster.shape == first.shape}
    misfits = {name: raster.shape for name, raster in others if raster.shape != first.shape}
    return FitsPlanes(path, header, first, extensions, misfits)


def _raster(path: Path, number: int, shape: tuple[int, ...], *, is_compressed: bool) -> Raster:
    """Return an image as a raster, read by the fastest way that its layout allows."""
    if number == 0:
        with contextlib.suppress(ValueError):
            return FitsRaster(path)
    if is_compressed:
        with contextlib.suppress(ValueError):
            return TiledPlane(path, number)
    return SectionRaster(path, number, (shape[0], shape[1]), is_compressed=is_compressed)


def _images_of(path: Path) -> tuple[dict[str, Any], list[tuple[str, Raster]]]:
    """Return the header of the first image with pixels, and name and raster of all 2-D images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "File may have been truncated")
        with path.open("rb") as file, fits.open(file, lazy_load_hdus=False) as hdus:
            images = [
                (number, hdu)
                for number, hdu in enumerate(hdus)
                if isinstance(hdu, _IMAGES) and len(hdu.shape) > 0
            ]
            header = dict(images[0][1].header) if images else {}
            described = [
                (str(hdu.name), number, tuple(hdu.shape), isinstance(hdu, fits.CompImageHDU))
                for number, hdu in images
            ]
    first = described[0][2] if described else "none"
    if len(first) != 2:
        msg = (
            f"the first image of {path} must be 2-D (ny, nx), got shape {first}; give a file with "
            "the difference as its first image"
        )
        raise CheckpointError(msg)
    return header, [
        (name, _raster(path, number, shape, is_compressed=is_compressed))
        for name, number, shape, is_compressed in described
        if len(shape) == 2
    ]
