"""A robust line with intercept: post = scale * pre + offset, with errors in both."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from exo2micro.subtraction.assess import (
    explained,
    interval_of,
    local_ratios,
    peak_at,
    trust,
)
from exo2micro.subtraction.regression import LineFit, fit_line, robust_weights
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator
from exo2micro.subtraction.statistics import bootstrap_counts, tile_sums


class RobustRegressionEstimator(ScaleEstimator):
    """Instrumental-variable regression with Tukey weights; the offset is always free.

    The neighbours' brightness serves as the instrument, which plays the part that the ratio of
    the two noises plays in Deming regression, without having to know it.
    """

    name = "robust_regression"
    colour: ClassVar[str] = "#009E73"
    order: ClassVar[int] = 30

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401, ARG002
        """Fit the line to the background blocks."""
        blocks, zero = sample.clean, sample.pedestal.pre
        field = sample.relative_ratio(blocks)
        line = fit_line(blocks, LineFit(sample.first_scale, 0.0, zero), field, None)
        x = field * (blocks.pre - zero)
        residual = blocks.post - line.scale * x - line.intercept
        weights = robust_weights(residual, blocks)
        z = weights * field * (blocks.level - zero)
        n = int(blocks.tile.max()) + 1
        used = np.unique(blocks.tile)
        terms = (weights, z, weights * x, z * x, weights * blocks.post, z * blocks.post)
        sums = np.stack([tile_sums(term, blocks.tile, n)[used] for term in terms], axis=1)
        w, sz, sx, szx, sy, szy = (bootstrap_counts(len(used)) @ sums).T
        slopes = (szy * w - sz * sy) / (szx * w - sz * sx)
        low, high = np.quantile(slopes, [0.025, 0.975])
        scale = line.scale
        error = float(high - low) / (2 * 1.96 * line.scale)
        interval, parts = interval_of(sample, scale, error, with_offset=False)
        half = (interval[1] - interval[0]) / (2.0 * scale)
        verdict, messages, metrics = trust(sample, half, ())
        own = replace(sample, pedestal=replace(sample.pedestal, post=line.intercept))
        return ScaleEstimate(
            name=self.name,
            label=self.name,
            scale=scale,
            offset=line.offset,
            interval=interval,
            goodness=explained(sample, scale, line.offset),
            n_tiles=len(used),
            verdict=verdict,
            messages=messages,
            curve=peak_at(local_ratios(own, sample.clean, flatten=True), scale),
            metrics={**metrics, **parts},
        )
