"""Several differences of one pair side by side, with the figures that tell them apart."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exo2micro._typing import FloatImage
from exo2micro.plotting.base import PairView
from exo2micro.plotting.difference_image import difference_colours, symmetric_limit
from exo2micro.plotting.figure import GREY, WIDTH_IN, finish, new_figure, say, style
from exo2micro.plotting.overviews import display_factor, overview, overview_mask
from exo2micro.raster.base import Raster

COLUMNS: Final = 3
"""More pictures in a row are too small to see microbes in."""

_TILE_PX: Final = 250_000
_TEXT_IN: Final = 0.62
"""Height of a tile's heading and of the lines below it."""

_CHARACTERS: Final = 130
"""Characters of small text that fit the width of the figure."""


@dataclass(frozen=True)
class Tile:
    """One variant of a contact sheet.

    Attributes
    ----------
    title : str
        What is special about it.
    text : str
        Its figures, in a few short lines.
    picture : numpy.ndarray or None
        The difference, reduced, shape ``(ny, nx)``, NaN where there is no data; None where there is
        no difference.
    """

    title: str
    text: str
    picture: FloatImage | None


def tile_picture(difference: Raster, view: PairView) -> FloatImage:
    """Return a difference reduced to the size of a tile, NaN where it has no data.

    Parameters
    ----------
    difference : Raster
        The difference, on the canvas of `view`.
    view : PairView
        The pair that it belongs to.
    """
    rows, cols = view.window
    factor = display_factor((rows.stop - rows.start, cols.stop - cols.start), _TILE_PX)
    values = overview(difference, view.window, factor).values
    has_data = overview_mask(view.valid, view.window, factor)
    picture: FloatImage = np.where(has_data, values, np.float32(np.nan))
    return picture


def plot_contact_sheet(
    tiles: Sequence[Tile],
    *,
    kind: str,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot variants of one pair's difference side by side, all with the same colours.

    Parameters
    ----------
    tiles : sequence of Tile
        The variants, at least one.
    kind : str
        What is compared, for the title.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter.
    """
    pictures = [tile.picture for tile in tiles if tile.picture is not None]
    columns = min(COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    shape = pictures[0].shape if pictures else (3, 4)
    tile_height = WIDTH_IN / columns * shape[0] / shape[1] + _TEXT_IN
    limit = symmetric_limit(np.concatenate([p.ravel() for p in pictures])) if pictures else 1.0
    with style():
        figure = new_figure(kind, sample=sample, dye=dye, height_in=rows * tile_height + 0.8)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, tile in zip(grid.flat, tiles, strict=False):
            _draw_tile(axes, tile, limit, _CHARACTERS // columns)
        for axes in grid.flat[len(tiles) :]:
            axes.set_axis_off()
        shown = [image for axes in grid.flat for image in axes.images]
        if shown:
            figure.colorbar(
                shown[0],
                ax=list(grid.flat),
                label="difference (counts); white: no data",
                extend="both",
                location="bottom",
                fraction=0.04,
                aspect=50,
            )
        return finish(figure, save_path)


def _draw_tile(axes: Axes, tile: Tile, limit: float, characters: int) -> None:
    axes.set_title(textwrap.fill(tile.title, characters), loc="left", fontweight="bold")
    if tile.picture is None:
        say(axes, "no difference")
    else:
        masked = np.ma.masked_invalid(tile.picture)
        axes.imshow(masked, cmap=difference_colours(), vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])
    text = "\n".join(textwrap.fill(line, characters) for line in tile.text.splitlines())
    axes.text(
        0.0, -0.03, text, transform=axes.transAxes, va="top", ha="left", color=GREY, fontsize=7
    )
