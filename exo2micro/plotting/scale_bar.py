"""A bar that tells how large things are."""

from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PART: Final = 0.25
"""Length of the bar at most, relative to the picture's width."""

_LETTERS: Final = 0.04
"""Height of the letters in a picture without axes, relative to its shorter side."""

_FONT: Final = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
"""That of the figures; the font of Pillow has no letter for a millionth."""

_PLACE: Final = (0.04, 0.045)
"""Left end of the bar, relative to the picture."""


def scale_bar(axes: Axes, pixel_size_um: float | None) -> None:
    """Draw a bar of round length into the lower left corner of a picture.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        A picture whose horizontal axis counts pixels.
    pixel_size_um : float or None
        Width of a pixel; None: it is unknown, and nothing is drawn.
    """
    if pixel_size_um is None:
        return
    left, right = axes.get_xlim()
    width_um = abs(right - left) * pixel_size_um
    length = bar_length(PART * width_um)
    start, height = _PLACE
    end = start + length / width_um
    halo = withStroke(linewidth=4.5, foreground="black")
    axes.plot(
        (start, end),
        (height, height),
        transform=axes.transAxes,
        color="white",
        linewidth=2.5,
        solid_capstyle="butt",
        path_effects=[halo],
        scalex=False,
        scaley=False,
    )
    axes.annotate(
        length_text(length),
        ((start + end) / 2, height),
        xycoords="axes fraction",
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color="white",
        fontsize=7,
        path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )


def stamp_scale_bar(pixels: NDArray[np.uint8], pixel_size_um: float) -> None:
    """Draw the same bar into the pixels of a picture that is shown without axes.

    Parameters
    ----------
    pixels : numpy.ndarray of uint8
        Grey levels of shape ``(ny, nx)`` or colours of shape ``(ny, nx, 3)``; changed in place.
    pixel_size_um : float
        Width of a pixel of the picture.
    """
    ny, nx = pixels.shape[:2]
    length = bar_length(PART * nx * pixel_size_um)
    width = max(1, round(length / pixel_size_um))
    letters = max(9, round(_LETTERS * min(ny, nx)))
    thick = max(2, letters // 4)
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    black, white = (0, 255) if pixels.ndim == 2 else ((0, 0, 0), (255, 255, 255))
    left, bottom = round(_PLACE[0] * nx), ny - 1 - round(_PLACE[1] * ny)
    right = left + width - 1
    draw.rectangle((left - 1, bottom - thick, right + 1, bottom + 1), fill=black)
    draw.rectangle((left, bottom - thick + 1, right, bottom), fill=white)
    draw.text(
        ((left + right) / 2, bottom - thick - 2),
        length_text(length),
        fill=white,
        font=ImageFont.truetype(_FONT, letters),
        anchor="mb",
        stroke_width=1,
        stroke_fill=black,
    )
    pixels[...] = np.asarray(picture)


def bar_length(longest_um: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(power * max(m for m in (1.0, 2.0, 5.0) if m * power <= longest_um * (1 + 1e-9)))


def length_text(length_um: float) -> str:
    """Return a length with its unit: mm from 1000 um on."""
    if length_um >= 1000:
        return f"{length_um / 1000:g} mm"
    return f"{length_um:g} \N{MICRO SIGN}m"
