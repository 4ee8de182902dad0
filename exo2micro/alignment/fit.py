"""Robust weighted fits of a global correction to the measured shifts of tiles."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.subpixel import TUKEY
from exo2micro.alignment.transform import Transform

Model = Literal["translation", "similarity", "affine", "homography"]

PARAMETERS: dict[Model, int] = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}
# Random minimal samples for the start of the robust fit: with half the tiles wrong, all of them
# miss a good triple with probability 1e-17.
SAMPLES = 300
SEED = 20250101
ITERATIONS = 12
# Median of the length of a 2-D Gaussian with unit variance per axis.
RAYLEIGH_MEDIAN = 1.1774


@dataclass(frozen=True, eq=False)
class Correction:
    """A global correction of an alignment.

    Attributes
    ----------
    transform : Transform
        Post to post: apply it before the alignment that was corrected.
    inliers : numpy.ndarray of bool
        Tiles that the correction explains, shape ``(n,)``.
    excess_px : float
        Scatter of the tiles per axis beyond their own errors.
    """

    transform: Transform
    inliers: Mask
    excess_px: float

    @property
    def support(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())


def fit_correction(
    matches: TileMatches, model: Model, *, tolerance_px: float, floor_px: float = 0.01
) -> Correction | None:
    """Fit a global correction to tile shifts, whatever part of them is wrong.

    Parameters
    ----------
    matches : TileMatches
        Measured tiles; all are used.
    model : str
        Family of the correction, which is near the identity.
    tolerance_px : float
        Tiles further than this from a sampled model are outliers at the start.
    floor_px : float
        Smallest error that a tile is given.

    Returns
    -------
    Correction or None
        None with fewer tiles than the model needs.

    Notes
    -----
    Minimal samples scored by a truncated loss [1]_ give the start; iterated least squares with
    Tukey's weights and the full covariance of every tile give the result.

    References
    ----------
    .. [1] P. Torr, A. Zisserman, "MLESAC: a new robust estimator with application to estimating
       image geometry", Computer Vision and Image Understanding 78 (2000) 138-156.
    """
    count = len(matches.centres)
    if 2 * count < PARAMETERS[model] + 2:
        return None
    frame = _Frame.around(matches.centres)
    start = _sampled_start(matches, frame, tolerance_px)
    basis = frame.basis(matches.centres, model)
    predicted = frame.basis(matches.centres, "affine") @ start
    weights = (np.hypot(*(matches.shifts - predicted).T) < tolerance_px).astype(np.float64)
    excess = 0.0
    theta = np.zeros(PARAMETERS[model])
    for _ in range(ITERATIONS):
        information = _information(matches.covariances, max(excess, floor_px))
        solved = _solve(basis, information, matches.shifts, weights)
        if solved is None:
            return None
        theta = solved
        residual = matches.shifts - basis @ theta
        excess = _excess_scatter(residual, matches.covariances, weights > 0)
        excess = min(excess, tolerance_px / 2)
        information = _information(matches.covariances, max(excess, floor_px))
        distance = np.sqrt(np.einsum("ni,nij,nj->n", residual, information, residual))
        weights = np.clip(1 - (distance / (TUKEY * RAYLEIGH_MEDIAN)) ** 2, 0, 1) ** 2
        weights[np.hypot(*residual.T) > 2 * tolerance_px] = 0.0
    return Correction(frame.transform(theta, model), weights > 0, excess)


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which the tiles fill about the unit circle."""

    x: float
    y: float
    radius: float

    @classmethod
    def around(cls, points: Points) -> "_Frame":
        """Return the frame of a set of points."""
        centre = points.mean(axis=0)
        radius = float(np.abs(points - centre).max()) or 1.0
        return cls(float(centre[0]), float(centre[1]), radius)

    def basis(self, points: Points, model: Model) -> NDArray[np.float64]:
        """Return the shifts that each parameter causes, shape ``(n, 2, parameters)``."""
        u, v = (points[:, 0] - self.x) / self.radius, (points[:, 1] - self.y) / self.radius
        one, nil = np.ones_like(u), np.zeros_like(u)
        if model == "similarity":
            rows = [[one, nil, u, -v], [nil, one, v, u]]
        else:
            rows = [
                [one, nil, u, v, nil, nil, u * u, u * v],
                [nil, one, nil, nil, u, v, u * v, v * v],
            ]
            rows = [row[: PARAMETERS[model]] for row in rows]
        return np.asarray(np.array(rows).transpose(2, 0, 1), np.float64)

    def transform(self, theta: NDArray[np.float64], model: Model) -> Transform:
        """Return the homography with these first-order parameters."""
        t = theta / self.radius
        if model == "similarity":
            t = np.array([t[0], t[1], t[2], -t[3], t[3], t[2], 0.0, 0.0])
        t = np.concatenate([t, np.zeros(8 - len(t))])
        bent = np.array(
            [[1 + t[2], t[3], t[0]], [t[4], 1 + t[5], t[1]], [-t[6], -t[7], 1.0]], np.float64
        )
        into = np.array([[1, 0, -self.x], [0, 1, -self.y], [0, 0, self.radius]], np.float64)
        return Transform.from_matrix(np.linalg.inv(into) @ bent @ into)


def _sampled_start(matches: TileMatches, frame: _Frame, tolerance_px: float) -> NDArray[np.float64]:
    """Return the affine parameters of the best minimal sample (three tiles each)."""
    count = len(matches.centres)
    generator = np.random.default_rng(SEED)
    triples = generator.integers(0, count, (SAMPLES, 3))
    design = _affine_rows(frame, matches.centres)
    sets = design[triples]
    good = np.abs(np.linalg.det(sets)) > 0.05
    candidates = np.zeros((int(good.sum()) + 1, 3, 2))
    candidates[:-1] = np.linalg.solve(sets[good], matches.shifts[triples[good]])
    candidates[-1, 0] = np.median(matches.shifts, axis=0)
    predicted = np.einsum("nk,mki->mni", design, candidates)
    squares = ((matches.shifts[None] - predicted) ** 2).sum(axis=-1)
    loss = np.minimum(squares, tolerance_px**2).sum(axis=1)
    best = candidates[int(np.argmin(loss))]
    return np.array([best[0, 0], best[0, 1], best[1, 0], best[2, 0], best[1, 1], best[2, 1]])


def _affine_rows(frame: _Frame, points: Points) -> NDArray[np.float64]:
    """Return ``(1, u, v)`` of points, shape ``(n, 3)``."""
    return np.column_stack([np.ones(len(points)), (points - (frame.x, frame.y)) / frame.radius])


def _information(covariances: NDArray[np.float64], excess_px: float) -> NDArray[np.float64]:
    """Return inverse covariances of the shifts, an excess scatter added."""
    return np.asarray(np.linalg.inv(covariances + excess_px**2 * np.eye(2)), np.float64)


def _solve(
    basis: NDArray[np.float64],
    information: NDArray[np.float64],
    shifts: Points,
    weights: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Return the weighted least-squares parameters, or None if the tiles do not fix them."""
    weighted = np.einsum("n,nij,njk->nik", weights, information, basis)
    normal = np.einsum("nij,nik->jk", basis, weighted)
    scale = np.sqrt(np.diag(normal))
    if not (scale > 0).all():
        return None
    scaled = normal / np.outer(scale, scale)
    if np.linalg.cond(scaled) > 1e7:
        return None
    right = np.einsum("nik,ni->k", weighted, shifts)
    return np.asarray(np.linalg.solve(scaled, right / scale) / scale, np.float64)


def _excess_scatter(residual: Points, covariances: NDArray[np.float64], used: Mask) -> float:
    """Return the scatter per axis beyond the tiles' own errors, from robust medians."""
    if not used.any():
        return 0.0
    lengths = (residual[used] ** 2).sum(axis=1) / 2
    own = np.trace(covariances[used], axis1=1, axis2=2) / 2
    variance = float(np.median(lengths) / np.log(2) - np.median(own))
    return float(np.sqrt(max(variance, 0.0)))
