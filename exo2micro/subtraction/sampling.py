"""Gathering pairs of post and pre brightness for the scale estimators, in one streaming pass."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.raster.base import Raster
from exo2micro.subtraction.background import Area, Background, find_background, smooth_ratio
from exo2micro.subtraction.blocks import Blocks, block_averages
from exo2micro.subtraction.dark import Surroundings, find_surroundings
from exo2micro.subtraction.difference import QualitySources, WindowMask
from exo2micro.subtraction.field import RatioField, left_out_misfit
from exo2micro.subtraction.patches import PatchStack, read_patches
from exo2micro.subtraction.pedestal import Pedestal, decide_pedestal, pedestal_beneath
from exo2micro.subtraction.psf import SharpnessGap, measure_sharpness
from exo2micro.subtraction.regression import LineFit
from exo2micro.subtraction.statistics import Vector
from exo2micro.subtraction.tiles import TileScales, tile_scales
from exo2micro.subtraction.units import Counts, find_counts

Validity = WindowMask
"""Where both images have data: a bool raster, a function of a window, or None for everywhere."""

LITTLE_BACKGROUND: Final = 0.25
"""Clean fraction of the sample below which microbes or misregistration dominate."""

MUCH_SATURATION: Final = 0.2
DARK_FRACTION: Final = 0.5
"""Smallest fraction of a block that is dark surroundings."""

STRAY_ROUNDS: Final = 3
"""The pedestal moves by less than its error after the second."""
FEW_TILES: Final = 8


Settled = tuple[Pedestal, RatioField, TileScales]
"""What goes together."""


@dataclass(frozen=True)
class PairSample:
    """Block averages of post and pre over the sample, and what is known about the pair.

    Attributes
    ----------
    clean : Blocks
        Blocks averaged over background pixels: microbes, debris and mismatched edges are out.
    every : Blocks
        Blocks averaged over all pixels of the sample, microbes included.
    pedestal : Pedestal
        Pedestals of both images and the offset that follows from a scale.
    field : RatioField
        Smooth variation of the ratio over the canvas, 1 in the middle of its distribution over
        `area`; flat where none is significant.
    area : Area
        Points spread evenly over the sample.
    tiles : TileScales
        Ratio of every tile relative to the whole, with its error.
    first_scale : float
        Scale found while separating the background: where an iteration may start.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    clean_fraction, saturated_fraction : float
        Fractions of the sample's pixels that are background, and of the overlap's that are
        saturated.
    correlation : float
        Correlation of the block brightness of post and pre over the background.
    sharpness : SharpnessGap
        Difference in sharpness that is left between post and pre.
    cut_shift : float
        Relative change of the scale that a closer cut of the microbes would make.
    is_corrected : bool
        Whether the difference is made with the field, so that its variation does no harm.
    step : float
        Distance between neighbouring values of post: 1 for integers, 0 where it has any value.
    """

    clean: Blocks
    every: Blocks
    pedestal: Pedestal
    field: RatioField
    area: Area
    tiles: TileScales
    first_scale: float
    shape: tuple[int, int]
    clean_fraction: float
    saturated_fraction: float
    correlation: float
    sharpness: SharpnessGap
    cut_shift: float = 0.0
    warnings: tuple[str, ...] = ()
    is_corrected: bool = False
    step: float = 1.0

    @property
    def post(self) -> Vector:
        """Raw counts of post per background block, shape ``(n,)``."""
        return self.clean.post

    @property
    def pre(self) -> Vector:
        """Raw counts of pre per background block, shape ``(n,)``."""
        return self.clean.pre

    @property
    def tile(self) -> NDArray[np.int32]:
        """Tile of each background block, shape ``(n,)``."""
        return self.clean.tile

    @property
    def n_tiles(self) -> int:
        """Tiles that hold background."""
        return len(np.unique(self.clean.tile))

    def relative_ratio(self, blocks: Blocks) -> Vector:
        """Return the smooth ratio at each block relative to the median over the sample."""
        return self.field.at(blocks.x, blocks.y)


def sample_pairs(
    post: Raster,
    pre: Raster,
    valid: Validity,
    *,
    post_window: tuple[slice, slice] | None = None,
    saturation_post: float | None = None,
    saturation_pre: float | None = None,
    debris: WindowMask = None,
    patches: PatchStack | None = None,
    sharpness: SharpnessGap | None = None,
    threads: int = 1,
) -> PairSample:
    """Gather a bounded, deterministic sample of post and pre brightness in one pass.

    Patches of 64 px on a regular grid (all of a small image, at most about 1000 of a large one)
    are read once. The sample is told from its dark surroundings by the smoothed pre image alone,
    so that no noise of post decides what is counted.

    Parameters
    ----------
    post, pre : Raster
        The same canvas; raw counts, pre aligned to post.
    valid : Raster, callable or None
        Overlap of both images.
    post_window : tuple of slice, optional
        Rows and columns of the canvas that the post image covers; None: all of it.
    saturation_post, saturation_pre : float, optional
        Level at and above which a pixel is saturated; None: unsigned integers saturate at the
        largest value of their type, floats never. Give it for a resampled pre.
    debris : Raster, callable or None
        Bool mask of pixels to leave out.
    patches : PatchStack, optional
        Patches of both images, where they have been read.
    sharpness : SharpnessGap, optional
        Their difference in sharpness, where it is known.
    threads : int
        Threads to use; the result does not depend on it.

    Raises
    ------
    ScaleError
        No usable overlap, or no brightness in the background.
    """
    quality = QualitySources(
        valid=valid,
        post_window=post_window,
        saturation_post=saturation_post,
        saturation_pre=saturation_pre,
        debris=debris,
    )
    stack = patches or read_patches(post, pre, quality, threads=threads)
    is_whole = post.dtype.kind in "ui" or saturation_post is not None
    counts = Counts() if is_whole else find_counts(stack)
    stack = counts.normalise(stack)
    around = find_surroundings(stack)
    background = find_background(stack, around)
    settled = _settle(background, decide_pedestal(background, around))
    pedestal, field, tiles = _without_stray_light(background, around, stack, settled)
    saturated = stack.n_saturated / max(1, stack.n_overlap)
    correlation = _correlation(background.clean)
    return PairSample(
        background.clean.times(counts.unit),
        background.every.times(counts.unit),
        _in_units(pedestal, counts.unit),
        field,
        background.area,
        tiles,
        background.line.scale,
        post.shape,
        background.clean_fraction,
        saturated,
        correlation,
        sharpness or measure_sharpness(stack),
        background.cut_shift,
        tuple(_warnings(background, saturated, correlation)),
        step=counts.step,
    )


def _in_units(pedestal: Pedestal, unit: float) -> Pedestal:
    """Return a pedestal of counts in the unit of the images."""
    if unit == 1.0:
        return pedestal
    return replace(
        pedestal,
        post=pedestal.post * unit,
        pre=pedestal.pre * unit,
        error=pedestal.error * unit,
        messages=tuple(f"{text} (a count is {unit:.4g} here)" for text in pedestal.messages),
    )


def _settle(background: Background, decided: Pedestal) -> Settled:
    """Return pedestal, field and tiles that go together.

    Which light is pedestal decides how the ratio of dim tiles compares with that of bright ones.
    Where the ratio varies, so does the stray light of the dark surroundings, which then look like
    a pedestal: there tiles left out of the surface say whether to believe it.
    """
    choices = [decided]
    if decided.source != "none" and not background.field.is_flat:
        choices.append(Pedestal(0.0, 0.0, decided.error, "none"))
    found = [_with(background, pedestal) for pedestal in choices]
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda one: left_out_misfit(one[2], background.field.frame))


def _with(background: Background, pedestal: Pedestal) -> Settled:
    """Return the field and the tiles that go with a pedestal."""
    clean = background.clean
    line = LineFit(background.line.scale, pedestal.post, pedestal.pre)
    field = smooth_ratio(clean, line, background.field, background.area)
    return pedestal, field, tile_scales(clean, line, field.at(clean.x, clean.y))


def _without_stray_light(
    background: Background, around: Surroundings, stack: PatchStack, settled: Settled
) -> Settled:
    """Return pedestal, field and tiles anew where a varying ratio tells stray light from pedestal.

    Light that is taken for pedestal makes the ratio vary too much, which a second round mends.
    """
    if settled[1].is_flat or around.dark is None or around.post is None or around.post.clipped:
        return settled
    dark = block_averages(stack, around.dark, around.dark, DARK_FRACTION)
    for _ in range(STRAY_ROUNDS):
        found = pedestal_beneath(dark, around, settled[1], background.line.scale)
        if found is None:
            break
        settled = _with(background, found)
    return settled


def _correlation(blocks: Blocks) -> float:
    """Return the correlation of block brightness in post and pre; 0 where one is constant."""
    if blocks.post.std() == 0 or blocks.pre.std() == 0:
        return 0.0
    return float(np.corrcoef(blocks.post, blocks.pre)[0, 1])


def _warnings(background: Background, saturated: float, correlation: float) -> list[str]:
    """Return what makes any scale from this sample doubtful, in words."""
    found = []
    if background.clean_fraction < LITTLE_BACKGROUND:
        found.append(
            f"only {background.clean_fraction:.0%} of the sample is background; microbes or "
            "misregistration cover the rest"
        )
    if background.clipping.is_too_much:
        found.append(
            f"in {background.clipping.fraction:.0%} of the sample, which is very dim, noise is cut "
            "off at zero counts and makes ratios wrong; expose longer or raise the camera's offset"
        )
    if saturated > MUCH_SATURATION:
        found.append(f"{saturated:.0%} of the overlap is saturated")
    n_tiles = len(np.unique(background.clean.tile))
    if n_tiles < FEW_TILES:
        found.append(f"the scale rests on {n_tiles} tiles of background only")
    if correlation < 0.1:
        found.append(
            f"post and pre do not look alike (correlation {correlation:.2f}); "
            "check the registration"
        )
    return found
