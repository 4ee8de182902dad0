"""Matching of tiles: where a small piece of post lies in pre, and how sure that is."""

from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask, Points
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import Raster
from exo2micro.raster.windows import map_ordered

# Band of the texture that is compared, as Gaussian sigmas in pixels: finer is noise and
# interpolation, coarser is illumination.
FINE_SIGMA_PX = 0.8
COARSE_SIGMA_PX = 6.0
# Pixels around a tile that feed its filters and the interpolation kernel.
MARGIN = 8
# Half-length of the windowed-sinc kernel that shifts a tile by parts of a pixel.
KERNEL_REACH = 6
# Pixels whose noise is treated as one when the precision is estimated (sandwich estimator).
CLUSTER_PX = 8
# Tukey's biweight at 95 % efficiency for Gaussian residuals.
TUKEY = 4.685
# Robust sigma of a Gaussian from a median absolute deviation.
MAD_TO_SIGMA = 1.4826
# Every so many pixels enter a median; prime to the tile sides, so that all columns take part.
MEDIAN_STRIDE = 7
# Enough matches with strangers to know the 99 % quantile of their correlation to a few per cent.
STRANGERS = 100
# A sub-pixel fit ends, after its robust weights have settled, with a step this short.
LEAST_STEPS = 3
SHORT_STEP_PX = 0.02
# Texture beyond this many robust sigmas (microbes, debris) is clipped before the correlation.
CLIP_SIGMAS = 4.0

_KERNEL_TAPS = np.arange(-KERNEL_REACH, KERNEL_REACH + 1)[None, :]
_KERNEL_STEPS = np.array([[-1e-4], [0.0], [1e-4]])


@dataclass(frozen=True)
class MatchPlan:
    """How tiles are matched.

    Attributes
    ----------
    size : int
        Side of the square tiles in pixels; a multiple of `CLUSTER_PX`.
    search : int
        Largest shift that the correlation tries, pixels; 0 starts the fit from no shift.
    steps : int
        Gauss-Newton steps of the sub-pixel fit; 0 keeps the whole-pixel peak.
    """

    size: int = 80
    search: int = 8
    steps: int = 4


@dataclass(frozen=True, eq=False)
class TileMatches:
    """Measured shifts of tiles: post at ``x`` looks like pre at ``transform(x + shift)``.

    Attributes
    ----------
    centres : numpy.ndarray
        Tile centres, shape ``(n, 2)``, ``(x, y)`` in post pixels.
    shifts : numpy.ndarray
        Shape ``(n, 2)``, post pixels.
    covariances : numpy.ndarray
        Of the shifts, shape ``(n, 2, 2)``, square pixels.
    scores : numpy.ndarray
        Correlation of the best shift, -1 to 1.
    gains : numpy.ndarray
        Brightness ratio post/pre of the texture.
    significances : numpy.ndarray
        The gain in units of its standard error.
    usable : numpy.ndarray of bool
        Whether the fit converged on enough pixels.
    """

    centres: Points
    shifts: Points
    covariances: NDArray[np.float64]
    scores: NDArray[np.float64]
    gains: NDArray[np.float64]
    significances: NDArray[np.float64]
    usable: Mask

    def select(self, which: NDArray[np.generic]) -> "TileMatches":
        """Return some of the tiles, by mask or by index."""
        return TileMatches(
            self.centres[which],
            self.shifts[which],
            self.covariances[which],
            self.scores[which],
            self.gains[which],
            self.significances[which],
            self.usable[which],
        )

    @property
    def precisions(self) -> NDArray[np.float64]:
        """One-sigma error of each shift, pixels per axis."""
        trace = np.trace(self.covariances, axis1=1, axis2=2)
        return np.asarray(np.sqrt(trace / 2), np.float64)


@dataclass(frozen=True, eq=False)
class _Patch:
    """Band-passed texture of a tile of post and of its surroundings in pre, on post's grid."""

    post: FloatImage
    post_valid: Mask
    pre: FloatImage
    pre_valid: Mask


def match_tiles(
    post: Raster,
    pre: Raster,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    threads: int = 1,
) -> TileMatches:
    """Measure the shifts that tiles need beyond a transform.

    Parameters
    ----------
    post, pre : Raster
        The images.
    transform : Transform
        Post to pre, right to within ``plan.search`` pixels.
    centres : numpy.ndarray
        Whole pixels of post, shape ``(n, 2)``, ``(x, y)``, at least `tile_reach` inside it.
    plan : MatchPlan
        Tile size and search range.
    threads : int
        Threads; the result does not depend on it.

    Notes
    -----
    The whole-pixel shift maximises the normalised correlation of band-passed, clipped texture.
    The sub-pixel shift minimises the robust squared difference to ``gain * pre + offset``
    (Gauss-Newton [1]_ with Tukey weights, so that microbes present in post alone have no say).
    Its covariance is the cluster-robust sandwich estimate.

    References
    ----------
    .. [1] S. Baker, I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", International
       Journal of Computer Vision 56 (2004) 221-255.
    """
    measure = partial(_measure, post, pre, transform, plan)
    rows = list(map_ordered(measure, centres, threads))
    return _collect(centres, rows)


def match_strangers(
    post: Raster,
    pre: Raster,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    threads: int = 1,
) -> TileMatches:
    """Match tiles with the surroundings of other ones: the null distribution.

    At most `STRANGERS` tiles, evenly picked, are matched to the whole pixel. Tile ``i`` is
    compared with the pre of the tile half the list further, so that whatever agreement is found
    is what non-corresponding texture of these very images gives.
    """
    count = len(centres)
    chosen = np.unique(np.linspace(0, count - 1, min(count, STRANGERS)).astype(int))
    whole_pixel = replace(plan, steps=0)

    def measure(index: int) -> tuple[float, ...]:
        here, there = centres[index], centres[(index + count // 2) % count]
        stranger = transform @ Transform.translation(*(there - here))
        return _measure(post, pre, stranger, whole_pixel, here)

    return _collect(centres[chosen], list(map_ordered(measure, chosen, threads)))


def tile_reach(size: int) -> int:
    """Return how far from its centre a tile reads post, in pixels."""
    return size // 2 + MARGIN


def _collect(centres: Points, rows: list[tuple[float, ...]]) -> TileMatches:
    """Return the measurements of all tiles as arrays."""
    table = np.array(rows, np.float64).reshape(-1, 9)
    covariances = table[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
    return TileMatches(
        centres=np.asarray(centres, np.float64).reshape(-1, 2),
        shifts=table[:, :2],
        covariances=covariances,
        scores=table[:, 5],
        gains=table[:, 6],
        significances=table[:, 7],
        usable=table[:, 8] > 0,
    )


def _measure(
    post: Raster, pre: Raster, transform: Transform, plan: MatchPlan, centre: Points
) -> tuple[float, ...]:
    """Return shift, covariance, score, gain, significance and usability of one tile."""
    patch = _read_patch(post, pre, transform, plan, centre)
    if patch is None:
        return _UNUSABLE
    start, score = _whole_pixel_peak(patch, plan.search)
    if plan.steps == 0:
        return (*start, 1.0, 0.0, 1.0, score, 1.0, 0.0, 1.0)
    return _sub_pixel_fit(patch, start, score, plan)


_UNUSABLE = (0.0, 0.0, 1e6, 0.0, 1e6, 0.0, 0.0, 0.0, 0.0)


def _read_patch(
    post: Raster, pre: Raster, transform: Transform, plan: MatchPlan, centre: Points
) -> _Patch | None:
    """Return the band-passed texture of a tile, or None where too little of it is valid."""
    reach, wide = tile_reach(plan.size), tile_reach(plan.size) + plan.search
    x, y = int(centre[0]), int(centre[1])
    window = post.read(slice(y - reach, y + reach), slice(x - reach, x + reach))
    side = 2 * wide
    warped = WarpedRaster(pre, transform, (side, side), offset=(y - wide, x - wide))
    values, inside = warped.read_with_validity(slice(0, side), slice(0, side))
    post_valid = window < _saturation(post)
    pre_valid = inside & (values < _saturation(pre))
    if post_valid.mean() < 0.5 or pre_valid.mean() < 0.5:
        return None
    post_texture, post_valid = _band_pass(window, post_valid)
    pre_texture, pre_valid = _band_pass(values, pre_valid)
    return _Patch(post_texture, post_valid, pre_texture, pre_valid)


def _saturation(image: Raster) -> float:
    """Return the value from which a pixel counts as saturated."""
    return float(np.iinfo(image.dtype).max) - 0.5 if image.dtype.kind == "u" else np.inf


def _band_pass(window: Image, valid: Mask) -> tuple[FloatImage, Mask]:
    """Return the texture band of a window, 0 where not valid, and the validity one px eroded."""
    values = window.astype(np.float32)
    if not valid.all():
        values[~valid] = np.median(values[valid])
        valid = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    fine = cv2.GaussianBlur(values, (0, 0), FINE_SIGMA_PX)
    texture = fine - cv2.GaussianBlur(values, (0, 0), COARSE_SIGMA_PX)
    if not valid.all():
        texture *= valid
    return texture, valid


def _whole_pixel_peak(patch: _Patch, search: int) -> tuple[tuple[float, float], float]:
    """Return the shift ``(dx, dy)`` of the best correlation within the search range, and it."""
    template = _clipped(patch.post[MARGIN:-MARGIN, MARGIN:-MARGIN])
    area = _clipped(patch.pre[MARGIN:-MARGIN, MARGIN:-MARGIN])
    if not template.any() or not area.any():
        return (0.0, 0.0), 0.0
    surface = cv2.matchTemplate(area, template, cv2.TM_CCORR_NORMED)
    surface[~np.isfinite(surface) | (np.abs(surface) > 1.001)] = 0.0
    row, col = np.unravel_index(int(np.argmax(surface)), surface.shape)
    return (float(col) - search, float(row) - search), float(surface[row, col])


def _clipped(texture: FloatImage) -> FloatImage:
    """Return the texture with outliers brought in to a few robust sigmas."""
    limit = CLIP_SIGMAS * MAD_TO_SIGMA * float(np.median(np.abs(texture.ravel()[::MEDIAN_STRIDE])))
    return np.clip(texture, -limit, limit) if limit > 0 else np.ascontiguousarray(texture)


def _sub_pixel_fit(
    patch: _Patch, start: tuple[float, float], score: float, plan: MatchPlan
) -> tuple[float, ...]:
    """Return the measurement of a tile by robust Gauss-Newton steps from a whole-pixel shift."""
    post_layers = _layers(patch.post, MARGIN, MARGIN, 0.0, 0.0, plan.size)
    post_valid = patch.post_valid[MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    dx, dy = start
    weights = post_valid.astype(np.float32)
    step: tuple[float, float] = (0.0, 0.0)
    result: _Regression | None = None
    for done in range(1, plan.steps + 1):
        pre_layers, pre_valid = _pre_layers(patch, dx, dy, plan)
        valid = post_valid & pre_valid
        result = _robust_regression(pre_layers, post_layers, valid, weights)
        if result is None or result.gain <= 0:
            return (*_UNUSABLE[:5], score, *_UNUSABLE[6:])
        weights = result.next_weights
        step = _limited(result.shift)
        dx, dy = dx + step[0], dy + step[1]
        if max(abs(dx), abs(dy)) > plan.search + 1.5:
            return (*_UNUSABLE[:5], score, *_UNUSABLE[6:])
        if done >= LEAST_STEPS and np.hypot(*step) < SHORT_STEP_PX:
            break
    if result is None:
        return _UNUSABLE
    covariance = result.covariance[2:, 2:]
    significance = result.gain / np.sqrt(result.covariance[0, 0])
    drift = np.hypot(dx - start[0], dy - start[1])
    usable = float(np.hypot(*step) < 0.3 and drift < 2.5 and np.isfinite(covariance).all())
    return (
        dx,
        dy,
        float(covariance[0, 0]),
        float(covariance[0, 1]),
        float(covariance[1, 1]),
        score,
        result.gain,
        float(significance),
        usable,
    )


def _limited(step: NDArray[np.float64]) -> tuple[float, float]:
    """Return a step no longer than one pixel, beyond which the linearisation means nothing."""
    shrink = min(1.0, 1.0 / max(float(np.hypot(*step)), 1e-12))
    return float(step[0] * shrink), float(step[1] * shrink)


def _pre_layers(patch: _Patch, dx: float, dy: float, plan: MatchPlan) -> tuple[FloatImage, Mask]:
    """Return value, ones and derivatives of shifted pre, shape ``(4, size**2)``, and validity."""
    last = patch.pre.shape[0] - plan.size - KERNEL_REACH
    whole_x, whole_y = int(np.floor(dx)), int(np.floor(dy))
    top = min(max(MARGIN + plan.search + whole_y, KERNEL_REACH), last)
    left = min(max(MARGIN + plan.search + whole_x, KERNEL_REACH), last)
    layers = _layers(patch.pre, top, left, dx - whole_x, dy - whole_y, plan.size)
    valid = patch.pre_valid[top : top + plan.size, left : left + plan.size]
    return layers, valid.ravel()


def _layers(
    image: FloatImage, top: int, left: int, phase_x: float, phase_y: float, size: int
) -> FloatImage:
    """Return value, ones, x and y derivative of a square that starts at a sub-pixel place."""
    reach = KERNEL_REACH
    window = image[top - reach : top + size + reach, left - reach : left + size + reach]
    value_x, slope_x = _shift_kernels(phase_x)
    value_y, slope_y = _shift_kernels(phase_y)
    layers = np.ones((4, size, size), np.float32)
    cut = slice(reach, reach + size)
    for layer, kernel_x, kernel_y in (
        (0, value_x, value_y),
        (2, slope_x, value_y),
        (3, value_x, slope_y),
    ):
        layers[layer] = cv2.sepFilter2D(window, cv2.CV_32F, kernel_x, kernel_y)[cut, cut]
    return layers.reshape(4, -1)


def _shift_kernels(phase: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the taps that give an image, and its derivative, `phase` pixels further on."""
    distance = phase + _KERNEL_STEPS - _KERNEL_TAPS
    weights = np.sinc(distance) * np.sinc(distance / KERNEL_REACH)
    weights *= np.abs(distance) < KERNEL_REACH
    weights /= weights.sum(axis=1, keepdims=True)
    before, here, after = weights
    return here, (after - before) / (_KERNEL_STEPS[2, 0] - _KERNEL_STEPS[0, 0])


@dataclass(frozen=True, eq=False)
class _Regression:
    """Post as ``gain * pre + offset + shift . derivatives of post``."""

    gain: float
    shift: NDArray[np.float64]
    covariance: NDArray[np.float64]
    next_weights: FloatImage


def _robust_regression(
    pre: FloatImage, post: FloatImage, valid: Mask, weights: FloatImage
) -> _Regression | None:
    """Return a weighted fit, its sandwich covariance and Tukey's next weights, None if singular.

    The derivatives of pre are instruments for those of post: the noise of one is independent of
    the noise of the other, so noise biases neither the step nor its covariance.
    """
    design = np.concatenate([pre[:2], post[2:]])
    weights = weights * valid
    solution = _solve(design, pre, post[0], weights)
    if solution is None:
        return None
    beta, inverse = solution
    residual = _residual(design, post[0], beta)
    scores = _cluster_sums(pre * (weights * residual))
    meat = np.einsum("ic,jc->ij", scores, scores)
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(residual[::MEDIAN_STRIDE])))
    residual *= 1.0 / (TUKEY * sigma) if sigma > 0 else 0.0
    weights = np.square(np.maximum(1.0 - np.square(residual), 0.0))
    return _Regression(float(beta[0]), beta[2:], inverse @ meat @ inverse.T, weights)


def _residual(design: FloatImage, post: FloatImage, beta: NDArray[np.float64]) -> FloatImage:
    """Return post minus its model."""
    model = beta[0] * design[0]
    for coefficient, layer in zip(beta[1:], design[1:], strict=True):
        model += coefficient * layer
    return np.asarray(post - model, np.float32)


def _solve(
    design: FloatImage, instruments: FloatImage, post: FloatImage, weights: FloatImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return coefficients and inverse normal matrix of a weighted fit, or None if singular."""
    weighted = instruments * weights
    normal = np.einsum("ip,jp->ij", weighted, design).astype(np.float64)
    scale = np.sqrt(np.abs(np.diag(normal)))
    if not (scale > 0).all():
        return None
    scaled = normal / np.outer(scale, scale)
    coherence = scaled[2:, 2:] + scaled[2:, 2:].T
    if np.linalg.eigvalsh(coherence)[0] < 1e-3 or np.linalg.cond(scaled) > 1e6:
        return None
    inverse = np.linalg.inv(scaled) / np.outer(scale, scale)
    right = np.einsum("ip,p->i", weighted, post).astype(np.float64)
    return inverse @ right, inverse


def _cluster_sums(layers: FloatImage) -> NDArray[np.float64]:
    """Return the sums over square clusters of pixels, shape ``(4, clusters)``."""
    side = round(float(np.sqrt(layers.shape[1])))
    count = side // CLUSTER_PX
    blocks = layers.reshape(-1, count, CLUSTER_PX, count, CLUSTER_PX)
    return np.asarray(blocks.sum(axis=(2, 4), dtype=np.float64).reshape(len(layers), -1))
