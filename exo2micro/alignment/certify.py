"""Certification: measure an alignment on tiles that no fit has used."""

from dataclasses import replace

import cv2
import numpy as np

from exo2micro._typing import Mask, Points
from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.error_model import ErrorModel, field_variances, off_from_others
from exo2micro.alignment.field_error import FitError
from exo2micro.alignment.matching import (
    TileMatches,
    match_tiles,
    tile_reach,
)
from exo2micro.alignment.outline import sample_mask
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.significance import Matcher
from exo2micro.alignment.strays import split_strays
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.verdict import Level, Verdict

# The estimated errors of tiles are this much too small (measured on synthetic pairs with exact
# truth: 1.25 on plain texture, 1.4 dim or with low texture, 1.6 among 15 % microbes).
PRECISION_FACTOR = 1.3
# What the verdict asks for.
PASS_BOUND_PX = 0.5
WRONG_PX = 2.0
LEAST_TILES = 10
LEAST_COVERAGE = 0.5
LEAST_SUPPORT = 0.5
# Matching there and back agrees within the tiles' errors, hundredths of a pixel; the limit is that
# of the bound.
RETURNING_PX = 0.5
# Enough tiles for the median of the forward-backward distance.
RETURNING_TILES = 40
COVERAGE_OVERVIEW_PX = 400
# Points of the sample at which the error is estimated, about.
PLACES = 400
# Where fewer of the tiles than this match over the whole search range, the others are matched
# again near the alignment, where chance gives less.
WEAK_FRACTION = 0.6
NEAR_SEARCH_PX = 3


def certify(
    post: Overviews,
    pre: Overviews,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    spacing_px: float,
    fit_error: FitError | None = None,
    threads: int,
) -> Certificate:
    """Certify an alignment on held-out tiles.

    Parameters
    ----------
    post, pre : Overviews
        The images.
    transform : Transform
        The alignment.
    centres : numpy.ndarray
        Held-out tile centres, shape ``(n, 2)``, post pixels.
    plan : MatchPlan
        Tile size and search range.
    spacing_px : float
        Typical distance between the held-out tiles.
    fit_error : FitError, optional
        What the fit of the alignment knows of its own error; None: nothing.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Certificate
        With its verdict.
    """
    known = fit_error or FitError()
    matcher = Matcher(post.raster, pre.raster, transform, plan, threads)
    kept = matcher.significant(centres, matcher.threshold(centres))
    both, factor = seen_in_both(post, pre, transform), coverage_factor(post, pre)
    doubt, misfits = _unsupported(kept, len(centres)), 0
    if doubt is None:
        variances = (PRECISION_FACTOR * kept.precisions) ** 2
        variances += field_variances(known.field, kept.centres)
        kept, misfits = split_strays(matcher, kept, variances, spacing_px)
        if len(kept.centres) < WEAK_FRACTION * len(centres):
            kept = kept.joined(_weak(matcher, kept, centres, within(both, factor, centres)))
    linear = np.array([transform.linear(c) for c in kept.centres]).reshape(-1, 2, 2)
    residuals = np.einsum("nij,nj->ni", linear, kept.shifts)
    precisions = kept.precisions * PRECISION_FACTOR
    median = p95 = bound = np.inf
    intervals = ((np.inf, np.inf),) * 2
    if len(kept.centres) >= LEAST_TILES:
        places = _places(both, factor)
        model = ErrorModel(kept.shifts, kept.centres, precisions**2, places, known.field)
        median, p95, bound = model.quantiles()
        intervals = model.intervals()
        if known.p95_px > bound:
            bound = known.p95_px
            intervals = intervals[0], (intervals[1][0], bound)
    coverage = _coverage(both, factor, kept.centres, 1.6 * spacing_px)
    returning = _forward_backward(post.raster, pre.raster, transform, kept, plan, threads)
    verdict = doubt or _verdict(kept, misfits, (median, bound), coverage, returning)
    return Certificate(
        positions=kept.centres,
        residuals=residuals,
        precisions=precisions,
        median_px=median,
        p95_px=p95,
        bound_px=bound,
        coverage=coverage,
        forward_backward_px=returning,
        verdict=verdict,
        median_interval_px=intervals[0],
        p95_interval_px=intervals[1],
    )


def _weak(matcher: Matcher, kept: TileMatches, centres: Points, on_sample: Mask) -> TileMatches:
    """Return matches, near the alignment, of tiles that chance hides over the whole range.

    Over so short a range, a match by chance lies off; what is truly off, the first round saw.
    """
    near = matcher.planned(replace(matcher.plan, search=NEAR_SEARCH_PX))
    matched = (centres[:, None] == kept.centres).all(axis=2).any(axis=1)
    found = near.significant(centres[~matched & on_sample], near.threshold(centres))
    variances = (PRECISION_FACTOR * found.precisions) ** 2
    level = np.median(kept.shifts, axis=0)
    return found.select(~off_from_others(found.shifts, variances, level))


def seen_in_both(post: Overviews, pre: Overviews, transform: Transform) -> Mask:
    """Return where both images show the sample, on an overview of post."""
    factor = coverage_factor(post, pre)
    sample = sample_mask(post.at(factor))
    ny, nx = sample.shape
    there = sample_mask(pre.at(factor)).astype(np.uint8)
    small = transform.scaled(factor, factor).matrix
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    both: Mask = sample & (cv2.warpPerspective(there, small, (nx, ny), flags=flags) > 0)
    return both


def coverage_factor(post: Overviews, pre: Overviews) -> int:
    """Return the block side of the overviews on which coverage is judged."""
    return max(image.factor_for(COVERAGE_OVERVIEW_PX) for image in (post, pre))


def within(both: Mask, factor: int, points: Points) -> Mask:
    """Return which points lie on the sample."""
    cols, rows = (points / factor).astype(int).T
    inside: Mask = both[np.clip(rows, 0, both.shape[0] - 1), np.clip(cols, 0, both.shape[1] - 1)]
    return inside


def _places(both: Mask, factor: int) -> Points:
    """Return points spread evenly over the sample, post pixels."""
    step = max(1, int(np.sqrt(both.sum() / PLACES)))
    rows, cols = np.nonzero(both[step // 2 :: step, step // 2 :: step])
    small = np.column_stack([cols, rows]) * step + step // 2
    return np.asarray(small * factor + (factor - 1) / 2, np.float64)


def _coverage(both: Mask, factor: int, tiles: Points, radius_px: float) -> float:
    """Return the part of the sample within a radius of a tile."""
    near = np.zeros(both.shape, np.uint8)
    for x, y in (tiles - (factor - 1) / 2) / factor:
        cv2.circle(near, (round(x), round(y)), max(1, round(radius_px / factor)), 1, -1)
    return float((near[both] > 0).mean()) if both.any() else 0.0


def _forward_backward(
    post: Raster,
    pre: Raster,
    transform: Transform,
    kept: TileMatches,
    plan: MatchPlan,
    threads: int,
) -> float:
    """Return the median distance of points from themselves after matching there and back."""
    if len(kept.centres) == 0:
        return float("inf")
    reach = tile_reach(plan.size)
    kept = kept.select(np.arange(0, len(kept.centres), 1 + len(kept.centres) // RETURNING_TILES))
    landed = transform(kept.centres + kept.shifts)
    whole = np.rint(landed)
    ny, nx = pre.shape
    inside = ((whole >= reach) & (whole < (nx - reach, ny - reach))).all(axis=1)
    if not inside.any():
        return float("inf")
    back = match_tiles(pre, post, transform.inverse, whole[inside], plan, threads=threads)
    returned = transform.inverse(landed[inside] + back.shifts)
    distance = np.hypot(*(returned - kept.centres[inside]).T)[back.usable]
    return float(np.median(distance)) if len(distance) else float("inf")


def _unsupported(kept: TileMatches, tried: int) -> Verdict | None:
    """Return FAIL where matching tiles do not support the alignment, CHECK where too few could.

    None where there are enough held-out tiles and those that match support the alignment.
    """
    count = len(kept.centres)
    agreeing = int((np.hypot(*kept.shifts.T) < WRONG_PX).sum())
    told = (
        f"of {tried} held-out tiles, {count} match and {agreeing} of these lie within "
        f"{WRONG_PX:g} px of where the alignment puts them"
    )
    if tried == 0:
        return Verdict.fail(f"the images are too small or too blank: {told}")
    if agreeing < max(min(4, -(-tried // 2)), LEAST_SUPPORT * count):
        return Verdict.fail(f"the alignment is not supported: {told}")
    if tried < LEAST_TILES:
        return Verdict.check(
            f"the image is too small or too blank to certify the alignment: {told}; "
            f"{LEAST_TILES} are needed"
        )
    return None


def _verdict(
    kept: TileMatches,
    misfits: int,
    figures: tuple[float, float],
    coverage: float,
    returning_px: float,
) -> Verdict:
    """Return the verdict and its reasons in words."""
    count, (median, bound) = len(kept.centres), figures
    if np.isfinite(median) and median > WRONG_PX:
        return Verdict.fail(f"the alignment is off by {median:.1f} px on half the held-out tiles")
    reasons = []
    if count < LEAST_TILES:
        reasons.append(
            f"only {count} held-out tiles have texture that matches; {LEAST_TILES} are needed to "
            "certify the alignment"
        )
    elif bound > PASS_BOUND_PX:
        reasons.append(
            f"the alignment error may reach {bound:.2f} px (95 % of the sample, 95 % confidence), "
            f"more than {PASS_BOUND_PX:g} px"
        )
    if misfits:
        reasons.append(
            f"{misfits} of {count} held-out tiles lie off the others, and their parts or "
            "neighbours confirm it: a piece of the sample may have moved (see the map of residuals)"
        )
    if count >= LEAST_TILES and not np.isfinite(returning_px):
        reasons.append("no point could be matched to pre and back")
    elif count >= LEAST_TILES and returning_px > RETURNING_PX:
        reasons.append(
            f"points matched to pre and back miss themselves by {returning_px:.2f} px (median), "
            f"more than {RETURNING_PX:g} px"
        )
    if coverage < LEAST_COVERAGE:
        reasons.append(f"held-out tiles certify only {100 * coverage:.0f} % of the sample")
    return Verdict(Level.CHECK, tuple(reasons)) if reasons else Verdict()
