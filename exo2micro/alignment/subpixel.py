"""Sub-pixel shift of one tile by a robust fit, with its covariance."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask

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
# A sub-pixel fit ends, after its robust weights have settled, with a step this short.
LEAST_STEPS = 3
SHORT_STEP_PX = 0.02
# A fit whose last step is longer, or that left the correlation's peak by more, has not converged.
LAST_STEP_PX = 0.3
LARGEST_DRIFT_PX = 2.5
# Smallest agreement of the derivatives of both images, in units of their size.
LEAST_COHERENCE = 1e-3

_KERNEL_TAPS = np.arange(-KERNEL_REACH, KERNEL_REACH + 1)[None, :]
_KERNEL_STEPS = np.array([[-1e-4], [0.0], [1e-4]])

# What a tile without a result yields: see `match_tiles`.
UNUSABLE = (0.0, 0.0, 1e6, 0.0, 1e6, 0.0, 0.0, 0.0, 0.0)


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
class Patch:
    """Band-passed texture of a tile of post and of its surroundings in pre, on post's grid."""

    post: FloatImage
    post_valid: Mask
    pre: FloatImage
    pre_valid: Mask


def sub_pixel_fit(
    patch: Patch, start: tuple[float, float], score: float, plan: MatchPlan
) -> tuple[float, ...]:
    """Return the measurement of a tile by robust Gauss-Newton steps from a whole-pixel shift."""
    failed = (*UNUSABLE[:5], score, *UNUSABLE[6:])
    design = _layers(patch.post, MARGIN, MARGIN, 0.0, 0.0, plan.size)
    post = design[0].copy()
    post_valid = patch.post_valid[MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    weights = post_valid.astype(np.float32)
    solution: _Solution | None = None
    dx, dy = start
    for done in range(1, plan.steps + 1):
        pre, pre_valid = _pre_layers(patch, dx, dy, plan)
        design[0] = pre[0]
        valid = post_valid & pre_valid
        weights = weights * valid
        solution = _solve(design, pre, post, weights)
        if solution is None or solution.gain <= 0:
            return failed
        residual = _residual(design, post, solution.coefficients)
        step = _limited(solution.shift)
        dx, dy = dx + step[0], dy + step[1]
        if max(abs(dx), abs(dy)) > plan.search + 1.5:
            return failed
        if done == plan.steps or (done >= LEAST_STEPS and np.hypot(*step) < SHORT_STEP_PX):
            break
        weights = _tukey_weights(residual)
    if solution is None:
        return failed
    covariance = _sandwich(solution, pre, weights * residual)
    significance = solution.gain / np.sqrt(covariance[0, 0])
    drift = np.hypot(dx - start[0], dy - start[1])
    usable = np.hypot(*step) < LAST_STEP_PX and drift < LARGEST_DRIFT_PX
    return (
        dx,
        dy,
        float(covariance[2, 2]),
        float(covariance[2, 3]),
        float(covariance[3, 3]),
        score,
        solution.gain,
        float(significance),
        float(usable and bool(np.isfinite(covariance).all())),
    )


def _limited(step: NDArray[np.float64]) -> tuple[float, float]:
    """Return a step no longer than one pixel, beyond which the linearisation means nothing."""
    shrink = min(1.0, 1.0 / max(float(np.hypot(*step)), 1e-12))
    return float(step[0] * shrink), float(step[1] * shrink)


def _pre_layers(patch: Patch, dx: float, dy: float, plan: MatchPlan) -> tuple[FloatImage, Mask]:
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
    (value_x, slope_x), (value_y, slope_y) = _shift_kernels(phase_x, phase_y)
    layers = np.ones((4, size, size), np.float32)
    cut = slice(reach, reach + size)
    for layer, kernel_x, kernel_y in (
        (0, value_x, value_y),
        (2, slope_x, value_y),
        (3, value_x, slope_y),
    ):
        layers[layer] = cv2.sepFilter2D(window, cv2.CV_32F, kernel_x, kernel_y)[cut, cut]
    return layers.reshape(4, -1)


def _shift_kernels(*phases: float) -> NDArray[np.float64]:
    """Return the taps that give an image, and its derivative, `phases` pixels further on.

    The shape is ``(phases, 2, taps)``.
    """
    distance = np.array(phases)[:, None, None] + _KERNEL_STEPS - _KERNEL_TAPS
    weights = np.sinc(distance) * np.sinc(distance / KERNEL_REACH)
    weights *= np.abs(distance) < KERNEL_REACH
    weights /= weights.sum(axis=-1, keepdims=True)
    slope = (weights[:, 2] - weights[:, 0]) / (_KERNEL_STEPS[2, 0] - _KERNEL_STEPS[0, 0])
    return np.stack([weights[:, 1], slope], axis=1)


@dataclass(frozen=True, eq=False)
class _Solution:
    """Post as ``gain * pre + offset + shift . derivatives of post``."""

    coefficients: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """Brightness ratio of the texture."""
        return float(self.coefficients[0])

    @property
    def shift(self) -> NDArray[np.float64]:
        """Remaining shift ``(dx, dy)`` in pixels."""
        return self.coefficients[2:]


def _solve(
    design: FloatImage, instruments: FloatImage, post: FloatImage, weights: FloatImage
) -> _Solution | None:
    """Return a weighted fit, or None if the texture is not coherent.

    The derivatives of pre are instruments for those of post: the noise of one is independent of
    the noise of the other, so noise biases neither the step nor its covariance.
    """
    weighted = instruments * weights
    normal = np.einsum("ip,jp->ij", weighted, design).astype(np.float64)
    scale = np.sqrt(np.abs(np.diag(normal)))
    if scale.min() <= 1e-12 * scale.max():
        return None
    scaled = normal / np.outer(scale, scale)
    # Both derivatives must agree between the images: their mean product is positive definite.
    across = (scaled[2, 3] + scaled[3, 2]) / 2
    if min(scaled[2, 2], scaled[3, 3]) < LEAST_COHERENCE or across**2 > 1 - LEAST_COHERENCE:
        return None
    try:
        inverse = np.linalg.inv(scaled) / np.outer(scale, scale)
    except np.linalg.LinAlgError:
        return None
    right = np.einsum("ip,p->i", weighted, post).astype(np.float64)
    return _Solution(inverse @ right, inverse)


def _residual(
    design: FloatImage, post: FloatImage, coefficients: NDArray[np.float64]
) -> FloatImage:
    """Return post minus its model."""
    model = np.float32(coefficients[0]) * design[0]
    for coefficient, layer in zip(coefficients[1:], design[1:], strict=True):
        model += np.float32(coefficient) * layer
    return np.asarray(post - model, np.float32)


def _tukey_weights(residual: FloatImage) -> FloatImage:
    """Return Tukey's weights of residuals, their spread from the median of some of them."""
    some = np.abs(residual[::MEDIAN_STRIDE])
    middle = len(some) // 2
    sigma = MAD_TO_SIGMA * float(np.partition(some, middle)[middle])
    scaled = residual * np.float32(1.0 / (TUKEY * sigma) if sigma > 0 else 0.0)
    np.square(scaled, out=scaled)
    np.subtract(1.0, scaled, out=scaled)
    np.maximum(scaled, 0.0, out=scaled)
    return np.asarray(np.square(scaled), np.float32)


def _sandwich(solution: _Solution, pre: FloatImage, residual: FloatImage) -> NDArray[np.float64]:
    """Return the cluster-robust covariance of the coefficients, shape ``(4, 4)``."""
    scores = _cluster_sums(pre * residual)
    meat = np.einsum("ic,jc->ij", scores, scores)
    return np.asarray(solution.inverse @ meat @ solution.inverse.T, np.float64)


def _cluster_sums(layers: FloatImage) -> NDArray[np.float64]:
    """Return the sums over square clusters of pixels, shape ``(4, clusters)``."""
    side = round(float(np.sqrt(layers.shape[1])))
    count = side // CLUSTER_PX
    blocks = layers.reshape(-1, count, CLUSTER_PX, count, CLUSTER_PX)
    return np.asarray(blocks.sum(axis=(2, 4), dtype=np.float64).reshape(len(layers), -1))
