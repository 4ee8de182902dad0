"""A difference as detection sees it: pixels, noise, data quality and where it lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask
from exo2micro.errors import DetectionError, FailedVerdictError
from exo2micro.raster.base import Raster
from exo2micro.raster.fits_planes import FitsPlanes, open_fits_planes
from exo2micro.subtraction.quality import DQ, NO_DATA

_DIFFERENCE_STAGE = 4

_OTHERS_QUALITY = (
    "the plane DQ was made by another program: pixels with any of its bits set were left out"
)


@dataclass(frozen=True)
class Pixels:
    """One window of a difference.

    Attributes
    ----------
    data : numpy.ndarray of float32
        Counts; 0 where there is no data.
    noise : numpy.ndarray of float32 or None
        Standard deviation in counts; None if the difference does not tell it.
    flags : numpy.ndarray of uint8
        DQ bits; 0 where the difference has no such plane.
    has_data : numpy.ndarray of bool
        Where the difference has a value.
    """

    data: FloatImage
    noise: FloatImage | None
    flags: NDArray[np.uint8]
    has_data: Mask


@dataclass(frozen=True)
class Difference:
    """A difference image with what is known about it.

    Attributes
    ----------
    data : Raster
        Counts, shape ``(ny, nx)``.
    noise : Raster or None
        Standard deviation of each pixel, counts.
    quality : Raster or None
        Bits of `exo2micro.subtraction.quality.DQ`. Without it, pixels that are not finite and,
        in images of floats, pixels that are exactly 0 have no data.
    offset : tuple of float
        ``(x, y)`` of the first post-stain pixel on the canvas.
    pixel_size_um : tuple of float or None
        ``(x, y)`` in micrometres.
    gain : float
        Shot-noise variance per count of an object's own light; 0 where that is unknown.
    verdict, reason : str
        PASS, CHECK or FAIL and why; empty if unknown.
    provenance : mapping
        What the table's metadata repeat: sample, dye, scale, file.
    name : str
        What errors call it: the file.
    unit : str
        Of the pixels; empty if unknown.
    zero_is_data : bool
        Whether an exact 0 is a value although there is no `quality`, as in images of integers.
    notes : tuple of str
        What is uncertain about the file, in words.
    """

    data: Raster
    noise: Raster | None = None
    quality: Raster | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    pixel_size_um: tuple[float, float] | None = None
    gain: float = 0.0
    verdict: str = ""
    reason: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    name: str = "the difference"
    unit: str = "ct"
    zero_is_data: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Canvas ``(ny, nx)``."""
        return self.data.shape

    @property
    def noise_source(self) -> str:
        """Where the noise of a pixel comes from, in words."""
        if self.noise is not None:
            return "propagated by the subtraction (plane ERR)"
        return "estimated from the scatter around each place, since the file has no plane ERR"

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the window ``[rows, cols]``."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        flags = np.zeros(shape, np.uint8)
        if self.quality is not None:
            flags = self.quality.read(rows, cols).astype(np.uint8)
            if (flags & np.uint8(NO_DATA)).all():
                nothing = np.zeros(shape, np.float32)
                return Pixels(nothing, nothing, flags, np.zeros(shape, np.bool_))
        raw = self.data.read(rows, cols)
        with np.errstate(over="ignore"):
            data = raw.astype(np.float32)
        has_data = np.isfinite(data)
        if raw.dtype.itemsize > data.dtype.itemsize and np.isfinite(raw[~has_data]).any():
            msg = f"{self.name} has values beyond 3e38; divide the image by a constant"
            raise DetectionError(msg)
        if self.quality is not None:
            has_data &= (flags & np.uint8(NO_DATA)) == 0
        elif raw.dtype.kind == "f" and not self.zero_is_data:
            has_data &= raw != 0
        noise = None
        if self.noise is not None:
            noise = self.noise.read(rows, cols).astype(np.float32)
            has_data &= np.isfinite(noise) & (noise > 0)
        data[~has_data] = 0
        return Pixels(data, noise, flags, has_data)


class _OthersQuality(Raster):
    """A data quality plane whose bits mean what another program says: any of them is no data."""

    def __init__(self, plane: Raster) -> None:
        self._plane = plane
        self.shape = plane.shape
        self.dtype = np.dtype(np.uint8)

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window."""
        return np.where(self._plane.read(rows, cols) != 0, np.uint8(DQ.NO_OVERLAP), np.uint8(0))


def open_difference(path: str | Path, *, accept_failed: bool = False) -> Difference:
    """Open a difference in FITS for detection; it is read by window later.

    Files of exo2micro bring noise (ERR) and data quality (DQ) with them. Any other FITS file
    whose first image is a 2-D difference will do: its noise is then estimated.

    Parameters
    ----------
    path : str or Path
        FITS file.
    accept_failed : bool, optional
        Open a difference whose verdict is FAIL all the same.

    Returns
    -------
    Difference
        With windows in native byte order and without the pixels that have no data.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or holds no 2-D image.
    DetectionError
        If it is another image of exo2micro, or noise or header do not fit the image.
    FailedVerdictError
        If its verdict is FAIL.
    """
    planes = open_fits_planes(Path(path))
    header = planes.header
    stage, own = header.get("STAGE"), _is_own(header)
    if own and stage != _DIFFERENCE_STAGE:
        msg = f"{path} is an image of stage {stage}, not a difference; give the 04_difference file"
        raise DetectionError(msg)
    for name in ("ERR", "DQ"):
        if name in planes.misfits:
            shapes = f"{planes.misfits[name]}, not {planes.data.shape}"
            msg = (
                f"the plane {name} of {path} has the shape {shapes}; mend or remove that extension"
            )
            raise DetectionError(msg)
    verdict = str(header.get("VERDICT", ""))
    refuse_failed(verdict, str(header.get("REASON", "")), str(path), accept_failed=accept_failed)
    quality = planes.extensions.get("DQ")
    if quality is not None and not own:
        quality = _OthersQuality(quality)
    return Difference(
        data=planes.data,
        noise=planes.extensions.get("ERR"),
        quality=quality,
        offset=_offset(header),
        pixel_size_um=_pixel_size(header),
        gain=max(0.0, _number(header, "GAINPOST", 0.0)),
        verdict=verdict,
        reason=str(header.get("REASON", "")),
        provenance=_provenance(planes),
        name=str(path),
        unit="ct" if own else str(header.get("BUNIT", "")),
        zero_is_data=_number(header, "BITPIX", -32) > 0,
        notes=() if own or quality is None else (_OTHERS_QUALITY,),
    )


def refuse_failed(verdict: str, reason: str, name: str, *, accept_failed: bool) -> None:
    """Raise FailedVerdictError for a verdict FAIL unless it is accepted."""
    if verdict == "FAIL" and not accept_failed:
        msg = (
            f"{name} is not to be trusted (FAIL: {reason or 'no reason given'}), so that objects "
            "in it may be no microbes; repair the cause, or ask for it with accept_failed"
        )
        raise FailedVerdictError(msg)


def _is_own(header: Mapping[str, Any]) -> bool:
    return str(header.get("CREATOR", "")).startswith("exo2micro")


def _offset(header: Mapping[str, Any]) -> tuple[float, float]:
    """Return where the first post-stain pixel lies; (0, 0) in files of others."""
    if header.get("WCSNAME") != "POST-STAIN":
        return 0.0, 0.0
    return _number(header, "CRPIX1", 1.0) - 1, _number(header, "CRPIX2", 1.0) - 1


def _pixel_size(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the pixel size in um if the linear coordinates have a unit of length."""
    from astropy.units import Unit, UnitsError, um

    size = []
    for axis in (1, 2):
        unit = Unit(str(header.get(f"CUNIT{axis}", "")), parse_strict="silent")
        try:
            size.append(abs(_number(header, f"CDELT{axis}", 0.0)) * float(unit.to(um)))
        except UnitsError:
            return None
    return (size[0], size[1]) if min(size) > 0 else None


def _number(header: Mapping[str, Any], key: str, default: float) -> float:
    """Return a number from a header."""
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"the header card {key} must be a number, got {value!r}; mend or remove it"
        raise DetectionError(msg)
    return float(value)


def _provenance(planes: FitsPlanes) -> dict[str, Any]:
    keys = ("SAMPLE", "DYE", "SCALE", "SCALEK", "OFFSET", "CREATOR", "SHAPOST", "SHAPRE")
    found = {key.lower(): planes.header[key] for key in keys if key in planes.header}
    return {"file": planes.path.name, **found}
