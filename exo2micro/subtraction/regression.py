"""A robust line through block averages that noise in pre does not flatten."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from exo2micro.errors import ScaleError
from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.dark import Surroundings
from exo2micro.subtraction.statistics import (
    MAD_TO_SIGMA,
    Vector,
    robust_sigma,
    tukey_weights,
    weighted_quantile,
)

FREE_INTERCEPT: Final = 0.15
"""Standard deviation, over the middle brightness of post, of an intercept known by nothing."""


SINGULAR: Final = 1e-10
"""Determinant over the product of the diagonal at which only rounding is left; a texture of 0.1 %
still makes 1e-6."""


@dataclass(frozen=True)
class LineFit:
    """``post = scale * (pre - pre_pedestal) + intercept``."""

    scale: float
    intercept: float
    pre_pedestal: float = 0.0

    @property
    def offset(self) -> float:
        """Counts to take off besides ``scale * pre``."""
        return self.intercept - self.scale * self.pre_pedestal


@dataclass(frozen=True)
class Prior:
    """What is known about the intercept beforehand, in counts."""

    centre: float
    error: float


def dark_prior(around: Surroundings, scale: float) -> Prior | None:
    """Return the intercept that the dark surroundings demand, None where there are none."""
    if around.post is None or around.pre is None:
        return None
    return Prior(around.post.level, float(np.hypot(around.post.error, scale * around.pre.error)))


def noise_by_level(residual: Vector, pixels: Vector, level: Vector) -> Vector:
    """Return the variance of each block's residual, from the spread at similar brightness."""
    single = residual * np.sqrt(pixels)
    n_bins = int(np.clip(len(level) // 60, 1, 8))
    edges = np.quantile(level, np.linspace(0, 1, n_bins + 1))
    bins = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, n_bins - 1)
    centres = [float(np.median(level[bins == k])) for k in range(n_bins) if (bins == k).any()]
    sigmas = [robust_sigma(single[bins == k]) for k in range(n_bins) if (bins == k).any()]
    floor = 0.02 * max(max(sigmas), 1e-6)
    variance = np.square(np.interp(level, centres, np.maximum(sigmas, floor)))
    return np.asarray(variance / pixels, dtype=np.float64)


def solve_line(
    post: Vector, pre: Vector, instrument: Vector, weights: Vector, prior: Prior
) -> tuple[float, float]:
    """Return scale and intercept by weighted instrumental-variable regression.

    The instrument (the brightness of the neighbours) carries the signal of pre but not its noise,
    so noise and sub-pixel shifts do not flatten the slope as they do in least squares.

    Raises
    ------
    ScaleError
        If pre is the same everywhere.

    References
    ----------
    Reiersol 1941, Econometrica 9, 1; Fuller 1987, Measurement Error Models, section 1.4.
    """
    pull = 1.0 / prior.error**2
    w, wz = weights, weights * instrument
    matrix = np.array([[np.sum(wz * pre), np.sum(wz)], [np.sum(w * pre), np.sum(w) + pull]])
    right = np.array([np.sum(wz * post), np.sum(w * post) + pull * prior.centre])
    if not abs(np.linalg.det(matrix)) > SINGULAR * abs(matrix[0, 0] * matrix[1, 1]):
        msg = (
            "the background has one brightness everywhere, so that no scale can be told from an "
            "offset; check that the images show the sample"
        )
        raise ScaleError(msg)
    solution = np.linalg.solve(matrix, right)
    return float(solution[0]), float(solution[1])


def fit_line(blocks: Blocks, start: LineFit, field: Vector, around: Surroundings | None) -> LineFit:
    """Fit scale and intercept robustly.

    Parameters
    ----------
    blocks : Blocks
        Background blocks.
    start : LineFit
        Where to start.
    field : numpy.ndarray
        Relative ratio at each block.
    around : Surroundings or None
        Gives the intercept where the sample's surroundings are dark; None leaves it free.
    """
    line = start
    pre = field * (blocks.pre - start.pre_pedestal)
    instrument = field * (blocks.level - start.pre_pedestal)
    for _ in range(8):
        prior = dark_prior(around, line.scale) if around is not None else None
        if prior is None:
            prior = Prior(0.0, FREE_INTERCEPT * float(np.median(blocks.post)))
        residual = blocks.post - line.scale * pre - line.intercept
        weights = robust_weights(residual, blocks)
        scale, intercept = solve_line(blocks.post, pre, instrument, weights, prior)
        moved = abs(scale / line.scale - 1.0)
        line = LineFit(scale, intercept, start.pre_pedestal)
        if moved < 1e-6 or scale <= 0:
            break
    return line if line.scale > 0 else start


def robust_weights(residual: Vector, blocks: Blocks) -> Vector:
    """Return inverse variance times Tukey's weight about the middle of the residuals."""
    variance = noise_by_level(residual, blocks.pixels, blocks.level)
    inverse = 1.0 / variance
    centre = weighted_quantile(residual, inverse, 0.5)
    scaled = (residual - centre) / np.sqrt(variance)
    spread = max(1e-9, float(MAD_TO_SIGMA * np.median(np.abs(scaled))))
    return inverse * tukey_weights(scaled / spread)
