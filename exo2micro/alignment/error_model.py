"""The alignment error over a sample, estimated from noisy held-out tiles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.alignment.field_error import FieldError

Array = NDArray[np.float64]
Interval = tuple[float, float]

# A tile is off, not noisy, beyond this many of its errors and of pixels.
OUTLIER_SIGMAS = 5.0
OUTLIER_PX = 1.0
# The fit has used about three times as many tiles as the certificate; the coefficients of a mapping
# fitted to them scatter, in the frame of the tiles, by this much more than their mean would.
FIT_TILES_PER_TILE = 3.0
COEFFICIENT_PER_MEAN = 1.5
# Off are some tiles among many; where most would be, it is the field that is large.
MOST_OFF = 0.5
# The scatter to expect beyond the tiles' own errors, relative to these. With few tiles it decides:
# `benchmarks/registration.py --coverage` measures what part of the bounds cover.
SCATTER_PER_PRECISION = 0.6
# Sizes that the parts of the error may have, in units of those expected. The field is drawn given
# its size, the scatter is the size itself and needs finer steps.
STEPS = 2.0 ** np.arange(-2, 11, 2)
SCATTER_STEPS = 2.0 ** np.arange(-3, 10.1, 0.25)
LINEAR_TERMS = 3
# The error of a displacement field, in units of what its fit says: on synthetic pairs with exact
# truth 0.7 to 2.4, as the smoothing that predicts tiles best is too smooth at some places.
FIELD_SIZE = 1.4
FIELD_STEPS = 2.0 ** np.arange(-2, 3.1, 0.5)
NEGLIGIBLE = 1e-5
# Confidence of the bound. The error of a displacement field crowds in few places, so that its 95 %
# quantile scatters more than draws say: draws of 0.98 cover 95 % of such pairs.
CONFIDENCE, FIELD_CONFIDENCE = 0.95, 0.98
DRAWS = 500
SEED = 20250102


class ErrorModel:
    """The alignment error over the sample, seen through noisy held-out tiles.

    The error is a smooth field plus a scatter that the tiles' own errors do not explain, plus tiles
    that are plainly off. The smooth field is a plane and a quadratic polynomial; of an alignment
    with a displacement field, it is a plane and the uncertainty of that field as its fit knows it.
    The sizes of both parts and of the scatter are unknown; each has a half-Cauchy prior [1]_
    around what a fit to such tiles leaves, wide enough for the tiles to overrule it. Draws from
    the posterior, over the whole sample, give the distribution of the 95 % quantile; it is wide
    where the sample reaches beyond the tiles.

    Parameters
    ----------
    shifts : numpy.ndarray
        Measured errors, shape ``(n, 2)``, pixels.
    positions : numpy.ndarray
        Where they were measured, shape ``(n, 2)``.
    variances : numpy.ndarray
        Of the measurements per axis, shape ``(n,)``.
    places : numpy.ndarray
        Points spread evenly over the sample, shape ``(m, 2)``.
    field : FieldError, optional
        Uncertainty of the displacement field that is part of the alignment.

    References
    ----------
    .. [1] A. Gelman, "Prior distributions for variance parameters in hierarchical models",
       Bayesian Analysis 1 (2006) 515-534.
    """

    def __init__(
        self,
        shifts: Points,
        positions: Points,
        variances: Array,
        places: Points,
        field: FieldError | None = None,
    ) -> None:
        places = places if len(places) else positions
        off = off_from_others(shifts, variances + field_variances(field, positions))
        if off.mean() > MOST_OFF:
            off[:] = False
        self.off_lengths = np.hypot(*shifts[off].T)
        self.count = len(shifts)
        self.tail = 1.0 - (CONFIDENCE if field is None else FIELD_CONFIDENCE)
        good = ~off
        known = None if field is None else field.over(places)
        basis, self.places = (_terms(p, positions[good], known) for p in (positions[good], places))
        self.posterior = _Posterior.of(
            basis, shifts[good], variances[good], of_fit=known is not None
        )

    def quantiles(self) -> tuple[float, float, float]:
        """Return the median, the 95 % quantile, and the 95 % upper limit of the latter, pixels."""
        middle, upper = self._draws
        bound = np.quantile(upper, 1 - self.tail)
        return float(np.median(middle)), float(np.median(upper)), float(bound)

    def intervals(self) -> tuple[Interval, Interval]:
        """Return the 90 % intervals of the median and of the 95 % quantile, pixels."""
        ends = np.quantile(self._draws, (self.tail, 1 - self.tail), axis=1)
        (low, high), (low_upper, high_upper) = ends.T
        return (float(low), float(high)), (float(low_upper), float(high_upper))

    @cached_property
    def _draws(self) -> Array:
        """Median and 95 % quantile over the sample of each draw from the posterior."""
        generator = np.random.default_rng(SEED)
        lengths = np.empty((DRAWS, len(self.places)))
        found = self.posterior
        for draw, cell in enumerate(generator.choice(len(found.weights), DRAWS, p=found.weights)):
            theta = found.means[cell]
            theta = theta + found.roots[cell] @ generator.normal(size=theta.shape)
            off = generator.binomial(self.count, len(self.off_lengths) / self.count)
            lengths[draw] = self._lengths(theta, found.scatters_px[cell], off, generator)
        return np.asarray(np.quantile(lengths, (0.5, 0.95), axis=1))

    def _lengths(
        self, field: Array, scatter_px: float, off: int, generator: np.random.Generator
    ) -> Array:
        """Return one draw of the error's length over the sample, `off` of the tiles being off.

        What lies off has an exponential tail of unknown length: few tiles do not show the largest.
        """
        errors = self.places @ field
        errors += scatter_px * generator.normal(size=errors.shape)
        lengths = np.hypot(*errors.T)
        share = round(off / self.count * len(lengths))
        if share:
            beyond = float((self.off_lengths - OUTLIER_PX).sum())
            tail = (beyond + OUTLIER_PX) / generator.gamma(len(self.off_lengths) + 1)
            lengths[:share] = OUTLIER_PX + generator.exponential(tail, share)
        return np.asarray(lengths)


def field_variances(field: FieldError | None, positions: Points) -> Array:
    """Return by what variance, per axis, a displacement field may be off; 0 without one."""
    if field is None:
        return np.zeros(len(positions))
    return FIELD_SIZE**2 * field.variance(positions)


def off_from_others(
    shifts: Points, variances: Array, level: Points | None = None
) -> NDArray[np.bool_]:
    """Return which tiles are plainly off, seen from a level or from the middle of all."""
    level = np.median(shifts, axis=0) if level is None else level
    apart = np.hypot(*(shifts - level).T)
    return np.asarray(apart > np.maximum(OUTLIER_PX, OUTLIER_SIGMAS * np.sqrt(variances)))


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Combinations of sizes: their probability and scatter, and the field given each."""

    weights: Array
    scatters_px: Array
    means: Array
    roots: Array

    @classmethod
    def of(cls, basis: Array, shifts: Points, variances: Array, *, of_fit: bool) -> "_Posterior":
        """Weigh all combinations of the sizes of the plane, of what bends, and of the scatter.

        `of_fit` tells that what bends is the uncertainty of a displacement field.
        """
        precision = float(np.sqrt(np.median(variances)))
        expected = COEFFICIENT_PER_MEAN * precision / np.sqrt(FIT_TILES_PER_TILE * len(shifts))
        steps, size = (FIELD_STEPS, FIELD_SIZE) if of_fit else (STEPS, expected)
        plane, bend = (part.ravel() for part in np.meshgrid(STEPS, steps))
        counts = (LINEAR_TERMS, basis.shape[1] - LINEAR_TERMS)
        sizes = np.repeat([plane * expected, bend * size], counts, axis=0).T
        prior = _log_prior(plane) + _log_prior(bend)
        parts = []
        for scatter in SCATTER_STEPS:
            scatter_px = scatter * SCATTER_PER_PRECISION * precision
            weights = 1.0 / (variances + scatter_px**2)
            alone = float(np.log(weights).sum() - 0.5 * (weights @ shifts**2).sum())
            log, means, roots = _given_scatter(basis, shifts, weights, sizes)
            log += alone + prior + _log_prior(scatter)
            parts.append((log, np.full(len(log), scatter_px), means, roots))
        logs, scatters, means, roots = (np.concatenate(part) for part in zip(*parts, strict=True))
        weights = np.exp(logs - logs.max())
        kept = weights > NEGLIGIBLE
        weights = weights[kept] / weights[kept].sum()
        return cls(weights, scatters[kept], means[kept], roots[kept])


def _given_scatter(
    basis: Array, shifts: Points, weights: Array, sizes: Array
) -> tuple[Array, Array, Array]:
    """Return log-likelihoods, mean fields and roots of their covariances for priors of some sizes.

    The likelihood lacks what does not depend on the sizes.
    """
    information = (basis * weights[:, None]).T @ basis
    right = sizes[:, :, None] * ((basis * weights[:, None]).T @ shifts)
    inner = np.eye(basis.shape[1]) + sizes[:, :, None] * information * sizes[:, None, :]
    root = np.linalg.cholesky(inner)
    solved = np.linalg.solve(inner, right)
    log = 0.5 * (right * solved).sum(axis=(1, 2))
    log -= 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    roots = sizes[:, :, None] * np.linalg.inv(root).transpose(0, 2, 1)
    return log, sizes[:, :, None] * solved, roots


def _log_prior(step: Array | float) -> Array | float:
    """Return the half-Cauchy density of a size, for steps that are even in its logarithm."""
    return np.log(step) - np.log1p(np.square(step))


def _terms(points: Points, positions: Points, field: FieldError | None) -> Array:
    """Return the terms of the error at points: a plane, and what bends.

    Polynomials are in the frame of the tiles' positions.
    """
    centre = positions.mean(axis=0)
    radius = np.abs(positions - centre).max() or 1.0
    u, v = ((points - centre) / radius).T
    bend = np.column_stack([u * u, u * v, v * v]) if field is None else field.at(points)
    return np.column_stack([np.ones_like(u), u, v, bend])
