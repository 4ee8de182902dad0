"""A percentile of the local ratio over the whole sample, microbes included."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from exo2micro.errors import ScaleError
from exo2micro.subtraction.assess import (
    curve_of,
    explained,
    interval_of,
    local_ratios,
    trust,
)
from exo2micro.subtraction.moffat import histogram_edges
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator
from exo2micro.subtraction.statistics import Vector, bootstrap_counts, weighted_quantile

GRID: int = 2000
"""Bins of the cumulative distribution that the bootstrap redraws."""


class PercentileEstimator(ScaleEstimator):
    """The percentile `scale_percentile` of the block ratios post/pre."""

    name = "percentile"
    parameters: ClassVar[tuple[str, ...]] = ("scale_percentile",)
    colour: ClassVar[str] = "#0072B2"
    order: ClassVar[int] = 10
    decides: ClassVar[bool] = True

    @classmethod
    def is_active(cls, params: Mapping[str, Any]) -> bool:
        """Return True if a percentile is given."""
        return params.get("scale_percentile") is not None

    @classmethod
    def label(cls, params: Mapping[str, Any]) -> str:
        """Return ``percentile_p50`` and the like."""
        value = float(params["scale_percentile"])
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
        return f"percentile_p{text}"

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401
        """Return the percentile of the ratio over all sample blocks, each counted by area."""
        value = params.get("scale_percentile")
        if value is None or not 0 <= value <= 100:
            msg = f"scale_percentile must lie within 0..100, got {value!r}; give one or use None"
            raise ScaleError(msg)
        ratios = local_ratios(sample, sample.every, flatten=sample.is_corrected)
        area = np.ones(len(ratios.log_ratio))
        centre = weighted_quantile(ratios.log_ratio, area, float(value) / 100.0)
        scale = float(np.exp(centre))
        error = _bootstrap_error(ratios.log_ratio, ratios.tile, ratios.n_tiles, float(value) / 100)
        interval, parts = interval_of(sample, scale, error)
        half = (interval[1] - interval[0]) / (2.0 * scale)
        offset = sample.pedestal.offset(scale)
        verdict, messages, metrics = trust(sample, half, ())
        edges = histogram_edges(ratios.log_ratio, area)
        counts = np.histogram(ratios.log_ratio, edges)[0]
        return ScaleEstimate(
            name=self.name,
            label=self.label(params),
            scale=scale,
            offset=offset,
            interval=interval,
            goodness=explained(sample, scale, offset),
            n_tiles=ratios.n_tiles,
            verdict=verdict,
            messages=messages,
            curve=curve_of(edges, counts.astype(np.float64), counts.astype(np.float64)),
            metrics={**metrics, **parts},
        )


def _bootstrap_error(
    values: Vector, tile: np.ndarray[Any, np.dtype[np.intp]], n_tiles: int, quantile: float
) -> float:
    """Return the standard error of a quantile from redrawn tiles."""
    edges = np.quantile(values, np.linspace(0, 1, GRID + 1))
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, GRID - 1)
    flat = np.bincount(tile * GRID + index, minlength=n_tiles * GRID)
    drawn = np.cumsum(bootstrap_counts(n_tiles) @ flat.reshape(n_tiles, GRID), axis=1)
    at = np.argmax(drawn >= quantile * drawn[:, -1:], axis=1)
    low, high = np.quantile(edges[at], [0.16, 0.84])
    return float(high - low) / 2.0
