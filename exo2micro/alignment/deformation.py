"""Smooth deformation: a regularised B-spline fit to tile shifts, used only where it helps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points
from exo2micro.alignment.field import DisplacementField
from exo2micro.alignment.field_error import FieldError
from exo2micro.alignment.fit import fit_correction
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.subpixel import TUKEY
from exo2micro.alignment.transform import Transform

Array = NDArray[np.float64]

# Fewer tiles than this do not tell a deformation from noise.
LEAST_TILES = 20
CELLS_PER_ROOT_TILE = 0.8
FEWEST_CELLS, MOST_CELLS = 3, 11
# Smoothing factors that cross-validation chooses from, relative to the weight of the data.
SMOOTHINGS = 10.0 ** np.arange(-4.5, 3.1, 0.75)
FIRST_SMOOTHING = 1e-2
# Weight of the membrane, relative to the bending, where no tile is near: the field goes on level.
FAR_SPACINGS = 1.5
RIDGE = 1e-7
ITERATIONS = 4
# Rayleigh median: standardised length below which half of good residuals lie.
LENGTH_PER_SIGMA = 1.1774
FOLDS = 5
SEED = 20250103
# Losses of tiles saturate at this many sigmas, so that no outlier decides.
LARGEST_SIGMAS = 4.0
FLOOR_PX = 0.02
# What held-out tiles must say: the loss falls by this part, and by this many standard errors.
LEAST_GAIN = 0.15
LEAST_SIGNIFICANCE = 3.0
# Neighbours whose median a tile must resemble, and the least distance in pixels that is unlike.
NEIGHBOURS = 8
UNLIKE_PX = 2.0
UNLIKE_SIGMAS = 4.0
# The field may not stretch the image by more than this; twice as much would fold it.
LARGEST_STRAIN = 0.3


@dataclass(frozen=True, eq=False)
class DeformationFit:
    """A homography with a displacement field on top, and what held-out tiles say about it.

    Attributes
    ----------
    transform : Transform
        Correction of the alignment's homography: ``x -> matrix(x + d(x))``, post to post.
    used : numpy.ndarray of bool
        Tiles that the fit explains.
    excess_px : float
        Scatter of these per axis beyond their own errors.
    gain : float
        Part by which the field lowers the loss of tiles held out of the fit.
    significance : float
        That gain in standard errors.
    largest_px : float
        Largest displacement at a tile.
    error : FieldError
        How uncertain the field is, place by place.
    """

    transform: Transform
    used: Mask
    excess_px: float
    gain: float
    significance: float
    largest_px: float
    error: FieldError

    @property
    def helps(self) -> bool:
        """Whether tiles that were held out say that the field helps."""
        return self.gain >= LEAST_GAIN and self.significance >= LEAST_SIGNIFICANCE

    @property
    def field(self) -> DisplacementField:
        """The displacement field."""
        if not isinstance(self.transform.field, DisplacementField):
            msg = "a deformation fit has a B-spline field"
            raise TypeError(msg)
        return self.transform.field


def total_shifts(matches: TileMatches, transform: Transform) -> TileMatches:
    """Return the shifts of tiles beyond the homography alone of a transform."""
    if transform.field is None:
        return matches
    landed = matches.centres + matches.shifts
    return TileMatches(
        matches.centres,
        matches.shifts + transform.field(landed),
        matches.covariances,
        matches.scores,
        matches.gains,
        matches.significances,
        matches.usable,
    )


def fit_deformation(matches: TileMatches, shape: tuple[int, int]) -> DeformationFit | None:
    """Fit a homography and a smooth field to tile shifts, and judge the field by tiles held out.

    Parameters
    ----------
    matches : TileMatches
        Significant tiles; their shifts are the totals beyond one homography.
    shape : tuple of int
        ``(ny, nx)`` of post.

    Returns
    -------
    DeformationFit or None
        None where the tiles are too few, or where the field would fold the image.

    Notes
    -----
    The field is a tensor product of cubic B-splines with a penalty on its bending [1]_. Where no
    tile is near, a penalty on its slope makes it go on level. Generalised cross-validation in its
    leave-one-out form [2]_ chooses the smoothing, anew for each of the folds that judge the field.

    References
    ----------
    .. [1] P. Eilers, B. Marx, "Flexible smoothing with B-splines and penalties", Statistical
       Science 11 (1996) 89-121.
    .. [2] P. Craven, G. Wahba, "Smoothing noisy data with spline functions", Numerische
       Mathematik 31 (1979) 377-403.
    """
    like = _like_neighbours(matches)
    if like.sum() < LEAST_TILES:
        return None
    tiles = matches.select(like)
    spread = float(np.hypot(*(tiles.shifts - np.median(tiles.shifts, axis=0)).T).max())
    straight = fit_correction(tiles, "homography", tolerance_px=2 * spread + UNLIKE_PX)
    if straight is None:
        return None
    shifts = _beyond(straight.transform, tiles.centres, tiles.shifts)
    problem = _Problem.of(tiles.centres, shifts, tiles.precisions**2, shape)
    everywhere = np.ones(len(shifts), np.bool_)
    solution = problem.solve(everywhere)
    field = problem.field(solution.coefficients)
    if _strain(field) > LARGEST_STRAIN:
        return None
    gain, significance = _judge(problem)
    used = np.zeros(len(like), np.bool_)
    used[np.flatnonzero(like)[solution.weights > 0]] = True
    return DeformationFit(
        Transform(straight.transform.matrix, field),
        used,
        solution.excess_px,
        gain,
        significance,
        float(np.hypot(*field(tiles.centres).T).max()),
        FieldError.of(field, solution.covariance),
    )


def _beyond(straight: Transform, centres: Points, shifts: Points) -> Points:
    """Return the displacement that the homography leaves: ``straight(x + d) = x + shift``."""
    return straight.inverse(centres + shifts) - centres


def apart_from_neighbours(matches: TileMatches) -> Array:
    """Return how far the shift of each tile is from the median of those around it, pixels."""
    count = len(matches.centres)
    if count <= NEIGHBOURS:
        return np.full(count, np.inf)
    from scipy.spatial import cKDTree

    _, near = cKDTree(matches.centres).query(matches.centres, k=NEIGHBOURS + 1)
    around = np.median(matches.shifts[np.asarray(near)[:, 1:]], axis=1)
    return np.asarray(np.hypot(*(matches.shifts - around).T), np.float64)


def _like_neighbours(matches: TileMatches) -> Mask:
    """Return which tiles have shifts like those around them."""
    apart = apart_from_neighbours(matches)
    if not np.isfinite(apart).all() or len(apart) == 0:
        return np.zeros(len(apart), np.bool_)
    return np.asarray(apart < max(UNLIKE_PX, UNLIKE_SIGMAS * float(np.median(apart))))


@dataclass(frozen=True, eq=False)
class _Solution:
    """Coefficients of a field, their covariance along one axis, and how it fits."""

    coefficients: Array
    covariance: Array
    weights: Array
    excess_px: float


@dataclass(frozen=True, eq=False)
class _Problem:
    """Displacements of tiles and the splines to fit to them."""

    grid: DisplacementField
    basis: Array
    penalty: Array
    shifts: Points
    variances: Array

    @classmethod
    def of(
        cls, centres: Points, shifts: Points, variances: Array, shape: tuple[int, int]
    ) -> "_Problem":
        """Lay the grid over the image."""
        cells = round(CELLS_PER_ROOT_TILE * np.sqrt(len(centres)))
        cells = min(max(cells, FEWEST_CELLS), MOST_CELLS)
        step = max(shape) / cells
        nodes = [max(1, round(length / step)) + TAPS_BEYOND for length in shape]
        spacing = [
            length / (count - TAPS_BEYOND) for length, count in zip(shape, nodes, strict=True)
        ]
        origin = (-spacing[1], -spacing[0])
        grid = DisplacementField(
            origin, (spacing[1], spacing[0]), np.zeros((nodes[0], nodes[1], 2))
        )
        return cls(grid, grid.basis(centres), _penalty(grid, centres), shifts, variances)

    def field(self, coefficients: Array) -> DisplacementField:
        """Return the field of fitted coefficients."""
        shape = self.grid.coefficients.shape
        return DisplacementField(self.grid.origin, self.grid.spacing, coefficients.reshape(shape))

    def solve(self, tiles: Mask) -> _Solution:
        """Fit some of the tiles robustly, with the smoothing that predicts them best."""
        basis, shifts, variances = self.basis[tiles], self.shifts[tiles], self.variances[tiles]
        trust = np.ones(len(shifts))
        excess, smoothing = FLOOR_PX, FIRST_SMOOTHING
        coefficients = np.zeros((basis.shape[1], 2))
        for step in range(ITERATIONS):
            weights = trust / (variances + excess**2)
            if step == 1:
                smoothing = self._best_smoothing(basis, shifts, weights)
            coefficients, covariance = self._smoothed(basis, shifts, weights, smoothing)
            rest = shifts - basis @ coefficients
            excess = _scatter(rest, variances)
            distance = np.hypot(*rest.T) / np.sqrt(variances + excess**2)
            trust = np.clip(1 - (distance / (TUKEY * LENGTH_PER_SIGMA)) ** 2, 0, 1) ** 2
        return _Solution(coefficients, covariance, trust, excess)

    def _best_smoothing(self, basis: Array, shifts: Points, weights: Array) -> float:
        """Return the smoothing with the least leave-one-out loss."""
        losses = []
        for smoothing in SMOOTHINGS:
            coefficients, inverse = self._smoothed(basis, shifts, weights, smoothing)
            own = ((basis @ inverse) * basis).sum(axis=1) * weights
            left_out = (shifts - basis @ coefficients) / np.maximum(1 - own, 1e-3)[:, None]
            losses.append(float((weights * (left_out**2).sum(axis=1)).sum()))
        return float(SMOOTHINGS[int(np.argmin(losses))])

    def _smoothed(
        self, basis: Array, shifts: Points, weights: Array, smoothing: float
    ) -> tuple[Array, Array]:
        """Return the coefficients at one smoothing and the inverse of the normal matrix."""
        weighted = basis * weights[:, None]
        normal = weighted.T @ basis
        size = float(np.trace(normal)) / len(normal)
        normal += size * (smoothing * self.penalty + RIDGE * np.eye(len(normal)))
        inverse = np.asarray(np.linalg.inv(normal), np.float64)
        return inverse @ (weighted.T @ shifts), inverse


TAPS_BEYOND = 3
"""Nodes beyond the number of cells that cubic splines need along an axis."""


def _penalty(grid: DisplacementField, centres: Points) -> Array:
    """Return bending plus, away from all tiles, slope, as a quadratic form of coefficients."""
    from scipy.spatial import cKDTree

    ny, nx, _ = grid.coefficients.shape
    eye_y, eye_x = np.eye(ny), np.eye(nx)
    bends = [
        np.kron(eye_y, np.diff(eye_x, n=2, axis=0)),
        np.kron(np.diff(eye_y, n=2, axis=0), eye_x),
        np.sqrt(2.0) * np.kron(np.diff(eye_y, axis=0), np.diff(eye_x, axis=0)),
    ]
    ys, xs = np.mgrid[:ny, :nx]
    nodes = np.column_stack([xs.ravel(), ys.ravel()]).astype(np.float64)
    places = (centres - np.array(grid.origin)) / np.array(grid.spacing)
    distance, _ = cKDTree(places).query(nodes)
    far = np.clip(np.asarray(distance) - FAR_SPACINGS, 0.0, 1.0)
    slopes = [
        np.kron(eye_y, np.diff(eye_x, axis=0)),
        np.kron(np.diff(eye_y, axis=0), eye_x),
    ]
    slopes = [rows * np.sqrt(np.abs(rows) @ far / 2)[:, None] for rows in slopes]
    return np.asarray(sum(rows.T @ rows for rows in (*bends, *slopes)), np.float64)


def _judge(problem: _Problem) -> tuple[float, float]:
    """Return by what part, and how significantly, the field lowers the loss of held-out tiles.

    The scatter that the field leaves at them is part of the scale of the loss: a first field may
    be much better than none and yet far from the precision of the tiles.
    """
    count = len(problem.shifts)
    fold = np.random.default_rng(SEED).permutation(count) % FOLDS
    predicted = np.zeros_like(problem.shifts)
    for k in range(FOLDS):
        held_out = fold == k
        predicted[held_out] = problem.basis[held_out] @ problem.solve(~held_out).coefficients
    excess_px = _scatter(problem.shifts - predicted, problem.variances)
    variances = problem.variances + excess_px**2
    without, with_field = (
        np.minimum((rest**2).sum(axis=1) / variances, LARGEST_SIGMAS**2)
        for rest in (problem.shifts, problem.shifts - predicted)
    )
    saved = without - with_field
    error = float(saved.std()) / np.sqrt(count)
    return float(saved.sum() / max(without.sum(), 1e-12)), float(saved.mean() / max(error, 1e-12))


def _scatter(rest: Points, variances: Array) -> float:
    """Return the robust scatter of residuals per axis beyond the tiles' own errors, pixels."""
    square = float(np.median((rest**2).sum(axis=1) / 2) / np.log(2) - np.median(variances))
    return max(FLOOR_PX, float(np.sqrt(max(square, 0.0))))


def _strain(field: DisplacementField) -> float:
    """Return the largest change of displacement per pixel between neighbouring nodes."""
    steps = [
        np.abs(np.diff(field.coefficients, axis=axis)).max() / length
        for axis, length in ((1, field.spacing[0]), (0, field.spacing[1]))
    ]
    return float(max(steps))
