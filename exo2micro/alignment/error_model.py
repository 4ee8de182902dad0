"""The alignment error over a sample, estimated from noisy held-out tiles."""

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points

Array = NDArray[np.float64]

# A tile is off, not noisy, beyond this many of its errors and of pixels.
OUTLIER_SIGMAS = 5.0
OUTLIER_PX = 1.0
# Quadratic terms need this many tiles and a variance ratio (F test) of this size.
TILES_FOR_QUADRATIC = 24
LEAST_VARIANCE_RATIO = 2.5
DRAWS = 400
SEED = 20250102


class ErrorModel:
    """The alignment error over the sample, seen through noisy held-out tiles.

    The error is a smooth field (a quadratic polynomial, estimated by least squares with its
    covariance) plus an excess scatter that the tiles' own errors do not explain, plus tiles that
    are plainly off. Drawing all three over the whole sample gives the distribution of the 95 %
    quantile, which is wide where the sample reaches beyond the tiles.

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
    """

    def __init__(self, shifts: Points, positions: Points, variances: Array, places: Points) -> None:
        lengths = np.hypot(*shifts.T)
        off = np.hypot(*(shifts - np.median(shifts, axis=0)).T) > off_limit(variances)
        self.off_lengths = lengths[off]
        self.count = len(shifts)
        good = ~off
        weights = 1.0 / (variances[good] + float(np.median(variances)))
        basis, normal, self.field = _fit(positions[good], shifts[good], weights)
        self.places = _polynomial(places if len(places) else positions, positions[good])
        self.places = self.places[:, : basis.shape[1]]
        spare = max(0.2, 1.0 - basis.shape[1] / max(1, int(good.sum())))
        rest = shifts[good] - basis @ self.field
        square = (rest**2).mean(axis=1) / spare
        self.excess, self.excess_error = _excess(square, variances[good])
        spread = variances[good] + self.excess
        self.covariance = normal @ ((basis * (weights**2 * spread)[:, None]).T @ basis) @ normal

    def quantiles(self) -> tuple[float, float, float]:
        """Return the median, the 95 % quantile, and the 95 % upper limit of the latter, pixels."""
        generator = np.random.default_rng(SEED)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        upper, middle = [], []
        for _ in range(DRAWS):
            theta = self.field + root @ generator.normal(size=self.field.shape)
            excess = max(0.0, self.excess + self.excess_error * generator.normal())
            off = generator.binomial(self.count, len(self.off_lengths) / self.count)
            upper.append(np.quantile(self._lengths(theta, excess, off, generator), 0.95))
        for _ in range(20):
            middle.append(self._lengths(self.field, self.excess, len(self.off_lengths), generator))
        pooled = np.concatenate(middle)
        bound = np.quantile(upper, 0.95)
        return float(np.median(pooled)), float(np.quantile(pooled, 0.95)), float(bound)

    def _lengths(
        self, field: Array, excess: float, off: int, generator: np.random.Generator
    ) -> Array:
        """Return one draw of the error's length over the sample, `off` of the tiles being off."""
        errors = self.places @ field
        errors = errors + np.sqrt(excess) * generator.normal(size=errors.shape)
        lengths = np.hypot(*errors.T)
        share = round(off / self.count * len(lengths))
        if share:
            lengths[:share] = generator.choice(self.off_lengths, share)
        return np.asarray(lengths)


def off_limit(variances: Array) -> Array:
    """Return how far from the others a tile of some variance is plainly off, pixels."""
    return np.maximum(OUTLIER_PX, OUTLIER_SIGMAS * np.sqrt(variances))


def _excess(square: Array, variances: Array) -> tuple[float, float]:
    """Return the variance per axis beyond the tiles' own, and its error, by weighted means."""
    excess = max(0.0, float(np.median(square) / np.log(2) - np.median(variances)))
    error = 0.0
    for _ in range(3):
        weights = 1.0 / (variances + excess + 1e-6) ** 2
        weights /= weights.sum()
        excess = max(0.0, float((weights * (square - variances)).sum()))
        error = float(np.sqrt((weights**2 * (square - variances - excess) ** 2).sum()))
    return excess, error


def _fit(positions: Points, shifts: Points, weights: Array) -> tuple[Array, Array, Array]:
    """Return basis, inverse normal matrix and coefficients; quadratic only if that is significant.

    Each quadratic term widens the interval, most where the sample reaches beyond the tiles.
    """
    terms = _polynomial(positions, positions)
    fits = []
    for count in (3, 6):
        basis = terms[:, :count]
        weighted = basis * weights[:, None]
        normal = np.asarray(np.linalg.pinv(weighted.T @ basis), np.float64)
        field = normal @ weighted.T @ shifts
        loss = float((weights[:, None] * (shifts - basis @ field) ** 2).sum())
        fits.append((basis, normal, field, loss))
    spare = len(positions) - 6
    ratio = (fits[0][3] - fits[1][3]) / 3 / max(fits[1][3] / max(spare, 1), 1e-12)
    enough = len(positions) >= TILES_FOR_QUADRATIC and ratio > LEAST_VARIANCE_RATIO
    return fits[int(enough)][:3]


def _polynomial(points: Points, positions: Points) -> Array:
    """Return linear and quadratic terms of points in the frame of the tiles' positions."""
    centre = positions.mean(axis=0)
    radius = np.abs(positions - centre).max() or 1.0
    u, v = ((points - centre) / radius).T
    return np.column_stack([np.ones_like(u), u, v, u * u, u * v, v * v])
