"""Windows of a difference in which its noise is measured, and their clean background."""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.raster.windows import map_ordered
from exo2micro.subtraction.difference import DifferenceRaster, Window, WindowFactor
from exo2micro.subtraction.quality import NO_DATA
from exo2micro.subtraction.statistics import MAD_TO_SIGMA

WINDOW_PX: Final = 256
"""Side of a window: a quarter of a tile of the files, so that few tiles are decoded."""

MAX_WINDOWS: Final = 48
"""Three million pixels fix a gain to about 1 % on plain texture."""

RIM_PX: Final = 8
"""Pixels left out along the edge of a window, where filters see mirrored pixels."""

LEVEL_SIGMA_PX: Final = 2.0
"""Smoothing of the background that sorts pixels by brightness: wide enough that no pixel is
sorted by its own noise."""

CLEAN_SIGMAS: Final = 3.5
"""Smoothed differences beyond this are microbes or mismatch; 0.05 % of the pure noise."""

HIGH_PASS: Final = (1.0, -2.0, 1.0)
"""Along both axes: passes the highest frequencies, where a point-spread function of 1 px and more
leaves less than a thousandth of the texture's power [Immerkaer 1996]."""

HIGH_PASS_LAGS: Final = (1.0, -2.0 / 3.0, 1.0 / 6.0)
"""Autocorrelation of `HIGH_PASS`."""

CLUSTER_PX: Final = 32
"""Side of the squares over which errors are gathered: pixels within a box share noise."""

GROW_PX: Final = 2
BINS: Final = 16
MAX_CLIPPED: Final = 0.005
"""Fraction of zero counts in a brightness class from which clipping changes its variance."""


@dataclass(frozen=True)
class NoiseWindows:
    """Pixels of the windows, one window below the other; arrays of one shape.

    Attributes
    ----------
    difference, background, resampling : numpy.ndarray of float32
        The difference, ``scale * pre + offset``, and the variance factor of the interpolation.
    level : numpy.ndarray of float32
        Smoothed background, counts.
    known : numpy.ndarray of bool
        Pixels that exist and hold data, flagged ones too.
    clean : numpy.ndarray of bool
        Background pixels: no microbe, no debris, no saturation, nothing clipped at zero.
    clipped_fraction : float
        Fraction of the pixels with data that were left out as clipped.
    post_before, pre_before, high_pass : numpy.ndarray of float32, optional
        What `Unconvolved` gives.
    """

    difference: FloatImage
    background: FloatImage
    resampling: FloatImage
    level: FloatImage
    known: Mask
    clean: Mask
    clipped_fraction: float
    post_before: FloatImage | None = None
    pre_before: FloatImage | None = None
    high_pass: FloatImage | None = None


@dataclass(frozen=True)
class Unconvolved:
    """Both images before one was convolved to match the other's sharpness.

    Attributes
    ----------
    post, pre : callable
        ``(rows, cols) -> image``; pre as it is scaled.
    high_pass : callable
        ``(rows, cols) -> factor`` by which the resampling changed the variance of the noise of pre
        that `HIGH_PASS` leaves.
    """

    post: WindowFactor
    pre: WindowFactor
    high_pass: WindowFactor


def window_grid(window: Window) -> list[Window]:
    """Return at most `MAX_WINDOWS` windows spread evenly over a part of the canvas."""
    rows, cols = window
    step = WINDOW_PX
    while _count(rows, step) * _count(cols, step) > MAX_WINDOWS:
        step += 32
    starts = product(range(rows.start, rows.stop, step), range(cols.start, cols.stop, step))
    return [
        (
            slice(y, min(y + WINDOW_PX, rows.stop)),
            slice(x, min(x + WINDOW_PX, cols.stop)),
        )
        for y, x in starts
    ]


def _count(part: slice, step: int) -> int:
    return int(-(-(part.stop - part.start) // step))


def read_noise_windows(
    difference: DifferenceRaster, unconvolved: Unconvolved | None = None, *, threads: int = 1
) -> NoiseWindows | None:
    """Read the windows and find their clean background; None if nothing has data."""
    whole = (slice(0, difference.shape[0]), slice(0, difference.shape[1]))
    windows = window_grid(difference.quality.post_window or whole)
    read = partial(_read, difference, unconvolved)
    number = 3 if unconvolved is None else 6
    stacks = [np.empty((len(windows), WINDOW_PX, WINDOW_PX), np.float32) for _ in range(number)]
    masks: list[tuple[Mask, Mask]] = []
    for found in map_ordered(read, windows, threads):
        if found is not None:
            for stack, image in zip(stacks, found[0], strict=True):
                stack[len(masks)] = image
            masks.append(found[1])
    if not masks:
        return None
    post, values, resampling, *before = (
        stack[: len(masks)].reshape(-1, WINDOW_PX) for stack in stacks
    )
    known, good = (np.concatenate(kind) for kind in zip(*masks, strict=True))
    background: FloatImage = post - values
    level = np.concatenate(
        [
            _smoothed(part, mask)
            for part, mask in zip(
                background.reshape(-1, WINDOW_PX, WINDOW_PX),
                np.split(good, len(masks)),
                strict=True,
            )
        ]
    )
    is_whole = difference.post.dtype.kind in "ui"
    clipped = _clipped(post, background, difference.offset, level, good) if is_whole else ~good
    usable = good & ~clipped
    clean = _clean(values, level, usable)
    fraction = float((good & clipped).sum() / max(1, good.sum()))
    return NoiseWindows(values, background, resampling, level, known, clean, fraction, *before)


def _read(
    difference: DifferenceRaster, unconvolved: Unconvolved | None, window: Window
) -> tuple[FloatImage, tuple[Mask, Mask]] | None:
    """Read the images of one window, ones beyond its edge, what has data and what is good.

    None: nothing has data.
    """
    values, flags = difference.read_with_quality(*window)
    rows, cols = (slice(0, n) for n in values.shape)
    known, good = np.zeros((2, WINDOW_PX, WINDOW_PX), np.bool_)
    known[rows, cols] = (flags & NO_DATA) == 0
    if not known.any():
        return None
    good[rows, cols] = flags == 0
    kernel = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    good = cv2.erode(
        good.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0
    ).view(np.bool_)
    resampling = difference.resampling
    factor = np.ones_like(values) if resampling is None else resampling(*window)
    images = [difference.post.read(*window), values, factor]
    if unconvolved is not None:
        before = (unconvolved.post, unconvolved.pre, unconvolved.high_pass)
        images += [read(*window) for read in before]
    full = np.ones((len(images), WINDOW_PX, WINDOW_PX), np.float32)
    for image, target in zip(images, full, strict=True):
        target[rows, cols] = np.where(np.isfinite(image), image, 0)
    return full, (known, good)


def _smoothed(background: FloatImage, good: Mask) -> FloatImage:
    """Return the background smoothed over good pixels."""
    weight = cv2.GaussianBlur(good.astype(np.float32), (0, 0), LEVEL_SIGMA_PX)
    total = cv2.GaussianBlur(np.where(good, background, np.float32(0)), (0, 0), LEVEL_SIGMA_PX)
    smooth: FloatImage = total / np.maximum(weight, np.float32(1e-3))
    return smooth


def _classes(level: FloatImage, chosen: Mask) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the edges of the brightness classes of chosen pixels, and the class of each."""
    seen = level[chosen]
    edges = np.unique(np.quantile(seen, np.linspace(0, 1, BINS + 1)))
    index = np.clip(np.searchsorted(edges, seen, side="right") - 1, 0, max(0, len(edges) - 2))
    return edges.astype(np.float64), index


def _clipped(
    post: FloatImage, background: FloatImage, offset: float, level: FloatImage, good: Mask
) -> Mask:
    """Return the pixels of brightness classes in which the camera's zero cuts the noise off."""
    result = np.zeros(good.shape, np.bool_)
    zero = (post <= 0) | (background <= offset)
    if not (zero & good).any():
        return result
    _, index = _classes(level, good)
    n = np.bincount(index, minlength=BINS)
    zeros = np.bincount(index, weights=zero[good], minlength=BINS)
    result[good] = (zeros > MAX_CLIPPED * n)[index]
    return result


def _clean(values: FloatImage, level: FloatImage, usable: Mask) -> Mask:
    """Return the usable pixels away from significant differences, upward and downward alike."""
    if not usable.any():
        return usable
    smooth = cv2.blur(np.where(usable, values, np.float32(0)), (3, 3))
    edges, index = _classes(level, usable)
    seen = smooth[usable]
    centres, sigmas = [], []
    for number in range(max(1, len(edges) - 1)):
        below = seen[(index == number) & (seen < 0)]
        if len(below) >= BINS:
            centres.append(float(np.mean(edges[number : number + 2])))
            sigmas.append(MAD_TO_SIGMA * float(np.median(-below)))
    if not centres:
        return np.zeros_like(usable)
    limit = CLEAN_SIGMAS * np.interp(level, centres, sigmas)
    cut = (np.abs(smooth) > limit) & usable
    size = 2 * GROW_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate(cut.view(np.uint8), kernel).view(np.bool_)
    clean: Mask = usable & ~grown
    return clean


def clusters(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the number of the square that each pixel of the stack lies in."""
    rows = np.arange(shape[0], dtype=np.int32) // CLUSTER_PX
    cols = np.arange(shape[1], dtype=np.int32) // CLUSTER_PX
    numbers: NDArray[np.int32] = rows[:, None] * (WINDOW_PX // CLUSTER_PX) + cols
    return numbers
