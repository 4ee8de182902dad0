"""How uncertain a fitted displacement field is by itself, place by place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.alignment.field import DisplacementField

Array = NDArray[np.float64]

# Modes that make less than this part of the variance over the sample are left out.
NEGLIGIBLE_PART = 0.02


@dataclass(frozen=True, eq=False)
class FieldError:
    """The uncertainty of a displacement field, from the fit that has made it.

    A penalised fit is the mean of a posterior whose covariance is the inverse of its normal matrix
    [1]_: large where tiles are few, and beyond the outermost of them.

    Attributes
    ----------
    grid : DisplacementField
        Origin, spacing and number of the nodes.
    root : numpy.ndarray
        Square root of the covariance of the coefficients along one axis, shape ``(n, n)``, pixels.

    References
    ----------
    .. [1] G. Wahba, "Bayesian confidence intervals for the cross-validated smoothing spline",
       Journal of the Royal Statistical Society B 45 (1983) 133-150.
    """

    grid: DisplacementField
    root: Array

    @classmethod
    def of(cls, grid: DisplacementField, covariance: Array) -> "FieldError":
        """Return the uncertainty of a field whose coefficients have a covariance."""
        values, vectors = np.linalg.eigh(covariance)
        return cls(grid, vectors * np.sqrt(np.maximum(values, 0.0)))

    def at(self, points: Points) -> Array:
        """Return what each mode of unit variance adds to the field, shape ``(points, modes)``."""
        return np.asarray(self.grid.basis(points) @ self.root, np.float64)

    def variance(self, points: Points) -> Array:
        """Return the variance of the field along one axis at points, pixels squared."""
        return np.asarray(np.square(self.at(points)).sum(axis=1), np.float64)

    def over(self, places: Points) -> "FieldError":
        """Return the same in the few modes that matter over some places."""
        _, sizes, modes = np.linalg.svd(self.at(places), full_matrices=False)
        share = np.cumsum(sizes**2) / max(float(np.sum(sizes**2)), 1e-300)
        count = int(np.searchsorted(share, 1 - NEGLIGIBLE_PART)) + 1
        return FieldError(self.grid, self.root @ modes[:count].T)


@dataclass(frozen=True, eq=False)
class FitError:
    """What a fit knows of its own error; it can only lower the trust in the alignment.

    Attributes
    ----------
    field : FieldError or None
        Uncertainty of the smooth deformation, None where none was fitted.
    p95_px : float
        95 % quantile over the tiles of the fit of how far they lie off it, those within their
        errors counted as 0.
    """

    field: FieldError | None = None
    p95_px: float = 0.0
