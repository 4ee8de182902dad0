"""The matched filter: significance of a small bright object at every pixel.

For independent noise the best linear filter for a known shape ``k`` is
``sum(k d / s^2) / sqrt(sum(k^2 / s^2))``. The noise of a difference is not quite independent, since
the pre-stain image was interpolated, so the result is divided by its own scatter on the background.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.detection.difference import Difference
from exo2micro.detection.mesh import CELL_PX, Mesh
from exo2micro.errors import DetectionError

_KERNEL_SIGMAS: Final = 4.0
_GUARD_PX: Final = 32
"""Columns beyond the window that are computed and dropped: the last ones of a row go another way
through OpenCV's vector code, and their last bit would depend on the window."""

SHARP: Final = 0.5
"""Width of the filter by which close objects are told apart, relative to the one that finds them:
light is spread as little as the noise of bright objects allows."""

_SAMPLES: Final = 768
"""Cells of the mesh on which the scatter is measured: 12.6 Mpx at most."""

_HALF_NORMAL_MEDIAN: Final = 0.67448975
_MAD_TO_SIGMA: Final = 1.4826


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
    """

    difference: Difference
    mesh: Mesh
    width_px: float
    scatter: float = 1.0

    @cached_property
    def _kernels(self) -> tuple[FloatImage, FloatImage]:
        """The filter that finds and the one that parts."""
        place = np.arange(-self.reach_px, self.reach_px + 1)
        wide, sharp = (
            np.exp(-0.5 * (place / (self.width_px * factor)) ** 2).astype(np.float32)
            for factor in (1.0, SHARP)
        )
        return wide / wide.sum(), sharp / sharp.sum()

    @property
    def reach_px(self) -> int:
        """Pixels that the filter reaches in each direction."""
        return ceil(_KERNEL_SIGMAS * self.width_px)

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
        weight = np.divide(1, noise * noise, out=np.zeros_like(noise), where=has_data & (noise > 0))
        buffers[0][target] = data * weight
        buffers[1][target] = weight
        inner = (slice(reach, reach + shape[0]), slice(reach, reach + shape[1]))
        signal, power, sharp, sharp_power = (
            cv2.sepFilter2D(buffer, cv2.CV_32F, line, line, borderType=cv2.BORDER_CONSTANT)[inner]
            for kernel in self._kernels
            for buffer, line in zip(buffers, (kernel, kernel**2), strict=True)
        )
        return self._normed(signal, power), self._normed(sharp, sharp_power)

    def _normed(self, signal: FloatImage, power: FloatImage) -> FloatImage:
        norm = np.sqrt(np.maximum(power, 0)) * np.float32(self.scatter)
        return np.divide(signal, norm, out=np.zeros_like(signal), where=norm > 0)


def empty_window(shape: tuple[int, int]) -> Window:
    """Return a window without any data."""
    nothing = np.zeros(shape, np.float32)
    flags, has_data = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
    return Window(nothing, nothing, nothing, nothing, flags, has_data)


@dataclass(frozen=True)
class Calibration:
    """How the filtered background scatters.

    Attributes
    ----------
    scatter : float
        Standard deviation of the filtered significance on the background; 1 for independent noise
        that is known exactly.
    roughness : float
        Variance of its slope, px^-2, at unit variance; 1 / (2 width^2) for independent noise.
    """

    scatter: float
    roughness: float


def calibrated(plain: MatchedFilter) -> tuple[MatchedFilter, Calibration]:
    """Return the filter in units of its own background scatter, measured on cells of the mesh.

    The scatter comes from the negative values alone, where no microbe is.

    Raises
    ------
    DetectionError
        If the background does not scatter.
    """
    below, steps = [], []
    for rows, cols in _sample_cells(plain):
        window = plain.read(rows, cols)
        values = window.significance
        below.append(values[window.has_data & (values < 0)])
        both = window.has_data[:, 1:] & window.has_data[:, :-1]
        steps.append(np.diff(values, axis=1)[both])
    negative, step = np.concatenate(below), np.concatenate(steps)
    if negative.size == 0 or not np.any(step):
        msg = "the difference has no noise to measure significance by; is it a mask or labels?"
        raise DetectionError(msg)
    scatter = float(np.median(np.abs(negative))) / _HALF_NORMAL_MEDIAN
    slope = _MAD_TO_SIGMA * float(np.median(np.abs(step)))
    calibration = Calibration(scatter, (slope / scatter) ** 2)
    return replace(plain, scatter=scatter), calibration


def _sample_cells(filtered: MatchedFilter) -> list[tuple[slice, slice]]:
    """Return up to `_SAMPLES` cells of the mesh that hold data, evenly spread."""
    cells = np.argwhere(filtered.mesh.measured)
    numbers = np.linspace(0, len(cells) - 1, min(_SAMPLES, len(cells))).astype(int)
    ny, nx = filtered.difference.shape
    return [
        (
            slice(y * CELL_PX, min((y + 1) * CELL_PX, ny)),
            slice(x * CELL_PX, min((x + 1) * CELL_PX, nx)),
        )
        for y, x in cells[numbers].tolist()
    ]
