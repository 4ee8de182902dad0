"""Displacement fields: what a transform adds to its homography."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.errors import RegistrationError

Array = NDArray[np.float64]

TAPS = 4
INVERSE_STEPS = 100
INVERSE_TOLERANCE_PX = 1e-8


class Displacement(ABC):
    """A smooth displacement of post points, in post pixels.

    Attributes
    ----------
    reach_px : float
        No displacement along x or y exceeds it.
    """

    reach_px: float = np.inf

    @abstractmethod
    def __call__(self, points: Points) -> Points:
        """Return the displacements, shape ``(n, 2)``, of points, shape ``(n, 2)``."""

    def grid(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return both displacements, shape ``(ny, nx)``, where columns `x` and rows `y` cross."""
        xs, ys = np.meshgrid(x, y)
        moved = self(np.column_stack([xs.ravel(), ys.ravel()]))
        return moved[:, 0].reshape(xs.shape), moved[:, 1].reshape(xs.shape)


class MappedDisplacement(Displacement):
    """The displacement of any mapping of points; compositions and inverses have one.

    Parameters
    ----------
    mapping : callable
        Takes and returns points, shape ``(n, 2)``.
    """

    def __init__(self, mapping: Callable[[Points], Points]) -> None:
        self._mapping = mapping

    def __call__(self, points: Points) -> Points:
        """Return where the mapping puts points, minus where they were."""
        return self._mapping(points) - points


@dataclass(frozen=True, eq=False)
class DisplacementField(Displacement):
    """A cubic B-spline field on a regular grid; zero beyond two cells outside the grid.

    Parameters
    ----------
    origin : tuple of float
        ``(x, y)`` of the first node in post pixels.
    spacing : tuple of float
        Distance between nodes along x and y in post pixels, positive.
    coefficients : numpy.ndarray
        Shape ``(ny, nx, 2)``, ``(dx, dy)`` per node in post pixels; stored read-only.

    Raises
    ------
    RegistrationError
        If a shape is wrong or a number is not finite.

    References
    ----------
    .. [1] D. Rueckert et al., "Nonrigid registration using free-form deformations", IEEE
       Transactions on Medical Imaging 18 (1999) 712-721.
    """

    origin: tuple[float, float]
    spacing: tuple[float, float]
    coefficients: Array

    def __post_init__(self) -> None:
        values = np.array(self.coefficients, np.float64)
        numbers = [float(v) for v in (*self.origin, *self.spacing)]
        if values.ndim != 3 or values.shape[2] != 2 or len(numbers) != 4:
            msg = f"a displacement field needs coefficients (ny, nx, 2), got {values.shape}"
            raise RegistrationError(msg)
        if not np.isfinite([*numbers, values.sum()]).all() or min(numbers[2:]) <= 0:
            msg = (
                f"a displacement field needs finite numbers and a positive spacing, got origin "
                f"{self.origin} and spacing {self.spacing}: compute stage 3 anew with from_stage=3"
            )
            raise RegistrationError(msg)
        values.setflags(write=False)
        object.__setattr__(self, "coefficients", values)
        object.__setattr__(self, "origin", (numbers[0], numbers[1]))
        object.__setattr__(self, "spacing", (numbers[2], numbers[3]))

    @property
    def reach_px(self) -> float:  # type: ignore[override]
        """Upper limit of the displacement along x or y: a B-spline stays among its coefficients."""
        return float(np.abs(self.coefficients).max(initial=0.0))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "DisplacementField":
        """Return the field that `to_dict` described, exact to the bit."""
        return cls(
            tuple(record["origin"]),
            tuple(record["spacing"]),
            np.asarray(record["coefficients"], np.float64),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` restores the same bits."""
        return {
            "origin": list(self.origin),
            "spacing": list(self.spacing),
            "coefficients": self.coefficients.tolist(),
        }

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DisplacementField)
            and self.origin == other.origin
            and self.spacing == other.spacing
            and np.array_equal(self.coefficients, other.coefficients)
        )

    def __hash__(self) -> int:
        return hash((self.origin, self.spacing, self.coefficients.tobytes()))

    def __call__(self, points: Points) -> Points:
        """Return the displacements of points, shape ``(n, 2)``."""
        ny, nx, _ = self.coefficients.shape
        first_x, weights_x = _taps((points[:, 0] - self.origin[0]) / self.spacing[0], nx)
        first_y, weights_y = _taps((points[:, 1] - self.origin[1]) / self.spacing[1], ny)
        padded = np.pad(self.coefficients, ((TAPS, TAPS), (TAPS, TAPS), (0, 0)))
        out = np.zeros((len(points), 2))
        for j in range(TAPS):
            line = np.zeros_like(out)
            for i in range(TAPS):
                line += padded[first_y + j, first_x + i] * weights_x[:, i, None]
            out += line * weights_y[:, j, None]
        return out

    def grid(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return both displacements where columns `x` and rows `y`, both ascending, cross."""
        across = _weights_of(x, self.origin[0], self.spacing[0], self.coefficients.shape[1])
        down = _weights_of(y, self.origin[1], self.spacing[1], self.coefficients.shape[0])
        dx, dy = (_tensor(down, self.coefficients[:, :, axis], across) for axis in (0, 1))
        return dx, dy

    def basis(self, points: Points) -> Array:
        """Return the weight of every coefficient at points, shape ``(n, ny * nx)``."""
        ny, nx, _ = self.coefficients.shape
        across = _weights_of(points[:, 0], self.origin[0], self.spacing[0], nx)
        down = _weights_of(points[:, 1], self.origin[1], self.spacing[1], ny)
        return np.asarray((down[:, :, None] * across[:, None, :]).reshape(len(points), ny * nx))

    def rescaled(self, factor: tuple[float, float], offset: tuple[float, float]) -> Displacement:
        """Return the field in coordinates ``q`` where its points are ``factor * q + offset``."""
        return DisplacementField(
            (
                (self.origin[0] - offset[0]) / factor[0],
                (self.origin[1] - offset[1]) / factor[1],
            ),
            (self.spacing[0] / factor[0], self.spacing[1] / factor[1]),
            self.coefficients / np.array(factor),
        )


def undisplaced(displacement: Displacement, landed: Points) -> Points:
    """Return the points that a displacement puts at `landed`, by fixed-point iteration.

    Raises
    ------
    RegistrationError
        If the field folds the image, so that no point or several do.
    """
    points = landed.copy()
    moved = np.inf
    for _ in range(INVERSE_STEPS):
        following = landed - displacement(points)
        moved = float(np.abs(following - points).max(initial=0.0))
        points = following
        if moved < INVERSE_TOLERANCE_PX:
            return points
    msg = (
        f"the deformation cannot be inverted: the last step was {moved:.3g} px long; "
        "run stage 3 with deformation='off'"
    )
    raise RegistrationError(msg)


def _taps(place: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """Return the first of four padded nodes and the weights of all four, shape ``(n, 4)``."""
    place = np.clip(place, -2.0, count + 1.0)
    whole = np.floor(place)
    t = place - whole
    rest = 1 - t
    first, last = rest**3 / 6, t**3 / 6
    second = 2 / 3 - t * t * (1 - t / 2)
    weights = np.stack([first, second, 1 - first - second - last, last], axis=1)
    return whole.astype(np.intp) + TAPS - 1, weights


def _weights_of(values: Array, origin: float, spacing: float, count: int) -> Array:
    """Return the weight of each of `count` nodes along one axis, shape ``(n, count)``."""
    first, weights = _taps((values - origin) / spacing, count)
    dense = np.zeros((len(values), count + 2 * TAPS))
    rows = np.arange(len(values))
    for tap in range(TAPS):
        dense[rows, first + tap] = weights[:, tap]
    return dense[:, TAPS:-TAPS]


def _tensor(down: Array, coefficients: Array, across: Array) -> Array:
    """Return ``down @ coefficients @ across.T`` in a fixed order of summation."""
    out = np.zeros((len(down), len(across)))
    used_rows = np.flatnonzero(down.any(axis=0))
    for i in np.flatnonzero(across.any(axis=0)):
        column = np.zeros(len(down))
        for j in used_rows:
            column += down[:, j] * coefficients[j, i]
        out += column[:, None] * across[None, :, i]
    return out
