"""Reader of Carl Zeiss CZI files, through the optional package ``czifile``."""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import Exo2microError, RawReadError
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


@dataclass(frozen=True)
class _Plane:
    """One scene, channel and focal plane."""

    info: PageInfo
    scene: Any
    position: dict[str, int]


class CziImage(RawImage):
    """One plane of a CZI file.

    Parameters
    ----------
    path : Path
        The file.
    page : int, str or None
        Which plane.
    """

    def __init__(self, path: Path, page: PageChoice) -> None:
        self.path = path
        self._asked = page
        czifile = import_optional("czifile", path)
        try:
            czi = czifile.CziFile(path)
        except READ_ERRORS as error:
            raise unreadable(path, error) from error
        self._finalizer = weakref.finalize(self, czi.close)
        self._lock = threading.Lock()
        if not hasattr(czi, "scenes"):
            self.close()
            msg = (
                f"{path} needs czifile 2026 or newer (Python 3.12 or newer), installed is "
                f"{czifile.__version__}, which cannot read windows of mosaics and pyramids: "
                "pip install --upgrade czifile, or export the scan as TIFF"
            )
            raise RawReadError(msg)
        try:
            planes = _list_planes(czi)
            plane = planes[choose_page(path, [p.info for p in planes], page).index]
            self._load(plane)
        except Exo2microError:
            self.close()
            raise
        except READ_ERRORS as error:
            self.close()
            raise unreadable(path, error) from error

    def read(self, rows: slice, cols: slice, channels: Sequence[int]) -> NDArray[Any]:
        """Return a window of some channels; zero where the mosaic has no tile."""
        height, width = rows.stop - rows.start, cols.stop - cols.start
        roi = (self._left + cols.start, self._top + rows.start, width, height)
        try:
            with self._lock:
                pixels = self._scene(roi=roi, **self._position).asarray()
        except READ_ERRORS as error:
            if "no subblocks" in str(error):
                return np.zeros((len(channels), height, width), self.dtype)
            raise unreadable(self.path, error) from error
        window = np.asarray(pixels).reshape(height, width, self._n_samples)
        return np.stack([window[:, :, c] for c in channels])

    def close(self) -> None:
        """Release the file."""
        self._finalizer()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_raw, (self.path, self._asked)

    def _load(self, plane: _Plane) -> None:
        """Take over what is known of the plane."""
        self._scene, self._position, self.page = plane.scene, plane.position, plane.info
        self._left, self._top, width, height = self._scene.bbox
        self.shape = (int(height), int(width))
        self.dtype = supported_dtype(self._scene.dtype, self.path)
        self._n_samples = int(self._scene.sizes.get("S", 1))
        self.channel_names = colour_channels(self._n_samples, self.path)
        if self._n_samples == 4:
            self.notes = ("an alpha channel is not used",)
        if self.dtype.kind == "u":
            self.saturation_level = float(np.iinfo(self.dtype).max)
        size = self._scene.mpp
        self.pixel_size_um = None if size is None else (float(size[0]), float(size[1]))


class CziReader(RawReader):
    """Reads CZI files of Zeiss slide scanners and microscopes."""

    name = "czi"
    suffixes = (".czi",)
    priority = -10

    def open(self, path: Path, page: PageChoice = None) -> CziImage:
        """Open one scene and channel; see `RawReader.open`."""
        return CziImage(path, page)


def _list_planes(czi: Any) -> list[_Plane]:  # noqa: ANN401 - the package has no types
    """Return every scene, channel and focal plane of a file."""
    planes: list[_Plane] = []
    scenes = czi.scenes
    for number, scene in scenes.items():
        sizes = {axis: int(n) for axis, n in scene.sizes.items()}
        starts = dict(zip(scene.dims, scene.start, strict=True))
        for at, name in iter_planes(sizes, list(scene.channels)):
            words = [f"scene {number}"] * (len(scenes) > 1) + [name] * bool(name)
            shape = tuple(sizes[axis] for axis in "YXS" if axis in sizes)
            info = PageInfo(len(planes), shape, str(scene.dtype), " ".join(words))
            position = {axis: int(starts[axis]) + k for axis, k in at.items()}
            planes.append(_Plane(info, scene, position))
    return planes
