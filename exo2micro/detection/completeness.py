"""Completeness against flux: recovered parts with binomial intervals, and the limits they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

_BOOTSTRAPS: Final = 200
_NARROWEST, _WIDEST = 0.02, 3.0
"""Bounds of the width of the transition, in ln(flux)."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """The flux that is found with some probability.

    Attributes
    ----------
    probability : float
        Between 0 and 1.
    flux : float or None
        Counts; None where the injected fluxes do not reach it.
    interval : tuple of float or None
        95 % interval, counts.
    """

    probability: float
    flux: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Completeness:
    """How many of the injected sources were found, by flux.

    Attributes
    ----------
    flux : numpy.ndarray
        Counts, ascending, shape ``(n,)``.
    injected, recovered : numpy.ndarray of int
        Sources per flux.
    """

    flux: Vector
    injected: NDArray[np.int64]
    recovered: NDArray[np.int64]

    @property
    def fraction(self) -> Vector:
        """Recovered over injected."""
        return self.recovered / self.injected

    def intervals(self) -> NDArray[np.float64]:
        """Return the 95 % Wilson interval of each fraction, shape ``(n, 2)``.

        References
        ----------
        Wilson 1927, J. Am. Stat. Assoc. 22, 209.
        """
        rows = [
            stats.binomtest(int(k), int(n)).proportion_ci(0.95, method="wilson")
            for k, n in zip(self.recovered, self.injected, strict=True)
        ]
        return np.array([(row.low, row.high) for row in rows])

    def curve(self) -> tuple[float, float] | None:
        """Return ``(mu, width)`` of ``Phi((ln flux - mu) / width)``, fitted by likelihood.

        None where the fractions do not rise from below to above one half.
        """
        return _fit(self.flux, self.injected, self.recovered)

    def limits(self, probabilities: Sequence[float], seed: int = 0) -> list[Limit]:
        """Return the fluxes found with given probabilities; intervals from a bootstrap."""
        fitted = self.curve()
        if fitted is None:
            return [Limit(p, None, None) for p in probabilities]
        expected = stats.norm.cdf((np.log(self.flux) - fitted[0]) / fitted[1])
        rng = np.random.default_rng(seed)
        draws = [
            _fit(self.flux, self.injected, rng.binomial(self.injected, expected))
            for _ in range(_BOOTSTRAPS)
        ]
        curves = np.array([d for d in draws if d is not None])
        return [self._limit(p, fitted, curves) for p in probabilities]

    def _limit(self, probability: float, fitted: tuple[float, float], curves: Vector) -> Limit:
        quantile = float(stats.norm.ppf(probability))
        flux = float(np.exp(fitted[0] + quantile * fitted[1]))
        if self.intervals()[:, 1].max() < probability or flux > 2 * self.flux.max():
            return Limit(probability, None, None)
        low, high = np.quantile(np.exp(curves[:, 0] + quantile * curves[:, 1]), (0.025, 0.975))
        return Limit(probability, flux, (float(low), float(high)))


def _fit(
    flux: Vector, injected: NDArray[np.int64], recovered: NDArray[np.int64]
) -> tuple[float, float] | None:
    """Return the most likely midpoint and width in ln(flux)."""
    fraction = recovered / injected
    if not (fraction.min() < 0.5 < fraction.max()):
        return None
    place = np.log(flux)

    def cost(values: Vector) -> float:
        chance = stats.norm.cdf((place - values[0]) / np.exp(values[1]))
        chance = np.clip(chance, 1e-4, 1 - 1e-4)
        likelihood = recovered * np.log(chance) + (injected - recovered) * np.log1p(-chance)
        return -float(likelihood.sum())

    start = (float(place[np.argmin(np.abs(fraction - 0.5))]), float(np.log(0.3)))
    bounds = [(place[0] - 2, place[-1] + 2), (np.log(_NARROWEST), np.log(_WIDEST))]
    found = optimize.minimize(cost, start, method="Nelder-Mead", bounds=bounds)
    return float(found.x[0]), float(np.exp(found.x[1]))
