"""Outline fit: iterated closest points between the real outlines of both samples."""

from dataclasses import dataclass

import numpy as np

from exo2micro._typing import FloatImage, Mask, Points
from exo2micro.alignment.outline import outline_points, sample_mask
from exo2micro.alignment.transform import Transform

# Fewest outline pairs that fix a similarity, and the largest angle between paired normals.
LEAST_PAIRS = 60
LARGEST_NORMAL_DEG = 30.0


@dataclass(frozen=True)
class OutlineFit:
    """Outcome of an outline fit between overviews.

    Attributes
    ----------
    transform : Transform
        Overview of post to overview of pre.
    pairs : int
        Outline points that found a partner.
    distance_px : float
        Median distance between paired outlines, overview pixels.
    """

    transform: Transform
    pairs: int
    distance_px: float


def fit_outlines(
    post: FloatImage,
    pre: FloatImage,
    initial: Transform,
    *,
    hidden: Mask,
    reach_px: float,
    smoothing_px: float,
    iterations: int,
    stop: float,
) -> OutlineFit | None:
    """Fit a similarity that lays the outline of post onto that of pre.

    Parameters
    ----------
    post, pre : numpy.ndarray of float32
        Overviews, shape ``(ny, nx)``.
    initial : Transform
        Where to start, between the overviews.
    hidden : numpy.ndarray of bool
        Where the outline of post may not be seen, shape ``(ny, nx)``.
    reach_px : float
        Outline points further apart than this do not pair.
    smoothing_px : float
        Smoothing of the outlines.
    iterations : int
        Largest number of iterations.
    stop : float
        Stop when a step moves the outline by less than this part of its size.

    Returns
    -------
    OutlineFit or None
        None where either sample has no real outline: it fills the frame or the border cuts it.

    Notes
    -----
    Point-to-line distances [1]_, normals must agree, Tukey's weights.

    References
    ----------
    .. [1] Y. Chen, G. Medioni, "Object modelling by registration of multiple range images",
       Image and Vision Computing 10 (1992) 145-155.
    """
    from scipy.spatial import cKDTree

    points, normals = outline_points(sample_mask(post), smoothing_px)
    col, row = np.clip(np.rint(points).astype(int), 0, np.array(post.shape[::-1]) - 1).T
    visible = ~hidden[row, col]
    points, normals = points[visible], normals[visible]
    targets, target_normals = outline_points(sample_mask(pre), smoothing_px)
    if min(len(points), len(targets)) < LEAST_PAIRS:
        return None
    tree = cKDTree(targets)
    size = float(np.ptp(points, axis=0).max()) or 1.0
    transform, distance, pairs = initial, float("inf"), 0
    for _ in range(iterations):
        moved = transform(points)
        turned = normals @ transform.linear(points.mean(axis=0)).T
        turned /= np.hypot(*turned.T)[:, None]
        gap, nearest = tree.query(moved, distance_upper_bound=reach_px)
        index = np.asarray(nearest)
        near = np.isfinite(gap)
        facing = (turned[near] * target_normals[index[near]]).sum(axis=1)
        near[near] = facing > np.cos(np.deg2rad(LARGEST_NORMAL_DEG))
        pairs = int(near.sum())
        if pairs < LEAST_PAIRS:
            return None
        partners = index[near]
        step, distance = _point_to_line(moved[near], targets[partners], target_normals[partners])
        transform = step @ transform
        if np.abs(step(moved) - moved).max() < stop * size:
            break
    return OutlineFit(transform, pairs, distance)


def _point_to_line(points: Points, targets: Points, normals: Points) -> tuple[Transform, float]:
    """Return the small similarity that brings points onto lines, and their median distance."""
    centre = points.mean(axis=0)
    u, v = (points - centre).T
    offset = ((targets - points) * normals).sum(axis=1)
    columns = np.column_stack(
        [
            normals,
            u * normals[:, 0] + v * normals[:, 1],
            u * normals[:, 1] - v * normals[:, 0],
        ]
    )
    sigma = 1.4826 * float(np.median(np.abs(offset))) + 1e-6
    weights = np.clip(1 - (offset / (4.685 * sigma)) ** 2, 0, 1) ** 2
    normal = (columns * weights[:, None]).T @ columns
    # Outlines close to a circle leave the rotation open: a small ridge keeps it where it is.
    ridge = 1e-4 * np.diag(normal).max() * np.eye(4)
    dx, dy, growth, turn = np.linalg.solve(normal + ridge, (columns * weights[:, None]).T @ offset)
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    shift = centre + np.array([dx, dy]) - linear @ centre
    return Transform.from_matrix(np.column_stack([linear, shift])), float(np.median(np.abs(offset)))
