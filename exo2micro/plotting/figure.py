"""One look for all figures: style, deterministic files, and figures that show themselves."""

import importlib
import io
import logging
import os
import sys
import tempfile
import textwrap
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from exo2micro.errors import ParameterError
from exo2micro.raster.atomic import write_atomically

logger = logging.getLogger(__name__)

WIDTH_IN: Final = 7.1
"""Two columns of a journal page (180 mm), so that text of 7 to 9 points stays readable in print."""

DPI: Final = 150

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, BLACK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
    "#6E6E6E",
)
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008, Color Universal Design)."""

SERIES: Final = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)
"""Colours of the lines of one figure, in order."""

_STYLE: Final[dict[str, Any]] = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "image.interpolation": "auto",
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.hashsalt": "exo2micro",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}

_METADATA: Final[dict[str, dict[str, None]]] = {
    ".png": {},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
"""Entries left out of a file so that equal pictures are equal bytes."""

_PNG_LEVEL: Final = 2
"""It takes a quarter of the time of the default and makes files a tenth larger."""

_TITLE_CHARACTERS_PER_IN: Final = 11.5
"""Characters of a bold title that fit an inch; longer titles take a second line."""

_LEGEND_CHARACTERS: Final = 125
_LEGEND_HANDLE: Final = 9
"""Characters of a legend line that fit the width, and those that line sample and gaps take."""

_STYLE_LOCK = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Apply the look to what is drawn inside, whatever the user's own settings are."""
    with _STYLE_LOCK, matplotlib.style.context(["default", _STYLE]):
        yield


class PlotFigure(Figure):
    """A figure that shows itself in Jupyter without pyplot."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Figure takes them
        super().__init__(**kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        return figure_bytes(self)


AnyFigure = TypeVar("AnyFigure", bound=PlotFigure)


def new_figure(
    kind: str, *, sample: str, dye: str, height_in: float, width_in: float = WIDTH_IN
) -> PlotFigure:
    """Return an empty figure whose title says what it is of; call it inside `style`.

    Parameters
    ----------
    kind : str
        What the figure shows.
    sample, dye : str
        The pair; may be empty.
    height_in, width_in : float
        Size in inches.
    """
    figure = PlotFigure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    return titled(figure, kind, sample=sample, dye=dye)


def titled(figure: AnyFigure, kind: str, *, sample: str, dye: str) -> AnyFigure:
    """Return a figure with the title that all figures have: the pair, and what is shown."""
    pair = " \N{MIDDLE DOT} ".join(escape(part) for part in (sample, dye) if part)
    characters = int(_TITLE_CHARACTERS_PER_IN * figure.get_figwidth())
    title = textwrap.fill(f"{pair}: {kind}" if pair else kind, characters)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def escape(text: str) -> str:
    """Return text in which a dollar sign of a user's name does not start a formula."""
    return text.replace("$", r"\$")


def logarithmic_counts(axes: Axes, top: float) -> None:
    """Give axes a logarithmic count axis from just below one pixel, with few ticks."""
    axes.set_yscale("log")
    axes.set_ylim(0.7, 2.0 * max(top, 1.0))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(plain_number)


def plain_number(value: float, position: float | None = None) -> str:  # noqa: ARG001
    """Return a tick label such as 10,000; a power with an exponent takes ten times as long."""
    return f"{value:,.0f}"


def signed(value: float) -> str:
    """Return a number to three digits with a true minus sign."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def legend_below(figure: Figure) -> None:
    """Put a legend under the axes, where it covers no data."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    longest = max(len(label) for label in labels) + _LEGEND_HANDLE
    columns = min(len(labels), 4, max(1, _LEGEND_CHARACTERS // longest))
    figure.legend(loc="outside lower center", ncols=columns)


def halo(width: float = 3.0) -> list[withStroke]:
    """Return the path effect that keeps a line visible on dark and on light ground."""
    return [withStroke(linewidth=width, foreground="white")]


def say(axes: Axes, text: str) -> None:
    """Write a text into the middle of axes that have nothing else to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def note(axes: Axes, text: str) -> None:
    """Write a text on a light box into the middle of a picture."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 4.0}
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="black", bbox=box
    )


def mark_failed(figure: Figure) -> None:
    """Write across a figure of a difference that it is not to be used."""
    figure.text(
        0.5,
        0.5,
        "FAILED · not to be trusted",
        ha="center",
        va="center",
        rotation=20,
        fontsize=34,
        fontweight="bold",
        color=VERMILION,
        alpha=0.55,
        path_effects=halo(2.0),
    )


def finish(figure: PlotFigure, save_path: str | Path | None) -> PlotFigure:
    """Return a finished figure, saved first if a path is given.

    Positions are worked out here, once; every later drawing would do it again.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def figure_bytes(figure: Figure, extension: str = ".png") -> bytes:
    """Return a figure as the bytes of a PNG, SVG or PDF; equal figures give equal bytes."""
    if extension == ".png":
        return png_bytes(figure_pixels(figure))
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format=extension[1:], dpi=DPI, metadata=_METADATA[extension])
    return stream.getvalue()


def figure_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return a drawn figure as red-green-blue, shape ``(ny, nx, 3)``."""
    own_dpi = figure.dpi
    with style():
        figure.dpi = DPI
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        rgba = np.asarray(canvas.buffer_rgba())
        figure.dpi = own_dpi
    return np.ascontiguousarray(rgba[..., :3])


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Return red-green-blue pixels as the bytes of a PNG; equal pixels give equal bytes."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(stream, format="png", compress_level=_PNG_LEVEL, dpi=(DPI, DPI))
    return stream.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure to a file that appears complete or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; a user's own works too.
    path : str or Path
        File name ending in ``.png``, ``.svg`` or ``.pdf``; missing folders are made.

    Returns
    -------
    Path
        Where it was written. The bytes depend on nothing but the figure.

    Raises
    ------
    ParameterError
        If the file type is not one of those.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension not in _METADATA:
        allowed = ", ".join(_METADATA)
        msg = f"a figure is saved as one of {allowed}, got {str(path)!r}; give another file name"
        raise ParameterError(msg)
    content = figure_bytes(figure, extension)
    write_atomically(path, lambda temporary: _write(temporary, content))
    return path


def show(figure: Figure) -> Path | None:
    """Show a figure from a script; in Jupyter a figure at the end of a cell shows itself.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.

    Returns
    -------
    Path or None
        The PNG that was opened in the system's viewer; None inside a notebook, where the figure
        is displayed in place. Without a screen the PNG is written and its path logged.
    """
    if _display_in_notebook(figure):
        return None
    path = save_figure(figure, Path(tempfile.mkdtemp(prefix="exo2micro-")) / "figure.png")
    if not (_has_screen() and webbrowser.open(path.as_uri())):
        logger.warning("no screen to show the figure on; it was written to %s", path)
    return path


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _display_in_notebook(figure: Figure) -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return False
    importlib.import_module("IPython.display").display(figure)
    return True


def _has_screen() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
