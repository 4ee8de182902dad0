"""A function of the store as a reader of raw files."""

import inspect
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from exo2micro.custom.failure import failure
from exo2micro.custom.function import CustomFunction
from exo2micro.errors import Exo2microError, RawReadError
from exo2micro.raw.image import PageChoice, PageInfo, RawImage
from exo2micro.raw.readers.base import RawReader
from exo2micro.raw.readers.vendor import colour_channels, supported_dtype


class FunctionReader(RawReader, ABC):
    """A reader that calls a plain function, which returns the whole image.

    Attributes
    ----------
    function : CustomFunction
        The function, of the kind ``reader``.
    """

    function: ClassVar[CustomFunction]

    def open(self, path: Path, page: PageChoice = None) -> RawImage:
        """Return what the function reads, as an image in memory."""
        try:
            read = self.function.load()
            takes_page = "page" in inspect.signature(read).parameters
            pixels = np.asarray(read(path, page=page) if takes_page else read(path))
        except (Exo2microError, MemoryError):
            raise
        except Exception as error:
            msg = f"{path} cannot be read: the reader {failure(self.function, error)}"
            raise RawReadError(msg) from error
        return ImageInMemory(path, pixels)


class ImageInMemory(RawImage):
    """An image that a function returned.

    Parameters
    ----------
    path : Path
        The file.
    pixels : numpy.ndarray
        Shape ``(ny, nx)``, or ``(ny, nx, samples)`` with 1, 3 or 4 samples.

    Raises
    ------
    RawReadError
        For another shape or a type that images cannot have.
    """

    def __init__(self, path: Path, pixels: NDArray[Any]) -> None:
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            msg = (
                f"the reader for {path} must return an image of shape (ny, nx) or (ny, nx, 3), got "
                f"{pixels.shape}"
            )
            raise RawReadError(msg)
        dtype = supported_dtype(pixels.dtype, path)
        samples = pixels[:, :, None] if pixels.ndim == 2 else pixels
        self.path = path
        self.shape = (pixels.shape[0], pixels.shape[1])
        self.dtype = dtype
        self.channel_names = colour_channels(samples.shape[2], path)
        self.page = PageInfo(0, pixels.shape, dtype.name)
        if dtype.kind == "u":
            self.saturation_level = float(np.iinfo(dtype).max)
        self._samples = samples.astype(dtype, copy=False)

    def read(self, rows: slice, cols: slice, channels: Sequence[int]) -> NDArray[Any]:
        """Return a window of some channels, ``(len(channels), rows, cols)``."""
        return np.moveaxis(self._samples[rows, cols][:, :, list(channels)], -1, 0)
