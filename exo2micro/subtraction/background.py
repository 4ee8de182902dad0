"""Finding the pixels that are background, not microbes, by removing significant residuals.

Pixels whose smoothed residual is significant, *upward or downward alike*, are taken out with
their surroundings and the fit is repeated. The symmetric cut leaves the centre of the noise where
it is; growing the cut removes the faint skirts of the microbes, which no cut on single pixels can.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.errors import ScaleError
from exo2micro.subtraction.blocks import BLOCK_PX, Blocks, block_averages
from exo2micro.subtraction.dark import Surroundings
from exo2micro.subtraction.field import Frame, RatioField, fit_field
from exo2micro.subtraction.patches import HALO_PX, PATCH_PX, PatchStack
from exo2micro.subtraction.regression import LineFit, fit_line
from exo2micro.subtraction.statistics import MAD_TO_SIGMA, Vector, half_sample_mode

CUT_SIGMA: Final = 2.5
"""Smoothed residuals beyond this are taken out, about 1 % of the pure noise."""

GROW_PX: Final = 2
"""Pixels around a cut pixel that go with it: the skirt of a point-spread function."""

RESIDUAL_BOX_PX: Final = 3
"""Box side over which residuals are smoothed: about the size of a microbe."""

ITERATIONS: Final = 4
"""The scale moves by less than 0.03 % after the third."""

NOISE_ROWS: Final = 8000
"""About as many rows of the stack as the noise is measured on: half a million pixels."""

MIN_BLOCKS: Final = 24
"""Fewer blocks than this give no scale worth the name."""

MIN_CLEAN: Final = 0.3
"""Smallest clean fraction of a block."""


LevelIndex = NDArray[np.uint8]


@dataclass(frozen=True)
class Area:
    """Points spread evenly over the sample, dark minerals included, px."""

    x: Vector
    y: Vector


def area_points(stack: PatchStack, around: Surroundings) -> Area:
    """Return the centres of all blocks of which at least half belongs to the sample's area."""
    side, inner = stack.side // BLOCK_PX, slice(1, -1)
    share = around.area.reshape(-1, side, BLOCK_PX, side, BLOCK_PX).mean(axis=(2, 4))
    patch, row, col = np.nonzero(share[:, inner, inner] >= 0.5)
    centre = (BLOCK_PX - 1) / 2.0
    return Area(
        stack.origin[patch, 1] + BLOCK_PX * col + centre,
        stack.origin[patch, 0] + BLOCK_PX * row + centre,
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
    """

    clean: Blocks
    every: Blocks
    line: LineFit
    field: RatioField
    area: Area
    clean_fraction: float


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
            f"only {len(every)} blocks of sample are left in the overlap of post and pre, "
            f"{MIN_BLOCKS} are needed; check the registration and the exposure"
        )
        raise ScaleError(msg)
    area = area_points(stack, around)

    line = fit_line(every, _first_line(every, around), np.ones(len(every)), around)
    flat = RatioField.flat(Frame.around(stack.origin, PATCH_PX))
    field = smooth_ratio(every, line, flat, area)
    levels = _level_index(around)
    clean_blocks, fraction = every, 1.0
    for _ in range(ITERATIONS):
        clean = _clean_pixels(stack, around, levels, line, field)
        blocks = block_averages(stack, sample, clean, MIN_CLEAN)
        if len(blocks) < MIN_BLOCKS:
            break
        clean_blocks = blocks
        core = sample & stack.core
        fraction = float((clean & core).sum() / max(1, core.sum()))
        line = fit_line(blocks, line, field.at(blocks.x, blocks.y), around)
        field = smooth_ratio(blocks, line, field, area)
    return Background(clean_blocks, every, line, field, area, fraction)


def smooth_ratio(blocks: Blocks, line: LineFit, start: RatioField, area: Area) -> RatioField:
    """Return the smooth ratio whose median over the area is 1; see `fit_field`."""
    found = fit_field(blocks, line, start)
    return found.scaled(1.0 / float(np.median(found.at(area.x, area.y))))


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


def _clean_pixels(
    stack: PatchStack,
    around: Surroundings,
    levels: LevelIndex,
    line: LineFit,
    field: RatioField,
) -> Mask:
    """Return the sample pixels that are far from every significant residual."""
    scale = np.float32(line.scale) * _field_image(stack, field)
    residual = stack.post - scale * (stack.pre - np.float32(line.pre_pedestal))
    residual -= np.float32(line.intercept)
    smooth = cv2.blur(residual, (RESIDUAL_BOX_PX, RESIDUAL_BOX_PX))
    sigma = _noise_image(smooth, around.sample, levels)
    with np.errstate(invalid="ignore"):
        cut = ~(np.abs(smooth) <= np.float32(CUT_SIGMA) * sigma) & stack.usable
    size = 2 * GROW_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate(cut.view(np.uint8), kernel).view(np.bool_)
    result: Mask = around.sample & ~grown
    return result


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
