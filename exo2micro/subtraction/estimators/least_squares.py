"""The historical estimator: least squares through the origin, microbes and all."""

from typing import Any, ClassVar

import numpy as np

from exo2micro.errors import ScaleError
from exo2micro.subtraction.assess import (
    TINY,
    explained,
    interval_of,
    local_ratios,
    peak_at,
    trust,
)
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator
from exo2micro.subtraction.statistics import bootstrap_counts, tile_sums


class LeastSquaresEstimator(ScaleEstimator):
    """``sum(post * pre) / sum(pre**2)`` over the sample; follows the microbes upward."""

    name = "least_squares"
    colour: ClassVar[str] = "#E69F00"
    order: ClassVar[int] = 40

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401, ARG002
        """Return the slope; it is for comparison, so its verdict is never PASS."""
        blocks = sample.every
        post, pre = blocks.post - sample.pedestal.post, blocks.pre - sample.pedestal.pre
        if sample.is_corrected:
            pre = pre * sample.relative_ratio(blocks)
        n = int(blocks.tile.max()) + 1
        used = np.unique(blocks.tile)
        top = tile_sums(post * pre * blocks.pixels, blocks.tile, n)[used]
        bottom = tile_sums(pre * pre * blocks.pixels, blocks.tile, n)[used]
        scale = float(top.sum() / max(float(bottom.sum()), TINY))
        if not scale > 0:
            msg = f"least squares gives a scale of {scale:.4g}; post and pre have no common signal"
            raise ScaleError(msg)
        drawn = bootstrap_counts(len(used))
        low, high = np.quantile((drawn @ top) / (drawn @ bottom), [0.025, 0.975])
        interval, parts = interval_of(sample, scale, float(high - low) / (2 * 1.96 * scale))
        half = (interval[1] - interval[0]) / (2.0 * scale)
        remark = "least squares follows microbes upward; use it for comparison only"
        verdict, messages, metrics = trust(sample, half, (remark,))
        offset = sample.pedestal.offset(scale)
        ratios = local_ratios(sample, sample.every, flatten=sample.is_corrected)
        return ScaleEstimate(
            name=self.name,
            label=self.name,
            scale=scale,
            offset=offset,
            interval=interval,
            goodness=explained(sample, scale, offset),
            n_tiles=len(used),
            verdict=verdict,
            messages=messages,
            curve=peak_at(ratios, scale),
            metrics={**metrics, **parts},
        )
