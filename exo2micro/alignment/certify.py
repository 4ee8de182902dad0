"""Certification: measure an alignment on tiles that no fit has used."""

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points
from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.matching import (
    TileMatches,
    match_strangers,
    match_tiles,
    tile_reach,
)
from exo2micro.alignment.outline import sample_mask
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.verdict import Level, Verdict

# A match is significant if its correlation, in Fisher's z, exceeds the 99 % quantile of matches
# with strangers by this factor; with normal-like tails that is one false match in some 10 000.
NULL_QUANTILE = 0.99
NULL_FACTOR = 1.3
# A tile whose texture is this much brighter or fainter, relative to pre, than that of the others
# has locked onto something else, such as a microbe; real ratios vary by some 30 % over a slide.
LARGEST_GAIN_RATIO = 1.6
# The estimated errors of tiles are this much too small (measured on synthetic pairs with exact
# truth: 1.25 on plain texture, 1.4 dim or with low texture, 1.6 among 15 % microbes).
PRECISION_FACTOR = 1.3
# A tile is off, not noisy, beyond this many of its errors and of pixels.
OUTLIER_SIGMAS = 5.0
OUTLIER_PX = 1.0
# What the verdict asks for.
PASS_BOUND_PX = 0.5
WRONG_PX = 2.0
LEAST_TILES = 10
LEAST_COVERAGE = 0.5
LEAST_SUPPORT = 0.5
# Enough tiles for the median of the forward-backward distance.
RETURNING_TILES = 40
DRAWS = 400
SEED = 20250102
COVERAGE_OVERVIEW_PX = 400


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


def certify(
    post: Overviews,
    pre: Overviews,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    spacing_px: float,
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
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Certificate
        With its verdict.
    """
    found = match_tiles(post.raster, pre.raster, transform, centres, plan, threads=threads)
    strangers = match_strangers(post.raster, pre.raster, transform, centres, plan, threads=threads)
    kept = found.select(significant(found, null_threshold(strangers)))
    linear = np.array([transform.linear(c) for c in kept.centres]).reshape(-1, 2, 2)
    residuals = np.einsum("nij,nj->ni", linear, kept.shifts)
    precisions = kept.precisions * PRECISION_FACTOR
    errors = ErrorModel.of(kept) if len(kept.centres) >= LEAST_TILES else None
    median, p95, bound = errors.quantiles() if errors else (np.inf, np.inf, np.inf)
    coverage = _coverage(post, pre, transform, kept.centres, 1.6 * spacing_px)
    verdict = _verdict(kept, len(centres), median, bound, coverage)
    return Certificate(
        positions=kept.centres,
        residuals=residuals,
        precisions=precisions,
        median_px=median,
        p95_px=p95,
        bound_px=bound,
        coverage=coverage,
        forward_backward_px=_forward_backward(
            post.raster, pre.raster, transform, kept, plan, threads
        ),
        verdict=verdict,
    )


class ErrorModel:
    """The alignment error over the sample, seen through noisy held-out tiles.

    The error is a smooth field (a quadratic polynomial, estimated by least squares with its
    covariance) plus an excess scatter that the tiles' own errors do not explain, plus tiles that
    are plainly off. Drawing all three, and the tiles with replacement, gives the distribution of
    the 95 % quantile.
    """

    def __init__(self, shifts: Points, positions: Points, variances: NDArray[np.float64]) -> None:
        lengths = np.hypot(*shifts.T)
        limit = np.maximum(OUTLIER_PX, OUTLIER_SIGMAS * np.sqrt(variances))
        off = np.hypot(*(shifts - np.median(shifts, axis=0)).T) > limit
        self.off_lengths = lengths[off]
        self.count = len(shifts)
        good = ~off
        self.basis = _polynomial(positions[good])
        weights = 1.0 / (variances[good] + float(np.median(variances)))
        normal = np.linalg.inv((self.basis * weights[:, None]).T @ self.basis)
        self.field = normal @ (self.basis * weights[:, None]).T @ shifts[good]
        spare = max(0.2, 1.0 - self.basis.shape[1] / max(1, int(good.sum())))
        rest = shifts[good] - self.basis @ self.field
        square = (rest**2).mean(axis=1) / spare
        self.excess, self.excess_error = _excess(square, variances[good])
        spread = variances[good] + self.excess
        self.covariance = (
            normal @ ((self.basis * (weights**2 * spread)[:, None]).T @ self.basis) @ normal
        )

    @classmethod
    def of(cls, kept: TileMatches) -> "ErrorModel":
        """Return the model of significant held-out matches."""
        return cls(kept.shifts, kept.centres, (kept.precisions * PRECISION_FACTOR) ** 2)

    def quantiles(self) -> tuple[float, float, float]:
        """Return the median, the 95 % quantile, and the 95 % upper limit of the latter, pixels."""
        generator = np.random.default_rng(SEED)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        pick = generator.integers(0, self.count, (DRAWS, self.count))
        upper, middle = [], []
        for draw in range(DRAWS):
            theta = self.field + root @ generator.normal(size=self.field.shape)
            excess = max(0.0, self.excess + self.excess_error * generator.normal())
            upper.append(self._lengths(theta, excess, generator)[pick[draw]])
        for _ in range(20):
            middle.append(self._lengths(self.field, self.excess, generator))
        pooled = np.concatenate(middle)
        bound = np.quantile(np.quantile(np.array(upper), 0.95, axis=1), 0.95)
        return float(np.median(pooled)), float(np.quantile(pooled, 0.95)), float(bound)

    def _lengths(
        self, field: NDArray[np.float64], excess: float, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return one draw of the error's length at every tile."""
        errors = self.basis @ field
        errors = errors + np.sqrt(excess) * generator.normal(size=errors.shape)
        return np.concatenate([np.hypot(*errors.T), self.off_lengths])


def _excess(square: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[float, float]:
    """Return the variance per axis beyond the tiles' own, and its error, by weighted means."""
    excess = max(0.0, float(np.median(square) / np.log(2) - np.median(variances)))
    error = 0.0
    for _ in range(3):
        weights = 1.0 / (variances + excess + 1e-6) ** 2
        weights /= weights.sum()
        excess = max(0.0, float((weights * (square - variances)).sum()))
        error = float(np.sqrt((weights**2 * (square - variances - excess) ** 2).sum()))
    return excess, error


def _polynomial(positions: Points) -> NDArray[np.float64]:
    """Return quadratic terms of positions, linear ones where the tiles are few."""
    centred = positions - positions.mean(axis=0)
    u, v = (centred / (np.abs(centred).max() or 1.0)).T
    terms = [np.ones_like(u), u, v]
    if len(positions) >= 24:
        terms += [u * u, u * v, v * v]
    return np.column_stack(terms)


def _coverage(
    post: Overviews, pre: Overviews, transform: Transform, tiles: Points, radius_px: float
) -> float:
    """Return the part of the sample, seen in both images, within a radius of a tile."""
    factor = max(i.factor_for(COVERAGE_OVERVIEW_PX) for i in (post, pre))
    sample = sample_mask(post.at(factor))
    ny, nx = sample.shape
    there = sample_mask(pre.at(factor)).astype(np.uint8)
    small = transform.scaled(factor, factor).matrix
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    sample &= cv2.warpPerspective(there, small, (nx, ny), flags=flags) > 0
    near = np.zeros((ny, nx), np.uint8)
    for x, y in (tiles - (factor - 1) / 2) / factor:
        cv2.circle(near, (round(x), round(y)), max(1, round(radius_px / factor)), 1, -1)
    return float((near[sample] > 0).mean()) if sample.any() else 0.0


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


def _verdict(
    kept: TileMatches, tried: int, median: float, bound: float, coverage: float
) -> Verdict:
    """Return the verdict and its reasons in words."""
    count = len(kept.centres)
    agreeing = int((np.hypot(*kept.shifts.T) < WRONG_PX).sum())
    if agreeing < max(4, LEAST_SUPPORT * count):
        return Verdict.fail(
            f"the alignment is not supported: of {tried} held-out tiles, {count} match and "
            f"{agreeing} of these lie within {WRONG_PX:g} px of where the alignment puts them"
        )
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
    if coverage < LEAST_COVERAGE:
        reasons.append(f"held-out tiles certify only {100 * coverage:.0f} % of the sample")
    return Verdict(Level.CHECK, tuple(reasons)) if reasons else Verdict()
