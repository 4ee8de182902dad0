"""How the brightness ratio varies over the canvas, as a smooth surface that held-out tiles support.

The logarithm of the relative ratio is a bicubic spline on a regular net, held smooth by a penalty
on its second differences (a P-spline): without data it goes on as a plane. The weight of the
penalty is the one that best predicts tiles left out of the fit, and the surface is used only
where it predicts them better than chance would let it.

References
----------
Eilers and Marx 1996, Stat. Sci. 11, 89 (P-splines); Craven and Wahba 1979, Numer. Math. 31, 377
(left-out residuals of a linear smoother).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.regression import LineFit
from exo2micro.subtraction.statistics import MAD_TO_SIGMA, Vector
from exo2micro.subtraction.tiles import TileScales, tile_scales

CELLS: Final = 8
"""Cells of the net per side: a spot an eighth of the canvas wide can be followed."""

SIDE: Final = CELLS + 3
"""Coefficients per side of the net."""

MIN_TILES: Final = 12
"""Tiles below which no surface is fitted."""

FEW_TILES: Final = 150
"""Tiles below which the surface goes through small ones: an image of 700 px has so few, and a spot
in it is as wide as two of them."""

SMALL_TILE_PX: Final = 32

PENALTIES: Final = 10.0 ** np.arange(-3.0, 4.1, 0.5)
"""Weights of the penalty that are tried, relative to the weight of the data per coefficient."""

RIDGE: Final = 1e-6
"""Weight that only keeps the fit solvable where no tile lies."""

PERMUTATIONS: Final = 199
"""The surface must beat all of them: a false alarm in one pair of 200."""

PERMUTATION_SEED: Final = 18

ROBUST_PASSES: Final = 3

HUBER_CUT: Final = 2.0
"""Residual in standard errors from which a tile's weight falls (Huber). It never vanishes: where
the ratio is steep, tiles thrown out at first would never come back."""

LEAST_KEPT: Final = 1e-3
"""Smallest part of a tile's own weight in its residual; guards a division."""


@dataclass(frozen=True)
class Frame:
    """The square of the canvas on which a surface lives, px."""

    centre: tuple[float, float]
    extent: float

    @classmethod
    def around(cls, origin: NDArray[np.int64], size: int) -> "Frame":
        """Return the smallest square, about one centre, that holds all patches of a size."""
        low, high = origin.min(axis=0), origin.max(axis=0) + size
        middle = (low + high) / 2.0
        return cls((float(middle[1]), float(middle[0])), float(max(high - low)) / 2.0)

    def basis(self, values: Vector, axis: int) -> NDArray[np.float64]:
        """Return the cubic B-splines along x (0) or y (1), shape ``(n, SIDE)``; edges go on."""
        at = np.clip((values - self.centre[axis]) / self.extent, -1.0, 1.0)
        position = (at + 1.0) / 2.0 * CELLS
        cell = np.minimum(position.astype(np.intp), CELLS - 1)
        t = position - cell
        parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        out = np.zeros((len(values), SIDE))
        rows = np.arange(len(values))
        for shift, part in enumerate(parts):
            out[rows, cell + shift] = part / 6.0
        return out

    def design(self, x: Vector, y: Vector) -> NDArray[np.float64]:
        """Return the basis at points, shape ``(n, SIDE**2)``."""
        along_x, along_y = self.basis(x, 0), self.basis(y, 1)
        return (along_y[:, :, None] * along_x[:, None, :]).reshape(len(x), SIDE**2)


@dataclass(frozen=True)
class RatioField:
    """Relative brightness ratio over the canvas.

    Attributes
    ----------
    frame : Frame
        Where it lives; beyond, the value of the nearest edge holds.
    coefficients : numpy.ndarray
        Of ``log(field)``, shape ``(SIDE, SIDE)``, rows along y; all zero for a flat field.
    penalty : float
        Weight of the penalty that was chosen; 0 for a flat field.
    predicted : float
        Standard deviation of left-out tiles about the surface beyond their own errors, relative.
    """

    frame: Frame
    coefficients: NDArray[np.float64]
    penalty: float = 0.0
    predicted: float = 0.0

    @classmethod
    def flat(cls, frame: Frame) -> "RatioField":
        """Return the field that is 1 everywhere."""
        return cls(frame, np.zeros((SIDE, SIDE)))

    @property
    def is_flat(self) -> bool:
        """True if the ratio does not vary significantly."""
        return not self.coefficients.any()

    def at(self, x: Vector, y: Vector) -> Vector:
        """Return the relative ratio at points of the canvas."""
        if self.is_flat:
            return np.ones(len(x))
        log_ratio = self.frame.design(x, y) @ self.coefficients.ravel()
        return np.asarray(np.exp(log_ratio), dtype=np.float64)

    def grid(self, y: Vector, x: Vector) -> NDArray[np.float64]:
        """Return the relative ratio on the net of rows ``y`` and columns ``x``."""
        log_ratio = self.frame.basis(y, 1) @ self.coefficients @ self.frame.basis(x, 0).T
        return np.asarray(np.exp(log_ratio), dtype=np.float64)

    def scaled(self, factor: float) -> "RatioField":
        """Return the field times a factor; a flat one stays 1."""
        if self.is_flat:
            return self
        return replace(self, coefficients=self.coefficients + np.log(factor))

    def to_dict(self) -> dict[str, Any]:
        """Return the field as JSON values."""
        return {
            "centre": list(self.frame.centre),
            "extent": self.frame.extent,
            "cells": CELLS,
            "penalty": self.penalty,
            "predicted": self.predicted,
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RatioField":
        """Return the field that `to_dict` described."""
        x, y = values["centre"]
        frame = Frame((float(x), float(y)), float(values["extent"]))
        coefficients = np.asarray(values["coefficients"], dtype=np.float64)
        return cls(frame, coefficients, float(values["penalty"]), float(values["predicted"]))


def fit_field(blocks: Blocks, line: LineFit, start: RatioField) -> RatioField:
    """Return the smooth surface through the tiles' ratios, flat where none is significant.

    Parameters
    ----------
    blocks : Blocks
        Background blocks.
    line : LineFit
        The line through them.
    start : RatioField
        The field so far.
    """
    tiles = tile_scales(blocks, line, start.at(blocks.x, blocks.y))
    if len(tiles.tile) < MIN_TILES:
        return RatioField.flat(start.frame)
    surface = _robust_surface(tiles, start.frame)
    if not _beats_chance(surface.smoother, tiles.log_ratio):
        return RatioField.flat(start.frame)
    if len(tiles.tile) < FEW_TILES:
        fine = replace(blocks, tile=_small_tiles(blocks))
        tiles = tile_scales(fine, line, start.at(blocks.x, blocks.y))
        surface = _robust_surface(tiles, start.frame)
    smoother, best, values = surface.smoother, surface.penalty, tiles.log_ratio
    solution = smoother.solution(values, best).reshape(SIDE, SIDE)
    noise = float(np.median(tiles.error))
    left_out = MAD_TO_SIGMA * float(np.median(np.abs(smoother.left_out_residuals(values, best))))
    predicted = float(np.sqrt(max(0.0, left_out**2 - noise**2)))
    return RatioField(start.frame, solution, float(PENALTIES[best]), predicted)


@dataclass(frozen=True)
class _Surface:
    """A fit whose robust weights are settled, and the number of the best weight of the penalty."""

    smoother: "_Smoother"
    penalty: int


def _robust_surface(tiles: TileScales, frame: Frame) -> _Surface:
    """Return the fit that best predicts tiles left out, with outlying tiles weighted down."""
    design, values = frame.design(tiles.x, tiles.y), tiles.log_ratio
    robust = np.ones(len(values))
    for _ in range(ROBUST_PASSES):
        smoother = _Smoother(design, robust / tiles.error**2)
        best = int(np.argmin(smoother.left_out(values[:, None])[:, 0]))
        rest = (values - smoother.fitted(values, best)) / tiles.error
        spread = max(1.0, float(MAD_TO_SIGMA * np.median(np.abs(rest - np.median(rest)))))
        robust = np.minimum(1.0, HUBER_CUT * spread / np.maximum(np.abs(rest), 1e-9))
    return _Surface(smoother, best)


def _small_tiles(blocks: Blocks) -> NDArray[np.int32]:
    """Return the number of the small tile of each block."""
    column, row = ((at - at.min()) // SMALL_TILE_PX for at in (blocks.x, blocks.y))
    _, number = np.unique(row * (column.max() + 1.0) + column, return_inverse=True)
    return np.asarray(number, dtype=np.int32)


def left_out_misfit(tiles: TileScales, frame: Frame) -> float:
    """Return chi-squared of tiles about the best surface through all others."""
    smoother = _Smoother(frame.design(tiles.x, tiles.y), tiles.error**-2.0)
    return float(smoother.left_out(tiles.log_ratio[:, None]).min())


class _Smoother:
    """The penalised fit with any of `PENALTIES`: linear in the values, solved once for all.

    In the coordinates in which both the data's matrix and the penalty are diagonal, a weight of
    the penalty is a mere factor on each of them.
    """

    def __init__(self, design: NDArray[np.float64], weights: Vector) -> None:
        self.weights = weights
        normal = design.T @ (weights[:, None] * design)
        unit = float(np.trace(normal)) / SIDE**2
        normal += RIDGE * unit * np.eye(SIDE**2)
        root = np.linalg.inv(np.linalg.cholesky(normal))
        rough, turn = np.linalg.eigh(root @ (unit * _roughness()) @ root.T)
        self._back = root.T @ turn
        self._axes = design @ self._back
        self._shrink = 1.0 / (1.0 + PENALTIES[:, None] * np.maximum(rough, 0.0))
        leverage = (np.square(self._axes) * weights[:, None]) @ self._shrink.T
        self._kept = np.maximum(1.0 - leverage, LEAST_KEPT)

    def solution(self, values: Vector, penalty: int) -> Vector:
        """Return the coefficients with one weight of the penalty, by number."""
        along = self._axes.T @ (self.weights * values)
        return np.asarray(self._back @ (self._shrink[penalty] * along), dtype=np.float64)

    def fitted(self, values: Vector, penalty: int) -> Vector:
        """Return the surface at the tiles."""
        along = self._axes.T @ (self.weights * values)
        return np.asarray(self._axes @ (self._shrink[penalty] * along), dtype=np.float64)

    def left_out_residuals(self, values: Vector, penalty: int) -> Vector:
        """Return each value less what a fit without it predicts."""
        rest = values - self.fitted(values, penalty)
        return np.asarray(rest / self._kept[:, penalty], dtype=np.float64)

    def left_out(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sums of squares of left-out residuals.

        Parameters
        ----------
        values : numpy.ndarray
            Shape ``(n_tiles, n_sets)``.

        Returns
        -------
        numpy.ndarray
            One row per weight of the penalty, one column per set.
        """
        along = self._axes.T @ (self.weights[:, None] * values)
        sums = []
        for number, shrink in enumerate(self._shrink):
            rest = values - self._axes @ (shrink[:, None] * along)
            rest /= self._kept[:, number, None]
            sums.append(self.weights @ np.square(rest))
        return np.stack(sums)


def _beats_chance(smoother: _Smoother, values: Vector) -> bool:
    """Tell whether left-out tiles are predicted better than when the tiles change places."""
    weights = smoother.weights
    mean = float(np.sum(weights * values) / np.sum(weights))
    scaled = (values - mean) * np.sqrt(weights)
    rng = np.random.default_rng([PERMUTATION_SEED, len(scaled)])
    shuffled = np.stack([scaled, *(rng.permutation(scaled) for _ in range(PERMUTATIONS))], axis=1)
    placed = shuffled / np.sqrt(weights)[:, None]
    misfit = smoother.left_out(placed).min(axis=0)
    kept = np.maximum(1.0 - weights / weights.sum(), LEAST_KEPT)
    centred = placed - (weights @ placed) / weights.sum()
    flat = weights @ np.square(centred / kept[:, None])
    gain = 1.0 - misfit / np.maximum(flat, 1e-300)
    return bool(gain[0] > 0.0 and gain[0] > gain[1:].max())


@cache
def _roughness() -> NDArray[np.float64]:
    """Return the penalty on second differences along both axes, ``(SIDE**2, SIDE**2)``."""
    second = np.diff(np.eye(SIDE), 2, axis=0)
    one, same = second.T @ second, np.eye(SIDE)
    return np.asarray(np.kron(one, same) + np.kron(same, one), dtype=np.float64)
