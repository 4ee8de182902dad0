"""Photon transfer of one camera: its variance as a line in brightness, and where that starts."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.subtraction.noise import CameraNoise
from exo2micro.subtraction.statistics import Vector

SYSTEMATIC: Final = 0.03
"""Relative error of a gain beyond its scatter: what is left of microbes, texture and cuts."""

DOUBTFUL: Final = 0.3
"""Relative error of a gain from which the remark says so."""

PEDESTAL_SIGMA: Final = 3.0
"""A line this many errors off what a camera does at its pedestal tells of another pedestal."""

DARKEST: Final = 0.001
"""Quantile of the clean brightness below which no noise was seen."""

PART: Final = 1 << 18
"""Pixels whose products are in memory at once."""

FloatVector = NDArray[np.float32]
"""Millions of single pixels: what is added up from them is added in float64."""


@dataclass(frozen=True)
class GivenNoise:
    """What the user knows of a camera; None is estimated."""

    gain: float | None = None
    read_noise: float | None = None


@dataclass(frozen=True)
class NoiseLine:
    """Observations of ``variance * weight_of_it = gain * counts + floor`` of one camera."""

    counts: FloatVector
    product: FloatVector
    share: FloatVector
    weight: FloatVector
    cluster: NDArray[np.int32]


@dataclass(frozen=True)
class Findings:
    """What a fit has to say: remarks, and doubts that are reasons to CHECK."""

    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def fit_camera(
    line: NoiseLine, camera: CameraNoise, known: GivenNoise, role: str
) -> tuple[CameraNoise, Findings]:
    """Fit gain and floor, with what is known or what physics demands held fixed."""
    gain, read_noise = known.gain, known.read_noise
    found = Findings()
    camera = _with_pedestal(line, camera, known)
    result = _fit_free(line, camera, gain, read_noise)
    if read_noise is None and result.gain > 0 and _is_below_rounding(result):
        read_noise = 0.0
        result = _fit_free(line, camera, gain, read_noise)
    if gain is None and result.gain <= 0:
        found.doubts.append(
            f"no shot noise of {role} can be seen (the variance does not grow with brightness); "
            "its noise is taken to be the same at every brightness"
        )
        result = _fit_free(line, camera, 0.0, known.read_noise)
        if known.read_noise is None and _is_below_rounding(result):
            result = from_given(camera, GivenNoise(0.0, 0.0))
    if known.gain is None and result.gain_error > DOUBTFUL * result.gain > 0:
        percent = 100.0 * result.gain_error / result.gain
        found.remarks.append(
            f"the gain of {role} is uncertain by {percent:.0f} %: the background has too small a "
            "range of brightness"
        )
    at_middle = float(np.median(line.counts)) * result.gain + result.floor
    if camera.rounding and at_middle < 3.0 * camera.rounding:
        found.remarks.append(
            f"the noise of {role} is hardly larger than the rounding to whole counts; its error "
            "is not Gaussian"
        )
    return result, found


def _with_pedestal(line: NoiseLine, camera: CameraNoise, known: GivenNoise) -> CameraNoise:
    """Return the camera with the pedestal that its own line tells, where that is another one.

    Equal pedestals of both images cancel in the difference and so remain unknown, but the line
    then has too little noise at zero counts. A given read noise says where the line starts.
    Without it the camera is only known down to the darkest background.
    """
    free = _fit_free(line, camera, known.gain, None)
    at_pedestal = free.floor + free.gain * free.pedestal
    lacking = camera.rounding + (known.read_noise or 0.0) ** 2 - at_pedestal
    if free.gain <= 0 or lacking <= PEDESTAL_SIGMA * free.floor_error:
        return camera
    darkest = max(camera.pedestal, 0.0, float(np.quantile(line.counts, DARKEST)))
    if known.read_noise is not None:
        darkest = min(darkest, max(0.0, camera.pedestal + lacking / free.gain))
    return replace(camera, pedestal=darkest)


def _is_below_rounding(camera: CameraNoise) -> bool:
    """Return whether a fit leaves less noise at the pedestal than rounding makes."""
    return camera.floor + camera.gain * camera.pedestal < camera.rounding


def _fit_free(
    line: NoiseLine, camera: CameraNoise, gain: float | None, read_noise: float | None
) -> CameraNoise:
    """Return the weighted least-squares line; a number given is held fixed."""
    if gain is not None and read_noise is not None:
        return from_given(camera, GivenNoise(gain, read_noise))
    values, covariance = _least_squares(line, camera, gain, read_noise)
    errors = np.sqrt(np.diag(covariance))
    slope = values[0] if gain is None else gain
    slope_error = 0.0 if gain is not None else float(np.hypot(errors[0], SYSTEMATIC * slope))
    if read_noise is not None:
        fixed = from_given(camera, GivenNoise(slope, read_noise))
        return replace(fixed, gain_error=slope_error)
    darkest = max(0.0, float(np.quantile(line.counts, 0.05)) - camera.pedestal)
    systematic = 0.0 if gain is not None else SYSTEMATIC * slope * darkest
    return replace(
        camera,
        gain=slope,
        floor=values[-1] - slope * camera.pedestal,
        gain_error=slope_error,
        floor_error=float(np.hypot(errors[-1], systematic)),
    )


def _design(
    line: NoiseLine, part: slice, camera: CameraNoise, gain: float | None, read_noise: float | None
) -> tuple[NDArray[np.float64], Vector]:
    """Return the columns to fit and what they shall add up to, for a part of the pixels."""
    counts, share = line.counts[part].astype(np.float64), line.share[part].astype(np.float64)
    counts -= camera.pedestal
    known, columns = 0.0 * counts, [counts, np.ones_like(counts)]
    if gain is not None:
        known, columns = gain * counts, columns[1:]
    elif read_noise is not None:
        known, columns = known + read_noise**2 + camera.rounding, columns[:1]
    return np.stack(columns, axis=1) * share[:, None], line.product[part] - known * share


def _least_squares(
    line: NoiseLine, camera: CameraNoise, gain: float | None, read_noise: float | None
) -> tuple[list[float], NDArray[np.float64]]:
    """Return coefficients and their covariance, from the scatter of clusters (sandwich)."""
    parts: list[NDArray[np.float64]] = []
    number = int(line.cluster.max()) + 1
    for start in range(0, len(line.cluster), PART):
        part = slice(start, start + PART)
        basis, target = _design(line, part, camera, gain, read_noise)
        weighted = (basis * line.weight[part][:, None]).T
        products = (a * b for a in weighted for b in (*basis.T, target))
        cluster = line.cluster[part]
        sums = [np.bincount(cluster, weights=p, minlength=number) for p in products]
        gathered = np.stack(sums, axis=1, dtype=np.float64)
        parts.append(gathered.reshape(number, len(weighted), -1))
    by_cluster = np.sum(parts, axis=0)
    whole = by_cluster.sum(axis=0)
    normal = np.linalg.pinv(whole[:, :-1])
    values = normal @ whole[:, -1]
    scores = by_cluster[:, :, -1] - by_cluster[:, :, :-1] @ values
    return [float(v) for v in values], normal @ (scores.T @ scores) @ normal


def from_given(camera: CameraNoise, known: GivenNoise) -> CameraNoise:
    """Return a camera of which gain and read noise are given."""
    gain, read_noise = known.gain or 0.0, known.read_noise or 0.0
    floor = read_noise**2 + camera.rounding - gain * camera.pedestal
    return replace(camera, gain=gain, floor=floor, gain_error=0.0, floor_error=0.0)
