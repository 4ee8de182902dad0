"""The unit in which brightness is counted: whole counts, or what stands for them in floats."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from exo2micro.subtraction.patches import PatchStack
from exo2micro.subtraction.statistics import Vector, robust_sigma

MAX_VALUES: Final = 200_000
"""As many pixels show the step between values."""

MAX_MISFIT: Final = 0.05
"""Mean distance of the gaps from whole steps that single precision leaves at most."""

ROUNDINGS: Final = 16.0
"""Steps up to as many roundings of single precision are none of a camera: 16 bits make 128."""

LEAST_NOISE: Final = 1e-3
"""Fraction of the middle brightness that stands for a count where there is no noise at all."""


@dataclass(frozen=True)
class Counts:
    """What one count is in the values of an image.

    Attributes
    ----------
    unit : float
        Value of one count: 1 for integers, the step between values of floats that were made from
        integers, the noise of other floats.
    step : float
        Distance between neighbouring values; 0 where they are continuous.
    """

    unit: float = 1.0
    step: float = 1.0

    def normalise(self, stack: PatchStack) -> PatchStack:
        """Return the patches in counts, so that no constant depends on the unit of the file."""
        if self.unit == 1.0:
            return stack
        factor = np.float32(1.0 / self.unit)
        return replace(stack, post=stack.post * factor, pre=stack.pre * factor)


def find_counts(stack: PatchStack) -> Counts:
    """Return the counts of float images from the values of post."""
    chosen = stack.usable & stack.core
    values = stack.post[chosen]
    values = values[:: max(1, len(values) // MAX_VALUES)].astype(np.float64)
    step = _step(np.unique(values))
    if step > 0:
        return Counts(step, step)
    pairs = chosen[:, 1:] & chosen[:, :-1]
    noise = robust_sigma(np.diff(stack.post, axis=1)[pairs].astype(np.float64)) / np.sqrt(2.0)
    unit = max(noise, LEAST_NOISE * float(np.median(np.abs(values))))
    return Counts(unit if unit > 0 else 1.0, 0.0)


def _step(distinct: Vector) -> float:
    """Return the step of which all gaps between the values are multiples, 0 if there is none."""
    gaps = np.diff(distinct)
    if not len(gaps):
        return 0.0
    single = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    step = float(gaps.sum() / np.rint(gaps / single).sum())
    misfit = np.abs(gaps / step - np.rint(gaps / step))
    is_rounding = step < ROUNDINGS * np.finfo(np.float32).eps * float(np.abs(distinct).max())
    return 0.0 if is_rounding or float(misfit.mean()) > MAX_MISFIT else step
