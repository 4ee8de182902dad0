"""The exact mapping from post-stain to pre-stain pixels of a synthetic pair."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points

Matrix = NDArray[np.float64]

_MODES = 4
_MODE_KEY = 0x5EED0003
_INVERSE_STEPS = 60
_INVERSE_TOLERANCE_PX = 1e-11


@dataclass(frozen=True)
class Deformation:
    """A smooth displacement field: a sum of plane waves about as long as the image.

    Attributes
    ----------
    waves : numpy.ndarray
        Shape ``(n, 2)``, angular wave numbers in radians per pixel for x and y.
    phases, amplitudes : numpy.ndarray
        Shape ``(n, 2)``, one column for the displacement along x and one along y.
    """

    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    amplitudes: NDArray[np.float64]

    @classmethod
    def random(cls, shape: tuple[int, int], amplitude_px: float, seed: int) -> "Deformation":
        """Return a field whose largest displacement over the image is `amplitude_px`."""
        rng = np.random.default_rng((_MODE_KEY, seed))
        size = np.array([shape[1], shape[0]], np.float64)
        turns = rng.uniform(0.5, 1.4, (_MODES, 2)) * rng.choice([-1.0, 1.0], (_MODES, 2))
        phases = rng.uniform(0, 2 * np.pi, (_MODES, 2))
        amplitudes = rng.normal(size=(_MODES, 2))
        unit = cls(2 * np.pi * turns / size, phases, amplitudes)
        x, y = np.meshgrid(np.linspace(0, size[0] - 1, 201), np.linspace(0, size[1] - 1, 201))
        dx, dy = unit.displacement(x, y)
        largest = float(np.hypot(dx, dy).max())
        return cls(unit.waves, phases, amplitudes * (amplitude_px / largest))

    def displacement(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the displacement in pre-stain pixels at post-stain points."""
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for (kx, ky), (px, py), (ax, ay) in zip(
            self.waves, self.phases, self.amplitudes, strict=True
        ):
            angle = kx * x + ky * y
            dx += ax * np.sin(angle + px)
            dy += ay * np.sin(angle + py)
        return dx, dy


@dataclass(frozen=True)
class Mapping:
    """Maps post-stain pixel coordinates to pre-stain pixel coordinates: ``H(p) + d(p)``.

    Attributes
    ----------
    matrix : numpy.ndarray
        The homography H, shape ``(3, 3)``, normalised so that the last element is 1.
    deformation : Deformation or None
        The smooth displacement d; None if the mapping is the homography alone.
    """

    matrix: Matrix
    deformation: Deformation | None = None
    _inverse: Matrix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inverse", np.linalg.inv(self.matrix))

    def __call__(self, points: Points) -> Points:
        """Return the pre-stain points, shape ``(n, 2)``, of post-stain points as (x, y) rows."""
        points = np.asarray(points, np.float64)
        return np.stack(self.grids(points[:, 0], points[:, 1]), axis=1)

    def grids(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return pre-stain x and y for post-stain x and y of any one shape."""
        u, v = _project(self.matrix, x, y)
        if self.deformation is None:
            return u, v
        dx, dy = self.deformation.displacement(x, y)
        return u + dx, v + dy

    def inverse(self, points: Points) -> Points:
        """Return the post-stain points of pre-stain points, both ``(n, 2)``.

        A deformation is inverted by fixed-point iteration to about 1e-10 px.
        """
        target = np.asarray(points, np.float64)
        x, y = _project(self._inverse, target[:, 0], target[:, 1])
        if self.deformation is None:
            return np.stack((x, y), axis=1)
        for _ in range(_INVERSE_STEPS):
            dx, dy = self.deformation.displacement(x, y)
            new_x, new_y = _project(self._inverse, target[:, 0] - dx, target[:, 1] - dy)
            moved = max(np.abs(new_x - x).max(initial=0), np.abs(new_y - y).max(initial=0))
            x, y = new_x, new_y
            if moved < _INVERSE_TOLERANCE_PX:
                break
        return np.stack((x, y), axis=1)


def post_to_pre_matrix(
    post_shape: tuple[int, int],
    pre_shape: tuple[int, int],
    *,
    rotation_deg: float,
    magnification: float,
    shift_px: tuple[float, float],
    shear: float,
    perspective: tuple[float, float],
    mirror: bool,
) -> Matrix:
    """Build the homography from post-stain to pre-stain pixels.

    The sample seen in the pre image is mirrored (x to -x), sheared (x += shear * y), rotated
    (by `rotation_deg` from +x towards +y) and magnified about the image centre, then moved by
    `shift_px` (x, y), which gives the post image; the returned matrix undoes that. `perspective`
    is the relative change of the homogeneous divisor from the centre to the right and to the
    lower edge of the post image.
    """
    angle = np.deg2rad(rotation_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = magnification * np.array([[cos, -sin], [sin, cos]])
    flip = np.array([[-1.0 if mirror else 1.0, 0.0], [0.0, 1.0]])
    forward = np.eye(3)
    forward[:2, :2] = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ flip
    half = np.maximum(np.array([post_shape[1], post_shape[0]]) / 2, 1.0)
    tilt = np.eye(3)
    tilt[2, :2] = np.array(perspective) / half
    plain = rotation_deg == 0 and magnification == 1 and shear == 0
    linear = forward if plain and not mirror else np.linalg.inv(forward)
    matrix = (
        _translation(_centre(pre_shape))
        @ linear
        @ _translation(-np.array(shift_px, np.float64))
        @ tilt
        @ _translation(-_centre(post_shape))
    )
    normalised: Matrix = matrix / matrix[2, 2]
    return normalised


def _centre(shape: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])


def _translation(offset: NDArray[np.float64]) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, 2] = offset
    return matrix


def _project(
    m: Matrix, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply a homography; a plain affinity skips the division so that it stays exact."""
    u = m[0, 0] * x + m[0, 1] * y + m[0, 2]
    v = m[1, 0] * x + m[1, 1] * y + m[1, 2]
    if m[2, 0] == 0 and m[2, 1] == 0:
        return u, v
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    return u / w, v / w
