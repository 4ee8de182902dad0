"""The alignment close up: full-resolution details before and after the fine step, and residuals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from exo2micro.alignment.certificate import Certificate
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA
from exo2micro.plotting.figure import (
    BLACK,
    BLUE,
    ORANGE,
    VERMILION,
    WIDTH_IN,
    finish,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.overviews import (
    colour_overlay,
    correlation,
    display_factor,
    matched_limits,
    overview,
    robust_limits,
    stretch,
)
from exo2micro.plotting.pair import (
    ImageLike,
    ImagePair,
    Validity,
    Window,
    image_pair,
    image_raster,
)
from exo2micro.plotting.places import Place, textured_places, window_around
from exo2micro.raster.base import Raster

PLACES: Final = 4
SIZE_PX: Final = 160
"""Side of a detail: each image pixel is then two or more in print, so that 1 px shows."""

MAX_PX: Final = 300_000
"""Pixels of the grey picture under the arrows."""

ARROW_PART: Final = 0.08
"""Length of a large residual's arrow, relative to the picture's width."""


def plot_fine_alignment(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    coarse_im: ImageLike | None = None,
    certificate: Certificate | Mapping[str, Any] | None = None,
    centres: Sequence[tuple[float, float]] | None = None,
    size: int = SIZE_PX,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot details at full resolution before and after the fine step, and held-out residuals.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and **finally** aligned pre-stain image, shape ``(ny, nx)``.
    coarse_im : Raster or numpy.ndarray, optional
        Pre-stain image on the same canvas before the fine step; adds a row.
    certificate : Certificate or mapping, optional
        Residuals on held-out tiles, as `Certificate` or its `to_dict`; adds the arrows and their
        histogram. Positions are in pixels of the window.
    centres : sequence of (x, y), optional
        Centres of the details in pixels of the images; None: textured places, chosen
        automatically.
    size : int
        Side of the details in pixels.
    valid : Raster, numpy.ndarray of bool, callable, optional
        Where post and final pre have data; None: where neither is exactly 0.
    window : tuple of slice, optional
        Rows and columns to look at; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter.

    Raises
    ------
    ParameterError
        If the images or the file type cannot be used.
    """
    pair = image_pair(post_im, pre_im, window=window, valid=valid)
    steps = [("final alignment", pair.pre)]
    if coarse_im is not None:
        before = image_raster(coarse_im, "coarse_im", pair.post.shape)
        steps.insert(0, ("before the fine step", before))
    if isinstance(certificate, Mapping):
        certificate = Certificate.from_dict(certificate)
    if centres is None:
        places = textured_places(pair, PLACES, min(size, *pair.shape))
    else:
        places = [Place(window_around(c, size, pair.post.shape), 0.0) for c in centres]
    details_in = (WIDTH_IN / PLACES + 0.1) * len(steps) + 0.3
    residuals_in = 2.9 if certificate is not None else 0.0
    with style():
        figure = new_figure(
            "fine alignment, post (magenta) over pre (green)",
            sample=sample,
            dye=dye,
            height_in=details_in + residuals_in + 0.3,
        )
        if certificate is None:
            _draw_details(figure, pair, steps, places)
        else:
            upper, lower = figure.subfigures(
                2, 1, squeeze=False, height_ratios=[details_in, residuals_in]
            ).ravel()
            _draw_details(upper, pair, steps, places)
            left, right = lower.subplots(1, 2, width_ratios=[1.4, 1])
            _draw_arrows(left, pair, certificate)
            _draw_residuals(right, certificate)
        return finish(figure, save_path)


def _draw_details(
    figure: SubFigure | Figure,
    pair: ImagePair,
    steps: list[tuple[str, Raster]],
    places: list[Place],
) -> None:
    if not places:
        say(figure.subplots(), NO_DATA)
        return
    grid = figure.subplots(len(steps), len(places), squeeze=False)
    origin = pair.window[1].start, pair.window[0].start
    for column, place in enumerate(places):
        post = pair.post.read(*place.window)
        limits = matched_limits(post, pair.pre.read(*place.window))
        for axes, (title, raster) in zip(grid[:, column], steps, strict=True):
            pre = raster.read(*place.window)
            axes.imshow(colour_overlay(post, pre, *limits), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            agreement = correlation(post, pre)
            axes.set_xlabel("no overlap" if agreement is None else f"correlation {agreement:.3f}")
            if column == 0:
                axes.set_ylabel(title)
        x, y = (c - o for c, o in zip(place.centre, origin, strict=True))
        grid[0, column].set_title(f"{len(post)} px at ({x:.0f}, {y:.0f})", loc="left")


def _draw_arrows(axes: Axes, pair: ImagePair, certificate: Certificate) -> None:
    factor = display_factor(pair.shape, MAX_PX)
    reduced = overview(pair.post, pair.window, factor)
    grey = 0.55 + 0.45 * stretch(reduced.values, robust_limits(reduced.values))
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=reduced.extent)
    axes.set(xlabel="x (px)", ylabel="y (px)")
    axes.set_title(f"residual on {certificate.tiles} held-out tiles", loc="left")
    if not certificate.tiles:
        axes.text(
            *(0.5, 0.5),
            "no held-out tile could be matched",
            transform=axes.transAxes,
            ha="center",
            color=VERMILION,
        )
        return
    lengths = np.hypot(*certificate.residuals.T)
    key = _round_length(float(np.quantile(lengths, 0.95)))
    arrows = axes.quiver(
        *certificate.positions.T,
        *certificate.residuals.T,
        color=VERMILION,
        angles="xy",
        scale_units="xy",
        scale=key / (ARROW_PART * pair.shape[1]),
        width=0.005,
    )
    axes.quiverkey(arrows, 0.9, 1.04, key, f"{key:g} px", labelpos="W", coordinates="axes")
    axes.set(xlim=reduced.extent[:2], ylim=reduced.extent[2:])


def _draw_residuals(axes: Axes, certificate: Certificate) -> None:
    axes.set_title(f"held-out residuals: {certificate.verdict.level.name}", loc="left")
    if not certificate.tiles:
        say(axes, "nothing was measured")
        return
    lengths = np.hypot(*certificate.residuals.T)
    marks = [
        (f"{name} {value:.3g} px", value, colour, line)
        for name, value, colour, line in (
            ("median error", certificate.median_px, BLACK, "-"),
            ("95 % error", certificate.p95_px, ORANGE, "--"),
            ("its 95 % bound", certificate.bound_px, VERMILION, ":"),
        )
        if np.isfinite(value)
    ]
    top = max([float(np.quantile(lengths, 0.98)), *(value for _, value, _, _ in marks), 1e-3])
    shown = np.minimum(lengths, 1.1 * top)
    axes.hist(shown, bins=24, range=(0, 1.1 * top), color=BLUE, alpha=0.45)
    for text, value, colour, line in marks:
        axes.axvline(value, color=colour, linestyle=line, label=text)
    axes.set(xlabel="length of the residual (px)", ylabel="tiles", xlim=(0, 1.1 * top))
    axes.locator_params(axis="x", nbins=5)
    if marks:  # a certificate that failed on few tiles states no figures
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _round_length(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten near a length."""
    if not length > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(length))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(m * power - length)))


class FineAlignment(Diagnostic):
    """The alignment close up: full-resolution details before and after the fine step."""

    name = "fine_alignment"
    shows = (
        "Details at full resolution, post-stain (magenta) over pre-stain (green), before the fine "
        "step (above) and in the final alignment (below). The arrows tell where, how far and in "
        "which direction the final alignment is off, measured on tiles that took no part in the "
        "fit; the histogram shows their lengths."
    )
    good = "Grey details below, short arrows in random directions, a bound well under half a pixel."
    bad = (
        "Coloured rims in the lower row, or neighbouring arrows that all point the same way: a "
        "part of the sample moved or bent, and its grain edges will look like microbes."
    )
    action = (
        "Do not count microbes where arrows are long. Raise interior_max_correction if the fine "
        "step was held back; a piece that moved on its own has to be scanned again."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw details and, where stage 3 recorded a certificate, its residuals."""
        record = view.records.get(3)
        return plot_fine_alignment(
            view.post,
            view.pre,
            coarse_im=view.coarse,
            certificate=record.metrics.get("certificate") if record is not None else None,
            valid=view.valid,
            window=view.window,
            sample=view.sample,
            dye=view.dye,
        )
