"""Reduced images for display, robust contrast limits, and two images as one in colour."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask
from exo2micro.alignment.outline import sample_mask
from exo2micro.plotting.pair import Window
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import row_bands

MAX_OVERVIEW_PX: Final = 4_000_000
"""Largest overview: more pixels than any figure shows."""

_BAND: Final = 256
"""Rows of the validity mask that are asked for at a time."""

RIM: Final = 0.1
"""Part of the sample's pixels that its outline, drawn generously, may hold of the dark ground."""

MICROBES: Final = 0.999
"""Quantile of the sample in post up to which microbes keep their shades, where there is room."""

ROOM_BELOW: Final = 1.0
ROOM_ABOVE: Final = (0.15, 1.0)
"""Room left below the darkest and above the brightest minerals, relative to their range."""

_QUANTILE_SAMPLE: Final = 400_000
"""Values that are enough for a quantile of 0.999."""


@dataclass(frozen=True)
class Overview:
    """A reduced image of a window.

    Attributes
    ----------
    values : numpy.ndarray of float32
        Block averages, shape ``(ny, nx)``.
    factor : int
        Block side in pixels.
    extent : tuple of float
        ``(left, right, bottom, top)`` for Matplotlib's `imshow`, in pixels of the window.
    """

    values: FloatImage
    factor: int
    extent: tuple[float, float, float, float]


def display_factor(shape: tuple[int, int], max_px: int = MAX_OVERVIEW_PX) -> int:
    """Return the smallest power of two by which an image is reduced to at most `max_px` pixels.

    Files store overviews by powers of two, so no full-size pixel needs to be read.
    """
    factor = 1
    while -(-shape[0] // factor) * -(-shape[1] // factor) > max_px:
        factor *= 2
    return factor


def overview(image: Raster, window: Window, factor: int) -> Overview:
    """Return a window of an image reduced by `factor`.

    The image is reduced on its own grid of blocks and then cut, so that stored overviews can
    serve; the result covers the window's blocks, the first one possibly in part.
    """
    rows, cols = (slice(part.start // factor, -(-part.stop // factor)) for part in window)
    values = image.overview(factor)[rows, cols]
    top = rows.start * factor - window[0].start
    left = cols.start * factor - window[1].start
    bottom = top + values.shape[0] * factor
    right = left + values.shape[1] * factor
    return Overview(values, factor, (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5))


def overview_mask(valid: Callable[[slice, slice], Mask], window: Window, factor: int) -> Mask:
    """Return validity at the centre of each block of `overview`, inside the window only."""
    rows, cols = window
    centre_y, centre_x = _centres(rows, factor), _centres(cols, factor)
    mask = np.zeros((len(centre_y), len(centre_x)), np.bool_)
    for band in row_bands(rows.stop - rows.start, _BAND):
        part = slice(rows.start + band.start, rows.start + band.stop)
        picked = np.flatnonzero((centre_y >= part.start) & (centre_y < part.stop))
        if len(picked):
            values = np.asarray(valid(part, cols), np.bool_)
            mask[picked] = values[np.ix_(centre_y[picked] - part.start, centre_x - cols.start)]
    return mask


def robust_limits(values: Image, low: float = 0.005, high: float = 0.995) -> tuple[float, float]:
    """Return quantiles of the values that are finite and not 0, always apart.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape; 0 stands for no data.
    low, high : float
        Quantiles, 0 to 1: a few extreme pixels must not set the range.
    """
    flat = thin(values)
    flat = flat[np.isfinite(flat) & (flat != 0)]
    if not len(flat):
        return 0.0, 1.0
    bottom, top = (float(q) for q in np.quantile(flat, (low, high)))
    return (bottom, top) if top > bottom else (bottom - 0.5, bottom + 0.5)


def thin(values: Image) -> Image:
    """Return an evenly spaced part of the values, as a vector, enough for quantiles."""
    flat = values.ravel()
    # An odd stride does not lock in with rows of even length.
    step = len(flat) // _QUANTILE_SAMPLE | 1
    return flat[::step]


def matched_limits(post: Image, pre: Image) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return contrast limits of post and pre at which their common background looks the same.

    The range of post follows from that of pre and the typical brightness of both, so that
    microbes, however many, do not darken the minerals. It is spread over the sample alone: beside
    a dark ground a sample of little texture would be white all over. Values that are no picture
    but a vector are all taken for sample.
    """
    low, high = robust_limits(pre)
    post_low, post_high = robust_limits(post)
    first, second = post.ravel(), pre.ravel()
    usable = np.isfinite(first) & np.isfinite(second) & (first != 0) & (second > low)
    if not usable.any():
        return (post_low, post_high), (low, high)
    bright = usable & (second >= np.median(second[usable]))
    ratio = float(np.median((first[bright] - post_low) / (second[bright] - low)))
    if not ratio > 0:
        return (post_low, post_high), (low, high)
    thin_post, thin_pre = _thin_picture(post), _thin_picture(pre)
    sample = np.ones(thin_pre.shape, np.bool_)
    if thin_pre.ndim == 2:
        sample = sample_mask(np.nan_to_num(thin_pre.astype(np.float32)))
    bottom, top = robust_limits(thin_pre[sample], RIM)
    span = top - bottom
    microbes = low + (robust_limits(thin_post[sample], high=MICROBES)[1] - post_low) / ratio
    low_shown = max(low, bottom - ROOM_BELOW * span)
    high_shown = top + float(np.clip(microbes - top, ROOM_ABOVE[0] * span, ROOM_ABOVE[1] * span))
    ends = (post_low + ratio * (end - low) for end in (low_shown, high_shown))
    return (next(ends), next(ends)), (low_shown, high_shown)


def _thin_picture(image: Image) -> Image:
    """Return every n-th row and column, enough to find the sample and quantiles in it."""
    step = 1 + int((image.size / _QUANTILE_SAMPLE) ** (1 / image.ndim))
    return image[(slice(None, None, step),) * image.ndim]


def stretch(image: Image, limits: tuple[float, float]) -> FloatImage:
    """Return brightness 0 to 1 with a square-root curve, which shows dim minerals too."""
    low, high = limits
    scaled = (np.nan_to_num(image.astype(np.float32)) - np.float32(low)) / np.float32(high - low)
    result: FloatImage = np.sqrt(np.clip(scaled, 0, 1, out=scaled))
    return result


def colour_overlay(
    post: Image,
    pre: Image,
    post_limits: tuple[float, float],
    pre_limits: tuple[float, float],
) -> NDArray[np.uint8]:
    """Return post in magenta and pre in green; grey where they agree.

    Returns
    -------
    numpy.ndarray of uint8
        Shape ``(ny, nx, 3)``.
    """
    magenta, green = stretch(post, post_limits), stretch(pre, pre_limits)
    rgb = np.stack((magenta, green, magenta), axis=-1)
    result: NDArray[np.uint8] = np.rint(rgb * 255).astype(np.uint8)
    return result


def correlation(post: Image, pre: Image) -> float | None:
    """Return Spearman's rank correlation where both images have data, None if there is none.

    Ranks keep a few saturated pixels or a fibre from deciding alone.
    """
    first, second = thin(post), thin(pre)
    both = np.isfinite(first) & np.isfinite(second) & (first != 0) & (second != 0)
    if np.count_nonzero(both) < 3:
        return None
    ranks = np.stack([_centred_ranks(first[both]), _centred_ranks(second[both])])
    (var_first, product), (_, var_second) = ranks @ ranks.T
    norm = float(np.sqrt(var_first * var_second))
    return float(product) / norm if norm > 0 else None


def _centred_ranks(values: Image) -> NDArray[np.float64]:
    """Return ranks with mean 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ranks -= ranks.mean()
    return ranks


def _centres(part: slice, factor: int) -> NDArray[np.intp]:
    """Return the centre pixel of each block of a window, moved inside the window."""
    blocks = np.arange(part.start // factor, -(-part.stop // factor))
    centres: NDArray[np.intp] = np.clip(blocks * factor + factor // 2, part.start, part.stop - 1)
    return centres
