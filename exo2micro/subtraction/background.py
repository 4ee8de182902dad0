"""Finding the pixels that are background, not microbes, by removing significant residuals.

Pixels whose smoothed residual is significant, *upward or downward alike*, are taken out with
their surroundings and the fit is repeated. The symmetric cut leaves the centre of the noise where
it is; growing the cut removes the faint skirts of the microbes, which no cut on single pixels can.
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.errors import ScaleError
from exo2micro.subtraction.blocks import BLOCK_PX, Blocks, block_averages
from exo2micro.subtraction.clipping import Clipping, find_clipping
from exo2micro.subtraction.dark import Surroundings
from exo2micro.subtraction.field import Frame, RatioField, fit_field
from exo2micro.subtraction.patches import HALO_PX, PATCH_PX, PatchStack
from exo2micro.subtraction.regression import LineFit, dark_prior, fit_line
from exo2micro.subtraction.statistics import (
    MAD_TO_SIGMA,
    Vector,
    half_sample_mode,
    tukey_location,
    weighted_quantile,
)

CUT_SIGMA: Final = 3.25
"""Smoothed residuals beyond this are taken out, 0.1 % of the pure noise. A closer cut holds the
surface where it is; a wider one lets in faint microbes (each by 0.1 % between 2.5 and 3.5)."""

CLOSER_SIGMA: Final = 2.5
"""A closer cut: what it changes tells how many faint microbes the other lets in."""

GROW_PX: Final = 2
"""Pixels around a cut pixel that go with it: the skirt of a point-spread function."""

RESIDUAL_BOX_PX: Final = 3
"""Box side over which residuals are smoothed: about the size of a microbe."""

ITERATIONS: Final = 4
"""The scale of a varying ratio moves by less than 0.05 % after the third."""

NOISE_ROWS: Final = 8000
"""About as many rows of the stack as the noise is measured on: half a million pixels."""

MODE_STEP: Final = 2
MODE_PIXELS: Final = 200
"""Every second row of a patch gives its most frequent ratio, the middle of so many pixels."""

MIN_BLOCKS: Final = 24
"""Fewer blocks than this give no scale worth the name."""

REPEATS: Final = 3
"""Rounds of line and surface where a surface is met first; later ones start from good values."""

MIN_CLEAN: Final = 0.3
"""Smallest clean fraction of a block."""


SPREAD: Final = np.array([0.7548776662466927, 0.5698402909980532])
"""Steps of an even, never repeated sequence of points in a square (Roberts 2018, R2)."""

LevelIndex = NDArray[np.uint8]


@dataclass(frozen=True)
class Area:
    """Points spread evenly over the sample, dark minerals included.

    Attributes
    ----------
    x, y : numpy.ndarray
        Places on the canvas, px.
    weight : numpy.ndarray
        Part of the sample that each stands for.
    """

    x: Vector
    y: Vector
    weight: Vector

    def quantile(self, values: Vector, quantile: float) -> float:
        """Return a quantile over the sample of values at the points."""
        return weighted_quantile(values, self.weight, quantile)


def area_points(stack: PatchStack, around: Surroundings) -> Area:
    """Return a point in every block that holds some of the sample's area.

    Points on a net would take only so many values of a ratio that varies along one of its axes.
    """
    side, inner = stack.side // BLOCK_PX, slice(1, -1)
    share = around.area.reshape(-1, side, BLOCK_PX, side, BLOCK_PX).mean(axis=(2, 4))
    share = share[:, inner, inner]
    patch, row, col = np.nonzero(share)
    inside = BLOCK_PX * np.mod(np.arange(len(patch))[:, None] * SPREAD, 1.0) - 0.5
    return Area(
        stack.origin[patch, 1] + BLOCK_PX * col + inside[:, 0],
        stack.origin[patch, 0] + BLOCK_PX * row + inside[:, 1],
        share[patch, row, col],
    )


@dataclass(frozen=True)
class Background:
    """The background of a pair and the line that describes it.

    Attributes
    ----------
    clean, every : Blocks
        Blocks averaged over background pixels, and over all sample pixels.
    line : LineFit
        ``post = scale * field * (pre - pre_pedestal) + intercept``.
    field : RatioField
        Smooth variation of the ratio over the canvas; its median over the sample's area is 1.
    area : Area
        Points spread evenly over the sample.
    clean_fraction : float
        Fraction of the sample's pixels that are background.
    cut_shift : float
        Relative change of the scale that a closer cut of the microbes would make.
    clipping : Clipping
        Which blocks were left out as too dim.
    """

    clean: Blocks
    every: Blocks
    line: LineFit
    field: RatioField
    area: Area
    clean_fraction: float
    cut_shift: float
    clipping: Clipping


def find_background(stack: PatchStack, around: Surroundings) -> Background:
    """Separate background from microbes.

    Raises
    ------
    ScaleError
        Too little sample in the overlap, or a background without any brightness.
    """
    sample = around.sample
    if float(around.smooth.max()) <= 0:
        msg = "pre has no brightness in the overlap; no scale exists. Check the pre image"
        raise ScaleError(msg)
    every = block_averages(stack, sample, sample, 0.5)
    if len(every) < MIN_BLOCKS:
        msg = (
            f"only {len(every)} blocks of sample away from missing and saturated pixels are left "
            f"in the overlap of post and pre, {MIN_BLOCKS} are needed; check the registration and "
            "the exposure"
        )
        raise ScaleError(msg)
    area = area_points(stack, around)
    clipping = find_clipping(stack, sample, every)
    every = clipping.without(every)

    line = _first_line(every, around)
    field = RatioField.flat(Frame.around(stack.origin, PATCH_PX))
    levels = _level_index(around)
    clean_blocks, fraction, shift = every, 0.0, 0.0
    for iteration in range(ITERATIONS):
        residual = _residual(stack, around, line, field, is_first=iteration == 0)
        noise = _noise_image(residual, sample, levels)
        clean = _clean_pixels(stack, sample, residual, noise, CUT_SIGMA)
        blocks = clipping.without(block_averages(stack, sample, clean, MIN_CLEAN))
        if len(blocks) < MIN_BLOCKS:
            break
        clean_blocks = blocks
        core = sample & stack.core
        fraction = float((clean & core).sum() / max(1, core.sum()))
        if iteration == ITERATIONS - 1:
            closer = _clean_pixels(stack, sample, residual, noise, CLOSER_SIGMA)
            fewer = clipping.without(block_averages(stack, sample, closer, MIN_CLEAN))
            shift = _middle(fewer, line, field) - _middle(blocks, line, field)
        if iteration == 0 and dark_prior(around, line.scale) is not None:
            # Where the pedestal is known, the surface needs no line; a slope tilts a line.
            field = smooth_ratio(blocks, line, field, area)
        line, field = _follow(blocks, line, field, area, around)
    if clean_blocks is every:
        line, field = _follow(every, line, field, area, around)
    return Background(clean_blocks, every, line, field, area, fraction, shift, clipping)


def smooth_ratio(blocks: Blocks, line: LineFit, start: RatioField, area: Area) -> RatioField:
    """Return the smooth ratio whose median over the area is 1; see `fit_field`."""
    found = fit_field(blocks, line, start)
    return found.scaled(1.0 / area.quantile(found.at(area.x, area.y), 0.5))


def _follow(
    blocks: Blocks, line: LineFit, field: RatioField, area: Area, around: Surroundings
) -> tuple[LineFit, RatioField]:
    """Return line and field anew; the scale goes with the middle of the new field."""
    was_flat = field.is_flat
    for _ in range(REPEATS):
        line = fit_line(blocks, line, field.at(blocks.x, blocks.y), around)
        found = fit_field(blocks, line, field)
        middle = area.quantile(found.at(area.x, area.y), 0.5)
        line, field = replace(line, scale=line.scale * middle), found.scaled(1.0 / middle)
        if field.is_flat or not was_flat:
            break
    return line, field


def _first_line(every: Blocks, around: Surroundings) -> LineFit:
    """Return a first scale from the mode of the block ratios."""
    pre_pedestal = around.pre.level if around.pre else 0.0
    post_pedestal = around.post.level if around.post else 0.0
    post, pre = every.post - post_pedestal, every.pre - pre_pedestal
    usable = (post > 0) & (pre > 0)
    if usable.sum() < MIN_BLOCKS:
        msg = (
            "the background has no brightness above the camera pedestal "
            f"({post_pedestal:.3g} counts in post, {pre_pedestal:.3g} in pre); no scale exists"
        )
        raise ScaleError(msg)
    scale = float(np.exp(half_sample_mode(np.log(post[usable] / pre[usable]))))
    return LineFit(scale, post_pedestal, pre_pedestal)


def _residual(
    stack: PatchStack, around: Surroundings, line: LineFit, field: RatioField, *, is_first: bool
) -> FloatImage:
    """Return post less the line, smoothed over the size of a microbe.

    At first each patch has its own ratio, the most frequent one of its pixels: a common one that
    microbes or a varying ratio have pulled off would cut the background itself.
    """
    scale = np.float32(line.scale) * _field_image(stack, field)
    expected = scale * (stack.pre - np.float32(line.pre_pedestal))
    box = (RESIDUAL_BOX_PX, RESIDUAL_BOX_PX)
    smooth = cv2.blur(stack.post - np.float32(line.intercept) - expected, box)
    if is_first:
        expected = cv2.blur(expected, box)
        smooth = smooth - _patch_modes(stack, smooth, expected, around.sample) * expected
    result: FloatImage = smooth
    return result


def _clean_pixels(
    stack: PatchStack, sample: Mask, residual: FloatImage, noise: FloatImage, cut_sigma: float
) -> Mask:
    """Return the sample pixels that are far from every significant residual."""
    with np.errstate(invalid="ignore"):
        cut = ~(np.abs(residual) <= np.float32(cut_sigma) * noise) & stack.usable
    size = 2 * GROW_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate(cut.view(np.uint8), kernel).view(np.bool_)
    result: Mask = sample & ~grown
    return result


def _middle(blocks: Blocks, line: LineFit, field: RatioField) -> float:
    """Return the robust mean of the blocks' ratios relative to the line."""
    light = field.at(blocks.x, blocks.y) * (blocks.pre - line.pre_pedestal)
    use = light > 0
    if not use.any():
        return 0.0
    relative = (blocks.post - line.intercept)[use] / (line.scale * light[use])
    return tukey_location(relative, np.square(light[use]) * blocks.pixels[use])


def _patch_modes(
    stack: PatchStack, residual: FloatImage, expected: FloatImage, sample: Mask
) -> FloatImage:
    """Return the most frequent ``residual / expected`` of each patch, one number per row."""
    side = stack.side
    modes = np.zeros(len(residual) // side, np.float32)
    for number in range(len(modes)):
        rows = slice(number * side, (number + 1) * side, MODE_STEP)
        chosen = sample[rows] & (expected[rows] > 0)
        values = residual[rows][chosen] / expected[rows][chosen]
        if len(values) >= MODE_PIXELS:
            modes[number] = half_sample_mode(values.astype(np.float64), floor=MODE_PIXELS)
    return np.repeat(modes, side)[:, None]


def _field_image(stack: PatchStack, field: RatioField) -> FloatImage:
    """Return the field over the stack, linear within each patch; one number where it is flat."""
    if field.is_flat:
        return np.ones((1, 1), np.float32)
    side = stack.side
    ends = stack.origin[:, :, None] + np.array([-HALO_PX, side - 1 - HALO_PX])
    y, x = ends[:, 0, [0, 0, 1, 1]].ravel(), ends[:, 1, [0, 1, 0, 1]].ravel()
    corners = field.at(x.astype(np.float64), y.astype(np.float64)).reshape(-1, 2, 2)
    along = np.stack([1.0 - np.arange(side) / (side - 1.0), np.arange(side) / (side - 1.0)])
    image: FloatImage = np.einsum("nab,ay,bx->nyx", corners, along, along, optimize=True)
    return image.reshape(-1, side).astype(np.float32)


def _level_index(around: Surroundings) -> LevelIndex:
    """Return the smoothed brightness as one of 256 classes between robust extremes."""
    seen = around.smooth[around.sample][::16]
    low, high = (float(q) for q in np.quantile(seen, [0.001, 0.999])) if len(seen) else (0.0, 1.0)
    gain = 255.0 / max(high - low, 1e-9)
    index: LevelIndex = cv2.convertScaleAbs(
        np.maximum(around.smooth - np.float32(low), np.float32(0)), alpha=gain
    )
    return index


def _noise_image(smooth: FloatImage, sample: Mask, levels: LevelIndex) -> FloatImage:
    """Return the noise of the smoothed residual, from its negative side, by brightness."""
    every = max(1, len(smooth) // NOISE_ROWS)
    rows = slice(None, None, every)
    chosen = sample[rows] & (smooth[rows] < 0)
    level, size = levels[rows][chosen], -smooth[rows][chosen]
    if len(level) < 16:
        return np.full(smooth.shape, np.inf, np.float32)
    edges = np.quantile(level, np.linspace(0, 1, 9))
    bins = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, 7)
    centres, sigmas = [], []
    for index in range(8):
        inside = bins == index
        if inside.sum() >= 16:
            centres.append(float(np.mean(level[inside])))
            sigmas.append(float(MAD_TO_SIGMA * np.median(size[inside])))
    if not centres:
        return np.full(smooth.shape, np.inf, np.float32)
    table = np.interp(np.arange(256), centres, sigmas).astype(np.float32)
    noise: FloatImage = cv2.LUT(levels, table)
    return noise
