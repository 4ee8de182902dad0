"""Matching the sharper of two images to the blurrier one before they are subtracted."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.raster.base import Raster
from exo2micro.subtraction.difference import QualitySources, WindowMask, read_mask
from exo2micro.subtraction.patches import PatchStack, read_patches
from exo2micro.subtraction.psf import SharpnessGap, is_significant, measure_sharpness
from exo2micro.subtraction.statistics import Vector

REACH_SIGMA: Final = 4.0
"""Radius of the kernel in its standard deviations: 0.006 % of the light lies beyond."""

SIMD_PX: Final = 16
"""Columns added on the right, where vectorised filters end with other rounding."""

Role = Literal["none", "post", "pre"]


@dataclass(frozen=True)
class PsfMatch:
    """Post and pre with equal sharpness, and how that came about.

    Attributes
    ----------
    post, pre : Raster
        The images to subtract; one may be a convolved view of the image given.
    gap : SharpnessGap
        What was measured before.
    role : str
        The image that was convolved: ``post``, ``pre`` or ``none``.
    sigma_px : float
        Standard deviation of the Gaussian kernel, px; 0 without one.
    """

    post: Raster
    pre: Raster
    gap: SharpnessGap
    role: Role = "none"
    sigma_px: float = 0.0

    @property
    def lags(self) -> tuple[float, ...]:
        """Autocorrelation of the kernel along one axis, from 0 px on."""
        kernel = gaussian_kernel(self.sigma_px)
        return tuple(np.correlate(kernel, kernel, "full")[len(kernel) - 1 :].tolist())

    @property
    def noise_factor(self) -> float:
        """Factor on the variance of white noise; neighbours then share what is left of it."""
        return self.lags[0] ** 2

    @property
    def saturation_margin_px(self) -> int:
        """Pixels around a saturated one whose value the kernel changed."""
        return int(np.ceil(2.0 * self.sigma_px))

    @property
    def sigma_error_px(self) -> float:
        """Standard error of the difference in widths, as one of `sigma_px`."""
        return self.gap.error / (2.0 * max(self.gap.sigma_px, 1e-3))

    @property
    def message(self) -> str:
        """What was done, in words; empty if nothing was."""
        if self.role == "none":
            return ""
        blurrier = "post" if self.role == "pre" else "pre"
        text = (
            f"{blurrier} is less sharp than {self.role}; {self.role} was convolved with a Gaussian "
            f"of {self.sigma_px:.2f} +- {self.sigma_error_px:.2f} px to match"
        )
        return text + ("; microbes are blurred by as much" if self.role == "post" else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the match as JSON values."""
        return {
            "role": self.role,
            "sigma_px": self.sigma_px,
            "sigma_error_px": self.sigma_error_px if self.gap.n_patches else None,
            "difference_px2": self.gap.difference,
            "error_px2": self.gap.error if self.gap.n_patches else None,
            "patches": self.gap.n_patches,
            "elongation_px2": list(self.gap.elongation) if self.gap.n_patches else None,
            "noise_factor": self.noise_factor,
        }


def match_psf(
    post: Raster,
    pre: Raster,
    quality: QualitySources,
    *,
    patches: PatchStack | None = None,
    threads: int = 1,
) -> PsfMatch:
    """Measure the sharpness of both images and convolve the sharper one where they differ.

    The kernel is a round Gaussian: convolving adds, so that the images can be made equally
    blurred but never equally sharp. Where post is the sharper one it is post that is convolved.

    Parameters
    ----------
    post, pre : Raster
        The same canvas; raw counts, pre aligned to post.
    quality : QualitySources
        Where both have data, and what is saturated.
    patches : PatchStack, optional
        Patches of both, where they have been read.
    threads : int
        Threads to use; the result does not depend on it.

    Raises
    ------
    ScaleError
        The images share no usable pixel.
    """
    gap = measure_sharpness(patches or read_patches(post, pre, quality, threads=threads))
    if not is_significant(gap):
        return PsfMatch(post, pre, gap)
    if gap.difference > 0:
        blurred = ConvolvedRaster(pre, gap.sigma_px, quality.valid, quality.saturation_pre)
        return PsfMatch(post, blurred, gap, "pre", gap.sigma_px)
    blurred = ConvolvedRaster(post, gap.sigma_px, quality.valid, quality.saturation_post)
    return PsfMatch(blurred, pre, gap, "post", gap.sigma_px)


def gaussian_kernel(sigma_px: float) -> Vector:
    """Return a normalised Gaussian averaged over pixels; ``[1]`` for a width of 0."""
    if sigma_px <= 0:
        return np.ones(1)
    from scipy.special import ndtr

    radius = int(np.ceil(REACH_SIGMA * sigma_px))
    # Averaging over a pixel widens by 1/12 px squared; the kernel is made narrower by that.
    narrow = np.sqrt(max(sigma_px**2 - 1.0 / 12.0, 1e-4))
    kernel = np.diff(ndtr((np.arange(-radius, radius + 2) - 0.5) / narrow))
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


class ConvolvedRaster(Raster):
    """Another raster convolved with a round Gaussian, window by window.

    Pixels without data take no part; saturated ones keep their value, so that they are still
    known as such.

    Parameters
    ----------
    source : Raster
        The image.
    sigma_px : float
        Standard deviation of the Gaussian, px.
    valid : Raster, callable or None
        Where the image has data; None: wherever it is finite.
    saturation : float, optional
        Level at and above which a pixel keeps its value; None: the largest value of an unsigned
        type, else none.
    """

    def __init__(
        self, source: Raster, sigma_px: float, valid: WindowMask, saturation: float | None
    ) -> None:
        self.shape = source.shape
        self.dtype = np.dtype(np.float32)
        self._source, self._valid = source, valid
        self._kernel = gaussian_kernel(sigma_px)
        whole = float(np.iinfo(source.dtype).max) if source.dtype.kind in "ui" else None
        self._saturation = whole if saturation is None else saturation

    @property
    def extent(self) -> tuple[slice, slice]:
        """The extent of the source: outside the data the image stays zero."""
        return self._source.extent

    def read(self, rows: slice, cols: slice) -> FloatImage:
        """Return the convolved window, 0 where there is no data."""
        radius = len(self._kernel) // 2
        wide = [
            slice(max(0, part.start - radius), min(size, part.stop + radius))
            for part, size in zip((rows, cols), self.shape, strict=True)
        ]
        inner = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip((rows, cols), wide, strict=True)
        )
        image = self._source.read(wide[0], wide[1]).astype(np.float32)
        known = np.isfinite(image)
        mask = read_mask(self._valid, wide[0], wide[1])
        if mask is not None:
            known &= mask
        image[~known] = 0.0
        result = self._convolved(image)[inner]
        if not known.all():
            weight = self._convolved(known.astype(np.float32))[inner]
            result = np.where(known[inner], result / np.maximum(weight, np.float32(1e-3)), 0)
        if self._saturation is not None:
            reached = image[inner] >= self._saturation
            result = np.where(reached, image[inner], result)
        return np.asarray(result, dtype=np.float32)

    def _convolved(self, image: FloatImage) -> FloatImage:
        kernel = self._kernel.astype(np.float32)
        padded = cv2.copyMakeBorder(image, 0, 0, 0, SIMD_PX, cv2.BORDER_REPLICATE)
        filtered: FloatImage = cv2.sepFilter2D(
            padded, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE
        )
        return filtered[:, : image.shape[1]]
