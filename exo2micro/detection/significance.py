"""The matched filter: significance of a small bright object at every pixel.

For independent noise the best linear filter for a known shape ``k`` is
``sum(k d / s^2) / sqrt(sum(k^2 / s^2))``. The noise of a difference is not quite independent, since
the pre-stain image was interpolated, so the result is divided by its own scatter on the background.

This holds for an ``s`` that knows nothing of the noise in ``d``. But ``s`` is predicted from the
pre-stain image, averaged over 3 x 3 pixels, whose own noise enters the difference with the opposite
sign: where it is low by chance, the difference is high and counts for more. That alone doubles the
false objects. What chance puts into ``s^2`` is therefore taken out again.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.detection.difference import Difference
from exo2micro.detection.mesh import Mesh

_KERNEL_SIGMAS: Final = 4.0
_GUARD_PX: Final = 32
"""Columns beyond the window that are computed and dropped: the last ones of a row go another way
through OpenCV's vector code, and their last bit would depend on the window."""

SHARP: Final = 0.5
"""Width of the filter by which close objects are told apart, relative to the one that finds them:
light is spread as little as the noise of bright objects allows."""

BOX_PX: Final = 3
"""Side of the square over which the subtraction averages the image that it predicts noise from."""

_LEAST_VARIANCE: Final = 0.5
"""Part of the predicted variance that is left at least."""


@dataclass(frozen=True)
class Window:
    """Significance and what it came from, in one window.

    Attributes
    ----------
    significance : numpy.ndarray of float32
        In standard deviations of the background; 0 where there is no data.
    sharp : numpy.ndarray of float32
        The same after a filter of `SHARP` times the width, in which close objects stand apart.
    data : numpy.ndarray of float32
        Counts above the local level.
    noise : numpy.ndarray of float32
        Standard deviation of each pixel, counts.
    flags, has_data : numpy.ndarray
        As in `Pixels`.
    """

    significance: FloatImage
    sharp: FloatImage
    data: FloatImage
    noise: FloatImage
    flags: NDArray[np.uint8]
    has_data: Mask


@dataclass(frozen=True)
class MatchedFilter:
    """The filtered significance of a difference, read by window.

    Attributes
    ----------
    difference : Difference
        What is searched.
    mesh : Mesh
        Its level and scatter.
    width_px : float
        Standard deviation of the Gaussian that is sought, px.
    scatter : float
        Scatter of the filtered background before it is divided by this.
    echo : float
        Counts by which the predicted variance falls per count of the difference's local mean,
        since both hold the noise of the pre-stain image; 0 where the prediction is independent.
    """

    difference: Difference
    mesh: Mesh
    width_px: float
    scatter: float = 1.0
    echo: float = 0.0

    @cached_property
    def _kernels(self) -> tuple[FloatImage, FloatImage]:
        """The filter that finds and the one that parts."""
        place = np.arange(1 - self.reach_px, self.reach_px)
        wide, sharp = (
            np.exp(-0.5 * (place / (self.width_px * factor)) ** 2).astype(np.float32)
            for factor in (1.0, SHARP)
        )
        return np.pad(wide / wide.sum(), 1), np.pad(sharp / sharp.sum(), 1)

    @property
    def reach_px(self) -> int:
        """Pixels that count in each direction: those of the filter, and one for their noise."""
        return ceil(_KERNEL_SIGMAS * self.width_px) + BOX_PX // 2

    def read(self, rows: slice, cols: slice) -> Window:
        """Return the window; each pixel is the same, to the bit, in whatever window it lies."""
        reach, (ny, nx) = self.reach_px, self.difference.shape
        wide = (
            slice(max(0, rows.start - reach), min(ny, rows.stop + reach)),
            slice(max(0, cols.start - reach), min(nx, cols.stop + reach)),
        )
        pixels = self.difference.read(*wide)
        if not pixels.has_data.any():
            return empty_window((rows.stop - rows.start, cols.stop - cols.start))
        data = np.where(pixels.has_data, pixels.data - self.mesh.level_at(*wide), np.float32(0))
        noise = pixels.noise if pixels.noise is not None else self.mesh.scatter_at(*wide)
        place = (rows.start - wide[0].start, cols.start - wide[1].start)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        inner = tuple(slice(p, p + n) for p, n in zip(place, shape, strict=True))
        filtered = self._filtered(data, noise, pixels.has_data, place, shape)
        significance, sharp = (np.where(pixels.has_data[inner], f, np.float32(0)) for f in filtered)
        return Window(
            significance,
            sharp,
            data[inner],
            noise[inner],
            pixels.flags[inner],
            pixels.has_data[inner],
        )

    def _filtered(
        self,
        data: FloatImage,
        noise: FloatImage,
        has_data: Mask,
        place: tuple[int, int],
        shape: tuple[int, int],
    ) -> tuple[FloatImage, FloatImage]:
        """Return the window that starts at `place` of the arrays, through both filters."""
        reach = self.reach_px
        buffers = np.zeros((2, shape[0] + 2 * reach, shape[1] + 2 * reach + _GUARD_PX), np.float32)
        target = (
            slice(reach - place[0], reach - place[0] + data.shape[0]),
            slice(reach - place[1], reach - place[1] + data.shape[1]),
        )
        weight, variance = np.zeros_like(noise), self._variance(data, noise)
        np.divide(1, variance, out=weight, where=has_data & (variance > 0))
        buffers[0][target] = data * weight
        buffers[1][target] = weight
        inner = (slice(reach, reach + shape[0]), slice(reach, reach + shape[1]))
        signal, power, sharp, sharp_power = (
            cv2.sepFilter2D(buffer, cv2.CV_32F, line, line, borderType=cv2.BORDER_CONSTANT)[inner]
            for kernel in self._kernels
            for buffer, line in zip(buffers, (kernel, kernel**2), strict=True)
        )
        return self._normed(signal, power), self._normed(sharp, sharp_power)

    def _variance(self, data: FloatImage, noise: FloatImage) -> FloatImage:
        """Return the predicted variance without what the noise in the difference put into it."""
        variance = noise * noise
        if self.echo == 0:
            return variance
        chance = np.clip(box_mean(data), -noise, noise)
        whole = variance + np.float32(self.echo) * chance
        return np.asarray(np.maximum(whole, np.float32(_LEAST_VARIANCE) * variance))

    def _normed(self, signal: FloatImage, power: FloatImage) -> FloatImage:
        norm = np.sqrt(np.maximum(power, 0)) * np.float32(self.scatter)
        return np.divide(signal, norm, out=np.zeros_like(signal), where=norm > 0)


def empty_window(shape: tuple[int, int]) -> Window:
    """Return a window without any data."""
    nothing = np.zeros(shape, np.float32)
    flags, has_data = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
    return Window(nothing, nothing, nothing, nothing, flags, has_data)


def box_mean(image: FloatImage) -> FloatImage:
    """Return the mean over 3 x 3 pixels, of zeros beyond the image; the same bits in any window."""
    padded = np.pad(image, 1)
    lines = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((lines[:, :-2] + lines[:, 1:-1] + lines[:, 2:]) / np.float32(BOX_PX**2))
