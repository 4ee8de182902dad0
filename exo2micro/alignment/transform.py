"""Transform: the mapping from post-stain pixels to pre-stain pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exo2micro._typing import Points
from exo2micro.alignment.field import (
    Displacement,
    DisplacementField,
    MappedDisplacement,
    undisplaced,
)
from exo2micro.errors import RegistrationError

Matrix = NDArray[np.float64]

# A 3x3 matrix whose normalised determinant is below this maps the plane onto a line in float64.
SMALLEST_DETERMINANT = 1e-9
# Half the baseline of numerical derivatives of a displacement field, whose nodes lie much further
# apart.
DERIVATIVE_STEP_PX = 0.25

PLAIN, DEFORMED = "homography", "homography+bspline"


@dataclass(frozen=True, eq=False)
class Transform:
    """Maps ``(x, y)`` points of post to ``(x, y)`` points of pre: a homography, maybe deformed.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape ``(3, 3)``; stored with ``matrix[2, 2] == 1``, read-only.
    field : Displacement, optional
        Smooth displacement ``d`` of post points, applied first: ``x -> matrix(x + d(x))``.

    Raises
    ------
    RegistrationError
        If the matrix has a wrong shape, is not finite or cannot be inverted.

    Notes
    -----
    Pixel centres are whole numbers. ``a @ b`` applies `b` first, then `a`.
    """

    matrix: Matrix
    field: Displacement | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _checked(self.matrix))

    @classmethod
    def identity(cls) -> "Transform":
        """Return the transform that leaves every point where it is."""
        return cls(np.eye(3))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> "Transform":
        """Return the transform of a ``(3, 3)`` homography or a ``(2, 3)`` affine matrix."""
        full = np.asarray(matrix, np.float64)
        if full.shape == (2, 3):
            full = np.vstack([full, (0.0, 0.0, 1.0)])
        return cls(full)

    @classmethod
    def translation(cls, dx: float, dy: float) -> "Transform":
        """Return the transform that adds ``(dx, dy)`` pixels."""
        return cls(np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]]))

    @classmethod
    def similarity(
        cls,
        *,
        rotation_deg: float = 0.0,
        magnification: float = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
        centre: tuple[float, float] = (0.0, 0.0),
        mirrored: bool = False,
    ) -> "Transform":
        """Return a rotation and magnification about a point, followed by a shift.

        Parameters
        ----------
        rotation_deg : float
            Degrees; positive turns the x axis towards the y axis (clockwise on screen).
        magnification : float
            Pre pixels per post pixel.
        shift : tuple of float
            ``(dx, dy)`` in pre pixels, added last.
        centre : tuple of float
            ``(x, y)`` in post pixels; it lands on ``centre + shift``.
        mirrored : bool
            Flip x about `centre` before the rotation.
        """
        angle = np.deg2rad(rotation_deg)
        cos, sin = magnification * np.cos(angle), magnification * np.sin(angle)
        flip = -1.0 if mirrored else 1.0
        linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
        offset = np.array(centre) + np.array(shift) - linear @ np.array(centre)
        return cls.from_matrix(np.column_stack([linear, offset]))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Transform":
        """Return the transform that `to_dict` described, exact to the bit.

        Raises
        ------
        RegistrationError
            If the record is of another kind.
        """
        kind = record.get("type")
        if kind not in (PLAIN, DEFORMED) or "matrix" not in record:
            msg = (
                f"a transform record has type {PLAIN!r} or {DEFORMED!r} and a matrix, got type "
                f"{kind!r}: compute stage 2 anew with from_stage=2"
            )
            raise RegistrationError(msg)
        field = DisplacementField.from_dict(record["field"]) if kind == DEFORMED else None
        return cls(np.asarray(record["matrix"], np.float64), field)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` restores the same bits.

        Raises
        ------
        RegistrationError
            For inverses and compositions of deformed transforms, which no B-spline describes.
        """
        if self.field is None:
            return {"type": PLAIN, "matrix": self.matrix.tolist()}
        if not isinstance(self.field, DisplacementField):
            msg = (
                "an inverse or a composition of deformed transforms has no finite description: "
                "store the transforms that it is made of"
            )
            raise RegistrationError(msg)
        return {"type": DEFORMED, "matrix": self.matrix.tolist(), "field": self.field.to_dict()}

    def __call__(self, points: ArrayLike) -> Points:
        """Return the pre points, shape ``(n, 2)``, of post points, shape ``(n, 2)``."""
        xy = _as_points(points)
        if self.field is not None:
            xy = xy + self.field(xy)
        m = self.matrix
        x, y = xy[:, 0], xy[:, 1]
        out = np.empty_like(xy)
        out[:, 0] = m[0, 0] * x + (m[0, 1] * y + m[0, 2])
        out[:, 1] = m[1, 0] * x + (m[1, 1] * y + m[1, 2])
        if m[2, :2].any():
            out /= (m[2, 0] * x + (m[2, 1] * y + 1.0))[:, None]
        return out

    def __matmul__(self, other: "Transform") -> "Transform":
        """Return the transform that applies `other` first, then this one."""
        matrix = self.matrix @ other.matrix
        if self.field is None:
            return Transform(matrix, other.field)
        if other.field is None and _stretches(other.matrix):
            (sx, _, ox), (_, sy, oy), _ = other.matrix.tolist()
            if isinstance(self.field, DisplacementField):
                return Transform(matrix, self.field.rescaled((sx, sy), (ox, oy)))
        back = Transform(matrix).inverse
        return Transform(matrix, MappedDisplacement(lambda points: back(self(other(points)))))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Transform)
            and bool(np.array_equal(self.matrix, other.matrix))
            and self.field == other.field
        )

    def __hash__(self) -> int:
        return hash((self.matrix.tobytes(), self.field))

    @property
    def inverse(self) -> "Transform":
        """The mapping from pre points to post points, exact to 1e-6 px where deformed."""
        plain = Transform.from_matrix(np.linalg.inv(self.matrix))
        field = self.field
        if field is None:
            return plain
        straight = self.straight
        return Transform(
            plain.matrix,
            MappedDisplacement(lambda points: straight(undisplaced(field, plain(points)))),
        )

    @property
    def straight(self) -> "Transform":
        """The homography alone."""
        return self if self.field is None else Transform(self.matrix)

    @property
    def is_affine(self) -> bool:
        """Whether parallel lines stay parallel."""
        return self.field is None and not self.matrix[2, :2].any()

    def linear(self, at: Sequence[float] = (0.0, 0.0)) -> Matrix:
        """Return the Jacobian ``d(pre)/d(post)``, shape ``(2, 2)``, at a post point ``(x, y)``."""
        m = self.matrix
        point = np.asarray([at], np.float64)
        bent = np.eye(2)
        if self.field is not None:
            steps = DERIVATIVE_STEP_PX * np.eye(2)
            change = self.field(point + steps) - self.field(point - steps)
            bent += change.T / (2 * DERIVATIVE_STEP_PX)
            point = point + self.field(point)
        scale = m[2, 0] * point[0, 0] + m[2, 1] * point[0, 1] + 1.0
        mapped = self.straight(point)[0]
        jacobian: Matrix = (m[:2, :2] - np.outer(mapped, m[2, :2])) / scale @ bent
        return jacobian

    def shifted(self, dx: float, dy: float) -> "Transform":
        """Return the same mapping between coordinates that are both ``(dx, dy)`` larger.

        ``transform.shifted(pad, pad)`` turns raw pixel coordinates into canvas coordinates;
        ``shifted(-pad, -pad)`` turns them back.
        """
        return Transform.translation(dx, dy) @ self @ Transform.translation(-dx, -dy)

    def scaled(self, post_factor: float, pre_factor: float) -> "Transform":
        """Return the same mapping between overviews made by block averages.

        Parameters
        ----------
        post_factor, pre_factor : float
            Block sides in pixels of the overviews of post and of pre (see `Raster.overview`).
        """
        return overview_to_full(pre_factor).inverse @ self @ overview_to_full(post_factor)

    def unscaled(self, post_factor: float, pre_factor: float) -> "Transform":
        """Return the full-resolution mapping of one that was found between overviews."""
        return overview_to_full(pre_factor) @ self @ overview_to_full(post_factor).inverse

    def rotation_deg(self, at: Sequence[float] = (0.0, 0.0)) -> float:
        """Return the rotation at a post point in degrees, within -180 to 180."""
        u, _, vt = np.linalg.svd(self.linear(at))
        nearest_rotation = u @ vt
        return float(np.rad2deg(np.arctan2(-nearest_rotation[0, 1], nearest_rotation[1, 1])))

    def magnification(self, at: Sequence[float] = (0.0, 0.0)) -> float:
        """Return pre pixels per post pixel at a post point (root of the area ratio)."""
        return float(np.sqrt(abs(np.linalg.det(self.linear(at)))))

    def shift(self, at: Sequence[float]) -> tuple[float, float]:
        """Return where a post point lands minus where it was: ``(dx, dy)`` in pixels."""
        dx, dy = self([at])[0] - np.asarray(at, np.float64)
        return float(dx), float(dy)

    @property
    def mirrored(self) -> bool:
        """Whether the mapping turns the image over."""
        return bool(np.linalg.det(self.matrix) < 0)

    def describe(self, centre: Sequence[float]) -> dict[str, Any]:
        """Return rotation, magnification, shift and mirroring at the sample's centre ``(x, y)``."""
        dx, dy = self.shift(centre)
        return {
            "rotation_deg": self.rotation_deg(centre),
            "magnification": self.magnification(centre),
            "shift_x_px": dx,
            "shift_y_px": dy,
            "mirrored": self.mirrored,
        }


def overview_to_full(factor: float) -> Transform:
    """Return the mapping from overview pixels to image pixels for block averages of `factor`."""
    offset = (factor - 1.0) / 2.0
    return Transform(np.array([[factor, 0.0, offset], [0.0, factor, offset], [0.0, 0.0, 1.0]]))


def _stretches(matrix: Matrix) -> bool:
    """Return whether a matrix only shifts and magnifies along the axes, without mirroring."""
    others = (matrix[0, 1], matrix[1, 0], matrix[2, 0], matrix[2, 1])
    return not any(others) and bool(matrix[0, 0] > 0 and matrix[1, 1] > 0)


def _as_points(points: ArrayLike) -> Points:
    """Return points as float64 of shape ``(n, 2)``, or raise ValueError."""
    xy = np.asarray(points, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        msg = f"points are rows of (x, y), shape (n, 2), got shape {xy.shape}"
        raise ValueError(msg)
    return xy


def _checked(matrix: ArrayLike) -> Matrix:
    """Return a normalised read-only copy, or raise RegistrationError."""
    full = np.array(matrix, np.float64)
    if full.shape != (3, 3):
        msg = f"a transform needs a (3, 3) matrix, got shape {full.shape}"
        raise RegistrationError(msg)
    corner = full[2, 2]
    if not np.isfinite(full).all() or abs(corner) <= SMALLEST_DETERMINANT * np.abs(full).max():
        msg = (
            f"a transform needs a finite matrix whose last element is not 0, got {full.tolist()}: "
            "the images do not determine a mapping"
        )
        raise RegistrationError(msg)
    full /= corner
    linear = full[:2, :2] - np.outer(full[:2, 2], full[2, :2])
    if abs(np.linalg.det(linear)) < SMALLEST_DETERMINANT:
        msg = (
            f"a transform must be invertible, got {full.tolist()}, which maps the image onto a "
            "line: the images do not determine a mapping"
        )
        raise RegistrationError(msg)
    full.setflags(write=False)
    return full
