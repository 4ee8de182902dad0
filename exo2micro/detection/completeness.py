"""Completeness against flux: recovered parts with binomial intervals, and the limits they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

_BOOTSTRAPS: Final = 400
_ROUNDS: Final = 40
_STEP: Final = 1.0
"""Longest step of a round: keeps the first ones, from a rough start, from leaving the scene."""

_LEAST: Final = 1e-6
_NARROWEST, _WIDEST = 0.1, 3.0
"""Bounds of the width of the transition, in ln(flux); noise alone makes it 0.2 at 5 sigma."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """The flux that is found with some probability.

    Attributes
    ----------
    probability : float
        Between 0 and 1.
    flux : float or None
        Counts; None where the injected fluxes do not bracket it.
    interval : tuple of float or None
        95 % interval, counts.
    above, below : float or None
        Where they do not: the largest injected flux, if even that is found less often, or the
        smallest, if even that is found as often; both None if the fractions tell neither.
    """

    probability: float
    flux: float | None = None
    interval: tuple[float, float] | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.flux is not None and self.interval is not None:
            low, high = self.interval
            return f"at {self.flux:.4g} counts (95 % interval {low:.4g} to {high:.4g})"
        if self.above is not None:
            return f"at no flux up to {self.above:.4g} counts, the brightest that was injected"
        if self.below is not None:
            return f"already at {self.below:.4g} counts, the faintest that was injected"
        return "at a flux that could not be determined"


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
        from scipy import stats

        rows = [
            stats.binomtest(int(k), int(n)).proportion_ci(0.95, method="wilson")
            for k, n in zip(self.recovered, self.injected, strict=True)
        ]
        return np.array([(row.low, row.high) for row in rows])

    def curve(self) -> tuple[float, float] | None:
        """Return ``(mu, width)`` of ``Phi((ln flux - mu) / width)``, fitted by likelihood.

        None where the fractions do not rise from below to above one half.
        """
        midpoint, width = _fit(self.flux, self.injected, self.recovered[None])[0]
        return None if np.isnan(midpoint) else (float(midpoint), float(width))

    def misfit(self) -> float:
        """Return the probability that a sample of the fitted curve lies as far from it as this one.

        By the deviance, which is chi-squared; 1 where there is no curve. If it is small, some
        sources are lost or found whatever their flux.
        """
        from scipy import stats

        fitted = self.curve()
        if fitted is None or self.flux.size <= 2:
            return 1.0
        expected = special.ndtr((np.log(self.flux) - fitted[0]) / fitted[1])
        expected = np.clip(expected, _LEAST, 1 - _LEAST)
        deviance = special.rel_entr(self.fraction, expected) + special.rel_entr(
            1 - self.fraction, 1 - expected
        )
        total = 2.0 * float(np.sum(self.injected * deviance))
        return float(stats.chi2.sf(total, self.flux.size - 2))

    def limits(self, probabilities: Sequence[float], seed: int = 0) -> list[Limit]:
        """Return the fluxes found with given probabilities; intervals from a bootstrap."""
        fitted = self.curve()
        if fitted is None:
            return [self._out_of_range(p) for p in probabilities]
        expected = special.ndtr((np.log(self.flux) - fitted[0]) / fitted[1])
        rng = np.random.default_rng(seed)
        draws = rng.binomial(self.injected, expected, (_BOOTSTRAPS, self.flux.size))
        curves = _fit(self.flux, self.injected, draws)
        curves = curves[np.isfinite(curves[:, 0])]
        return [self._limit(p, fitted, curves) for p in probabilities]

    def _limit(self, probability: float, fitted: tuple[float, float], curves: Vector) -> Limit:
        quantile = float(special.ndtri(probability))
        flux = float(np.exp(fitted[0] + quantile * fitted[1]))
        if flux < self.flux.min() or not self._is_reached(probability, flux):
            return self._out_of_range(probability)
        low, high = np.quantile(np.exp(curves[:, 0] + quantile * curves[:, 1]), (0.025, 0.975))
        return Limit(probability, flux, (float(low), float(high)))

    def _is_reached(self, probability: float, flux: float) -> bool:
        """Tell whether all sources that are brighter together allow the probability."""
        from scipy import stats

        brighter = self.flux >= flux
        if not brighter.any():
            return False
        found, of = int(self.recovered[brighter].sum()), int(self.injected[brighter].sum())
        interval = stats.binomtest(found, of).proportion_ci(0.95, method="wilson")
        return bool(interval.high >= probability)

    def _out_of_range(self, probability: float) -> Limit:
        """Return on which side of the injected fluxes a limit lies."""
        low, high = self.intervals().T
        if low[0] >= probability:
            return Limit(probability, below=float(self.flux[0]))
        if self.fraction[-1] < probability or high.max() < probability:
            return Limit(probability, above=float(self.flux[-1]))
        return Limit(probability)


def _fit(flux: Vector, injected: NDArray[np.int64], recovered: NDArray[np.int64]) -> Vector:
    """Return the most likely midpoint and width in ln(flux), for each row of `recovered`.

    Probit regression by Fisher scoring; NaN where the fractions do not rise through one half.
    """
    fraction = recovered / injected
    centre = float(np.log(flux).mean())
    place = np.log(flux) - centre
    start = special.ndtri((recovered + 0.5) / (injected + 1))
    slope = np.clip((start @ place) / (place @ place), 1 / _WIDEST, 1 / _NARROWEST)
    level = start.mean(axis=1)
    for _ in range(_ROUNDS):
        argument = level[:, None] + slope[:, None] * place
        chance = np.clip(special.ndtr(argument), _LEAST, 1 - _LEAST)
        density = np.exp(-0.5 * argument**2) / np.sqrt(2 * np.pi)
        pull = (recovered - injected * chance) * density / (chance * (1 - chance))
        weight = injected * density**2 / (chance * (1 - chance)) + _LEAST
        w, wx, wxx = weight.sum(axis=1), weight @ place, weight @ place**2
        g, gx = pull.sum(axis=1), pull @ place
        determinant = w * wxx - wx * wx
        level = level + np.clip((wxx * g - wx * gx) / determinant, -_STEP, _STEP)
        slope = slope + np.clip((w * gx - wx * g) / determinant, -_STEP, _STEP)
        slope = np.clip(slope, 1 / _WIDEST, 1 / _NARROWEST)
    fitted = np.stack([centre - level / slope, 1 / slope], axis=1)
    rises = (fraction.min(axis=1) < 0.5) & (fraction.max(axis=1) > 0.5)
    return np.where(rises[:, None], fitted, np.nan)
