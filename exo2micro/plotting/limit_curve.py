"""Completeness against flux: what would have been found on a slide."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special

from exo2micro.plotting.figure import (
    BLACK,
    SERIES,
    finish,
    legend_below,
    new_figure,
    plain_number,
    style,
)

if TYPE_CHECKING:
    from exo2micro.detection.completeness import Completeness, Limit


def plot_limit_curve(
    completeness: "Completeness",
    limits: "Sequence[Limit]",
    *,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the recovered part of injected sources against their flux, with the limits.

    Parameters
    ----------
    completeness : Completeness
        Recovered sources by flux.
    limits : sequence of Limit
        Drawn as vertical lines with their 95 % intervals.
    sample, dye : str
        The pair; may be empty.
    save_path : str or Path, optional
        File to write.
    """
    with style():
        kind = "detection limit, from synthetic microbes put into the raw image"
        figure = new_figure(kind, sample=sample, dye=dye, height_in=3.6)
        axes = figure.subplots()
        fraction, intervals = completeness.fraction, completeness.intervals()
        bars = np.abs(intervals.T - fraction)
        axes.errorbar(
            completeness.flux,
            fraction,
            bars,
            fmt="o",
            markersize=3.5,
            linewidth=1,
            color=BLACK,
            label="recovered, 95 % interval",
        )
        _draw_curve(axes, completeness)
        for limit, colour in zip(limits, SERIES, strict=False):
            _draw_limit(axes, limit, colour)
        axes.set(
            xscale="log",
            xlabel="light of an injected synthetic microbe, summed over its pixels (counts)",
            ylabel="part of them that is found",
            ylim=(-0.03, 1.05),
        )
        axes.xaxis.set_major_formatter(plain_number)
        axes.xaxis.set_minor_formatter(plain_number)
        axes.tick_params(axis="x", which="minor", labelsize=6)
        legend_below(figure)
        return finish(figure, save_path)


def _draw_curve(axes: Axes, completeness: "Completeness") -> None:
    fitted = completeness.curve()
    if fitted is None:
        return
    flux = np.geomspace(completeness.flux[0], completeness.flux[-1], 200)
    chance = special.ndtr((np.log(flux) - fitted[0]) / fitted[1])
    axes.plot(flux, chance, color=BLACK, label="fitted curve")


def _draw_limit(axes: Axes, limit: "Limit", colour: str) -> None:
    if limit.flux is None or limit.interval is None:
        return
    label = f"{100 * limit.probability:.0f} % limit: {limit.flux:.4g} counts"
    axes.axvline(limit.flux, color=colour, linewidth=1, label=label)
    axes.axvspan(*limit.interval, color=colour, alpha=0.15, linewidth=0)
