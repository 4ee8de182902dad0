"""Pictures inside a page: data URIs of bounded size."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

QUALITY: Final = 82
"""JPEG quality: grain edges stay as they are; 95 would take twice the bytes."""

PNG_BYTES: Final = 250_000
"""Larger pictures hold photographs, which JPEG stores in a fraction of the bytes."""

MAX_SIDE_PX: Final = 1600
THUMBNAIL_PX: Final = 240
THUMBNAIL_QUALITY: Final = 70

Pixels = NDArray[np.uint8]


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


def embed(pixels: Pixels, quality: int = QUALITY) -> Embedded:
    """Return an image, grey or red-green-blue, as JPEG."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return Embedded(_uri("jpeg", content.tobytes()), pixels.shape[1], pixels.shape[0])


def embed_file(path: Path) -> tuple[Embedded, str]:
    """Return a PNG file for a page, and a thumbnail of it as a data URI."""
    content = path.read_bytes()
    pixels = _decoded(content)
    thumbnail = embed(_within(pixels, THUMBNAIL_PX), THUMBNAIL_QUALITY).uri
    if len(content) <= PNG_BYTES:
        return Embedded(_uri("png", content), pixels.shape[1], pixels.shape[0]), thumbnail
    return embed(_within(pixels, MAX_SIDE_PX)), thumbnail


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
