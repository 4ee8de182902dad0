"""The difference as a picture: black at zero, white where there is no data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from exo2micro._typing import Image
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA
from exo2micro.plotting.figure import (
    GREY,
    PURPLE,
    WIDTH_IN,
    finish,
    legend_below,
    new_figure,
    say,
    style,
)
from exo2micro.plotting.objects import ObjectTable, marked_places
from exo2micro.plotting.overviews import (
    Overview,
    display_factor,
    overview,
    overview_mask,
    thin,
)
from exo2micro.plotting.pair import (
    ImageLike,
    ImagePair,
    Validity,
    Window,
    image_pair,
    image_raster,
)
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.plotting.scale_lines import ScaleLike, scale_lines
from exo2micro.raster.base import Raster
from exo2micro.subtraction.statistics import robust_sigma

MAX_PX: Final = 1_000_000
"""Pixels of the picture: about those that the axes have in print."""

RING: Final = "#2FD68F"
"""A green that stands out on black, on the colours of the difference and on white paper."""

LIMIT_SIGMA: Final = 8.0
"""Colour limits in units of the background's scatter, unless the data need more."""


MaskedImage: TypeAlias = "np.ma.MaskedArray[tuple[int, int], np.dtype[np.float32]]"


def difference_colours() -> Colormap:
    """Return the colour map: light blue, blue, black at 0, orange, light yellow; no data white."""
    stops = ["#bfe6ff", "#56B4E9", "#0072B2", "#000000", "#D55E00", "#E69F00", "#fff3b0"]
    # An odd number of colours has one in the middle, which is exactly black.
    colours = LinearSegmentedColormap.from_list("difference", stops, N=255)
    return colours.with_extremes(bad="white")


def symmetric_limit(difference: Image) -> float:
    """Return the colour limit of a difference: robust, and never 0.

    Parameters
    ----------
    difference : numpy.ndarray
        Any shape; 0 and NaN are no data.
    """
    values = thin(difference).astype(np.float64)
    values = values[np.isfinite(values) & (values != 0)]
    if not len(values):
        return 1.0
    return max(LIMIT_SIGMA * robust_sigma(values), float(np.quantile(np.abs(values), 0.995)), 1e-6)


def plot_difference_image(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    difference: ImageLike | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    scales: Sequence[ScaleLike] = (),
    limit: float | None = None,
    objects: ObjectTable | None = None,
    pixel_size_um: float | None = None,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot the difference with diverging colours, black at 0 and white where there is no data.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    difference : Raster or numpy.ndarray, optional
        The difference, 0 where there is no data; None: ``post - scale * pre - offset``.
    scale, offset : float, optional
        Used where `difference` is None; without any scale it is 1.
    scales : sequence of ScaleEstimate or tuple
        The first one is used where `scale` is None.
    limit : float, optional
        Difference in counts at which the colours end; None: chosen robustly.
    objects : Table or path, optional
        What `detect` found, as a table or its file; its objects are ringed.
    pixel_size_um : float, optional
        Width of a pixel, for the scale bar.
    valid : Raster, numpy.ndarray of bool, callable, optional
        Where both images have data; None: where neither is exactly 0.
    window : tuple of slice, optional
        Rows and columns to look at; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the figure (PNG, SVG, PDF).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it shows itself in Jupyter. Axes are in pixels of the window.

    Raises
    ------
    ParameterError
        If the images, the scales or the file type cannot be used.
    """
    pair = image_pair(post_im, pre_im, window=window, valid=valid)
    lines = scale_lines(scale, offset, scales)
    factor, shift = (lines[0].scale, lines[0].offset) if lines else (1.0, 0.0)
    given = None if difference is None else image_raster(difference, "difference", pair.post.shape)
    values, place = _reduced(pair, given, factor, shift)
    unscaled = difference is None and not lines
    kind = "post \N{MINUS SIGN} pre, no scale" if unscaled else "difference"
    kind += "" if objects is None else " and the objects found in it"
    ny, nx = pair.shape
    height = float(np.clip(0.8 * WIDTH_IN * ny / nx, 2.5, 8.0)) + 0.6
    with style():
        figure = new_figure(kind, sample=sample, dye=dye, height_in=height)
        axes = figure.subplots()
        if values.mask.all():
            say(axes, NO_DATA)
            return finish(figure, save_path)
        bound = symmetric_limit(values.compressed()) if limit is None else float(limit)
        image = axes.imshow(
            values,
            cmap=difference_colours(),
            vmin=-bound,
            vmax=bound,
            extent=place.extent,
        )
        figure.colorbar(image, ax=axes, label="difference (counts)", extend="both", pad=0.01)
        averaged = (
            f"each dot is the mean of {place.factor} \N{MULTIPLICATION SIGN} {place.factor} px"
            if place.factor > 1
            else "full resolution"
        )
        axes.set_title(f"{averaged}; white: no data", loc="left", color=GREY)
        axes.set(xlabel="x (px)", ylabel="y (px)")
        if objects is not None:
            _draw_objects(axes, objects, pair.window)
            legend_below(figure)
        scale_bar(axes, pixel_size_um)
        return finish(figure, save_path)


def _draw_objects(axes: Axes, objects: ObjectTable, window: Window) -> None:
    """Draw a ring about every object, smaller the more there are."""
    centres, is_counted = marked_places(objects)
    limits = axes.get_xlim(), axes.get_ylim()
    size = float(np.clip(20_000.0 / max(1, len(centres)), 6.0, 60.0))
    for label, shown, colour, line, width in (
        ("objects", is_counted, RING, "-", 0.6),
        ("not counted", ~is_counted, PURPLE, ":", 1.4),
    ):
        x, y = centres[shown].T - np.array([[window[1].start], [window[0].start]])
        axes.scatter(
            x,
            y,
            s=size,
            facecolors="none",
            edgecolors=colour,
            linestyles=line,
            linewidths=width,
            label=f"{label}: {len(x)}",
        )
    axes.set(xlim=limits[0], ylim=limits[1])


def _reduced(
    pair: ImagePair, difference: Raster | None, scale: float, offset: float
) -> tuple[MaskedImage, Overview]:
    """Return the reduced difference, masked where it has no data, and where it lies."""
    factor = display_factor(pair.shape, MAX_PX)
    if difference is None:
        place, pre = (overview(image, pair.window, factor) for image in (pair.post, pair.pre))
        values = place.values - np.float32(scale) * pre.values - np.float32(offset)
    else:
        place = overview(difference, pair.window, factor)
        values = place.values
    if pair.valid is not None:
        has_data = overview_mask(pair.valid, pair.window, factor)
    else:
        both = (overview(image, pair.window, factor).values for image in (pair.post, pair.pre))
        has_data = np.logical_and.reduce([values != 0 for values in both])
    return np.ma.MaskedArray(values, mask=~(has_data & np.isfinite(values))), place


class DifferenceImage(Diagnostic):
    """The difference as a picture: black at zero, white where there is no data."""

    name = "difference_image"
    revision = 3
    shows = (
        "The post-stain image minus the scaled pre-stain image. Black means no change, orange and "
        "yellow brighter after staining, blue darker, white no data."
    )
    good = "A black field with orange spots and clusters: the stained microbes."
    bad = (
        "Grains with an orange rim on one side and a blue rim on the other (alignment off there), "
        "or large areas that glow orange or blue (the scale does not fit there). A blue area with "
        "a sharp edge is a piece that was lost or covered between the scans."
    )
    action = (
        "For two-coloured rims look at the fine-alignment picture; for glowing areas look at the "
        "excess heatmap. Believe only spots that have no blue partner."
    )
    needs_difference = True

    def draw(self, view: PairView) -> Figure:
        """Draw the difference that was written."""
        return plot_difference_image(
            view.post,
            view.pre,
            difference=view.difference,
            scales=view.scales,
            pixel_size_um=view.pixel_size_um,
            **view.keywords,
        )
