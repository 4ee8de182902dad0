"""A scale given by hand."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from exo2micro.errors import ScaleError
from exo2micro.subtraction.assess import explained, local_ratios, peak_at, trust
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator


class ManualEstimator(ScaleEstimator):
    """The value of the parameter `manual_scale`, with the offset that belongs to it."""

    name = "manual"
    parameters: ClassVar[tuple[str, ...]] = ("manual_scale",)
    colour: ClassVar[str] = "#CC79A7"
    order: ClassVar[int] = 20
    decides: ClassVar[bool] = True

    @classmethod
    def is_active(cls, params: Mapping[str, Any]) -> bool:
        """Return True if a scale is given."""
        return params.get("manual_scale") is not None

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401
        """Return the given scale; how well it fits the background is measured all the same."""
        value = params.get("manual_scale")
        if value is None or not np.isfinite(value) or value <= 0:
            msg = f"manual_scale must be a finite number > 0, got {value!r}; give one or use None"
            raise ScaleError(msg)
        scale = float(value)
        offset = sample.pedestal.offset(scale)
        verdict, messages, metrics = trust(sample, 0.0, ())
        return ScaleEstimate(
            name=self.name,
            label=self.name,
            scale=scale,
            offset=offset,
            interval=(scale, scale),
            goodness=explained(sample, scale, offset),
            n_tiles=sample.n_tiles,
            verdict=verdict,
            messages=messages,
            curve=peak_at(local_ratios(sample, sample.clean, flatten=True), scale),
            metrics=metrics,
        )
