"""The dark surroundings of the sample: where they are, and the camera pedestal they show."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Mask
from exo2micro.subtraction.patches import HALO_PX, PATCH_PX, PatchStack
from exo2micro.subtraction.statistics import Vector, half_sample_mode, robust_sigma

SMOOTHING_PX: Final = 9
"""Box side for telling sample from dark: averages 81 pixels, so noise does not decide."""

MIN_DARK_PX: Final = 1500
"""Fewer dark pixels than this do not fix a pedestal to 0.05 counts."""

DARK_WIDTH: Final = 0.06
"""Largest spread of the dark over its distance from the sample; texture is at least 0.15."""

MIN_PEAK: Final = 0.01
"""Smallest fraction of the overlap that can show the dark."""

PEAK_REACH: Final = 0.1
"""Half the window about the dark peak, over its distance from the sample."""

GAP_FILL: Final = 0.5
"""Most pixels in the half window above the peak, over those in it; texture rises instead."""

AREA_FRACTION: Final = 0.06
"""A pixel belongs to the area of the sample above this fraction of that way: dark minerals do."""

AREA_REACH_PX: Final = 3
"""As far as the smoothing carries that much of the sample's light into the dark."""

FAR: Final = 10.0
"""Standard deviations above zero from which on nothing is clipped."""

MIN_PATCH_PX: Final = 200
"""Dark pixels of a patch that tell whether it agrees with the others."""

MIN_PATCHES: Final = 12
"""Fewer patches do not tell which of them disagree."""

AGREEMENT: Final = 4.0
"""Standard deviations among patches within which they agree."""

SAMPLE_FRACTION: Final = 0.25
"""A pixel is sample above this fraction of the way from dark to the middle of the sample."""


@dataclass(frozen=True)
class DarkLevel:
    """Pedestal of one image, in counts.

    Attributes
    ----------
    level, error : float
        Pedestal and its standard error (a judgement where clipping hides it).
    clipped : bool
        The image is cut at zero near the pedestal, so that its mean is no measure of it.
    """

    level: float
    error: float
    clipped: bool


@dataclass(frozen=True)
class Surroundings:
    """Sample and dark as seen in the pre image.

    Attributes
    ----------
    smooth : numpy.ndarray of float32
        Pre, averaged over `SMOOTHING_PX`.
    sample : numpy.ndarray of bool
        Pixels of the stack on the sample, away from its edge.
    area : numpy.ndarray of bool
        Core pixels of the stack on the sample, minerals too dark to tell a ratio included.
    threshold : float
        Counts of `smooth` above which a pixel is sample.
    post, pre : DarkLevel or None
        Pedestals; None where the frame shows no dark surroundings.
    dark : numpy.ndarray of bool or None
        Core pixels of the stack in the dark surroundings.
    """

    smooth: FloatImage
    sample: Mask
    area: Mask
    threshold: float
    post: DarkLevel | None
    pre: DarkLevel | None
    dark: Mask | None = None


def find_surroundings(stack: PatchStack) -> Surroundings:
    """Tell sample from dark by the smoothed pre image alone, which does not bias the ratio."""
    smooth = _smooth(stack)
    seen = smooth[stack.usable & stack.core][::7].astype(np.float64)
    dark_at, middle, is_dark = _dark_peak(seen)
    post = pre = found = None
    if is_dark:
        bright = (smooth > dark_at + 0.1 * (middle - dark_at)) & stack.usable
        near = cv2.dilate(bright.view(np.uint8), np.ones((15, 15), np.uint8)).view(np.bool_)
        dark = stack.usable & stack.core & ~near
        dark = _in_agreement(stack, dark, bright & ~dark)
        if int(dark.sum()) >= MIN_DARK_PX:
            found = dark
            post, spread = _post_level(stack.post[dark].astype(np.float64))
            pre = _pre_level(stack.pre[dark].astype(np.float64), spread)
    threshold = dark_at + SAMPLE_FRACTION * (middle - dark_at)
    inside = (smooth > threshold) & stack.usable
    sample = cv2.erode(inside.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
    area = _area(stack, smooth, dark_at + AREA_FRACTION * (middle - dark_at), is_dark)
    return Surroundings(smooth, sample & stack.usable, area, threshold, post, pre, found)


def _in_agreement(stack: PatchStack, dark: Mask, bright: Mask) -> Mask:
    """Return the dark pixels of patches in which post and pre differ as they do in most.

    A piece that one image lacks, or debris, sheds stray light into the dark of one image only.
    """
    side = PATCH_PX + 2 * HALO_PX
    pixels = np.count_nonzero(dark.reshape(-1, side * side), axis=1)
    told = pixels >= MIN_PATCH_PX
    if np.count_nonzero(told) < MIN_PATCHES or not bright.any():
        return dark
    lights = [np.median(i[bright]) - np.median(i[dark]) for i in (stack.post, stack.pre)]
    rest = np.where(dark, stack.post - np.float32(lights[0] / lights[1]) * stack.pre, np.float32(0))
    means = rest.reshape(-1, side * side).sum(axis=1, dtype=np.float64)[told] / pixels[told]
    centre = half_sample_mode(means, floor=MIN_PATCHES)
    agrees = np.zeros(len(pixels), np.bool_)
    agrees[told] = np.abs(means - centre) <= AGREEMENT * robust_sigma(means)
    kept: Mask = dark & np.repeat(agrees, side)[:, None]
    return kept if np.count_nonzero(agrees) >= MIN_PATCHES else dark


def _area(stack: PatchStack, smooth: FloatImage, level: float, is_dark: bool) -> Mask:
    """Return the core pixels on the sample, saturated ones and the edge of the overlap included."""
    known = (stack.post != 0) | (stack.pre != 0)
    if not is_dark:
        everywhere: Mask = (stack.usable | known) & stack.core
        return everywhere
    lit = np.where(stack.usable, smooth, stack.pre * known) > level
    width = 2 * AREA_REACH_PX + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    result: Mask = cv2.erode(lit.view(np.uint8), disk).view(np.bool_) & stack.core
    return result


def _smooth(stack: PatchStack) -> FloatImage:
    """Average pre over usable pixels near each pixel."""
    size = (SMOOTHING_PX, SMOOTHING_PX)
    weight = cv2.blur(stack.usable.astype(np.float32), size)
    total = cv2.blur(np.where(stack.usable, stack.pre, np.float32(0)), size)
    result: FloatImage = total / np.maximum(weight, np.float32(1e-3))
    return result


def _dark_peak(seen: Vector) -> tuple[float, float, bool]:
    """Return brightness of the dark, of the middle of the sample, and whether there is a dark.

    Dark surroundings make a narrow peak at the low end with a gap above it; grains do not.
    """
    split = _otsu(seen)
    low, high = seen[seen < split], seen[seen >= split]
    if len(low) < MIN_PEAK * len(seen) or not len(high):
        return min(0.0, float(seen.min())), float(np.median(seen)), False
    middle = float(np.median(high))
    lowest = seen[seen <= np.quantile(seen, 2.0 * MIN_PEAK)]
    for peak in (half_sample_mode(low, floor=max(200, len(low) // 6)), float(np.median(lowest))):
        reach = PEAK_REACH * (middle - peak)
        inside = seen[np.abs(seen - peak) <= reach]
        above = int(np.count_nonzero((seen > peak + reach) & (seen <= peak + 2.0 * reach)))
        is_dark = (
            len(inside) >= MIN_PEAK * len(seen)
            and robust_sigma(inside) < DARK_WIDTH * (middle - peak)
            and above < GAP_FILL * len(inside)
        )
        if is_dark:
            return float(np.median(inside)), middle, True
    return min(0.0, float(seen.min())), float(np.median(seen)), False


def _otsu(values: Vector) -> float:
    """Return the threshold that splits values into two classes (Otsu 1979), outliers clipped."""
    low, high = np.percentile(values, [0.5, 99.5])
    if high <= low:
        return float(low)
    counts, edges = np.histogram(np.clip(values, low, high), 256)
    centres = 0.5 * (edges[1:] + edges[:-1])
    weight, moment = np.cumsum(counts), np.cumsum(counts * centres)
    rest = weight[-1] - weight
    inner = (weight > 0) & (rest > 0)
    score = np.zeros(256)
    score[inner] = np.square(moment[-1] * weight[inner] / weight[-1] - moment[inner]) / (
        weight[inner] * rest[inner].astype(np.float64)
    )
    return float(centres[np.argmax(score)])


def _trimmed(values: Vector) -> tuple[float, float]:
    """Return mean and standard deviation after taking out stray light above."""
    middle, high = np.quantile(values, [0.5, 0.9])
    upper = middle + 5.0 * max((high - middle) / 1.28, 0.3)
    kept = values[values <= upper]
    return float(kept.mean()), float(kept.std())


def _post_level(values: Vector) -> tuple[DarkLevel, float]:
    """Return the pedestal of integer counts, and the noise as it would be without clipping."""
    mean, spread = _trimmed(values)
    if mean > 3.0 * spread + 0.3 or spread == 0.0 or _is_signed(mean, spread):
        error = 0.02 * spread + 0.02 if mean != 0 else 0.25
        return DarkLevel(mean, error, mean == 0.0), spread
    below = _clipped_position(mean / spread)
    first, _ = _clipped_moments(below)
    sigma = mean / first
    level = max(0.0, below * sigma)
    return DarkLevel(level, 0.05 + 0.3 * (mean - min(level, mean)), True), sigma


def _pre_level(values: Vector, post_noise: float) -> DarkLevel:
    """Return the pedestal of a resampled image.

    Resampling lowers the spread but keeps the mean, so where the image is clipped the noise is
    taken to be that of post: both come from one camera.
    """
    from scipy import optimize

    mean, spread = _trimmed(values)
    noise = max(spread, post_noise)
    if mean > 3.0 * noise + 0.3 or noise == 0.0 or _is_signed(mean, noise):
        error = 0.02 * noise + 0.02 if mean != 0 else 0.25
        return DarkLevel(mean, error, mean == 0.0)
    target = max(mean, 1e-3) / noise
    if target <= _clipped_moments(-3.0)[0]:
        level = 0.0
    elif target >= _clipped_moments(FAR)[0]:
        level = mean
    else:
        root = optimize.brentq(lambda a: _clipped_moments(a)[0] - target, -3.0, FAR)
        level = max(0.0, float(root) * noise)
    return DarkLevel(level, 0.05 + 0.3 * (mean - min(level, mean)), True)


def _is_signed(mean: float, noise: float) -> bool:
    """Tell whether an image goes below zero, as no camera's counts do, by more than ringing."""
    return mean < -0.3 * noise


def _clipped_moments(position: float) -> tuple[float, float]:
    """Return mean and standard deviation of a unit Gaussian at `position`, clipped at zero."""
    density = np.exp(-0.5 * position**2) / np.sqrt(2.0 * np.pi)
    above = 0.5 * math.erfc(-position / math.sqrt(2.0))
    first = position * above + density
    second = (position**2 + 1.0) * above + position * density
    return float(first), float(np.sqrt(max(second - first**2, 1e-12)))


def _clipped_position(mean_over_spread: float) -> float:
    """Return the position of a clipped unit Gaussian with this mean over standard deviation."""

    def excess(position: float) -> float:
        first, spread = _clipped_moments(position)
        return first / spread - mean_over_spread

    if excess(-3.0) >= 0:
        return -3.0
    if excess(FAR) <= 0:
        return mean_over_spread
    from scipy import optimize

    return float(optimize.brentq(excess, -3.0, FAR))
