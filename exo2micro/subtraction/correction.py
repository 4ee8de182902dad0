"""A scale that varies over the canvas, applied window by window."""

from dataclasses import dataclass

import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.subtraction.field import RatioField


@dataclass(frozen=True)
class FieldCorrection:
    """Makes ``scale * pre`` follow a smooth ratio: only the light is scaled, not the pedestal.

    Attributes
    ----------
    field : RatioField
        Ratio relative to its median.
    pre_pedestal : float
        Counts of pre that are no light.
    """

    field: RatioField
    pre_pedestal: float = 0.0

    def relative(self, rows: slice, cols: slice) -> FloatImage:
        """Return the relative ratio in a window of the canvas."""
        y = np.arange(rows.start, rows.stop, dtype=np.float64)
        x = np.arange(cols.start, cols.stop, dtype=np.float64)
        return self.field.grid(y, x).astype(np.float32)

    def apply(self, pre: FloatImage, rows: slice, cols: slice) -> FloatImage:
        """Return what pre would be if the ratio were the same everywhere."""
        zero = np.float32(self.pre_pedestal)
        return np.asarray((pre - zero) * self.relative(rows, cols) + zero, dtype=np.float32)
