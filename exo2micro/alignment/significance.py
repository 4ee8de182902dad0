"""Significance: which matches of tiles are better than matches with strangers."""

from dataclasses import dataclass, replace

import numpy as np

from exo2micro._typing import Mask, Points
from exo2micro.alignment.matching import TileMatches, match_strangers, match_tiles
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster

# A match is significant if its correlation, in Fisher's z, exceeds the 99 % quantile of matches
# with strangers by this factor; with normal-like tails that is one false match in some 10 000.
NULL_QUANTILE = 0.99
NULL_FACTOR = 1.3
# A tile whose texture is this much brighter or fainter, relative to pre, than that of the others
# has locked onto something else, such as a microbe; real ratios vary by some 30 % over a slide.
LARGEST_GAIN_RATIO = 1.6


def null_threshold(strangers: TileMatches) -> float:
    """Return the correlation, as Fisher's z, that matches with strangers do not reach."""
    if len(strangers.scores) == 0:
        return np.inf
    null = np.arctanh(np.clip(strangers.scores, 0, 0.999))
    return NULL_FACTOR * float(np.quantile(null, NULL_QUANTILE))


def significant(found: TileMatches, threshold: float) -> Mask:
    """Return which matches exceed the null threshold and share one brightness ratio."""
    real = found.usable & (np.arctanh(np.clip(found.scores, 0, 0.999)) > threshold)
    if not real.any():
        return real
    ratio = found.gains / float(np.median(found.gains[real]))
    return real & (ratio > 1 / LARGEST_GAIN_RATIO) & (ratio < LARGEST_GAIN_RATIO)


@dataclass(frozen=True)
class Matcher:
    """Matches tiles of one pair by one plan.

    Attributes
    ----------
    post, pre : Raster
        The images.
    transform : Transform
        Post to pre.
    plan : MatchPlan
        Tile size and search range.
    threads : int
        Threads; the result does not depend on it.
    """

    post: Raster
    pre: Raster
    transform: Transform
    plan: MatchPlan
    threads: int

    def planned(self, plan: MatchPlan) -> "Matcher":
        """Return the same with another plan."""
        return replace(self, plan=plan)

    def beyond(self, shift: Points) -> "Matcher":
        """Return the same with an alignment that is shifted, ``(dx, dy)`` in post pixels."""
        moved = self.transform @ Transform.translation(float(shift[0]), float(shift[1]))
        return replace(self, transform=moved)

    def match(self, centres: Points) -> TileMatches:
        """Return the matches of tiles, significant or not."""
        return match_tiles(
            self.post, self.pre, self.transform, centres, self.plan, threads=self.threads
        )

    def threshold(self, centres: Points) -> float:
        """Return the null threshold that tiles matched with the surroundings of others give."""
        return null_threshold(
            match_strangers(
                self.post, self.pre, self.transform, centres, self.plan, threads=self.threads
            )
        )

    def significant(self, centres: Points, threshold: float) -> TileMatches:
        """Return the significant matches of tiles."""
        found = self.match(centres)
        return found.select(significant(found, threshold))
