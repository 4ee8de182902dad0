"""Where, how far and in which direction the alignment is off, on tiles that took no part in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from exo2micro.alignment.certificate import Certificate
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.figure import (
    BLACK,
    BLUE,
    ORANGE,
    VERMILION,
    finish,
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
            f"residual on {tiles} held-out tiles", sample=sample, dye=dye, height_in=3.2
        )
        left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
        _draw_ground(left, pair.post, pair.window)
        if certificate is None or not tiles:
            note(left, NOT_MATCHED)
            say(right, "nothing was measured")
        else:
            _draw_arrows(left, certificate)
            _draw_lengths(right, certificate)
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
    shown = np.minimum(lengths, 1.1 * top)
    axes.hist(shown, bins=24, range=(0, 1.1 * top), color=BLUE, alpha=0.45)
    for text, value, colour, line in marks:
        axes.axvline(value, color=colour, linestyle=line, label=text)
    axes.set(xlabel="length of the residual (px)", ylabel="tiles", xlim=(0, 1.1 * top))
    axes.locator_params(axis="x", nbins=5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if marks:  # a certificate that failed on few tiles states no figures
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _round_length(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten near a length."""
    if not length > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(length))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(m * power - length)))


class ResidualMap(Diagnostic):
    """Where the alignment is off, on tiles that took no part in it."""

    name = "residual_map"
    shows = (
        "The arrows tell where, how far and in which direction the final alignment is off, on "
        "tiles that took no part in the fit, and much enlarged (see the arrow above the picture). "
        "The histogram shows their lengths; its lines are the error over the sample, cleaned of "
        "the noise of the measurement."
    )
    good = "Short arrows in random directions, and a bound well under half a pixel."
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
