"""A bar that tells how large things are."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

PART: Final = 0.25
"""Length of the bar at most, relative to the picture's width."""

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


def bar_length(longest_um: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(power * max(m for m in (1.0, 2.0, 5.0) if m * power <= longest_um * (1 + 1e-9)))


def length_text(length_um: float) -> str:
    """Return a length with its unit: mm from 1000 um on."""
    if length_um >= 1000:
        return f"{length_um / 1000:g} mm"
    return f"{length_um:g} \N{MICRO SIGN}m"
