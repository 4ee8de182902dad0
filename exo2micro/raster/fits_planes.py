"""Any FITS image and its companion extensions, read by window."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from exo2micro._typing import Image
from exo2micro.errors import CheckpointError
from exo2micro.raster.base import Raster

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
    """

    path: Path
    header: Mapping[str, Any]
    data: Raster
    extensions: Mapping[str, Raster]


class SectionRaster(Raster):
    """One image HDU of an open FITS file, compressed or not, scaled as its header says.

    Parameters
    ----------
    hdu : astropy HDU
        The image.
    lock : threading.Lock
        Shared by all images of one file.
    """

    def __init__(self, hdu: Any, lock: "threading.Lock") -> None:  # noqa: ANN401
        self._hdu = hdu
        self._lock = lock
        self.shape = (int(hdu.shape[0]), int(hdu.shape[1]))
        self.dtype = self.read(slice(0, 1), slice(0, 1)).dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window in native byte order."""
        with self._lock:
            window = np.asarray(self._hdu.section[rows, cols])
        return window.astype(window.dtype.newbyteorder("="), copy=False)


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
        hdus = fits.open(path, memmap=True, lazy_load_hdus=False)
        images = [hdu for hdu in hdus if isinstance(hdu, _IMAGES) and len(hdu.shape) > 0]
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"{path} cannot be read as FITS ({error}); give a difference in FITS format"
        raise CheckpointError(msg) from error
    if not images or len(images[0].shape) != 2:
        shape = images[0].shape if images else "none"
        hdus.close()
        msg = f"the first image of {path} must be 2-D (ny, nx), got shape {shape}"
        raise CheckpointError(msg)
    lock = threading.Lock()
    try:
        first, *others = (
            (str(hdu.name), SectionRaster(hdu, lock))
            for hdu in images
            if hdu.shape == images[0].shape
        )
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is damaged or cut off ({error}); make or copy it again"
        raise CheckpointError(msg) from error
    return FitsPlanes(path, dict(images[0].header), first[1], dict(others))
