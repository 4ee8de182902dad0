"""Figures of a raw image from a sample of windows: level, contrast, noise, saturation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.raster.windows import block_mean
from exo2micro.raw.image import RawImage

WINDOW_SHAPE = (64, 256)
"""Rows and columns of one window: few rows, so that striped files are read in part only."""

WINDOW_GRID = (16, 12)
"""Windows down and across: 3 Mpx of any image; images up to 1024 x 3072 px are read whole."""

BLOCK_PX = 8
"""Noise is averaged over blocks of this side before contrast is measured."""

_BACKGROUND_PERCENTILE = 5.0
_HIGH_PERCENTILE = 99.5
_NOISE_SPAN_SIGMA = 4.22
"""Distance between those percentiles in pure Gaussian noise."""

_NOISE_ROW_STEP = 4
"""Every fourth row of a window is enough for its noise."""

_MIN_NOISE_COUNTS = 0.05
"""Floor for the noise of a block average: rounding to whole counts leaves about that much."""

_PRESENT_SIGMA = 5.0
"""Contrast beyond noise, in standard deviations of a block average, that counts as signal."""

SATURATED_FRACTION = 0.99
"""Share of saturated pixels from which on an image is of no use."""

_CAMERA_LIMITS = (2**10 - 1, 2**12 - 1, 2**14 - 1)
"""Largest values of 10-, 12- and 14-bit cameras, whose images are stored with 16 bits."""

_PILE_UP_FRACTION = 1e-4


@dataclass(frozen=True)
class ChannelFigures:
    """What one channel of one image holds, in counts.

    Attributes
    ----------
    name : str
        ``gray``, ``red``, ``green`` or ``blue``.
    background, high : float
        5th and 99.5th percentile of averages over 8 x 8 px.
    noise : float
        Standard deviation of the noise of such an average, from differences of neighbours.
    signal : float
        Contrast beyond what that noise gives, >= 0.
    minimum, maximum : float
        Extremes of the finite pixels that were looked at; NaN if there were none.
    saturated_fraction : float
        Share of pixels at the highest value that the file or the camera can hold.
    n_not_finite : int
        Pixels that are NaN or infinite.
    """

    name: str
    background: float
    high: float
    noise: float
    signal: float
    minimum: float
    maximum: float
    saturated_fraction: float
    n_not_finite: int = 0

    @property
    def has_signal(self) -> bool:
        """Whether there is contrast that noise does not explain."""
        return self.signal > _PRESENT_SIGMA * self.noise

    @property
    def is_suspicious(self) -> bool:
        """Whether the channel may be blank or saturated, or holds NaN or infinite pixels."""
        is_flat = not self.minimum < self.maximum
        return is_flat or self.saturated_fraction >= SATURATED_FRACTION or self.n_not_finite > 0


def measure_channels(image: RawImage) -> tuple[ChannelFigures, ...]:
    """Measure every channel of an image on a grid of windows.

    Parameters
    ----------
    image : RawImage
        The image.

    Returns
    -------
    tuple of ChannelFigures
        One per channel, in the order of ``image.channel_names``.
    """
    tallies = [_Tally(image.saturation_level) for _ in image.channel_names]
    channels = range(len(tallies))
    for rows, cols in sample_windows(image.shape):
        window = image.read(rows, cols, channels)
        for tally, pixels in zip(tallies, window, strict=True):
            tally.add(pixels)
    return tuple(
        tally.figures(name) for tally, name in zip(tallies, image.channel_names, strict=True)
    )


def sample_windows(shape: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Yield a grid of windows spread evenly over an image, first and last row included."""
    spans = [
        _spread(size, window, count)
        for size, window, count in zip(shape, WINDOW_SHAPE, WINDOW_GRID, strict=True)
    ]
    for rows in spans[0]:
        for cols in spans[1]:
            yield rows, cols


def _spread(size: int, window: int, count: int) -> list[slice]:
    """Return `count` spans spread over ``0 .. size``, or touching ones where they fill it."""
    if size <= window * count:
        return [slice(k, min(k + window, size)) for k in range(0, size, window)]
    starts = [round(k * (size - window) / (count - 1)) for k in range(count)]
    return [slice(k, k + window) for k in starts]


class _Tally:
    """Gathers the figures of one channel, window by window."""

    def __init__(self, saturation_level: float) -> None:
        self._level = saturation_level
        self._means: list[NDArray[np.float32]] = []
        self._differences: list[float] = []
        self._n_pixels = 0
        self._n_not_finite = 0
        self._minimum, self._maximum = np.inf, -np.inf
        self._n_at_maximum = 0

    def add(self, pixels: NDArray[Any]) -> None:
        """Take in one window."""
        self._n_pixels += pixels.size
        if pixels.dtype.kind == "f":
            finite = np.isfinite(pixels)
            n_bad = int(pixels.size - np.count_nonzero(finite))
            self._n_not_finite += n_bad
            if n_bad == pixels.size:
                return
            if n_bad:
                pixels = np.where(finite, pixels, np.median(pixels[finite]))
        self._minimum = min(self._minimum, float(pixels.min()))
        highest = float(pixels.max())
        if highest > self._maximum:
            self._maximum, self._n_at_maximum = highest, 0
        if highest == self._maximum:
            self._n_at_maximum += int(np.count_nonzero(pixels == pixels.dtype.type(highest)))
        self._means.append(block_mean(pixels, BLOCK_PX).ravel())
        self._differences.append(_pixel_noise(pixels))

    def figures(self, name: str) -> ChannelFigures:
        """Return the figures of all windows together."""
        if not self._means:
            nan = float("nan")
            return ChannelFigures(name, nan, nan, nan, 0.0, nan, nan, 0.0, self._n_not_finite)
        means: FloatImage = np.concatenate(self._means)
        background, high = (
            float(v) for v in np.percentile(means, (_BACKGROUND_PERCENTILE, _HIGH_PERCENTILE))
        )
        noise = float(np.median(self._differences)) / BLOCK_PX
        if np.isfinite(self._level):
            noise = max(noise, _MIN_NOISE_COUNTS)
        signal = max(0.0, high - background - _NOISE_SPAN_SIGMA * noise)
        return ChannelFigures(
            name,
            background,
            high,
            noise,
            signal,
            self._minimum,
            self._maximum,
            self._saturated_fraction(),
            self._n_not_finite,
        )

    def _saturated_fraction(self) -> float:
        """Return the share of pixels at the limit of the file or of a 10- to 14-bit camera."""
        fraction = self._n_at_maximum / self._n_pixels
        if self._maximum == self._level:
            return fraction
        is_camera_limit = self._maximum in _CAMERA_LIMITS and np.isfinite(self._level)
        return fraction if is_camera_limit and fraction > _PILE_UP_FRACTION else 0.0


def _pixel_noise(pixels: NDArray[Any]) -> float:
    """Return the standard deviation of pixel noise from differences along rows.

    Differences beyond the 90th percentile are texture rather than noise and are cut to it.
    """
    if pixels.shape[1] < 2:
        return 0.0
    wide = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    difference = np.abs(np.diff(pixels[::_NOISE_ROW_STEP].astype(wide), axis=1)).ravel()
    rank = int(0.9 * (difference.size - 1))
    limit = np.partition(difference, rank)[rank]
    return float(np.minimum(difference, limit).mean() * np.sqrt(np.pi) / 2.0)
