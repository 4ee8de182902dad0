"""Colours for pictures that are not figures: tables of 256 colours that everybody tells apart."""

import functools
from typing import Final

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from exo2micro.plotting.difference_image import difference_colours

SEQUENTIAL: Final = ("gray", "viridis", "cividis", "magma")
"""From dark to bright, even in brightness for all kinds of colour vision."""

DIVERGING: Final = ("difference", "gray")
"""The first is black in the middle and brighter to both sides: blue below, orange above."""


@functools.cache
def colour_table(name: str) -> NDArray[np.uint8]:
    """Return a table of 256 colours.

    Parameters
    ----------
    name : str
        One of `SEQUENTIAL` or `DIVERGING`.

    Returns
    -------
    numpy.ndarray of uint8
        Shape ``(256, 3)``: red, green, blue.
    """
    colours = difference_colours() if name == "difference" else colormaps[name]
    table: NDArray[np.uint8] = colours(np.linspace(0, 1, 256), bytes=True)[:, :3]
    return table
