"""Where the brightness ratio differs from the scale, tile by tile, and the surface through it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.figure import WIDTH_IN, finish, new_figure, say, style
from exo2micro.subtraction.field import RatioField

COLOURS: Final = "RdBu_r"
SMALLEST_RANGE: Final = 2.0
"""Per cent at the ends of the colour scale at least: less is no reason to worry."""

DOT_MARGIN: Final = 0.04
"""Space around the outermost tiles, relative to their extent."""

GRID: Final = 64
"""Points per side of the surface's picture."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class TileRatios:
    """Ratio of every tile relative to the scale.

    Attributes
    ----------
    x, y : numpy.ndarray
        Middle of the tiles on the canvas, px, shape ``(n,)``.
    ratio, error : numpy.ndarray
        Relative ratio (1: the scale) and its standard error.
    """

    x: Values
    y: Values
    ratio: Values
    error: Values

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "TileRatios":
        """Return the tiles that a record of stage 4 tells of."""
        return cls(*(np.asarray(described[key], float) for key in ("x", "y", "ratio", "error")))


def plot_scale_map(
    tiles: TileRatios | Mapping[str, Any],
    field: RatioField | Mapping[str, Any] | None = None,
    *,
    variation: float | None = None,
    is_applied: bool = False,
    origin: tuple[int, int] = (0, 0),
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the ratio of every tile, relative to the scale, and what the smooth surface leaves.

    Parameters
    ----------
    tiles : TileRatios or mapping
        What was measured; ``tile_scales`` among the figures in the record of stage 4.
    field : RatioField or mapping, optional
        The surface through it, ``scale_field`` in that record; None where the ratio does not vary
        significantly.
    variation : float, optional
        Half the range of the surface over the sample, relative, as the verdict states it; None:
        taken from the tiles.
    is_applied : bool
        Whether the difference follows the surface.
    origin : tuple of int
        ``(x, y)`` on the canvas of the pixel at which the axes begin to count.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        Left: the tiles as dots on the surface; right: what the surface leaves of them.
    """
    if isinstance(tiles, Mapping):
        tiles = TileRatios.from_dict(tiles)
    if isinstance(field, Mapping):
        field = RatioField.from_dict(field)
    with style():
        figure = new_figure(
            "ratio of each tile to the scale", sample=sample, dye=dye, height_in=_height_in(tiles)
        )
        if not len(tiles.x):
            say(figure.subplots(), "no tile with a ratio: no scale could be estimated")
            return finish(figure, save_path)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        measured = 100.0 * (tiles.ratio - 1.0)
        smooth = np.ones(len(tiles.x)) if field is None else field.at(tiles.x, tiles.y)
        rest = 100.0 * (tiles.ratio / smooth - 1.0)
        limit = max(SMALLEST_RANGE, float(np.quantile(np.abs(measured), 0.98)))
        if field is not None:
            _draw_surface(left, field, tiles, limit, origin)
        dots = _draw_tiles(left, tiles, measured, limit, origin)
        _draw_tiles(right, tiles, rest, limit, origin)
        title = _measured_title(field, measured, variation, is_applied=is_applied)
        left.set_title(title, loc="left")
        error = 100.0 * float(np.median(tiles.error))
        right.set_title(
            f"remaining: {np.std(rest):.2f} %,\nerror of a tile: {error:.2f} %", loc="left"
        )
        _show_all_dots(left, tiles, origin)
        right.set_ylabel("")
        figure.colorbar(
            dots,
            ax=[left, right],
            label="ratio / scale \N{MINUS SIGN} 1 (%)",
            extend="both",
            pad=0.01,
        )
        return finish(figure, save_path)


def _height_in(tiles: TileRatios) -> float:
    """Return the height at which two panels fill the width of the figure."""
    if not len(tiles.x):
        return 1.4
    form = (np.ptp(tiles.y) + 1.0) / (np.ptp(tiles.x) + 1.0)
    return float(np.clip(0.41 * WIDTH_IN * form, 1.2, 6.0)) + 1.05


def _measured_title(
    field: RatioField | None, measured: Values, variation: float | None, *, is_applied: bool
) -> str:
    low, high = np.quantile(measured, [0.025, 0.975])
    half = (high - low) / 2
    if field is None:
        return f"tiles: \N{PLUS-MINUS SIGN}{half:.1f} %,\nno smooth variation"
    followed = "followed by the difference" if is_applied else "not corrected"
    if variation is not None:
        half = 100.0 * variation
    return f"tiles and surface: \N{PLUS-MINUS SIGN}{half:.1f} %,\n{followed}"


def _show_all_dots(axes: Axes, tiles: TileRatios, origin: tuple[int, int]) -> None:
    """Set limits that cut no dot; the other panel shares them."""
    x, y = tiles.x - origin[0], tiles.y - origin[1]
    margin = DOT_MARGIN * max(np.ptp(x), np.ptp(y), 1.0)
    axes.set_xlim(x.min() - margin, x.max() + margin)
    axes.set_ylim(y.max() + margin, y.min() - margin)


def _draw_surface(
    axes: Axes, field: RatioField, tiles: TileRatios, limit: float, origin: tuple[int, int]
) -> None:
    ends = [(float(v.min()), float(v.max())) for v in (tiles.x, tiles.y)]
    left, top = origin
    x, y = (np.linspace(*end, GRID) for end in ends)
    axes.imshow(
        100.0 * (field.grid(y, x) - 1.0),
        extent=(ends[0][0] - left, ends[0][1] - left, ends[1][1] - top, ends[1][0] - top),
        cmap=COLOURS,
        vmin=-limit,
        vmax=limit,
        interpolation="bilinear",
    )


def _draw_tiles(
    axes: Axes, tiles: TileRatios, values: Values, limit: float, origin: tuple[int, int]
) -> Any:  # noqa: ANN401
    dots = axes.scatter(
        tiles.x - origin[0],
        tiles.y - origin[1],
        c=values,
        s=min(60.0, 6000.0 / len(values)),
        cmap=COLOURS,
        vmin=-limit,
        vmax=limit,
        edgecolors="0.35",
        linewidths=0.4,
    )
    axes.set_aspect("equal")
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlabel("x (px)")
    axes.set_ylabel("y (px)")
    return dots


class ScaleMap(Diagnostic):
    """Where the brightness ratio differs from the scale."""

    name = "scale_map"
    revision = 3
    shows = (
        "Every dot is one tile of the background: red where post is brighter there than the scale "
        "says, blue where it is dimmer. On the left the dots lie on the smooth surface through "
        "them, if one is significant; on the right that surface is taken off. Where no scale could "
        "be estimated there are no tiles, and the picture says so."
    )
    good = "Pale dots without a pattern on the right, as faint as the error of a tile in the title."
    bad = (
        "A slope or a spot of one colour on the left: one scale leaves minerals on one side and "
        "takes microbes on the other. Strong colours without a pattern on the right: minerals "
        "that the stain changed, or a poor alignment."
    )
    action = (
        "For a smooth pattern set scale_field to auto, which lets the scale follow the surface. "
        "For strong single dots look at those places at full resolution, with plot_zoom."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the tiles of the record of stage 4."""
        metrics = view.records[4].metrics if 4 in view.records else {}
        empty: dict[str, list[float]] = {key: [] for key in ("x", "y", "ratio", "error")}
        described = metrics.get("scale_field")
        return plot_scale_map(
            metrics.get("tile_scales") or empty,
            described,
            variation=view.scales[0].metrics.get("field_variation") if view.scales else None,
            is_applied=bool(described and described["is_applied"]),
            origin=(view.window[1].start, view.window[0].start),
            sample=view.sample,
            dye=view.dye,
        )
