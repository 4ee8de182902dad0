"""The noise of a difference: photons, camera, resampling, scale and registration, by pixel."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Mask

ROUNDING_VARIANCE: Final = 1.0 / 12.0
"""Variance that rounding to whole counts adds, counts^2."""

SMOOTHING_PX: Final = 3
"""Side of the box over which the background is averaged before its noise is predicted: the
prediction then does not follow the noise of a single pixel of pre, which would fatten the tails."""

HALO_PX: Final = 3
"""Pixels around a window that smoothing and slopes reach, also where data are missing."""

SLOPE_NOISE: Final = 1.0 / 6.0
"""Variance of a slope by the Prewitt operator over that of a pixel, for white noise."""


@dataclass(frozen=True)
class CameraNoise:
    """The noise of one raw image: ``variance = gain * counts + floor``, never below `least`.

    Attributes
    ----------
    gain, gain_error : float
        Shot-noise variance per count (counts per photoelectron) and its standard error.
    floor, floor_error : float
        Variance at zero counts, counts^2, rounding included, and its standard error; negative
        where a pedestal carries no shot noise.
    pedestal : float
        Counts that the camera adds without shot noise.
    rounding : float
        Variance of rounding, counts^2; 0 for images of floating-point numbers.
    """

    gain: float
    floor: float
    gain_error: float = 0.0
    floor_error: float = 0.0
    pedestal: float = 0.0
    rounding: float = ROUNDING_VARIANCE

    @property
    def least(self) -> float:
        """The smallest variance, that of the pedestal, counts^2."""
        return max(self.rounding, self.floor + self.gain * self.pedestal, 1e-12)

    @property
    def read_noise(self) -> float:
        """Standard deviation of the read noise, counts."""
        return float(np.sqrt(max(0.0, self.least - self.rounding)))

    @property
    def read_noise_error(self) -> float:
        """Standard error of `read_noise`, counts."""
        least = max(self.read_noise, 0.5 * np.sqrt(self.floor_error), 1e-12)
        return float(self.floor_error / (2.0 * least))

    def variance(self, counts: FloatImage) -> FloatImage:
        """Return the variance at expected counts, pedestal included, counts^2."""
        line = counts * np.float32(self.gain)
        line += np.float32(self.floor)
        np.maximum(line, np.float32(self.least), out=line)
        return line


@dataclass(frozen=True)
class DifferenceNoise:
    """All that makes a difference of pure background scatter about zero.

    Attributes
    ----------
    post, pre : CameraNoise
        Of the raw images.
    scale_error : float
        Standard error of the scale over the scale.
    offset_error : float
        Standard error of the offset, counts.
    registration_px : float
        Standard error of the registration along x and along y, px.
    factor : float
        What the errors were multiplied by so that they fit the clean background.
    post_factor : float
        Factor that a convolution of post put on the variance of its noise.
    sharpness_px2 : float
        Standard error of the squared widths by which the sharpness was matched, px^2.
    """

    post: CameraNoise
    pre: CameraNoise
    scale_error: float = 0.0
    offset_error: float = 0.0
    registration_px: float = 0.0
    factor: float = 1.0
    post_factor: float = 1.0
    sharpness_px2: float = 0.0

    def error(
        self,
        background: FloatImage,
        scale: float | FloatImage,
        offset: float | FloatImage,
        resampling: FloatImage | float = 1.0,
        has_data: Mask | None = None,
    ) -> FloatImage:
        """Return the standard deviation of the difference where there is background alone.

        Parameters
        ----------
        background : numpy.ndarray of float32
            ``scale * pre + offset``: the counts expected in post.
        scale, offset : float or numpy.ndarray
            What `background` was made with.
        resampling : numpy.ndarray or float
            Factor by which the interpolation changed the variance of pre.
        has_data : numpy.ndarray of bool, optional
            Where `background` is known.

        Returns
        -------
        numpy.ndarray of float32
            Counts; pixels within `HALO_PX` of the window's edge see mirrored pixels.
        """
        smooth, slope = _smooth_and_slope(background, has_data)
        light = (smooth - offset) / scale
        pre = self.pre.variance(light)
        pre *= scale * scale
        slope_noise = SLOPE_NOISE * 2.0 * self.registration_px**2
        pre *= np.maximum(resampling - np.float32(slope_noise), np.float32(0))
        variance = self.post.variance(smooth)
        variance *= np.float32(self.post_factor)
        variance += pre
        slope *= np.float32(self.registration_px**2)
        variance += slope
        if self.sharpness_px2:
            # A Gaussian too wide by so much adds half of it times the Laplacian.
            ring = cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REFLECT_101)
            ring *= np.float32(0.5 * self.sharpness_px2)
            variance += np.square(ring, out=ring)
        smooth -= np.float32(self.post.pedestal)
        smooth *= np.float32(self.scale_error)
        variance += np.square(smooth, out=smooth)
        variance += np.float32(self.offset_error**2)
        error: FloatImage = np.sqrt(variance, out=variance)
        error *= np.float32(self.factor)
        return error


def _smooth_and_slope(image: FloatImage, has_data: Mask | None) -> tuple[FloatImage, FloatImage]:
    """Return the average over 3 x 3 px and the squared gradient (Prewitt), over known pixels."""
    if has_data is not None and not has_data.all():
        weight = _box(_mirrored(has_data.astype(np.float32)))
        known = np.where(has_data, image, np.float32(0))
        near = _box(_mirrored(known)) / np.maximum(weight, np.float32(1))
        image = np.where(has_data, image, near)
    padded = _mirrored(image)
    tall = padded[:-2] + padded[1:-1]
    tall += padded[2:]
    wide = padded[:, :-2] + padded[:, 1:-1]
    wide += padded[:, 2:]
    slope: FloatImage = np.square(tall[:, 2:] - tall[:, :-2])
    slope += np.square(wide[2:] - wide[:-2])
    slope *= np.float32(1 / 36)
    smooth: FloatImage = tall[:, :-2] + tall[:, 1:-1]
    smooth += tall[:, 2:]
    smooth *= np.float32(1 / SMOOTHING_PX**2)
    return smooth, slope


def _mirrored(image: FloatImage) -> FloatImage:
    """Return the image with one more pixel on each side."""
    return np.pad(image, 1, mode="reflect" if min(image.shape) > 1 else "edge")


def _box(padded: FloatImage) -> FloatImage:
    """Return the sum over 3 x 3 px; plain additions, so that no window changes a bit."""
    tall = padded[:-2] + padded[1:-1] + padded[2:]
    total: FloatImage = tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:]
    return total
