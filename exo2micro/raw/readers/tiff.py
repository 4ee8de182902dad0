"""Reader of TIFF and of the vendor formats that are TIFF: NDPI, SVS, QPTIFF."""

import logging
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.errors import RawReadError
from exo2micro.raster.shared_file import SharedFile
from exo2micro.raster.tiff_segments import PageReader
from exo2micro.raw.image import COLOUR_NAMES, PageChoice, RawImage, choose_page
from exo2micro.raw.readers.base import RawReader, open_raw
from exo2micro.raw.readers.vendor import READ_ERRORS
from exo2micro.raw.tiff.pages import TiffPlane, check_supported, list_planes, reduced_pages
from exo2micro.raw.tiff.pixel_size import pixel_size_um
from exo2micro.raw.tiff.pyramid import Pyramid

logger = logging.getLogger(__name__)

_OPEN_ERRORS = (*READ_ERRORS, struct.error)
"""What a damaged directory makes tifffile raise."""


class TiffImage(RawImage):
    """One page of a TIFF file.

    Parameters
    ----------
    path : Path
        The file.
    page : int, str or None
        Which page.
    """

    def __init__(self, path: Path, page: PageChoice) -> None:
        self.path = path
        self._asked = page
        self._file = SharedFile(path)
        with ExitStack() as on_error:
            on_error.callback(self._file.close)
            with _open_tiff(path) as tif:
                self._load(tif, _list_planes(path, tif), page)
            on_error.pop_all()

    def read(self, rows: slice, cols: slice, channels: Sequence[int]) -> NDArray[Any]:
        """Return a window of some channels, shape ``(len(channels), rows, cols)``."""
        return self._reader.read(rows, cols, [self._samples[c] for c in channels])

    def stored_overview(self, factor: int, channel: int) -> FloatImage | None:
        """Return the block average from the file's pyramid where that is exact."""
        return self._pyramid.overview(factor, self._samples[channel])

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_raw, (self.path, self._asked)

    def _load(self, tif: tifffile.TiffFile, planes: list[TiffPlane], page: PageChoice) -> None:
        """Choose the page and take from the directory all that reading it needs."""
        self.page = choose_page(self.path, [p.info for p in planes], page)
        plane = planes[self.page.index]
        check_supported(self.path, plane)
        self._samples = plane.samples
        self._reader = PageReader(self._file, plane.page, plane.plane)
        self.shape, self.dtype = self._reader.shape, self._reader.dtype
        self.channel_names = COLOUR_NAMES if len(plane.samples) > 1 else ("gray",)
        self.pixel_size_um = pixel_size_um(tif, plane.page)
        if self.dtype.kind == "u":
            self.saturation_level = float(2 ** int(plane.page.bitspersample) - 1)
        self._pyramid = Pyramid(self._reader, self._levels(planes, plane))
        self.notes = _notes(planes, plane)

    def _levels(self, planes: list[TiffPlane], plane: TiffPlane) -> list[PageReader]:
        """Return readers of the reduced-resolution pages; damaged ones are left out."""
        readers = []
        for page in reduced_pages(planes, plane):
            try:
                readers.append(PageReader(self._file, page))
            except _OPEN_ERRORS as error:
                logger.warning("%s: a pyramid level is not used: %s", self.path, error)
        return readers


class TiffReader(RawReader):
    """Reads TIFF, BigTIFF, OME-TIFF, and the NDPI, SVS and QPTIFF files of slide scanners."""

    name = "tiff"
    suffixes = (".tif", ".tiff", ".btf", ".tf8", ".qptiff", ".ndpi", ".svs")
    priority = -10

    def open(self, path: Path, page: PageChoice = None) -> TiffImage:
        """Open one page; see `RawReader.open`."""
        return TiffImage(path, page)


def _open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file for its directory."""
    try:
        return tifffile.TiffFile(path, _multifile=False)
    except _OPEN_ERRORS as error:
        raise RawReadError(_unreadable(path, error)) from error


def _list_planes(path: Path, tif: tifffile.TiffFile) -> list[TiffPlane]:
    """Return the planes of a file, at least one."""
    try:
        planes = list_planes(tif)
    except _OPEN_ERRORS as error:
        raise RawReadError(_unreadable(path, error)) from error
    if not planes:
        msg = f"{path} is a TIFF file without pages; export or copy it again"
        raise RawReadError(msg)
    return planes


def _unreadable(path: Path, error: Exception) -> str:
    """Return the message for a file in which tifffile finds no directory."""
    with path.open("rb") as file:
        start = file.read(8)
    if start[:2] not in {b"II", b"MM"}:
        return (
            f"{path} is not a TIFF file, whatever its name: it begins with {start!r}; "
            "export the scan again as TIFF"
        )
    return (
        f"{path} is a damaged or truncated TIFF file of {path.stat().st_size} bytes ({error}); "
        "copying or writing it was interrupted, copy it again"
    )


def _notes(planes: list[TiffPlane], chosen: TiffPlane) -> tuple[str, ...]:
    """Return what is left aside, in words."""
    notes = []
    if chosen.n_alpha:
        what = "an alpha channel" if chosen.n_alpha == 1 else f"{chosen.n_alpha} extra channels"
        notes.append(f"{what} is not used" if chosen.n_alpha == 1 else f"{what} are not used")
    others = [str(p.info) for p in planes if p is not chosen and p.info.kind != "reduced"]
    if others:
        notes.append("not read: " + "; ".join(others))
    return tuple(notes)
