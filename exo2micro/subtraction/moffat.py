"""A Moffat profile fitted to the distribution of log-ratios."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from exo2micro.subtraction.statistics import MAD_TO_SIGMA, Vector, tukey_location, weighted_quantile

RANGE_SIGMA: Final = 5.0
"""Half the fitted range in robust standard deviations; extremes never set it."""

BINS_PER_SIGMA: Final = 5
"""Bins this fine bias a mode by less than 1 % of a standard deviation."""


@dataclass(frozen=True)
class MoffatFit:
    """``height * (1 + ((x - centre) / width)**2) ** -beta``.

    Attributes
    ----------
    edges : numpy.ndarray
        Bin edges in ``log(post / pre)``.
    counts, fitted : numpy.ndarray
        Weight per bin, in numbers of equivalent blocks, and the profile.
    goodness : float
        Fraction of the variance of the counts that the profile explains, 0..1.
    """

    centre: float
    width: float
    beta: float
    height: float
    edges: Vector
    counts: Vector
    fitted: Vector
    goodness: float

    def score(self, distance: Vector) -> Vector:
        """Return the derivative of the log profile at distances from the centre."""
        result: Vector = distance / (self.width**2 + np.square(distance))
        return result


def histogram_edges(values: Vector, weights: Vector) -> Vector:
    """Return bin edges from robust quantiles of the distribution."""
    centre = tukey_location(values, weights)
    spread = MAD_TO_SIGMA * weighted_quantile(np.abs(values - centre), weights, 0.5)
    spread = max(spread, 1e-5)
    half = int(RANGE_SIGMA * BINS_PER_SIGMA)
    return np.asarray(centre + spread / BINS_PER_SIGMA * np.arange(-half, half + 1), np.float64)


def fit_moffat(edges: Vector, counts: Vector) -> MoffatFit | None:
    """Fit the profile to a histogram; None if the optimiser fails.

    Bins are weighted by the inverse of their expected variance, taken from smoothed counts.

    References
    ----------
    Moffat 1969, Astron. Astrophys. 3, 455.
    """
    from scipy import optimize

    centres = 0.5 * (edges[1:] + edges[:-1])
    spread = (edges[-1] - edges[0]) / (2.0 * RANGE_SIGMA)
    smooth = np.convolve(np.pad(counts, 2, mode="edge"), np.ones(5) / 5.0, mode="valid")
    sigma = np.sqrt(smooth + 1.0)
    middle = float(0.5 * (edges[0] + edges[-1]))
    u = (centres - middle) / spread

    def model(p: Vector) -> Vector:
        height, at, log_width, log_beta = p
        shape = np.square((u - at) / np.exp(log_width))
        return np.asarray(height * np.exp(-np.exp(log_beta) * np.log1p(shape)), np.float64)

    start = np.array([max(float(smooth.max()), 1e-9), 0.0, np.log(2.2), np.log(2.8)])
    low = [0.0, -3.0, np.log(0.1), np.log(0.6)]
    high = [np.inf, 3.0, np.log(20.0), np.log(100.0)]

    def misfit(p: Vector) -> Vector:
        return (model(p) - counts) / sigma

    try:
        found = optimize.least_squares(
            misfit,
            start,
            bounds=(low, high),
            x_scale=[start[0], 0.1, 0.3, 0.3],
        )
    except ValueError:
        return None
    if not found.success:
        return None
    fitted = model(found.x)
    rest = float(np.sum(np.square((counts - fitted) / sigma)))
    noise = float(np.sum(counts / np.square(sigma)))
    total = float(np.sum(np.square((counts - counts.mean()) / sigma)))
    goodness = 1.0 - max(0.0, rest - noise) / max(total, 1e-12)
    height, at, log_width, log_beta = found.x
    return MoffatFit(
        middle + float(at) * spread,
        float(np.exp(log_width)) * spread,
        float(np.exp(log_beta)),
        float(height),
        edges,
        counts,
        fitted,
        float(np.clip(goodness, 0.0, 1.0)),
    )


def resampled_centres(fit: MoffatFit, counts: Vector) -> Vector:
    """Return the most likely centre for each of many histograms, with the shape held fixed.

    Parameters
    ----------
    fit : MoffatFit
        Gives width and exponent.
    counts : numpy.ndarray
        Shape ``(replicates, bins)``.
    """
    at = 0.5 * (fit.edges[1:] + fit.edges[:-1])
    centre = np.full(len(counts), fit.centre)
    for _ in range(12):
        distance = at[None, :] - centre[:, None]
        weight = counts / (fit.width**2 + np.square(distance))
        centre = centre + np.sum(weight * distance, axis=1) / np.sum(weight, axis=1)
    return np.asarray(centre, dtype=np.float64)
