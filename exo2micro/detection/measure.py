"""Position, area, flux, shape and flags of the objects of one window."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.detection.flags import FROM_QUALITY, Flag
from exo2micro.detection.segments import LEVEL_OF_PEAK, Labels
from exo2micro.detection.significance import MatchedFilter, Window

SKIRT_PX: Final = 3
"""Pixels around the footprint whose light belongs to the object as well; with them the flux holds
99 % of a blob of 1.5 px, 95 % of one of 2.5 px. What is missing is made good."""

_AROUND: Final = sorted(
    (dy * dy + dx * dx, dy, dx)
    for dy in range(-SKIRT_PX, SKIRT_PX + 1)
    for dx in range(-SKIRT_PX, SKIRT_PX + 1)
    if 0 < dy * dy + dx * dx <= SKIRT_PX**2
)
"""Offsets of the skirt's pixels, the nearest first."""

_ROUNDS: Final = 12
"""The correction of truncated moments moves by less than 0.1 % after these."""

_SMALLEST_AXIS_PX: Final = 0.29
"""Spread of light within a single pixel, 1 / sqrt(12)."""

Columns = dict[str, NDArray[Any]]


def measure(
    window: Window,
    footprints: Labels,
    edge: Mask,
    filtered: MatchedFilter,
    bright: Mask | None,
) -> Columns:
    """Measure all objects of a window.

    Parameters
    ----------
    window : Window
        Pixels.
    footprints : numpy.ndarray of int32
        Objects 1 .. n in the order of their first pixels.
    edge : numpy.ndarray of bool
        Pixels without data, and the last ones of the image.
    filtered : MatchedFilter
        The filter: its width, and by how much sums of pixels scatter more than independent noise.
    bright : numpy.ndarray of bool or None
        Where the background is bright; None if that is unknown.

    Returns
    -------
    dict
        Columns of n rows; ``x``, ``y`` count from the object's first pixel, whose place in the
        window is ``row``, ``col``.
    """
    own = footprints > 0
    number = footprints[own] - 1
    count = int(number.max(initial=-1)) + 1
    row, col = np.nonzero(own)
    _, first = np.unique(number, return_index=True)
    columns = {"row": row[first], "col": col[first]}
    light = np.maximum(window.data[own], np.float32(1e-6)).astype(np.float64)
    place = row - row[first][number], col - col[first][number]
    columns |= _shape(number, *place, light, filtered.width_px)
    area = np.bincount(number, minlength=count)
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, number, window.significance[own])
    grown = with_skirts(footprints)
    lit = (grown > 0) & window.has_data
    flux, variance = (
        np.bincount(grown[lit], values[lit].astype(np.float64), count + 1)[1:]
        for values in (window.data, window.noise.astype(np.float64) ** 2)
    )
    part_of_light = _part_within(np.bincount(grown[lit], minlength=count + 1)[1:], columns)
    overlap = (
        np.full(count, np.nan)
        if bright is None
        else np.bincount(number, bright[own].astype(np.float64), count) / area
    )
    shot_noise = filtered.difference.gain * flux.clip(0)
    flags = _flags(grown, edge, count)
    within = np.where(flags == 0, part_of_light, 1.0)
    np.bitwise_or.at(flags, number, window.flags[own] & np.uint8(FROM_QUALITY))
    return columns | {
        "area_px": area.astype(np.int32),
        "flux": flux / within,
        "flux_err": np.sqrt(filtered.scatter**2 * variance + shot_noise) / within,
        "snr": peak,
        "bright_overlap": overlap,
        "flags": flags,
    }


def with_skirts(footprints: Labels) -> Labels:
    """Return footprints grown by `SKIRT_PX`; a pixel between objects falls to the nearest."""
    ny, nx = footprints.shape
    padded = np.pad(footprints, SKIRT_PX)
    inner = padded[SKIRT_PX : SKIRT_PX + ny, SKIRT_PX : SKIRT_PX + nx]
    flat, stride = padded.ravel(), nx + 2 * SKIRT_PX
    own = np.flatnonzero(flat)
    number = flat[own]
    for _, dy, dx in reversed(_AROUND):
        flat[own + dy * stride + dx] = number
    flat[own] = number
    return np.ascontiguousarray(inner)


def _shape(
    number: NDArray[np.int32],
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    light: NDArray[np.float64],
    width_px: float,
) -> Columns:
    """Return centre, axes and direction from moments of the light, truncation made good."""
    total = np.bincount(number, light)

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(number, light * values) / total

    mean_x, mean_y = mean(x), mean(y)
    dx, dy = x - mean_x[number], y - mean_y[number]
    xx, yy, xy = (mean(product) for product in (dx * dx, dy * dy, dx * dy))
    half, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major, minor = (
        np.sqrt(_untruncated(np.maximum(half + sign * spread, _SMALLEST_AXIS_PX**2), width_px))
        for sign in (1, -1)
    )
    return {
        "x": mean_x,
        "y": mean_y,
        "semi_major_px": major,
        "semi_minor_px": minor,
        "theta_deg": np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)),
        "ellipticity": 1 - minor / major,
    }


def _part_within(area: NDArray[np.int64], columns: Columns) -> NDArray[np.float64]:
    """Return the part of an object's light that falls on its pixels, skirt included.

    A Gaussian holds all but ``exp(-A / (2 pi a b))`` of its light in an ellipse of its own axes
    ``a, b`` and of area ``A``. A rod of even brightness loses next to nothing at its sides: the
    ratio of the axes stands for that.
    """
    major, minor = columns["semi_major_px"], columns["semi_minor_px"]
    return np.asarray(1 - minor / major * np.exp(-area / (2 * np.pi * major * minor)))


def _untruncated(moment: NDArray[np.float64], width_px: float) -> NDArray[np.float64]:
    """Return the variance of a Gaussian from its second moment within the footprint.

    The footprint ends where the *filtered* light falls to `LEVEL_OF_PEAK`, which is a lower level
    of the light itself the smaller the object is.
    """
    variance = moment
    for _ in range(_ROUNDS):
        level = LEVEL_OF_PEAK ** (1 + width_px**2 / variance)
        variance = moment / (1 + level * np.log(level) / (1 - level))
    return variance


def _flags(grown: Labels, edge: Mask, count: int) -> NDArray[np.uint8]:
    """Return the flags that follow from what lies beside an object."""
    flags = np.zeros(count + 1, np.uint8)
    flags[grown[edge]] |= np.uint8(Flag.EDGE)
    for one, two in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = grown[one], grown[two]
        touching = (a != b) & (a > 0) & (b > 0)
        flags[a[touching]] |= np.uint8(Flag.BLENDED)
        flags[b[touching]] |= np.uint8(Flag.BLENDED)
    return flags[1:]
