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

STRIP_ROWS: Final = 64
"""Rows that are worked on at a time: their arrays stay in the processor's caches."""

SLOPE_NOISE: Final = 1.0 / 6.0
"""Variance of a slope by the Prewitt operator over that of a pixel, for white noise."""


@dataclass(frozen=True)
class CameraNoise:
    """The noise of one raw image: ``variance = gain * counts + floor``, never below `least`.

    Attributes
    ----------
    gain, gain_error : float
        Shot-noise variance per count (counts per photoelectron) and its standard error.
    floor : float
        Variance at zero counts, counts^2, rounding included; negative where a pedestal carries no
        shot noise.
    floor_error : float
        Standard error of the variance at the pedestal, counts^2.
    pedestal : float
        Counts below which the variance falls no further: what the camera adds without shot noise,
        or the darkest that was seen, stray light included.
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
    def dark_noise(self) -> float:
        """Standard deviation of the noise at the pedestal without rounding, counts.

        The read noise, and the shot noise of stray light where dark surroundings tell the
        pedestal.
        """
        return float(np.sqrt(max(0.0, self.least - self.rounding)))

    @property
    def dark_noise_error(self) -> float:
        """Standard error of `dark_noise`, counts."""
        least = max(self.dark_noise, 0.5 * np.sqrt(self.floor_error), 1e-12)
        return float(self.floor_error / (2.0 * least))


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
        scale: float,
        offset: float,
        resampling: FloatImage | float = 1.0,
        has_data: Mask | None = None,
    ) -> FloatImage:
        """Return the standard deviation of the difference where there is background alone.

        Parameters
        ----------
        background : numpy.ndarray of float32
            ``scale * pre + offset``: the counts expected in post.
        scale, offset : float
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
        padded = _mirrored(_filled(background, has_data))
        variance = np.empty(background.shape, np.float32)
        law = _Law.of(self, scale, offset)
        step = len(background) if self.sharpness_px2 else STRIP_ROWS
        for top in range(0, len(background), step):
            part = slice(top, min(top + step, len(background)))
            factor = resampling if np.ndim(resampling) == 0 else np.asarray(resampling)[part]
            law.variance(padded[part.start : part.stop + 2], factor, variance[part])
        error: FloatImage = np.sqrt(variance, out=variance)
        return error


@dataclass(frozen=True)
class _Law:
    """The variance of a difference as a function of its smoothed background.

    Every pair holds what multiplies the background and what is added.
    """

    post: tuple[float, float]
    least_post: float
    pre: tuple[float, float]
    least_pre: float
    slope_noise: float
    registration: float
    sharpness: float
    scale_error: tuple[float, float]

    @classmethod
    def of(cls, noise: DifferenceNoise, scale: float, offset: float) -> "_Law":
        """Return the law of a noise model; scale and offset made the background."""
        post, pre, square = noise.post, noise.pre, noise.factor**2
        of_post, of_pre = square * noise.post_factor, square * scale**2
        rest = square * noise.offset_error**2
        return cls(
            (of_post * post.gain, of_post * post.floor + rest),
            of_post * post.least + rest,
            (of_pre * pre.gain / scale, of_pre * (pre.floor - pre.gain * offset / scale)),
            of_pre * pre.least,
            SLOPE_NOISE * 2.0 * noise.registration_px**2,
            square * noise.registration_px**2,
            noise.factor * 0.5 * noise.sharpness_px2,
            (
                noise.factor * noise.scale_error,
                -noise.factor * noise.scale_error * post.pedestal,
            ),
        )

    def variance(self, padded: FloatImage, resampling: FloatImage | float, out: FloatImage) -> None:
        """Write the variance into `out`; `padded` is the background, one pixel wider all around."""
        smooth, slope = _smooth_and_slope(padded)
        np.subtract(resampling, np.float32(self.slope_noise), out=out)
        np.maximum(out, np.float32(0), out=out)
        term = _line(smooth, self.pre)
        out *= np.maximum(term, np.float32(self.least_pre), out=term)
        term = _line(smooth, self.post, out=term)
        out += np.maximum(term, np.float32(self.least_post), out=term)
        slope *= np.float32(self.registration)
        out += slope
        if self.sharpness:
            # A Gaussian too wide by so much adds half of it times the Laplacian.
            ring = cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REFLECT_101)
            ring *= np.float32(self.sharpness)
            out += np.square(ring, out=ring)
        term = _line(smooth, self.scale_error, out=term)
        out += np.square(term, out=term)


def _line(
    values: FloatImage, line: tuple[float, float], out: FloatImage | None = None
) -> FloatImage:
    result: FloatImage = np.multiply(values, np.float32(line[0]), out=out)
    result += np.float32(line[1])
    return result


def _filled(image: FloatImage, has_data: Mask | None) -> FloatImage:
    """Return the image with the average of known neighbours where it is not known."""
    if has_data is None:
        return image
    weight = _box(_mirrored(has_data.astype(np.float32)))
    known = np.where(has_data, image, np.float32(0))
    near = _box(_mirrored(known)) / np.maximum(weight, np.float32(1))
    return np.where(has_data, image, near)


def _smooth_and_slope(padded: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Return the average over 3 x 3 px and the squared gradient (Prewitt) inside the margin."""
    tall = padded[:-2] + padded[1:-1]
    tall += padded[2:]
    wide = padded[:, :-2] + padded[:, 1:-1]
    wide += padded[:, 2:]
    slope: FloatImage = tall[:, 2:] - tall[:, :-2]
    np.square(slope, out=slope)
    steep = wide[2:] - wide[:-2]
    slope += np.square(steep, out=steep)
    slope *= np.float32(1 / 36)
    smooth: FloatImage = np.add(tall[:, :-2], tall[:, 1:-1], out=steep)
    smooth += tall[:, 2:]
    smooth *= np.float32(1 / SMOOTHING_PX**2)
    return smooth, slope


def _mirrored(image: FloatImage) -> FloatImage:
    """Return the image with one more pixel on each side."""
    border = cv2.BORDER_REFLECT_101 if min(image.shape) > 1 else cv2.BORDER_REPLICATE
    padded: FloatImage = cv2.copyMakeBorder(image, 1, 1, 1, 1, border)
    return padded


def _box(padded: FloatImage) -> FloatImage:
    """Return the sum over 3 x 3 px; plain additions, so that no window changes a bit."""
    tall = padded[:-2] + padded[1:-1] + padded[2:]
    total: FloatImage = tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:]
    return total
