"""Verification: whether the texture of the images supports a hypothesis better than chance."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from exo2micro.alignment.deformation import apart_from_neighbours
from exo2micro.alignment.fit import Model, fit_correction
from exo2micro.alignment.held_out import HeldOutZones
from exo2micro.alignment.matching import TileMatches, match_strangers, match_tiles, tile_reach
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.tiles import choose_tiles
from exo2micro.alignment.transform import Transform

# Overview side on which hypotheses are verified.
VERIFY_OVERVIEW_PX = 640
# On long, thin images the shorter side is kept at this, four rows of tiles, as long as the longer
# one stays below that.
LEAST_SHORTER_PX = 256
LARGEST_LONGER_PX = 2560
TILE_PX = 48
CELLS = 110
# Where fewer tiles than this fit, smaller ones are used, so that more do.
ENOUGH_TILES = 40
SMALL_TILE_PX = 32
# First round: reaches what the search grid leaves open. Second round: sub-pixel.
WIDE = MatchPlan(TILE_PX, search=14, steps=0)
NARROW = MatchPlan(TILE_PX, search=4, steps=4)
# Where no affine mapping explains the tiles: neighbours under a smooth deformation.
SMOOTH = MatchPlan(TILE_PX, search=8, steps=0)
SMOOTH_TOLERANCE_PX = 2.0
WIDE_TOLERANCE_PX = 3.0
NARROW_TOLERANCE_PX = 1.5
# A match counts if it is better than this part of the matches with strangers.
NULL_QUANTILE = 0.98
# Smallest number of tiles that agree, and how far, in Poisson sigmas, above what strangers give.
LEAST_SUPPORT = 8
SUPPORT_SIGMAS = 5.0
# Fewer tiles above chance than this in the wide round end the verification.
LEAST_GAIN = 3
# On small images with few tiles, this part of the significant ones, twice what strangers give, is
# enough.
OVERWHELMING_FRACTION = 0.75
# A hypothesis supported by this part of the tiles needs no comparison with others.
CLEAR_FRACTION = 0.5


@dataclass(frozen=True, eq=False)
class Verified:
    """A hypothesis after verification.

    Attributes
    ----------
    transform : Transform
        Refined, full-resolution pixels.
    support : int
        Tiles that are significant and agree with one affine correction.
    chance : int
        The same for tiles matched with strangers.
    significant : int
        Tiles that match better than strangers do.
    tiles : int
        Tiles that were tried.
    disagreement_px : float
        Median residual of the supporting tiles in full-resolution pixels.
    """

    transform: Transform
    support: int
    chance: int
    significant: int
    tiles: int
    disagreement_px: float

    @property
    def fraction(self) -> float:
        """Part of the tiles that support the hypothesis."""
        return self.support / max(1, self.tiles)

    @property
    def accepted(self) -> bool:
        """Whether the support is beyond what strangers give."""
        limit = self.chance + SUPPORT_SIGMAS * float(np.sqrt(self.chance + 1.0))
        ordinary = self.support >= max(LEAST_SUPPORT, limit)
        agreed = self.support >= OVERWHELMING_FRACTION * self.significant
        beyond = max(2 * self.chance, LEAST_SUPPORT + LEAST_GAIN)
        return ordinary or (agreed and self.support >= beyond)

    @property
    def clear(self) -> bool:
        """Whether no other hypothesis need be looked at."""
        return self.accepted and self.fraction >= CLEAR_FRACTION


def unsupported(transform: Transform, significant: int = 0, tiles: int = 0) -> Verified:
    """Return a hypothesis that none of the tiles supports."""
    return Verified(transform, 0, 0, significant, tiles, float("inf"))


def verify_factor(post: Overviews, pre: Overviews) -> int:
    """Return the block side of the overviews on which hypotheses are verified."""
    base = post.base_factor
    longest = max(*post.raster.shape, *pre.raster.shape)
    shortest = min(*post.raster.shape, *pre.raster.shape)
    step = round(longest / (VERIFY_OVERVIEW_PX * base))
    step = min(step, shortest // (LEAST_SHORTER_PX * base))
    return base * max(1, step, -(-longest // (LARGEST_LONGER_PX * base)))


def verify(
    post: Overviews, pre: Overviews, transform: Transform, *, rounds: int = 2, threads: int
) -> Verified:
    """Refine a hypothesis on overviews and count the tiles that support it.

    Parameters
    ----------
    post, pre : Overviews
        The images.
    transform : Transform
        The hypothesis, post to pre, full-resolution pixels.
    rounds : int
        1 skips the wide round, for a hypothesis that is right to a few overview pixels.
    threads : int
        Threads; the result does not depend on it.
    """
    factor = verify_factor(post, pre)
    current = transform
    if rounds > 1:
        wide = _round(post, pre, current, factor, WIDE, "similarity", WIDE_TOLERANCE_PX, threads)
        if wide.support < max(LEAST_SUPPORT, wide.chance + LEAST_GAIN):
            return replace(wide, transform=transform, disagreement_px=float("inf"))
        current = wide.transform
    found = _round(post, pre, current, factor, NARROW, "affine", NARROW_TOLERANCE_PX, threads)
    if not found.support:
        return replace(found, transform=transform)
    if found.accepted or found.support < max(LEAST_SUPPORT, found.chance + LEAST_GAIN):
        return found
    return _as_deformed(post, pre, found, factor, threads)


def _as_deformed(
    post: Overviews, pre: Overviews, found: Verified, factor: int, threads: int
) -> Verified:
    """Count the tiles that lie where their neighbours do; return the better of both counts.

    A strong deformation of a small image leaves no affine mapping that most tiles support, yet
    each tile moves with those around it; strangers do not.
    """
    kept, strangers, tiles = _matched(post, pre, found.transform, factor, SMOOTH, threads)
    best = _best(strangers, len(kept.centres))
    support, chance = (
        int((apart_from_neighbours(some) < SMOOTH_TOLERANCE_PX).sum()) for some in (kept, best)
    )
    deformed = replace(
        found,
        support=support,
        chance=chance,
        significant=len(kept.centres),
        tiles=tiles,
    )
    return deformed if deformed.accepted else found


def _round(
    post: Overviews,
    pre: Overviews,
    transform: Transform,
    factor: int,
    plan: MatchPlan,
    model: Model,
    tolerance_px: float,
    threads: int,
) -> Verified:
    """Match tiles and strangers on one level and fit a correction."""
    significant, strangers, tiles = _matched(post, pre, transform, factor, plan, threads)
    count = len(significant.centres)
    if tiles < LEAST_SUPPORT:
        return unsupported(transform, count, tiles)
    correction = fit_correction(significant, model, tolerance_px=tolerance_px, floor_px=0.05)
    if correction is None or not correction.support:
        return unsupported(transform, count, tiles)
    chance = _support(strangers, count, model, tolerance_px)
    kept = significant.select(correction.inliers)
    residual = correction.transform(kept.centres) - (kept.centres + kept.shifts)
    small = transform.scaled(factor, factor)
    return Verified(
        (small @ correction.transform).unscaled(factor, factor),
        correction.support,
        chance,
        count,
        tiles,
        float(np.median(np.hypot(*residual.T))) * factor,
    )


def _matched(
    post: Overviews,
    pre: Overviews,
    transform: Transform,
    factor: int,
    plan: MatchPlan,
    threads: int,
) -> tuple[TileMatches, TileMatches, int]:
    """Return the tiles that match better than strangers, the strangers, and how many were tried."""
    plan = replace(plan, size=tile_size(post.at(factor).shape))
    centres = choose_tiles(post, pre, transform, size=plan.size, cells=CELLS, factor=factor)
    hidden = partial(HeldOutZones.of(post.raster.shape).hidden, factor=factor)
    small = transform.scaled(factor, factor)
    images = (post.level(factor), pre.level(factor), small, centres, plan)
    found = match_tiles(*images, hidden=hidden, threads=threads)
    strangers = match_strangers(*images, hidden=hidden, threads=threads)
    threshold = float(np.quantile(strangers.scores, NULL_QUANTILE)) if len(centres) else np.inf
    significant = found.select(found.usable & (found.scores > threshold))
    return significant, strangers, len(centres)


def tile_size(shape: tuple[int, int]) -> int:
    """Return the side of the tiles on an overview of this shape."""
    cell = 2 * tile_reach(TILE_PX)
    enough = (shape[0] // cell) * (shape[1] // cell) >= ENOUGH_TILES
    return TILE_PX if enough else SMALL_TILE_PX


def _best(strangers: TileMatches, count: int) -> TileMatches:
    """Return the strangers that match best."""
    usable = strangers.select(strangers.usable)
    return usable.select(np.argsort(-usable.scores, kind="stable")[:count])


def _support(strangers: TileMatches, count: int, model: Model, tolerance_px: float) -> int:
    """Return the inliers that the best `count` strangers give."""
    correction = fit_correction(
        _best(strangers, count), model, tolerance_px=tolerance_px, floor_px=0.05
    )
    return correction.support if correction else 0
