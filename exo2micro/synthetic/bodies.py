"""Light of small bodies: Gaussian blobs and rods, drawn exactly where the truth says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exo2micro._typing import FloatImage, Mask

BODY_DTYPE = np.dtype(
    [
        ("x", "f8"),
        ("y", "f8"),
        ("flux", "f8"),
        ("peak", "f8"),
        ("sigma", "f8"),
        ("length", "f8"),
        ("angle", "f8"),
        ("kind", "U6"),
    ]
)
"""A body: centre (px), total counts, counts at the centre, standard deviation across (px), length
of the axis (px, 0 for a blob), direction of the axis (radians from +x towards +y), kind."""

Bodies = NDArray[np.void]

FOOTPRINT_LEVEL = 0.2
"""A pixel belongs to a body's footprint where its light is at least this part of its peak."""

_REACH_SIGMAS = 4.5
_STAMP_PIXELS = 1 << 20


def reach_px(bodies: Bodies) -> NDArray[np.int64]:
    """Return the half side of the square beyond which a body's light is left out, px."""
    reach = _REACH_SIGMAS * bodies["sigma"] + bodies["length"] / 2
    return (8 * np.ceil(reach / 8)).astype(np.int64)


def flux_per_peak(sigma: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return total counts of a body whose centre has one count.

    A rod is a line of even brightness convolved with a Gaussian.
    """
    blob = 2 * np.pi * sigma**2
    half = np.maximum(length, 1e-9) / (2 * np.sqrt(2) * sigma)
    rod = np.sqrt(2 * np.pi) * sigma * length / special.erf(half)
    return np.where(length > 0, rod, blob)


def draw(
    bodies: Bodies, origin: tuple[int, int], shape: tuple[int, int]
) -> tuple[FloatImage, Mask]:
    """Draw bodies on a window.

    Parameters
    ----------
    bodies : structured array of `BODY_DTYPE`
        Shape ``(n,)``; those outside the window are skipped.
    origin, shape : tuple of int
        ``(y, x)`` of the window's first pixel, and its ``(ny, nx)``.

    Returns
    -------
    light : numpy.ndarray of float32
        Counts at the pixel centres.
    footprint : numpy.ndarray of bool
        True where any one body has at least `FOOTPRINT_LEVEL` of its peak.
    """
    light = np.zeros(shape, np.float64)
    footprint = np.zeros(shape, np.bool_)
    reach = reach_px(bodies)
    col, row = np.rint(bodies["x"]).astype(np.int64), np.rint(bodies["y"]).astype(np.int64)
    near = (row + reach >= origin[0]) & (row - reach < origin[0] + shape[0])
    near &= (col + reach >= origin[1]) & (col - reach < origin[1] + shape[1])
    for half in np.unique(reach[near]).tolist():
        chosen = np.flatnonzero(near & (reach == half))
        batch = max(1, _STAMP_PIXELS // (2 * half + 1) ** 2)
        for start in range(0, chosen.size, batch):
            part = chosen[start : start + batch]
            rows = row[part, None] + np.arange(-half, half + 1)
            cols = col[part, None] + np.arange(-half, half + 1)
            relative = profile(bodies[part], cols, rows)
            flat = (rows - origin[0])[:, :, None] * shape[1] + (cols - origin[1])[:, None, :]
            inside = ((rows >= origin[0]) & (rows < origin[0] + shape[0]))[:, :, None]
            inside = inside & ((cols >= origin[1]) & (cols < origin[1] + shape[1]))[:, None, :]
            where = flat[inside]
            counts = (relative * bodies["peak"][part][:, None, None])[inside]
            light += np.bincount(where, counts, light.size).reshape(shape)
            footprint.reshape(-1)[where[relative[inside] >= FOOTPRINT_LEVEL]] = True
    return light.astype(np.float32), footprint


def profile(
    bodies: Bodies, cols: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return light relative to the peak, shape ``(n, n_rows, n_cols)``."""
    dx = (cols - bodies["x"][:, None])[:, None, :]
    dy = (rows - bodies["y"][:, None])[:, :, None]
    sigma, length, angle = (_column(bodies[name]) for name in ("sigma", "length", "angle"))
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    light = np.exp(-0.5 * (across / sigma) ** 2)
    rods = bodies["length"] > 0
    blobs = ~rods
    light[blobs] *= np.exp(-0.5 * (along[blobs] / sigma[blobs]) ** 2)
    if rods.any():
        width, half = np.sqrt(2) * sigma[rods], length[rods] / 2
        ends = special.erf((along[rods] + half) / width) - special.erf((along[rods] - half) / width)
        light[rods] *= ends / (2 * special.erf(half / width))
    return np.asarray(light, np.float64)


def _column(values: NDArray[Any]) -> NDArray[np.float64]:
    return values[:, None, None]
