"""A function of the store as a scale estimator."""

from abc import ABC
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from exo2micro.custom.failure import failure
from exo2micro.custom.function import CustomFunction
from exo2micro.errors import Exo2microError, ScaleError
from exo2micro.subtraction.assess import MIN_LEVEL, interval_of, trust
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.scale import ScaleEstimate, ScaleEstimator
from exo2micro.subtraction.statistics import Vector, bootstrap_counts

REPLICATES = 100
"""Calls of the function for the interval: its width then scatters by 7 %."""


class FunctionEstimator(ScaleEstimator, ABC):
    """A scale estimator that calls a plain function; the interval is made by redrawing tiles.

    The function gets the brightness of the same background blocks in both images, as float64 of
    shape ``(n,)`` in counts above the camera's pedestal, free of a smooth variation of the ratio
    over the field, and returns by how much post is brighter.

    Attributes
    ----------
    function : CustomFunction
        The function, of the kind ``scale_estimator``.
    """

    function: ClassVar[CustomFunction]

    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401, ARG002
        """Call the function on the background and on redrawn tiles of it."""
        post, pre, tile = background(sample)
        ratio = self._ratio(post, pre)
        numbers, place = np.unique(tile, return_inverse=True)
        drawn = bootstrap_counts(len(numbers), REPLICATES).astype(np.intp)
        redrawn = [np.repeat(np.arange(len(post)), counts[place]) for counts in drawn]
        ratios = [self._ratio(post[index], pre[index]) for index in redrawn if len(index)]
        scale = ratio * float(np.median(sample.relative_ratio(sample.every)))
        interval, parts = interval_of(sample, scale, float(np.std(ratios)) / ratio)
        half = (interval[1] - interval[0]) / (2.0 * scale)
        verdict, messages, metrics = trust(sample, half, ())
        name = self.name or ""
        return ScaleEstimate(
            name=name,
            label=name,
            scale=scale,
            offset=sample.pedestal.offset(scale),
            interval=interval,
            goodness=1.0,
            n_tiles=len(numbers),
            verdict=verdict,
            messages=messages,
            metrics={**metrics, **parts},
        )

    def _ratio(self, post: Vector, pre: Vector) -> float:
        try:
            ratio = float(self.function.load()(post.copy(), pre.copy()))
        except (Exo2microError, MemoryError):
            raise
        except Exception as error:
            msg = f"the scale estimator {failure(self.function, error)}"
            raise ScaleError(msg) from error
        if not (np.isfinite(ratio) and ratio > 0):
            msg = f"the scale estimator {self.name} must return a finite number > 0, got {ratio}"
            raise ScaleError(msg)
        return ratio


def background(sample: PairSample) -> tuple[Vector, Vector, NDArray[np.int32]]:
    """Return post, pre and tile of the background blocks that carry a ratio, each ``(n,)``."""
    blocks = sample.clean
    level = blocks.level - sample.pedestal.pre
    post = (blocks.post - sample.pedestal.post) / sample.relative_ratio(blocks)
    pre = blocks.pre - sample.pedestal.pre
    use = (level > MIN_LEVEL * float(np.median(level))) & (post > 0) & (pre > 0)
    if not use.any():
        msg = (
            "no part of the background is brighter than the camera pedestal; no scale exists. "
            "Check the exposure of both images"
        )
        raise ScaleError(msg)
    return post[use], pre[use], blocks.tile[use]
