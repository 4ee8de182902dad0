"""Reader of Nikon ND2 files, through the optional package ``nd2``."""

import threading
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import Exo2microError
from exo2micro.raw.image import PageChoice, PageInfo, RawImage, choose_page
from exo2micro.raw.readers.base import RawReader, open_raw
from exo2micro.raw.readers.vendor import (
    READ_ERRORS,
    colour_channels,
    import_optional,
    iter_planes,
    supported_dtype,
    unreadable,
)

_FRAME_AXES = "CYXS"
"""Axes that one frame of the file holds, in this order; the others number the frames."""


class Nd2Image(RawImage):
    """One channel and frame of an ND2 file.

    Parameters
    ----------
    path : Path
        The file.
    page : int, str or None
        Which channel and frame.
    """

    def __init__(self, path: Path, page: PageChoice) -> None:
        self.path = path
        self._asked = page
        nd2 = import_optional("nd2", path)
        try:
            self._nd2 = nd2.ND2File(path)
        except READ_ERRORS as error:
            raise unreadable(path, error) from error
        self._finalizer = weakref.finalize(self, self._nd2.close)
        self._lock = threading.Lock()
        try:
            self._load(page)
        except Exo2microError:
            self.close()
            raise
        except READ_ERRORS as error:
            self.close()
            raise unreadable(path, error) from error

    def read(self, rows: slice, cols: slice, channels: Sequence[int]) -> NDArray[Any]:
        """Return a window of some channels."""
        try:
            with self._lock:
                frame = np.asarray(self._nd2.read_frame(self._frame))
                pixels = frame.reshape(self._frame_shape)[self._channel, rows, cols]
                return np.stack([pixels[:, :, c] for c in channels]).astype(self.dtype, copy=False)
        except READ_ERRORS as error:
            raise unreadable(self.path, error) from error

    def close(self) -> None:
        """Release the file."""
        self._finalizer()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_raw, (self.path, self._asked)

    def _load(self, page: PageChoice) -> None:
        """Choose the page and take over what is known of it."""
        sizes = {axis: int(n) for axis, n in self._nd2.sizes.items()}
        self.dtype = supported_dtype(self._nd2.dtype, self.path)
        n_samples = sizes.get("S", 1)
        self.channel_names = colour_channels(n_samples, self.path)
        shape = tuple(sizes[axis] for axis in "YXS" if axis in sizes)
        planes = list(iter_planes(sizes, _channel_names(self._nd2)))
        infos = [PageInfo(k, shape, str(self.dtype), name) for k, (_, name) in enumerate(planes)]
        self.page = choose_page(self.path, infos, page)
        position = planes[self.page.index][0]
        self.shape = (sizes["Y"], sizes["X"])
        self._frame_shape = (sizes.get("C", 1), *self.shape, n_samples)
        self._channel = position.get("C", 0)
        self._frame = _frame_index(sizes, position)
        if n_samples > 1:
            self.notes = ("ND2 files do not tell the order of colours: red may be blue",)
        if self.dtype.kind == "u":
            self.saturation_level = float(np.iinfo(self.dtype).max)
        voxel = self._nd2.voxel_size()
        if (voxel.x, voxel.y) != (1, 1):  # what nd2 returns where the file is not calibrated
            self.pixel_size_um = (float(voxel.x), float(voxel.y))


class Nd2Reader(RawReader):
    """Reads ND2 files of Nikon microscopes."""

    name = "nd2"
    suffixes = (".nd2",)
    priority = -10

    def open(self, path: Path, page: PageChoice = None) -> Nd2Image:
        """Open one channel and frame; see `RawReader.open`."""
        return Nd2Image(path, page)


def _frame_index(sizes: dict[str, int], position: dict[str, int]) -> int:
    """Return the number of the frame that holds a position."""
    axes = [a for a in sizes if a not in _FRAME_AXES]
    return sum(position[a] * prod(sizes[b] for b in axes[k + 1 :]) for k, a in enumerate(axes))


def _channel_names(nd2_file: Any) -> list[str]:  # noqa: ANN401 - the package is optional
    """Return the names of the optical channels, as far as the file tells them."""
    channels = getattr(nd2_file.metadata, "channels", None) or []
    return [str(c.channel.name) for c in channels]
