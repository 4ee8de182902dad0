"""The canonical estimator: a Moffat profile fitted to the log-ratios of the background."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from exo2micro.subtraction.assess import Ratios, curve_of, interval_of, local_ratios, trust
from exo2micro.subtraction.moffat import (
    MoffatFit,
    fit_moffat,
    histogram_edges,
    resampled_centres,
)
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator
from exo2micro.subtraction.statistics import Vector, bootstrap_counts, tukey_location

POOR_FIT: Final = 0.8
"""Goodness below which the profile does not describe the histogram."""

BRIGHTNESS_TREND: Final = 0.015
"""Largest harmless difference of the ratio between bright and dim background; noise gives 0.4 %."""

DISAGREES: Final = 0.004
"""Distance of the profile's centre from the robust mean that only a skewed histogram shows."""


class MoffatEstimator(ScaleEstimator):
    """Centre of a Moffat profile fitted to ``log(post / pre)`` of background blocks."""

    name = "moffat"
    colour: ClassVar[str] = "#D55E00"
    order: ClassVar[int] = 0
    decides: ClassVar[bool] = True

    @classmethod
    def is_active(cls, params: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Return True: the canonical scale is always made."""
        return True

    @classmethod
    def label(cls, params: Mapping[str, Any]) -> str:  # noqa: ARG003
        """Return the empty label of the canonical difference."""
        return ""

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401, ARG002
        """Fit the profile; where it does not fit, take the robust mean and say so."""
        ratios = local_ratios(sample, sample.clean, flatten=True)
        edges = histogram_edges(ratios.log_ratio, ratios.weights)
        by_tile = _histograms(ratios, edges)
        fit = fit_moffat(edges, by_tile.sum(axis=0))
        robust = tukey_location(ratios.log_ratio, ratios.weights)
        centre, doubts = robust, _doubts(fit, robust)
        if fit is not None and not doubts:
            centre = fit.centre
        error = _bootstrap_error(fit, by_tile, edges)
        if abs(trend := ratios.trend()) > BRIGHTNESS_TREND:
            doubts += (
                f"the ratio of the brightest third of the background differs from that of the "
                f"dimmest by {100 * trend:+.1f} %: a pedestal or a camera that is not linear",
            )
        scale = float(np.exp(centre))
        interval, parts = interval_of(sample, scale, error)
        half = (interval[1] - interval[0]) / (2.0 * scale)
        verdict, messages, metrics = trust(sample, half, doubts)
        metrics["brightness_trend"] = trend
        fitted = fit.fitted if fit is not None else np.zeros(len(edges) - 1)
        return ScaleEstimate(
            name=self.name,
            label="",
            scale=scale,
            offset=sample.pedestal.offset(scale),
            interval=interval,
            goodness=fit.goodness if fit is not None else 0.0,
            n_tiles=ratios.n_tiles,
            verdict=verdict,
            messages=messages,
            curve=curve_of(edges, by_tile.sum(axis=0), fitted),
            metrics={**metrics, **parts},
        )


def _doubts(fit: MoffatFit | None, robust: float) -> tuple[str, ...]:
    """Return why the profile is not used, in words."""
    if fit is None:
        return ("the Moffat fit failed; the robust mean ratio was used",)
    if fit.goodness < POOR_FIT:
        return (
            f"the Moffat fit is poor (goodness {fit.goodness:.2f}); the robust mean ratio was used",
        )
    if abs(fit.centre - robust) > max(DISAGREES, 0.5 * fit.width / np.sqrt(fit.counts.sum())):
        return (
            f"the ratios are skewed: the Moffat centre and the robust mean differ by "
            f"{100 * abs(fit.centre - robust):.2f} %; the robust mean was used",
        )
    return ()


def _histograms(ratios: Ratios, edges: Vector) -> Vector:
    """Return one histogram per tile, ``(n_tiles, n_bins)``, in numbers of equivalent blocks."""
    n_bins = len(edges) - 1
    position = (ratios.log_ratio - edges[0]) / (edges[1] - edges[0])
    inside = (position >= 0) & (position < n_bins)
    index = ratios.tile[inside] * n_bins + position[inside].astype(np.intp)
    weights = ratios.weights[inside]
    equivalent = weights * (weights.sum() / np.sum(np.square(weights)))
    flat = np.bincount(index, weights=equivalent, minlength=ratios.n_tiles * n_bins)
    return np.asarray(flat.reshape(ratios.n_tiles, n_bins), dtype=np.float64)


def _bootstrap_error(fit: MoffatFit | None, by_tile: Vector, edges: Vector) -> float:
    """Return the relative standard error of the centre from redrawn tiles."""
    drawn = bootstrap_counts(len(by_tile)) @ by_tile
    drawn = drawn[drawn.sum(axis=1) > 0]
    if fit is not None:
        centres = resampled_centres(fit, drawn)
    else:
        middles = 0.5 * (edges[1:] + edges[:-1])
        centres = drawn @ middles / drawn.sum(axis=1)
    low, high = np.quantile(centres, [0.025, 0.975])
    return float(high - low) / (2.0 * 1.96)
