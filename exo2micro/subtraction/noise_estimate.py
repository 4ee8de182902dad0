"""Photon transfer: gain and read noise of both cameras from one aligned pair."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Mask
from exo2micro.subtraction.difference import DifferenceRaster
from exo2micro.subtraction.noise import DifferenceNoise
from exo2micro.subtraction.noise_windows import (
    HIGH_PASS,
    WINDOW_PX,
    NoiseWindows,
    Unconvolved,
    clusters,
    read_noise_windows,
)
from exo2micro.subtraction.photon_transfer import (
    FloatVector,
    GivenNoise,
    NoiseLine,
    fit_camera,
    from_given,
)
from exo2micro.verdict import Verdict

BOX_PX: Final = 5
"""Side of the box whose mean is taken out: removes most texture, keeps 96 % of white noise."""

LEAST_BOX: Final = 0.6
"""Smallest clean fraction of a box."""

TEXTURE_SIGMA_PX: Final = 2.0
TEXTURE_BOX_PX: Final = 7
LEAST_PIXELS: Final = 4000
CUT_LOSS: Final = 0.998
"""What the cut at `CLEAN_SIGMAS` leaves of the standard deviation of pure noise."""

DEPARTURE: Final = 0.1
"""Departure of the scatter from what the model says, as a whole or at some brightness, that is a
reason to CHECK; plain pairs stay below 0.05."""

ONE_SIGMA: Final = 0.6826894921370859
TRIM_SIGMAS: Final = 3.0
TRIMMED_VARIANCE: Final = 0.973337
"""Variance of a unit Gaussian between plus and minus `TRIM_SIGMAS`."""


@dataclass(frozen=True)
class NoiseEstimate:
    """The noise of a difference as measured, and how far it can be trusted.

    Attributes
    ----------
    noise : DifferenceNoise
        The model, its factor included.
    goodness : float
        0 (the model does not describe the scatter at all brightness levels) .. 1 (it does).
    pixels : int
        Clean pixels that were used.
    messages : tuple of str
        Remarks in words, those of the verdict included.
    verdict : Verdict
        CHECK where the error may be wrong, with the reasons in words.
    """

    noise: DifferenceNoise
    goodness: float
    pixels: int
    messages: tuple[str, ...]
    verdict: Verdict

    @classmethod
    def of(
        cls,
        noise: DifferenceNoise,
        goodness: float,
        pixels: int,
        remarks: Sequence[str],
        doubts: Sequence[str],
    ) -> "NoiseEstimate":
        """Return an estimate with remarks, and doubts that are reasons to CHECK."""
        verdict = Verdict.worst([Verdict.check(doubt) for doubt in doubts])
        return cls(noise, goodness, pixels, (*remarks, *doubts), verdict)

    def doubted(self, verdict: Verdict) -> "NoiseEstimate":
        """Return the estimate with further reasons to CHECK."""
        messages = (*self.messages, *verdict.reasons)
        return replace(self, messages=messages, verdict=Verdict.worst([self.verdict, verdict]))


def estimate_noise(
    difference: DifferenceRaster,
    start: DifferenceNoise,
    given: tuple[GivenNoise, GivenNoise] = (GivenNoise(), GivenNoise()),
    *,
    unconvolved: Unconvolved | None = None,
    threads: int = 1,
) -> NoiseEstimate:
    """Measure the noise of post and of pre where there is background alone.

    The noise of both images is independent, their texture is not. So the covariance of post with
    the difference is the noise of post, and that of the scaled pre with the difference is minus
    the noise of pre, whatever the texture. Both are fitted by lines in brightness (photon
    transfer), and the whole is compared with the scatter of the clean background.

    Parameters
    ----------
    difference : DifferenceRaster
        Gives the pixels, by fixed windows.
    start : DifferenceNoise
        Its errors of scale, offset and registration and the pedestals of its cameras are kept.
    given : tuple of GivenNoise
        What is known of post and of pre.
    unconvolved : Unconvolved, optional
        Both images as the cameras made them, where one was convolved to match the sharpness.
    threads : int
        The result does not depend on it.

    References
    ----------
    J. R. Janesick, "Photon Transfer", SPIE Press (2007).
    """
    windows = read_noise_windows(difference, unconvolved, threads=threads)
    cameras = (start.post, start.pre)
    is_known = all(g.gain is not None and g.read_noise is not None for g in given)
    if windows is None or int(windows.clean.sum()) < LEAST_PIXELS:
        return _unmeasured(start, given, windows, is_known=is_known)
    remarks: list[str] = []
    doubts: list[str] = []
    if windows.clipped_fraction > 0.5:
        remarks.append(
            f"{windows.clipped_fraction:.0%} of the pixels are clipped at zero counts; the noise "
            "was measured on the others"
        )
    lines = _observations(windows, difference)
    fitted = []
    for line, camera, known, role in zip(lines, cameras, given, ("post", "pre"), strict=True):
        result, found = fit_camera(line, camera, known, role)
        fitted.append(result)
        remarks += found.remarks
        doubts += found.doubts
    noise = replace(start, post=fitted[0], pre=fitted[1], factor=1.0)
    scatter, goodness = _scatter(windows, difference, noise)
    factor = scatter / CUT_LOSS
    doubts += _misfit(factor, goodness)
    pixels = int(windows.clean.sum())
    return NoiseEstimate.of(replace(noise, factor=factor), goodness, pixels, remarks, doubts)


def _misfit(factor: float, goodness: float) -> list[str]:
    """Return in words how the clean background contradicts the noise model."""
    found = []
    if abs(factor - 1.0) > DEPARTURE:
        found.append(
            f"the clean background scatters {factor:.2g} times as much as the noise model says; "
            "the errors were multiplied by that factor"
        )
    if 1.0 - goodness > DEPARTURE:
        found.append(
            f"at some brightness the significance scatters {1.0 - goodness:.0%} more or less than "
            "elsewhere: the noise model does not fit there"
        )
    return found


def _unmeasured(
    start: DifferenceNoise,
    given: tuple[GivenNoise, GivenNoise],
    windows: NoiseWindows | None,
    *,
    is_known: bool,
) -> NoiseEstimate:
    """Return the model from what is given, or from the raw scatter where too little is clean."""
    pixels = 0 if windows is None else int(windows.clean.sum())
    if is_known:
        post, pre = (
            from_given(camera, known)
            for camera, known in zip((start.post, start.pre), given, strict=True)
        )
        message = f"only {pixels} clean background pixels: the given noise could not be checked"
        noise = replace(start, post=post, pre=pre)
        return NoiseEstimate.of(noise, 0.0, pixels, (), (message,))
    spread = 0.0
    if windows is not None:
        seen = np.abs(windows.difference[windows.known])
        # Where most pixels are alike, the few others are all the scatter there is.
        spread = float(np.quantile(seen, ONE_SIGMA)) or float(seen.std())
    floor = max(spread**2, start.post.rounding)
    post = replace(start.post, gain=0.0, floor=floor, rounding=0.0)
    pre = replace(start.pre, gain=0.0, floor=0.0, rounding=0.0)
    message = (
        f"only {pixels} clean background pixels: the noise could not be measured, the error is the "
        "scatter of the whole difference; give gain and read noise of both images"
    )
    return NoiseEstimate.of(replace(start, post=post, pre=pre), 0.0, pixels, (), (message,))


def _observations(
    windows: NoiseWindows, difference: DifferenceRaster
) -> tuple[NoiseLine, NoiseLine]:
    """Return products whose expectation is the variance of post, and that of pre."""
    clean = windows.clean
    scale, offset = difference.scale, difference.offset
    used, products, shares = _products(windows)
    spread = float(np.mean(np.square(windows.difference[used]), dtype=np.float64))
    texture = _texture(windows.background, clean)[used]
    level = windows.level[used]
    mean = float(np.mean(np.abs(level), dtype=np.float64))
    typical = np.maximum(level, np.float32(0.1 * mean + 1e-9))
    typical *= np.float32(max(spread, 1e-12) / max(mean, 1e-9))
    texture += typical
    typical *= texture
    weight = np.reciprocal(typical, out=typical)
    cluster = clusters(clean.shape)[used]
    light = (level - np.float32(offset)) / np.float32(scale)
    share = shares[1] * np.float32(scale**2)
    return (
        NoiseLine(level, products[0], shares[0], weight, cluster),
        NoiseLine(light, products[1], share, weight, cluster),
    )


def _products(
    windows: NoiseWindows,
) -> tuple[Mask, tuple[FloatVector, FloatVector], tuple[FloatVector, FloatVector]]:
    """Return usable pixels, products for post and pre, and their parts of the variances."""
    clean = windows.clean
    if windows.post_before is not None and windows.pre_before is not None:
        return _high_pass_products(windows, windows.post_before, windows.pre_before)
    rest, count = _without_mean(windows.difference, clean)
    used = clean & (count >= LEAST_BOX * BOX_PX**2)
    inverse = np.reciprocal(count[used])
    residual = rest[used]
    scaled = _without_mean(windows.background, clean)[0][used]
    from_post = (residual + scaled) * residual
    from_pre = np.negative(np.multiply(scaled, residual, out=scaled), out=scaled)
    return used, (from_post, from_pre), (1 - inverse, windows.resampling[used] - inverse)


def _high_pass_products(
    windows: NoiseWindows, post: FloatImage, pre: FloatImage
) -> tuple[Mask, tuple[FloatVector, FloatVector], tuple[FloatVector, FloatVector]]:
    """Return the power of either image where optics show nothing and the camera's noise remains.

    Where sharpness had to be matched, texture that is left in the difference would pass for noise:
    the kernel leaves little noise of the sharper image there.
    """
    whole = cv2.erode(windows.clean.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).view(
        np.bool_
    )
    steps = np.array(HIGH_PASS) / np.sqrt(np.sum(np.square(HIGH_PASS)))
    power = [
        np.square(cv2.sepFilter2D(image, cv2.CV_32F, steps, steps)[whole]) for image in (post, pre)
    ]
    ones = np.ones_like(power[0])
    factor = ones if windows.high_pass is None else windows.high_pass[whole]
    return whole, (power[0], power[1]), (ones, factor)


def _without_mean(image: FloatImage, clean: Mask) -> tuple[FloatImage, FloatImage]:
    """Return the image minus its mean over the clean pixels of a box, and their number."""
    box = (BOX_PX, BOX_PX)
    known = np.where(clean, image, np.float32(0))
    count = cv2.boxFilter(clean.astype(np.float32), cv2.CV_32F, box, normalize=False)
    total = cv2.boxFilter(known, cv2.CV_32F, box, normalize=False)
    rest: FloatImage = known - total / np.maximum(count, np.float32(1))
    return rest, count


def _texture(background: FloatImage, clean: Mask) -> FloatImage:
    """Return the variance of the background's texture; smoothed, it does not follow the noise."""
    smooth = cv2.GaussianBlur(background, (0, 0), TEXTURE_SIGMA_PX)
    box = (TEXTURE_BOX_PX, TEXTURE_BOX_PX)
    rest = smooth - cv2.blur(smooth, box)
    texture: FloatImage = 2.0 * cv2.blur(np.square(np.where(clean, rest, np.float32(0))), box)
    return texture


def _scatter(
    windows: NoiseWindows, difference: DifferenceRaster, noise: DifferenceNoise
) -> tuple[float, float]:
    """Return the spread of the significance on clean background, and how even it is.

    Evenness is 1 minus the largest departure of the spread at any of four levels of brightness
    from the whole.
    """
    error = np.concatenate(
        [
            noise.error(part, difference.scale, difference.offset, factor)
            for part, factor in zip(
                np.split(windows.background, len(windows.background) // WINDOW_PX),
                np.split(windows.resampling, len(windows.resampling) // WINDOW_PX),
                strict=True,
            )
        ]
    )
    clean = windows.clean
    size = np.abs(windows.difference[clean] / error[clean])
    whole = _spread(size)
    level = windows.level[clean]
    quarter = np.searchsorted(np.quantile(level, [0.25, 0.5, 0.75]), level)
    parts = [_spread(size[quarter == number]) for number in range(4) if (quarter == number).any()]
    departure = max(abs(part / whole - 1.0) for part in parts) if whole > 0 else 1.0
    return max(whole, 1e-3), max(0.0, 1.0 - departure)


def _spread(size: FloatImage) -> float:
    """Return the standard deviation of numbers of some absolute size, the tails left out.

    Unlike a quantile, it does not jump where the numbers are few and whole.
    """
    spread = float(np.quantile(size, ONE_SIGMA))
    for _ in range(3):
        inner = size[size < TRIM_SIGMAS * spread]
        if not len(inner):
            return spread
        spread = float(np.sqrt(np.mean(np.square(inner)) / TRIMMED_VARIANCE))
    return spread
