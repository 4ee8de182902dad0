"""Hypotheses: where the mapping might be, anywhere in the search range."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.alignment.transform import Transform
from exo2micro.raster.windows import map_ordered

# Brightness below this part of the sample's median is compressed to nothing by the logarithm.
SOFT_OFFSET = 0.15
# Band of structures that the search compares, as Gaussian sigmas in overview pixels.
FINE_SIGMA_PX = 1.0
COARSE_SIGMA_PX = 7.0
# The correlation is periodic: it is computed over this part of the image more than either image,
# which keeps shifts apart that leave the images half on each other.
WRAPPED = 4
MOST_FEATURES = 1500
# Two candidates closer than this are one.
SAME_ANGLE_DEG = 5.0
SAME_MAGNIFICATION = 0.08
SAME_PLACE_PX = 8.0


@dataclass(frozen=True)
class Hypothesis:
    """One candidate mapping between overviews.

    Attributes
    ----------
    transform : Transform
        Overview of post to overview of pre.
    score : float
        Agreement, comparable within one search only.
    angle_deg, magnification, mirrored
        What the candidate is.
    origin : str
        Which search found it.
    """

    transform: Transform
    score: float
    angle_deg: float
    magnification: float
    mirrored: bool
    origin: str


def search_texture(overview: FloatImage, *, edges: bool) -> FloatImage:
    """Return what the search compares: local contrast that no brightness ratio changes.

    Parameters
    ----------
    overview : numpy.ndarray of float32
        Reduced image, shape ``(ny, nx)``.
    edges : bool
        Add the strength of edges, so that the sign of the contrast counts less.

    Returns
    -------
    numpy.ndarray of float32
        Zero mean locally, about unit spread; all 0 for a blank image.
    """
    dark, bright = (float(v) for v in np.quantile(overview, (0.01, 0.9)))
    if bright <= dark:
        return np.zeros_like(overview)
    level = (overview - dark) / (bright - dark)
    logarithm = np.log(np.clip(level, 0, 4) + SOFT_OFFSET).astype(np.float32)
    texture = _locally_normalised(logarithm)
    if edges:
        fine = cv2.GaussianBlur(logarithm, (0, 0), FINE_SIGMA_PX)
        strength = np.hypot(cv2.Sobel(fine, cv2.CV_32F, 1, 0), cv2.Sobel(fine, cv2.CV_32F, 0, 1))
        texture = texture + _locally_normalised(strength)
    return texture


def _locally_normalised(image: FloatImage) -> FloatImage:
    """Return the band-passed image over its local spread, the spread limited from below."""
    band = cv2.GaussianBlur(image, (0, 0), FINE_SIGMA_PX)
    band = band - cv2.GaussianBlur(image, (0, 0), COARSE_SIGMA_PX)
    spread = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * COARSE_SIGMA_PX))
    floor = 0.5 * float(np.sqrt(np.mean(band * band)))
    return np.asarray(band / np.maximum(spread, max(floor, 1e-9)), np.float32)


def grid_search(
    post: FloatImage,
    pre: FloatImage,
    angles_deg: Iterable[float],
    magnifications: Iterable[float],
    *,
    mirrored: bool = False,
    keep: int = 4,
    threads: int = 1,
) -> list[Hypothesis]:
    """Return the best mappings over a grid of rotations and magnifications and all shifts.

    Parameters
    ----------
    post, pre : numpy.ndarray of float32
        Search textures of overviews, see `search_texture`.
    angles_deg, magnifications : iterable of float
        The grid; magnifications in pre pixels per post pixel.
    mirrored : bool
        Turn post over.
    keep : int
        Number of distinct candidates to return, best first.
    threads : int
        Threads; the result does not depend on it.
    """
    if not post.any() or not pre.any():
        return []
    from scipy import fft

    grid = [(angle, magnification) for magnification in magnifications for angle in angles_deg]
    reach = int(np.hypot(*post.shape) * max(m for _, m in grid)) + 1
    rows, cols = (fft.next_fast_len(max(n, reach) + n // WRAPPED, real=True) for n in pre.shape)
    shape = (rows, cols)
    spectrum = fft.rfft2(pre, shape)
    energy = float(
        np.sqrt((post.astype(np.float64) ** 2).sum() * (pre.astype(np.float64) ** 2).sum())
    )
    evaluate = partial(_best_shift, post, spectrum, shape, pre.shape, reach, mirrored, energy)
    found = list(map_ordered(evaluate, grid, threads))
    return _distinct(found, keep, reach)


def _best_shift(
    post: FloatImage,
    spectrum: NDArray[np.complex64],
    shape: tuple[int, int],
    size: tuple[int, int],
    reach: int,
    mirrored: bool,
    energy: float,
    cell: tuple[float, float],
) -> Hypothesis:
    """Return the best shift of one rotation and magnification."""
    from scipy import fft

    angle, magnification = cell
    centre = ((post.shape[1] - 1) / 2, (post.shape[0] - 1) / 2)
    middle = (reach - 1) / 2
    turn = Transform.similarity(
        rotation_deg=angle,
        magnification=magnification,
        centre=centre,
        shift=(middle - centre[0], middle - centre[1]),
        mirrored=mirrored,
    )
    turned = cv2.warpAffine(post, turn.matrix[:2], (reach, reach), flags=cv2.INTER_LINEAR)
    surface = fft.irfft2(spectrum * np.conj(fft.rfft2(turned, shape)), shape)
    row, col = np.unravel_index(int(np.argmax(surface)), shape)
    dy, dx = (
        _unwrapped(int(place), period, length, reach)
        for place, period, length in zip((row, col), shape, size, strict=True)
    )
    # Magnified texture has more pixels, hence more energy.
    score = float(surface[row, col]) / (energy * magnification)
    moved = Transform.translation(float(dx), float(dy)) @ turn
    return Hypothesis(moved, score, angle, magnification, mirrored, "grid")


def _unwrapped(place: int, period: int, length: int, reach: int) -> int:
    """Return the shift along one axis that a place of the periodic correlation stands for.

    Of the two that it may be, the one that lays the images' middles closer together.
    """
    centred = (length - reach) / 2
    return min(place, place - period, key=lambda shift: abs(shift - centred))


def _distinct(found: list[Hypothesis], keep: int, size: float) -> list[Hypothesis]:
    """Return the best candidates that differ from each other."""
    chosen: list[Hypothesis] = []
    for candidate in sorted(found, key=lambda h: -h.score):
        if len(chosen) == keep or candidate.score <= 0:
            break
        if not any(_same(candidate, other, size) for other in chosen):
            chosen.append(candidate)
    return chosen


def _same(a: Hypothesis, b: Hypothesis, size: float) -> bool:
    """Return whether two candidates are one."""
    turn = abs((a.angle_deg - b.angle_deg + 180.0) % 360.0 - 180.0)
    middle = [((size - 1) / 2, (size - 1) / 2)]
    apart = float(np.hypot(*(a.transform(middle) - b.transform(middle))[0]))
    return (
        a.mirrored == b.mirrored
        and turn < SAME_ANGLE_DEG
        and abs(a.magnification - b.magnification) < SAME_MAGNIFICATION
        and apart < SAME_PLACE_PX
    )


def feature_search(post: "Features", pre: "Features") -> list[Hypothesis]:
    """Return the mapping that SIFT features support, at any rotation and magnification.

    Parameters
    ----------
    post, pre : Features
        Of overviews; those of post may be mirrored.

    Notes
    -----
    SIFT features [1]_ matched by Lowe's ratio test, an affine map by USAC with MAGSAC scoring [2]_.

    References
    ----------
    .. [1] D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60 (2004).
    .. [2] D. Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020.
    """
    flip = Transform.identity()
    if post.mirrored:
        flip = Transform.from_matrix([[-1.0, 0.0, post.shape[1] - 1.0], [0.0, 1.0, 0.0]])
    pairs = _feature_pairs(post, pre)
    if len(pairs) < 8:
        return []
    cv2.setRNGSeed(1)
    matrix, inliers = cv2.estimateAffine2D(
        np.ascontiguousarray(pairs[:, :2]),
        np.ascontiguousarray(pairs[:, 2:]),
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=3.0,
        maxIters=5000,
    )
    if matrix is None or abs(np.linalg.det(matrix[:, :2])) < 0.05:
        return []
    transform = Transform.from_matrix(matrix) @ flip
    middle = ((post.shape[1] - 1) / 2, (post.shape[0] - 1) / 2)
    return [
        Hypothesis(
            transform,
            float(inliers.sum()) / len(pairs),
            transform.rotation_deg(middle),
            transform.magnification(middle),
            post.mirrored,
            "features",
        )
    ]


@dataclass(frozen=True, eq=False)
class Features:
    """SIFT features of an overview.

    Attributes
    ----------
    points : numpy.ndarray of float32
        Shape ``(n, 2)``, ``(x, y)``.
    descriptors : numpy.ndarray of float32
        Shape ``(n, 128)``.
    shape : tuple of int
        ``(ny, nx)`` of the overview.
    mirrored : bool
        Whether they are those of the overview turned over.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    shape: tuple[int, int]
    mirrored: bool = False


def find_features(overview: FloatImage) -> Features:
    """Return the SIFT features of an overview."""
    low, high = np.quantile(overview, (0.01, 0.995))
    coded = np.clip((overview - low) * (255.0 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    found, descriptors = cv2.SIFT.create(MOST_FEATURES).detectAndCompute(coded, None)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.empty((0, 128), np.float32)
    ny, nx = overview.shape
    return Features(points, np.asarray(descriptors, np.float32), (ny, nx))


def find_mirrored_features(overview: FloatImage) -> Features:
    """Return the SIFT features of an overview turned over."""
    return replace(find_features(np.ascontiguousarray(overview[:, ::-1])), mirrored=True)


def _feature_pairs(post: Features, pre: Features) -> NDArray[np.float32]:
    """Return matched points as rows ``(x, y, x', y')``."""
    if min(len(post.points), len(pre.points)) < 2:
        return np.empty((0, 4), np.float32)
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(post.descriptors, pre.descriptors, k=2)
    chosen = [
        (m.queryIdx, m.trainIdx)
        for m, second in (pair for pair in matches if len(pair) == 2)
        if m.distance < 0.85 * second.distance
    ]
    here, there = np.array(chosen, np.intp).reshape(-1, 2).T
    return np.concatenate([post.points[here], pre.points[there]], axis=1)
