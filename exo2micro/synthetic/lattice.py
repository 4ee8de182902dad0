"""Random numbers tied to places: hashed lattices and smooth noise that any window reproduces."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage

UintArray = NDArray[np.uint32]
IndexArray = NDArray[np.int64]

_TAPS = 4
_AXIS_STD = np.float32(np.sqrt(151.0 / 315.0))
"""Root of the mean sum of squared cubic B-spline weights: what the spline leaves of white noise."""


def mix(values: UintArray) -> UintArray:
    """Return the 32-bit finaliser of MurmurHash3 (A. Appleby, public domain) of each value."""
    h = values ^ (values >> np.uint32(16))
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def fold(key: int) -> np.uint32:
    """Return a 32-bit number that depends on every bit of a non-negative key."""
    words = np.array([key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF], np.uint32)
    mixed = mix(words + np.array([0x9E3779B9, 0x7F4A7C15], np.uint32))
    return np.uint32(int(mixed[0]) ^ int(mix(mixed)[1]))


def hash_lattice(iy: IndexArray, ix: IndexArray, key: int, period: int = 0) -> UintArray:
    """Hash lattice indices to 32 random bits.

    Parameters
    ----------
    iy, ix : numpy.ndarray of int64
        Row and column indices, one-dimensional, any sign.
    key : int
        Which random field.
    period : int
        If > 0, the field repeats after so many indices in both directions.

    Returns
    -------
    numpy.ndarray of uint32
        Shape ``(len(iy), len(ix))``.
    """
    if period > 0:
        iy, ix = iy % period, ix % period
    seed = np.array([fold(key)], np.uint32)
    rows = mix(iy.astype(np.uint32) * np.uint32(0x9E3779B1) + seed)
    cols = mix(ix.astype(np.uint32) * np.uint32(0x85EBCA77) + ~seed)
    return mix(rows[:, None] + cols[None, :])


def uniform(bits: UintArray, draw: int = 0) -> FloatImage:
    """Return uniform numbers in [0, 1) from hashed bits; each `draw` gives independent ones."""
    if draw:
        bits = mix(bits + np.uint32(0x9E3779B9 * draw & 0xFFFFFFFF))
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def white(y: int, ny: int, x: int, nx: int, key: int, period: int = 0) -> FloatImage:
    """Return white noise of mean 0 and variance 1 on the lattice window that starts at (y, x)."""
    rows, cols = np.arange(y, y + ny), np.arange(x, x + nx)
    noise = uniform(hash_lattice(rows, cols, key, period))
    noise -= np.float32(0.5)
    noise *= np.float32(np.sqrt(12.0))
    return noise


def spline_weights(phase: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the four cubic B-spline weights at each phase in [0, 1), shape ``(4, n)``."""
    t, s = phase, 1.0 - phase
    weights = (
        s**3 / 6,
        2 / 3 - t**2 * (1 - t / 2),
        2 / 3 - s**2 * (1 - s / 2),
        t**3 / 6,
    )
    return np.array(weights, np.float32)


def refine(coefficients: FloatImage, factor: int) -> FloatImage:
    """Evaluate cubic B-splines on a grid `factor` times as fine.

    Parameters
    ----------
    coefficients : numpy.ndarray of float32
        Shape ``(my + 3, mx + 3)``; index 1 is the knot at the first fine sample.
    factor : int
        Fine samples per knot spacing.

    Returns
    -------
    numpy.ndarray of float32
        Shape ``(my * factor, mx * factor)``.
    """
    weights = spline_weights(np.arange(factor) / factor)
    ny, nx = (size - 3 for size in coefficients.shape)
    wide = np.empty((ny + 3, nx * factor), np.float32)
    tall = np.empty((ny * factor, nx * factor), np.float32)
    columns = [coefficients[:, k : k + nx] for k in range(_TAPS)]
    for phase in range(factor):
        wide[:, phase::factor] = _blend(columns, weights[:, phase])
    rows = [wide[k : k + ny] for k in range(_TAPS)]
    for phase in range(factor):
        tall[phase::factor] = _blend(rows, weights[:, phase])
    return tall


def _blend(parts: list[FloatImage], weights: NDArray[np.float32]) -> FloatImage:
    """Return the weighted sum of arrays, always in the same order."""
    total: FloatImage = parts[0] * weights[0]
    scratch = np.empty_like(total)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        np.multiply(part, weight, out=scratch)
        total += scratch
    return total


def octave(
    y: int, ny: int, x: int, nx: int, step: int, key: int, period: int = 0
) -> NDArray[np.float32]:
    """Return smooth noise of mean 0 and mean variance 1: B-splines over hashed knots.

    Parameters
    ----------
    y, ny, x, nx : int
        Window of the fine grid.
    step : int
        Knot spacing on the fine grid.
    key : int
        Which random field.
    period : int
        If > 0, the field repeats after so many fine samples.
    """
    taps_y, knots_y = _taps(y, ny, step)
    taps_x, knots_x = _taps(x, nx, step)
    knots = max(1, period // step) if period else 0
    rows = np.arange(knots_y[0], knots_y[1])
    cols = np.arange(knots_x[0], knots_x[1])
    values = uniform(hash_lattice(rows, cols, key, knots)) - np.float32(0.5)
    values *= np.float32(np.sqrt(12.0)) / (_AXIS_STD * _AXIS_STD)
    index, weights = taps_x
    wide: Any = sum(values[:, index + k] * weights[k] for k in range(_TAPS))
    index, weights = taps_y
    tall: NDArray[np.float32] = sum(wide[index + k] * weights[k][:, None] for k in range(_TAPS))
    return tall


def fine_octave(
    y: int, ny: int, x: int, nx: int, step: int, key: int, period: int = 0
) -> FloatImage:
    """Return what `octave` returns, faster, for windows aligned to the knot spacing."""
    knots = max(1, period // step) if period else 0
    values = white(y // step - 1, ny // step + 3, x // step - 1, nx // step + 3, key, knots)
    values /= _AXIS_STD * _AXIS_STD
    return refine(values, step)


def _taps(
    start: int, count: int, step: int
) -> tuple[tuple[IndexArray, NDArray[np.float32]], tuple[int, int]]:
    """Return tap positions and weights for a run of samples, and the knot range they need."""
    positions = np.arange(start, start + count)
    first = positions // step - 1
    weights = spline_weights((positions % step) / step)
    return (first - first[0], weights), (int(first[0]), int(first[-1]) + _TAPS)
