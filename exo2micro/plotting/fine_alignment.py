"""The alignment close up: full-resolution details before and after the fine step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.density import NO_DATA
from exo2micro.plotting.figure import WIDTH_IN, finish, new_figure, say, signed, style
from exo2micro.plotting.overviews import colour_overlay, correlation, matched_limits
from exo2micro.plotting.pair import (
    ImageLike,
    ImagePair,
    Validity,
    Window,
    image_pair,
    image_raster,
)
from exo2micro.plotting.places import Place, textured_places, window_around
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.raster.base import Raster

PLACES: Final = 4
SIZE_PX: Final = 160
"""Side of a detail: each image pixel is then two or more in print, so that 1 px shows."""


def plot_fine_alignment(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    coarse_im: ImageLike | None = None,
    centres: Sequence[tuple[float, float]] | None = None,
    size: int = SIZE_PX,
    pixel_size_um: float | None = None,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot details at full resolution before and after the fine step.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and **finally** aligned pre-stain image, shape ``(ny, nx)``.
    coarse_im : Raster or numpy.ndarray, optional
        Pre-stain image on the same canvas before the fine step; adds a row.
    centres : sequence of (x, y), optional
        Centres of the details in pixels of the images; None: textured places, chosen
        automatically.
    size : int
        Side of the details in pixels.
    pixel_size_um : float, optional
        Width of a pixel, for the scale bar.
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
    if centres is None:
        places = textured_places(pair, PLACES, min(size, *pair.shape))
    else:
        places = [Place(window_around(c, size, pair.post.shape), 0.0) for c in centres]
    with style():
        figure = new_figure(
            "fine alignment, post (magenta) over pre (green)",
            sample=sample,
            dye=dye,
            height_in=(WIDTH_IN / PLACES + 0.1) * len(steps) + 0.6,
        )
        _draw_details(figure, pair, steps, places, pixel_size_um)
        return finish(figure, save_path)


def _draw_details(
    figure: Figure,
    pair: ImagePair,
    steps: list[tuple[str, Raster]],
    places: list[Place],
    pixel_size_um: float | None,
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
            axes.set_xlabel(
                "no overlap" if agreement is None else f"rank correlation {signed(agreement)}"
            )
            if column == 0:
                axes.set_ylabel(title)
        scale_bar(grid[0, column], pixel_size_um)
        x, y = (c - o for c, o in zip(place.centre, origin, strict=True))
        grid[0, column].set_title(f"{len(post)} px at ({x:.0f}, {y:.0f})", loc="left")


def before_fine_step(view: PairView) -> Raster:
    """Return pre as stage 2 places it, resampled as in the final image.

    The checkpoint of stage 2 is bilinear: it blurs noise away and would correlate better with post
    than the final image where both alignments are good.
    """
    record = view.records.get(2)
    if record is None or record.transform is None:
        return view.coarse
    row, col = record.facts["offset"]
    transform = Transform.from_dict(record.transform).shifted(col, row)
    return WarpedRaster(view.before, transform, view.before.shape)


class FineAlignment(Diagnostic):
    """The alignment close up: full-resolution details before and after the fine step."""

    name = "fine_alignment"
    revision = 4
    shows = (
        "Details at full resolution, post-stain (magenta) over pre-stain (green), before the fine "
        "step (above) and in the final alignment (below), where the scans have most texture. The "
        "rank correlation below each is 1 for equal order of brightness and is deaf to a few "
        "bright pixels."
    )
    good = "Grey details in the lower row, with magenta only where microbes are."
    bad = (
        "Coloured rims along grains in the lower row: there the alignment is off, and the rims "
        "will look like microbes. Coloured noise without grains: the scans have no texture."
    )
    action = (
        "Look at the residual map, which measures what you see here, and blink the largest "
        "residual at the top of the report."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw details of the states before and after stage 3."""
        return plot_fine_alignment(
            view.post,
            view.pre,
            coarse_im=before_fine_step(view),
            pixel_size_um=view.pixel_size_um,
            **view.keywords,
        )
