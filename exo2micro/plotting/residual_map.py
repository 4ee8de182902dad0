"""Where, how far and in which direction the alignment is off, on tiles that took no part in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from exo2micro.alignment.certificate import Certificate
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.figure import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    finish,
    legend_below,
    new_figure,
    note,
    say,
    style,
)
from exo2micro.plotting.overviews import display_factor, overview, robust_limits, stretch
from exo2micro.plotting.pair import ImageLike, Window, image_pair
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.raster.base import Raster

MAX_PX: Final = 300_000
"""Pixels of the grey picture under the arrows."""

ARROW_PART: Final = 0.08
"""Length of a large residual's arrow, relative to the picture's width."""

BINS: Final = 24

NOT_MATCHED: Final = "no held-out tile could be matched"


def plot_residual_map(
    post_im: ImageLike,
    certificate: Certificate | Mapping[str, Any] | None,
    *,
    pixel_size_um: float | None = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the residuals of the alignment on held-out tiles as arrows, and their lengths.

    Parameters
    ----------
    post_im : Raster or numpy.ndarray
        Post-stain image, shape ``(ny, nx)``, counts of any type: the ground of the arrows.
    certificate : Certificate, mapping or None
        The residuals, as `Certificate` or its `to_dict`; a run's result holds it as
        ``certificate``. Positions are in pixels of the window. None: nothing was certified.
    pixel_size_um : float, optional
        Width of a pixel, for the scale bar.
    window : tuple of slice, optional
        Rows and columns of the post-stain image on its canvas; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        Left: an arrow on every tile, much enlarged; right: the histogram of their lengths.

    Raises
    ------
    ParameterError
        If the image or the file type cannot be used.
    """
    pair = image_pair(post_im, post_im, window=window)
    if isinstance(certificate, Mapping):
        certificate = Certificate.from_dict(certificate)
    tiles = 0 if certificate is None else certificate.tiles
    with style():
        figure = new_figure(
            f"residual on {tiles} held-out tiles", sample=sample, dye=dye, height_in=3.6
        )
        left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
        _draw_ground(left, pair.post, pair.window)
        if certificate is None or not tiles:
            note(left, NOT_MATCHED)
            say(right, "nothing was measured")
        else:
            _draw_arrows(left, certificate)
            _draw_lengths(right, certificate)
            legend_below(figure)
        if certificate is not None:
            right.set_title(f"certificate: {certificate.verdict.level.name}", loc="left")
        scale_bar(left, pixel_size_um)
        return finish(figure, save_path)


def _draw_ground(axes: Axes, post: Raster, window: Window) -> None:
    shape = window[0].stop - window[0].start, window[1].stop - window[1].start
    reduced = overview(post, window, display_factor(shape, MAX_PX))
    grey = 0.55 + 0.45 * stretch(reduced.values, robust_limits(reduced.values))
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=reduced.extent)
    axes.set(xlabel="x (px)", ylabel="y (px)", xlim=reduced.extent[:2], ylim=reduced.extent[2:])


def _draw_arrows(axes: Axes, certificate: Certificate) -> None:
    width = float(np.ptp(axes.get_xlim()))
    lengths = np.hypot(*certificate.residuals.T)
    key = _round_length(float(np.quantile(lengths, 0.95)))
    arrows = axes.quiver(
        *certificate.positions.T,
        *certificate.residuals.T,
        color=VERMILION,
        angles="xy",
        scale_units="xy",
        scale=key / (ARROW_PART * width),
        width=0.005,
    )
    axes.quiverkey(arrows, 0.9, 1.04, key, f"{key:g} px", labelpos="W", coordinates="axes")


def _draw_lengths(axes: Axes, certificate: Certificate) -> None:
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
    edges = np.linspace(0.0, 1.1 * top, BINS + 1)
    counts, _ = np.histogram(lengths, edges)
    noise = float(np.median(certificate.precisions))
    label = f"measured, noise \N{PLUS-MINUS SIGN}{noise:.2g} px in it"
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.45, label=label)
    beyond = len(lengths) - int(counts.sum())
    if beyond:
        place = {"x": edges[-2], "width": edges[1], "bottom": counts[-1], "align": "edge"}
        label = f"longer than the axis: {beyond}"
        axes.bar(height=beyond, color="none", edgecolor=BLUE, hatch="////", label=label, **place)
    axes.stairs(
        _noise_alone(certificate.precisions, edges),
        edges,
        color=GREY,
        linewidth=1.0,
        label="that noise alone would give",
    )
    for text, value, colour, line in marks:  # a failed certificate of few tiles states no figures
        axes.axvline(value, color=colour, linestyle=line, label=text)
    axes.set(xlabel="length of the residual (px)", ylabel="tiles", xlim=(0, 1.1 * top))
    axes.locator_params(axis="x", nbins=5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _noise_alone(
    precisions: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the tiles per bin if nothing but the noise of the measurement were there.

    The length of two Gaussian errors of equal width follows Rayleigh's distribution.
    """
    sigmas = np.maximum(precisions, 1e-9)
    longer = np.exp(-0.5 * np.square(edges[:, None] / sigmas)).sum(axis=1)
    tiles: NDArray[np.float64] = longer[:-1] - longer[1:]
    return tiles


def _round_length(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten near a length."""
    if not length > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(length))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(m * power - length)))


class ResidualMap(Diagnostic):
    """Where the alignment is off, on tiles that took no part in it."""

    name = "residual_map"
    revision = 2
    shows = (
        "The arrows tell where, how far and in which direction the final alignment is off, on "
        "tiles that took no part in the fit, and much enlarged (see the arrow above the picture). "
        "The bars of the histogram are their lengths as measured: error of the alignment and noise "
        "of the measurement (per axis, in the legend) together; the grey steps are what the noise "
        "alone would give. The "
        "vertical lines are the error over the sample without the noise, so bars may well lie to "
        "the right of them."
    )
    good = (
        "Short arrows in random directions, bars near the grey steps, and a bound well under "
        "half a pixel."
    )
    bad = (
        "Neighbouring arrows that all point the same way: a part of the sample moved or bent, and "
        "its grain edges will look like microbes. Large parts of the sample without arrows are not "
        "certified."
    )
    action = (
        "Do not count microbes where arrows are long. Raise interior_max_correction if the fine "
        "step was held back; a piece that moved on its own has to be scanned again."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the certificate that stage 3 recorded."""
        record = view.records.get(3)
        return plot_residual_map(
            view.post,
            record.metrics.get("certificate") if record is not None else None,
            pixel_size_um=view.pixel_size_um,
            window=view.window,
            sample=view.sample,
            dye=view.dye,
        )
