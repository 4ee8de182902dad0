"""Which pages a TIFF file holds, and which of them are images of their own."""

import logging
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from exo2micro.errors import RawReadError
from exo2micro.raw.image import PageInfo

logger = logging.getLogger(__name__)

_NDPI_MAGNIFICATION_TAG = 65421
_ALPHA = (1, 2)
"""Values of the ExtraSamples tag: associated and unassociated alpha (TIFF 6.0, section 18)."""

_SERIES_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class TiffPlane:
    """One page, channel or plane of a TIFF file.

    Attributes
    ----------
    info : PageInfo
        What the user sees.
    page : tifffile.TiffPage
        The directory entry that describes it.
    samples : tuple of int
        The samples of a pixel that carry signal.
    plane : int
        Index among planes that share one directory entry.
    n_alpha : int
        How many samples are alpha or of no stated meaning.
    n_shared : int
        How many planes share the directory entry.
    """

    info: PageInfo
    page: Any
    samples: tuple[int, ...]
    plane: int = 0
    n_alpha: int = 0
    n_shared: int = 1


def list_planes(tif: tifffile.TiffFile) -> list[TiffPlane]:
    """Return the planes of a file in order; ``info.index`` counts them."""
    pages = [tif.pages[i].aspage() for i in range(len(tif.pages))]
    names, n_shared = _names_and_shared_planes(tif, pages)
    planes: list[TiffPlane] = []
    for position, page in enumerate(pages):
        split = _split(page, n_shared)
        for plane, samples, n_alpha in split:
            shape = (page.imagelength, page.imagewidth) + (
                (len(samples),) if len(samples) > 1 else ()
            )
            name = names.get((position, plane), "")
            if not name and len(split) > 1:
                name = f"sample {samples[0]}"
            info = PageInfo(len(planes), shape, str(page.dtype), name, _flagged_kind(page))
            planes.append(TiffPlane(info, page, samples, plane, n_alpha, n_shared))
    return _with_guessed_kinds(planes)


def check_supported(path: Path, plane: TiffPlane) -> None:
    """Raise RawReadError, in words, for a layout that cannot be read faithfully."""
    page = plane.page
    photometric = _name_of(tifffile.PHOTOMETRIC, page.photometric)
    compression = _name_of(tifffile.COMPRESSION, page.compression)
    problem = ""
    if page.bitspersample == 1:
        problem = "is a bilevel (1-bit) image"
    elif photometric in {"PALETTE", "SEPARATED", "CFA", "CIELAB", "ICCLAB", "ITULAB", "MINISWHITE"}:
        problem = {
            "PALETTE": "is a palette-colour image, whose numbers are colour indices",
            "SEPARATED": "is a CMYK image, whose numbers are amounts of ink",
            "CFA": "is an undeveloped camera image with a colour filter pattern",
            "MINISWHITE": "stores white as zero, so its brightness is inverted",
        }.get(photometric, "stores colour as lightness and hue (Lab)")
    elif photometric not in {"MINISBLACK", "RGB", "YCBCR"}:
        problem = f"has the photometric interpretation {photometric}"
    elif page.sampleformat in {5, 6}:
        problem = "holds complex numbers"
    elif page.sampleformat == 2:
        problem = f"holds signed integers ({page.bitspersample} bit)"
    elif page.dtype is None or np.dtype(page.dtype).kind not in "uf":
        problem = f"holds {page.bitspersample}-bit samples of format {page.sampleformat}"
    elif not isinstance(page.bitspersample, int) or page.bitspersample < 8:
        problem = f"holds {page.bitspersample}-bit samples"
    elif photometric != "MINISBLACK" and len(plane.samples) != 3:
        problem = f"is {photometric} with {page.samplesperpixel} samples per pixel"
    elif plane.n_shared > 1 and not page.is_final:
        problem = f"is a compressed stack of {plane.n_shared} planes stored as one page"
    elif page.imagedepth > 1:
        problem = "is a volume stored as one page"
    elif _is_undecoded_ycbcr(photometric, compression):
        problem = f"stores YCbCr colour compressed as {compression}"
    elif 0 in (page.imagelength, page.imagewidth) or not page.dataoffsets:
        problem = "has no pixels"
    if problem:
        msg = (
            f"{path} {problem}; supported are grayscale and RGB of 8 to 64 bit unsigned or "
            "floating point: export the scan again as 8- or 16-bit grayscale or RGB TIFF"
        )
        raise RawReadError(msg)


def _is_undecoded_ycbcr(photometric: str, compression: str) -> bool:
    """Tell whether decoding would leave brightness and colour differences instead of RGB."""
    if "YCBC" in compression:
        return True
    return photometric == "YCBCR" and "JPEG" not in compression and compression != "WEBP"


def reduced_pages(planes: list[TiffPlane], chosen: TiffPlane) -> list[Any]:
    """Return the stored reduced-resolution pages of a plane, any size."""
    if chosen.page.subifds:
        return list(chosen.page.pages)
    images = [p for p in planes if p.info.kind == "image"]
    if len(images) > 1:
        return []
    return [p.page for p in planes if p.info.kind == "reduced"]


def _split(page: Any, n_shared: int) -> list[tuple[int, tuple[int, ...], int]]:  # noqa: ANN401
    """Return ``(plane, samples, alpha count)`` for each image that one directory entry holds."""
    n_samples = page.samplesperpixel
    extra = tuple(page.extrasamples)
    photometric = _name_of(tifffile.PHOTOMETRIC, page.photometric)
    is_gray = photometric == "MINISBLACK"
    if photometric in {"RGB", "YCBCR"} and n_samples >= 3:
        return [(k, (0, 1, 2), n_samples - 3) for k in range(n_shared)]
    n_alpha = sum(value in _ALPHA for value in extra)
    kept = [0] + [s for s in range(1, n_samples) if _extra_kind(extra, s, n_samples) not in _ALPHA]
    if len(kept) > 1 and is_gray:
        return [(0, (sample,), n_alpha) for sample in kept]
    return [(k, (0,), n_alpha) for k in range(n_shared)]


def _extra_kind(extra: tuple[int, ...], sample: int, n_samples: int) -> int:
    """Return the ExtraSamples value of a sample; 0 where the tag says nothing."""
    position = sample - (n_samples - len(extra))
    return int(extra[position]) if 0 <= position < len(extra) else 0


def _flagged_kind(page: Any) -> str:  # noqa: ANN401
    """Return what the page says of itself."""
    if page.is_mask:
        return "mask"
    magnification = page.tags.valueof(_NDPI_MAGNIFICATION_TAG) if page.is_ndpi else None
    if magnification is not None and magnification < 0:
        return "thumbnail"
    if page.is_reduced:
        return "reduced"
    return "image"


def _with_guessed_kinds(planes: list[TiffPlane]) -> list[TiffPlane]:
    """Tell smaller copies and thumbnails, which many programs do not flag, from images."""
    images = [p for p in planes if p.info.kind == "image"]
    if len(images) < 2:
        return planes
    largest = max(images, key=lambda p: (p.info.shape[0] * p.info.shape[1], -p.info.index))
    return [
        replace(p, info=replace(p.info, kind=_guessed_kind(p, largest)))
        if p.info.kind == "image"
        else p
        for p in planes
    ]


def _guessed_kind(plane: TiffPlane, largest: TiffPlane) -> str:
    """Return ``reduced`` for a smaller copy of the largest page, ``thumbnail`` for a tiny one."""
    (ny, nx), (full_y, full_x) = plane.info.shape[:2], largest.info.shape[:2]
    ratio = full_x / nx
    is_copy = ratio >= 1.5 and abs(full_y / ratio - ny) <= 1.5
    same_kind = (plane.info.dtype, plane.samples) == (largest.info.dtype, largest.samples)
    if is_copy and same_kind:
        return "reduced"
    if is_copy or 16 * ny * nx <= full_y * full_x or _is_named_thumbnail(plane):
        return "thumbnail"
    return "image"


def _is_named_thumbnail(plane: TiffPlane) -> bool:
    """Tell whether the page calls itself a label, macro image or thumbnail."""
    text = f"{plane.info.name} {plane.page.description[:200]}".lower()
    return any(word in text for word in ("thumbnail", "label", "macro"))


def _names_and_shared_planes(
    tif: tifffile.TiffFile, pages: list[Any]
) -> tuple[dict[tuple[int, int], str], int]:
    """Return names by (page, plane), and how many planes share a single directory entry."""
    if len(pages) == 1 and not (tif.is_imagej or tif.is_shaped or tif.is_ome or tif.is_stk):
        return {}, 1
    try:
        series = list(tif.series)
        channels = _channel_names(tif)
    except _SERIES_ERRORS as error:
        logger.warning("%s: its metadata cannot be read (%s)", tif.filename, error)
        return {}, 1
    names: dict[tuple[int, int], str] = {}
    n_shared = 1
    for one in series:
        n_leading = len(one.shape) - len(one.keyframe.shape)
        axes, shape = one.axes[:n_leading], one.shape[:n_leading]
        n_planes = int(np.prod(shape, dtype=np.int64))
        if len(pages) == 1:
            n_shared = n_planes
            keys = [(0, k) for k in range(n_planes)]
        else:
            keys = [(p.index, 0) for p in one.pages if p is not None and p.parent is tif]
        for k, key in enumerate(keys):
            if n_planes > 1 and len(keys) == n_planes:
                names[key] = _axis_text(axes, np.unravel_index(k, shape), channels)
            elif one.name and len(series) > 1:
                names[key] = one.name
    return names, n_shared


def _axis_text(axes: str, position: Any, channels: list[str]) -> str:  # noqa: ANN401
    """Return the name of a plane, such as ``DAPI`` or ``DAPI Z=3``."""
    parts = []
    for axis, value in zip(axes, (int(v) for v in position), strict=True):
        if axis == "C" and value < len(channels) and channels[value]:
            parts.append(channels[value])
        else:
            parts.append(f"{axis}={value}")
    return " ".join(parts)


def _channel_names(tif: tifffile.TiffFile) -> list[str]:
    """Return channel names from OME or ImageJ metadata; empty if there are none."""
    if tif.is_ome and tif.ome_metadata:
        metadata = tifffile.xml2dict(tif.ome_metadata)
        image = metadata.get("OME", {}).get("Image", {})
        image = image[0] if isinstance(image, list | tuple) else image
        channels = image.get("Pixels", {}).get("Channel", [])
        channels = channels if isinstance(channels, list | tuple) else [channels]
        return [str(c.get("Name", "")) for c in channels]
    if tif.is_imagej and tif.imagej_metadata:
        return [str(label) for label in tif.imagej_metadata.get("Labels", [])]
    return []


def _name_of(enumeration: Any, value: int) -> str:  # noqa: ANN401
    """Return the name of a tag's value, or the value as text."""
    try:
        return str(enumeration(value).name)
    except ValueError:
        return str(value)
