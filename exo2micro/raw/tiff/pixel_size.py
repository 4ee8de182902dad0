"""The size of a pixel, where a TIFF file really tells it."""

import math
import re
from typing import Any

import tifffile

_UM_PER_UNIT = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}

_PLAUSIBLE_UM = (0.005, 20.0)
"""Slide scanners and microscopes give 0.05 to 10 um. Print resolutions, which programs write by
default (72 to 1200 dpi), would be 21 to 353 um."""

_RESOLUTION_UNIT_UM = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}


def pixel_size_um(tif: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:  # noqa: ANN401
    """Return the pixel size ``(x, y)`` in micrometres, or None.

    Asked in turn: OME metadata, Aperio's description, ImageJ's unit, the resolution tags. Values
    that no microscope has, such as a default of 72 dpi, count as not told.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The file.
    page : tifffile.TiffPage
        The full-resolution page.

    Returns
    -------
    tuple of float or None
        ``(x, y)``.
    """
    for candidate in (_from_ome(tif), _from_aperio(tif), _from_imagej(tif, page), _from_tags(page)):
        if candidate is not None and all(
            math.isfinite(v) and _PLAUSIBLE_UM[0] <= v <= _PLAUSIBLE_UM[1] for v in candidate
        ):
            return candidate
    return None


def _from_ome(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return PhysicalSizeX and Y of the first image that has them."""
    if not tif.is_ome or not tif.ome_metadata:
        return None
    sizes = []
    for axis in "XY":
        value = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', tif.ome_metadata)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', tif.ome_metadata)
        factor = _UM_PER_UNIT.get(unit.group(1).lower() if unit else "µm")
        if value is None or factor is None:
            return None
        sizes.append(_number(value.group(1)) * factor)
    return sizes[0], sizes[1]


def _from_aperio(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return MPP (micrometres per pixel) of an SVS file."""
    if not tif.is_svs:
        return None
    match = re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", tif.pages[0].aspage().description)
    return None if match is None else (_number(match.group(1)), _number(match.group(1)))


def _from_imagej(tif: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:  # noqa: ANN401
    """Return the size that ImageJ's unit and the resolution tags give together."""
    if not tif.is_imagej or not tif.imagej_metadata:
        return None
    factor = _UM_PER_UNIT.get(str(tif.imagej_metadata.get("unit", "")).lower())
    return None if factor is None else _from_resolution(page, factor)


def _from_tags(page: Any) -> tuple[float, float] | None:  # noqa: ANN401
    """Return the size that the resolution tags give with their own unit."""
    factor = _RESOLUTION_UNIT_UM.get(int(page.resolutionunit))
    return None if factor is None else _from_resolution(page, factor)


def _from_resolution(page: Any, um_per_unit: float) -> tuple[float, float] | None:  # noqa: ANN401
    """Return micrometres per pixel from pixels per unit."""
    per_unit = page.get_resolution()
    if min(per_unit) <= 0:
        return None
    return um_per_unit / per_unit[0], um_per_unit / per_unit[1]


def _number(text: str) -> float:
    """Return the number, or NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
