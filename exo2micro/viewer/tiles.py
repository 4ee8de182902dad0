"""Pictures of parts of a layer, at any power of two below full resolution."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.errors import ParameterError
from exo2micro.plotting.colour_tables import colour_table
from exo2micro.plotting.overviews import stretch
from exo2micro.subtraction.quality import DQ, NO_DATA
from exo2micro.viewer.layers import Layer

TILE_PX: Final = 512

_PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)
"""The picture stays on this machine: fast, not small."""

FLAG_COLOURS: Final = {
    DQ.BORDER: (58, 64, 71),
    DQ.NO_OVERLAP: (120, 126, 134),
    DQ.LOW_CONFIDENCE: (86, 180, 233),
    DQ.SATURATED: (240, 228, 66),
    DQ.DEBRIS: (213, 94, 0),
}
"""Red, green, blue per flag; where several are set the last one shows (Okabe and Ito 2008)."""

GOOD: Final = (0, 0, 0)


@dataclass(frozen=True)
class Look:
    """How values become colours.

    Attributes
    ----------
    low, high : float
        Values at the ends of the colours.
    colours : str
        Name of the colour table.
    """

    low: float
    high: float
    colours: str

    def check(self, layer: Layer) -> None:
        """Raise ParameterError unless the layer can be shown so."""
        if layer.kind == "flags":
            return
        if self.colours not in layer.colours:
            msg = f"colours must be one of {', '.join(layer.colours)}, got {self.colours!r}"
            raise ParameterError(msg)
        if not np.isfinite([self.low, self.high]).all() or self.low >= self.high:
            msg = f"the colours must end at a higher value than they begin: {self.low}, {self.high}"
            raise ParameterError(msg)


def highest_level(shape: tuple[int, int]) -> int:
    """Return the level of full resolution; level 0 is a single pixel."""
    return (max(shape) - 1).bit_length()


def tile_window(
    shape: tuple[int, int], level: int, column: int, row: int
) -> tuple[slice, slice, int]:
    """Return rows and columns of a tile in the reduced image, and the factor of the reduction.

    Raises
    ------
    ParameterError
        If there is no such tile.
    """
    highest = highest_level(shape)
    factor = 1 << max(0, highest - level)
    ny, nx = (-(-size // factor) for size in shape)
    top, left = row * TILE_PX, column * TILE_PX
    if not 0 <= level <= highest or top >= ny or left >= nx:
        msg = f"there is no tile {column}_{row} at level {level} of an image of {shape}"
        raise ParameterError(msg)
    return slice(top, min(top + TILE_PX, ny)), slice(left, min(left + TILE_PX, nx)), factor


def tile_picture(
    layer: Layer, quality: Layer | None, level: int, place: tuple[int, int], look: Look
) -> bytes:
    """Return one tile as PNG.

    Parameters
    ----------
    layer : Layer
        What to show.
    quality : Layer or None
        Its data quality, which tells a true zero from no data.
    level : int
        Level of a pyramid by powers of two; 0 is a single pixel.
    place : tuple of int
        Column and row of the tile.
    look : Look
        Limits and colours.

    Raises
    ------
    ParameterError
        If there is no such tile, or the layer cannot be shown so.
    """
    look.check(layer)
    rows, cols, factor = tile_window(layer.raster.shape, level, *place)
    if factor == 1:
        values = layer.raster.read(rows, cols)
    else:
        values = layer.overview.read_reduced(rows, cols, factor)
    if layer.kind == "flags":
        return _encoded(_flag_colours(values))
    if layer.kind == "counts":
        return _encoded(_coloured(stretch(values, (look.low, look.high)), look.colours))
    empty: Mask = (values == 0) | ~np.isfinite(values)
    if factor == 1 and quality is not None:
        empty = (quality.raster.read(rows, cols) & np.uint8(NO_DATA)) != 0
    scaled = (np.nan_to_num(values) - np.float32(look.low)) / np.float32(look.high - look.low)
    return _encoded(_coloured(scaled, look.colours), empty)


def _coloured(scaled: NDArray[Any], colours: str) -> NDArray[np.uint8]:
    """Return values 0 to 1 as grey or as red, green and blue."""
    index: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    if colours == "gray":
        return index
    coloured: NDArray[np.uint8] = colour_table(colours)[index]
    return coloured


def _flag_colours(flags: NDArray[Any]) -> NDArray[np.uint8]:
    table = np.zeros((256, 3), np.uint8)
    table[:] = GOOD
    for bit, colour in FLAG_COLOURS.items():
        table[(np.arange(256) & bit.value) != 0] = colour
    coloured: NDArray[np.uint8] = table[flags.astype(np.uint8)]
    return coloured


def _encoded(pixels: NDArray[np.uint8], empty: Mask | None = None) -> bytes:
    """Return a picture as PNG, transparent where it is empty."""
    if empty is not None and empty.any():
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        opacity = np.where(empty, np.uint8(0), np.uint8(255))
        pixels = np.dstack([pixels, opacity])
    if pixels.ndim == 3:
        order = (2, 1, 0, 3)[: pixels.shape[2]]
        pixels = np.ascontiguousarray(pixels[..., order])
    _, content = cv2.imencode(".png", pixels, _PNG)
    return content.tobytes()
