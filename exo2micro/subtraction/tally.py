"""Figures of a difference, gathered band by band while it is written."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.raster.stream import Plane, pixels_of
from exo2micro.raster.windows import row_bands
from exo2micro.subtraction.quality import DQ, NO_DATA

_LINEAR_COUNTS = 0.01  # bins are this wide near zero ...
_PER_UNIT = 500.0  # ... and 0.2 per cent wide far from it
_BINS = 8192
_MOST_SAMPLED = 8_000_000

_FLAGS = np.arange(256, dtype=np.uint8)
_COUNTED_ROWS = 128  # OpenCV counts in float32: whole numbers up to 16 million

_GAUSS_LOW = 15.865525393145708  # per cent of a Gaussian below minus one sigma


class DifferenceTally:
    """Counts, extremes and robust width of a difference; equal for any order of equal bands.

    Parameters
    ----------
    pixels : int
        Number of pixels of the image; large images are sampled on a regular grid for quantiles.
    """

    def __init__(self, pixels: int) -> None:
        self._stride = max(1, int(np.ceil(np.sqrt(pixels / _MOST_SAMPLED))))
        self._histogram = np.zeros(2 * _BINS + 1, np.int64)
        self._counts = {"pixels": 0, "true_zeros": 0, "saturated": 0, "no_overlap": 0}
        self._range = (np.inf, -np.inf)

    def add(self, planes: Mapping[str, Plane]) -> None:
        """Add the planes ``data`` and ``DQ`` of one band; an empty band has none."""
        if "data" not in planes:
            return
        data, quality = pixels_of(planes["data"]), pixels_of(planes["DQ"])
        number = _counts_of(quality)
        count = int(number[(_FLAGS & NO_DATA) == 0].sum())
        self._counts["pixels"] += count
        self._counts["true_zeros"] += count - int(np.count_nonzero(data))
        self._counts["saturated"] += int(number[(_FLAGS & DQ.SATURATED) != 0].sum())
        self._counts["no_overlap"] += int(number[(_FLAGS & DQ.NO_OVERLAP) != 0].sum())
        if count:
            self._range = (
                min(self._range[0], float(data.min())),
                max(self._range[1], float(data.max())),
            )
        grid = (slice(None, None, self._stride), slice(None, None, self._stride))
        values = data[grid][(quality[grid] & NO_DATA) == 0]
        self._histogram += np.bincount(_bin_of(values), minlength=self._histogram.size)

    def summary(self) -> dict[str, float | int | str | None]:
        """Return the figures: counts as whole numbers, brightness in counts of the post image."""
        quantiles = self._quantiles([_GAUSS_LOW, 50.0]) if self._histogram.any() else None
        known = self._counts["pixels"] > 0
        return {
            **self._counts,
            "minimum": self._range[0] if known else None,
            "maximum": self._range[1] if known else None,
            "median": quantiles[1] if quantiles else None,
            "background_sigma": quantiles[1] - quantiles[0] if quantiles else None,
            "background_sigma_basis": "median minus 15.87 % quantile, dark surroundings included",
        }

    def _quantiles(self, percents: list[float]) -> list[float]:
        cumulative = np.cumsum(self._histogram)
        total = cumulative[-1]
        result = []
        for percent in percents:
            rank = percent / 100 * total
            index = int(np.searchsorted(cumulative, rank))
            before = cumulative[index - 1] if index else 0
            fraction = (rank - before) / max(1, self._histogram[index])
            low, high = _edge(index), _edge(index + 1)
            result.append(float(low + fraction * (high - low)))
        return result


def _counts_of(quality: Image) -> NDArray[np.int64]:
    """Return how many pixels have each value of the flags."""
    counts = np.zeros(len(_FLAGS), np.int64)
    for rows in row_bands(len(quality), _COUNTED_ROWS):
        part = np.ascontiguousarray(quality[rows])
        found = cv2.calcHist([part], [0], None, [len(_FLAGS)], [0, len(_FLAGS)])
        counts += found.ravel().astype(np.int64)
    return counts


def _bin_of(values: Image) -> NDArray[np.intp]:
    scaled = np.arcsinh(values * np.float32(1 / (_LINEAR_COUNTS * _PER_UNIT))) * _PER_UNIT
    bins: NDArray[np.intp] = np.clip(np.rint(scaled), -_BINS, _BINS).astype(np.intp) + _BINS
    return bins


def _edge(index: int) -> float:
    """Return the lower edge of a bin in counts."""
    return float(np.sinh((index - _BINS - 0.5) / _PER_UNIT) * _LINEAR_COUNTS * _PER_UNIT)
