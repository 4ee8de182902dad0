"""The alignment as a whole: post over pre before, after the coarse and after the final step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from exo2micro.alignment.outline import sample_mask
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.figure import (
    ORANGE,
    SKY,
    WIDTH_IN,
    YELLOW,
    finish,
    legend_below,
    new_figure,
    signed,
    style,
)
from exo2micro.plotting.overviews import (
    Overview,
    colour_overlay,
    correlation,
    display_factor,
    matched_limits,
    overview,
)
from exo2micro.plotting.pair import ImageLike, Validity, Window, image_pair, image_raster
from exo2micro.plotting.places import textured_places
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.raster.base import Raster

MAX_PX: Final = 250_000
"""Pixels of each overview: a third of the page's width holds no more."""

DETAIL_PX: Final = 512
"""Side of the enlarged detail; the part of the slide that it shows is marked."""


OUTLINES: Final = (
    ("outline of post", YELLOW, "-"),
    ("outline of pre", SKY, (0, (3, 2))),
)


@dataclass(frozen=True)
class _Step:
    title: str
    pre: Raster


def plot_registration(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    before_im: ImageLike | None = None,
    coarse_im: ImageLike | None = None,
    pixel_size_um: float | None = None,
    valid: Validity = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Plot post (magenta) over pre (green) for each step of the alignment; grey where they agree.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and **finally** aligned pre-stain image, shape ``(ny, nx)``.
    before_im, coarse_im : Raster or numpy.ndarray, optional
        Pre-stain image on the same canvas before the alignment and after the coarse step; each
        one given adds a column.
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
        Upper row: the whole window with the outlines of both samples and the correlation of the
        two images; lower row: the marked detail at full resolution.

    Raises
    ------
    ParameterError
        If the images or the file type cannot be used.
    """
    pair = image_pair(post_im, pre_im, window=window, valid=valid)
    steps = [
        _Step(title, image_raster(image, name, pair.post.shape))
        for title, image, name in (
            ("before alignment", before_im, "before_im"),
            ("after coarse alignment", coarse_im, "coarse_im"),
            ("final alignment", pair.pre, "pre_im"),
        )
        if image is not None
    ]
    detail = next(iter(textured_places(pair, 1, min(DETAIL_PX, *pair.shape))), None)
    ny, nx = pair.shape
    rows = 1 if detail is None else 2
    column = WIDTH_IN / 3
    height = min(4.0, column * ny / nx) + (column if rows == 2 else 0) + 0.9
    with style():
        figure = new_figure(
            "post (magenta) over pre (green); grey where they agree",
            sample=sample,
            dye=dye,
            height_in=height,
            width_in=max(column * len(steps), 5.8),
        )
        grid = figure.subplots(rows, len(steps), squeeze=False)
        _draw_whole(list(grid[0]), pair.post, steps, pair.window)
        scale_bar(grid[0, 0], pixel_size_um)
        if detail is not None:
            _draw_detail(list(grid[1]), pair.post, steps, detail.window)
            scale_bar(grid[1, 0], pixel_size_um)
            for axes in grid[0]:
                _mark(axes, detail.window, pair.window)
        if any(axes.lines for axes in grid[0]):
            legend_below(figure)
        return finish(figure, save_path)


def _draw_whole(axes: list[Axes], post: Raster, steps: list[_Step], window: Window) -> None:
    shape = window[0].stop - window[0].start, window[1].stop - window[1].start
    factor = display_factor(shape, MAX_PX)
    reduced = overview(post, window, factor)
    pres: list[Overview] = [overview(step.pre, window, factor) for step in steps]
    limits = matched_limits(reduced.values, pres[-1].values)
    named: set[str] = set()
    for place, step, pre in zip(axes, steps, pres, strict=True):
        _draw_outlines(place, (reduced, pre), named)
        place.imshow(colour_overlay(reduced.values, pre.values, *limits), extent=reduced.extent)
        agreement = correlation(reduced.values, pre.values)
        number = "no overlap" if agreement is None else f"rank correlation {signed(agreement)}"
        place.set_title(f"{step.title}\n{number}", loc="left")
        _frame(place)


def _draw_outlines(axes: Axes, images: tuple[Overview, Overview], named: set[str]) -> None:
    """Draw where the sample ends in post and in pre, unless it fills the frame.

    `named` holds the lines that the legend has already.
    """
    for image, (label, colour, line) in zip(images, OUTLINES, strict=True):
        mask = sample_mask(np.nan_to_num(image.values))
        if mask.all():
            continue
        left, _, _, top = image.extent
        rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for ring in rings:
            x, y = np.append(ring, ring[:1], axis=0)[:, 0].T
            axes.plot(
                left + (x + 0.5) * image.factor,
                top + (y + 0.5) * image.factor,
                color=colour,
                linestyle=line,
                linewidth=0.9,
                label=None if label in named else label,
            )
            named.add(label)


def _draw_detail(axes: list[Axes], post: Raster, steps: list[_Step], window: Window) -> None:
    image = post.read(*window)
    limits = matched_limits(image, steps[-1].pre.read(*window))
    side = window[0].stop - window[0].start
    axes[0].set_title(f"marked detail, {side} px", loc="left")
    for place, step in zip(axes, steps, strict=True):
        place.imshow(colour_overlay(image, step.pre.read(*window), *limits))
        _frame(place)


def _mark(axes: Axes, detail: Window, window: Window) -> None:
    y, x = (part.start - full.start for part, full in zip(detail, window, strict=True))
    height, width = (part.stop - part.start for part in detail)
    axes.add_patch(Rectangle((x, y), width, height, fill=False, color=ORANGE, linewidth=1.2))


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


class Registration(Diagnostic):
    """The alignment as a whole: post over pre before, after the coarse and after the final step."""

    name = "registration"
    revision = 3
    shows = (
        "Post-stain (magenta) laid over pre-stain (green) before the alignment, after its coarse "
        "step and in its final state; where both agree the picture is grey. The lines are the "
        "outlines of the sample in post (yellow) and in pre (light blue, dashed). The lower row "
        "enlarges the marked square."
    )
    good = (
        "In the last column the sample is grey throughout, with magenta only where microbes are, "
        "and the two outlines lie on each other."
    )
    bad = (
        "Magenta and green outlines side by side in the last column, or a rank correlation that "
        "does not rise from left to right. A piece that is only green was lost between the scans."
    )
    action = (
        "Check that both scans show the same sample in the same orientation; then widen "
        "angle_range, scale_min and scale_max, or max_translation."
    )

    def draw(self, view: PairView) -> Figure:
        """Draw the three states of the alignment."""
        return plot_registration(
            view.post,
            view.pre,
            before_im=view.before,
            coarse_im=view.coarse,
            pixel_size_um=view.pixel_size_um,
            **view.keywords,
        )
