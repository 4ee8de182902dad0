"""What the filtered background of a difference is like, measured on cells spread over it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from exo2micro.detection.difference import Difference
from exo2micro.detection.mesh import CELL_PX
from exo2micro.detection.significance import BOX_PX, MatchedFilter, Window, box_mean
from exo2micro.errors import DetectionError
from exo2micro.raster.base import Raster

_SAMPLES: Final = 768
"""Cells of the mesh on which the background is measured: 12.6 Mpx at most."""

_SIGMAS: Final = 2.0
"""Where in the distribution the scatter is measured: near enough to the thresholds to see that
noise is larger in some places than in others, with enough pixels beyond."""

_BEYOND: Final = 0.04550026
"""Part of a Gaussian's negative values beyond `_SIGMAS`."""

_AROUND_PX: Final = 9
"""Side of the square around a pixel with whose mean variance its own is compared: small, so that
the rock's own structure cancels."""

_OWN_SHARE: Final = (BOX_PX / _AROUND_PX) ** 2
"""Part of what chance puts into a pixel's variance that this mean takes over."""

_MAD_TO_SIGMA: Final = 1.4826

_CUT_OFF: Final = 0.05
"""Part of the pixels with the lowest value of all from which on values were cut off there."""


@dataclass(frozen=True)
class Calibration:
    """How the filtered background scatters.

    Attributes
    ----------
    scatter : float
        Standard deviation of the filtered significance on the background; 1 for independent noise
        that is known exactly.
    roughness : float
        Mean square of its step from pixel to pixel, at unit variance; 1 / (2 width^2) for wide
        filters and independent noise.
    """

    scatter: float
    roughness: float


def calibrated(
    plain: MatchedFilter, region: Raster | None = None
) -> tuple[MatchedFilter, Calibration]:
    """Return the filter in units of its own background scatter, measured on cells of the mesh.

    Scatter and roughness come from negative values alone, where no microbe is. (In Gaussian noise
    the step between two pixels does not depend on their sum.)

    Parameters
    ----------
    plain : MatchedFilter
        Not calibrated.
    region : Raster, optional
        Bool; where the background is measured. By default everywhere.

    Raises
    ------
    DetectionError
        If the background does not scatter.
    """
    cells = _sample_cells(plain, region)
    _refuse_cut_off(plain.difference, cells)
    clean = replace(plain, echo=_echo(plain, cells))
    below, steps = [], []
    for window in _windows(clean, cells):
        values = window.significance
        below.append(values[window.has_data & (values < 0)])
        left, right = values[:, :-1], values[:, 1:]
        both = window.has_data[:, 1:] & window.has_data[:, :-1] & (left + right < 0)
        steps.append((right - left)[both])
    negative, step = np.concatenate(below), np.concatenate(steps)
    if negative.size == 0 or not np.any(step):
        msg = (
            f"{plain.difference.name} has no noise to measure significance by; is it a mask or "
            "labels? Give a difference"
        )
        raise DetectionError(msg)
    scatter = -float(np.quantile(negative, _BEYOND)) / _SIGMAS
    slope = _MAD_TO_SIGMA * float(np.median(np.abs(step)))
    calibration = Calibration(scatter, (slope / scatter) ** 2)
    return replace(clean, scatter=scatter), calibration


def _echo(plain: MatchedFilter, cells: list[tuple[slice, slice]]) -> float:
    """Return by how much the predicted variance falls where the difference is high by chance.

    A regression on negative values, where no microbe is. What they are relative to the noise is its
    instrument, lest places of large variance weigh more on either side; to the noise around them,
    since that of the pixel itself is what chance has changed.
    """
    if plain.difference.noise is None:
        return 0.0
    columns = []
    for window in _windows(plain, cells):
        if not window.has_data.all():
            continue
        variance = window.noise * window.noise
        around = cv2.blur(variance, (_AROUND_PX, _AROUND_PX))
        mean, excess, noise = box_mean(window.data), variance - around, np.sqrt(around)
        chosen = (mean < 0) & (mean > -noise)
        columns.append(np.stack([(mean / noise)[chosen], excess[chosen], mean[chosen]]))
    if not columns:
        return 0.0
    covariance = np.cov(np.concatenate(columns, axis=1))
    return max(0.0, -float(covariance[0, 1] / covariance[0, 2]) / (1 - _OWN_SHARE))


def _refuse_cut_off(difference: Difference, cells: list[tuple[slice, slice]]) -> None:
    """Raise DetectionError where values end at a lower bound: half of the noise is missing."""
    total, at_least = 0, Counter[float]()
    for rows, cols in cells:
        pixels = difference.read(rows, cols)
        values = pixels.data[pixels.has_data]
        total += values.size
        least = float(values.min(initial=np.inf))
        at_least[least] += int(np.count_nonzero(values == least))
    lowest = min(at_least)
    share = at_least[lowest] / max(total, 1)
    if share > _CUT_OFF:
        msg = (
            f"{100 * share:.0f} % of the pixels of {difference.name} have its lowest value, "
            f"{lowest:g}: what is below was cut off, and without it significance means nothing; "
            "subtract in signed integers or floating-point numbers and give that difference"
        )
        raise DetectionError(msg)


def _windows(filtered: MatchedFilter, cells: list[tuple[slice, slice]]) -> Iterator[Window]:
    return (filtered.read(rows, cols) for rows, cols in cells)


def _sample_cells(filtered: MatchedFilter, region: Raster | None) -> list[tuple[slice, slice]]:
    """Return up to `_SAMPLES` cells of the mesh that hold data, evenly spread over the region."""
    cells = np.argwhere(filtered.mesh.measured)
    ny, nx = filtered.difference.shape
    if region is not None:
        middle = np.minimum(cells * CELL_PX + CELL_PX // 2, (ny - 1, nx - 1))
        inside = [bool(region.read(slice(y, y + 1), slice(x, x + 1))) for y, x in middle.tolist()]
        cells = cells[inside] if any(inside) else cells
    numbers = np.linspace(0, len(cells) - 1, min(_SAMPLES, len(cells))).astype(int)
    return [
        (
            slice(y * CELL_PX, min((y + 1) * CELL_PX, ny)),
            slice(x * CELL_PX, min((x + 1) * CELL_PX, nx)),
        )
        for y, x in cells[numbers].tolist()
    ]
