"""Places so dim that their noise is cut off at zero counts: their averages are too bright."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from exo2micro._typing import Mask
from exo2micro.subtraction.blocks import Blocks, block_averages
from exo2micro.subtraction.patches import PatchStack

ZERO_COUNTS: Final = 0.5
"""Less than this many counts is written as zero; resampled images hold values between."""

CLIPPED_COUNTS: Final = 0.3
"""Counts by which a pixel that may be cut off is too bright: 0.4 of a read noise of 0.8."""

MOST_BIAS: Final = 0.001
"""Relative excess of an average from which on blocks of that brightness give no ratio."""

BLOCKS_PER_CLASS: Final = 60
MOST_CLASSES: Final = 24

LEAST_KEPT: Final = 0.3
"""Fraction of the sample that gives ratios in any case, said in words."""


@dataclass(frozen=True)
class Clipping:
    """Which blocks are bright enough to give a ratio.

    Attributes
    ----------
    level : float
        Brightness of pre below which blocks are left out, counts.
    fraction : float
        Fraction of the sample's blocks that are cut off by more than `MOST_BIAS`, those that had
        to be kept included.
    """

    level: float = -np.inf
    fraction: float = 0.0

    @property
    def is_too_much(self) -> bool:
        """Whether blocks that are cut off had to be kept."""
        return self.fraction > 1.0 - LEAST_KEPT

    def without(self, blocks: Blocks) -> Blocks:
        """Return the blocks that give a ratio, chosen by the brightness of their neighbours."""
        return blocks if np.isneginf(self.level) else blocks.take(blocks.level >= self.level)


def find_clipping(stack: PatchStack, sample: Mask, every: Blocks) -> Clipping:
    """Find the brightness above which pixels of zero counts do not matter.

    Parameters
    ----------
    stack : PatchStack
        The patches, in counts.
    sample : numpy.ndarray of bool
        Pixels on the sample.
    every : Blocks
        All blocks of the sample.
    """
    if float(stack.post[sample].min(initial=0.0)) < 0:
        return Clipping()
    images = (stack.post, stack.pre)
    post, pre = ((image < np.float32(ZERO_COUNTS)).astype(np.float32) for image in images)
    if not post[sample].any() and not pre[sample].any():
        return Clipping()
    shares = block_averages(replace(stack, post=post, pre=pre), sample, sample, 0.5)
    n_classes = int(np.clip(len(every) // BLOCKS_PER_CLASS, 1, MOST_CLASSES))
    classes = np.array_split(np.argsort(every.level, kind="stable"), n_classes)
    bad = [k for k, one in enumerate(classes) if _bias(every.take(one), shares.take(one))]
    if not bad:
        return Clipping()
    lost = sum(len(one) for one in classes[: bad[-1] + 1]) / len(every)
    ranked = np.sort(every.level)
    first = int(min(lost, 1.0 - LEAST_KEPT) * len(every))
    return Clipping(float(ranked[min(first, len(ranked) - 1)]), lost)


def _bias(blocks: Blocks, shares: Blocks) -> bool:
    """Tell whether averages of some blocks are too bright by more than a ratio may be wrong."""
    excess = [
        CLIPPED_COUNTS * float(share.mean()) / max(float(light.mean()), ZERO_COUNTS)
        for share, light in ((shares.post, blocks.post), (shares.pre, blocks.pre))
    ]
    return max(excess) > MOST_BIAS
