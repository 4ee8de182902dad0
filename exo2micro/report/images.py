"""Pictures inside a page: data URIs of bounded size."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

PNG_BYTES: Final = 250_000
"""Larger pictures hold photographs, which JPEG stores in a fraction of the bytes."""

THUMBNAIL_PX: Final = 240
THUMBNAIL_QUALITY: Final = 70

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Fidelity:
    """How true to the originals the pictures of a page are.

    Attributes
    ----------
    quality : int
        Of JPEG, 0 to 100.
    figure_side_px : int
        Longer side of a figure at most; 0: figures are left out.
    places : int
        Details to blink at most, the whole slide not counted.
    says : str
        What a reader is told; empty for the best one.
    """

    quality: int
    figure_side_px: int
    places: int
    says: str = ""


FIDELITIES: Final = (
    # JPEG at 82 leaves grain edges as they are; 95 would take twice the bytes.
    Fidelity(82, 1600, 8),
    Fidelity(60, 1100, 6, "pictures are compressed more than usual and two details are left out"),
    Fidelity(40, 700, 2, "pictures are small and coarse, and only two details can be blinked"),
    Fidelity(40, 0, 2, "the figures are left out, and only two details can be blinked"),
)
"""From good to small: a page takes the first one with which it stays below its limit."""

BEST: Final = FIDELITIES[0]


@dataclass(frozen=True)
class Embedded:
    """A picture as text.

    Attributes
    ----------
    uri : str
        ``data:image/...``.
    width, height : int
        Pixels.
    """

    uri: str
    width: int
    height: int


def embed(pixels: Pixels, quality: int = BEST.quality) -> Embedded:
    """Return an image, grey or red-green-blue, as JPEG."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return Embedded(_uri("jpeg", content.tobytes()), pixels.shape[1], pixels.shape[0])


def embed_file(path: Path, fidelity: Fidelity = BEST) -> tuple[Embedded | None, str]:
    """Return a PNG file for a page, None where it is left out, and a thumbnail as a data URI."""
    content = path.read_bytes()
    pixels = _decoded(content)
    thumbnail = thumbnail_of(pixels)
    if fidelity is BEST and len(content) <= PNG_BYTES:
        return Embedded(_uri("png", content), pixels.shape[1], pixels.shape[0]), thumbnail
    return embed_figure(pixels, fidelity), thumbnail


def embed_figure(pixels: Pixels, fidelity: Fidelity = BEST) -> Embedded | None:
    """Return a drawn figure for a page; None where figures are left out."""
    if not fidelity.figure_side_px:
        return None
    return embed(_within(pixels, fidelity.figure_side_px), fidelity.quality)


def thumbnail_of(pixels: Pixels) -> str:
    """Return a small picture of an image as a data URI."""
    return embed(_within(pixels, THUMBNAIL_PX), THUMBNAIL_QUALITY).uri


def _decoded(content: bytes) -> Pixels:
    """Return a picture as red-green-blue; transparent parts become white."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
    if pixels.dtype != np.uint8:
        pixels = pixels // 257
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    colours = pixels[..., :3]
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        opacity = pixels[..., 3:].astype(np.float32) / 255
        colours = np.rint(colours * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return np.ascontiguousarray(colours[..., ::-1])


def _within(pixels: Pixels, side: int) -> Pixels:
    """Return an image reduced so that its longer side is at most `side`."""
    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    reduced: Pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return reduced


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
