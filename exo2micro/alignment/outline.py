"""The sample's outline: where the sample lies in an overview, and which edge of it is real."""

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask, Points
from exo2micro.alignment.overview import Overviews

# Otsu's split is taken for sample and background when the classes lie this many of the darker
# one's spreads apart; a frame filled by the sample gives 2 to 3.
SEPARATION_SIGMAS = 4.0
# Smoothing before the threshold, and the size of holes and specks that are ignored, relative to
# the longer side.
SMOOTHING = 1 / 200
SPECK = 1 / 50
# Overview side on which points of the sample are taken.
POINTS_OVERVIEW_PX = 200.0


def sample_mask(overview: FloatImage) -> Mask:
    """Return where the sample lies; all true if it fills the frame.

    Parameters
    ----------
    overview : numpy.ndarray of float32
        Reduced image, shape ``(ny, nx)``.
    """
    longest = max(overview.shape)
    smooth = cv2.GaussianBlur(overview, (0, 0), max(0.8, SMOOTHING * longest))
    root = np.sqrt(np.maximum(smooth - smooth.min(), 0))
    top = float(np.quantile(root, 0.995))
    if top <= 0:
        return np.ones(overview.shape, np.bool_)
    coded = np.clip(root * (255.0 / top), 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(coded, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark, bright = coded[coded <= threshold], coded[coded > threshold]
    if len(dark) == 0 or len(bright) == 0:
        return np.ones(overview.shape, np.bool_)
    centre = float(np.median(dark))
    spread = max(1.0, 1.4826 * float(np.median(np.abs(dark - centre))))
    if float(np.median(bright)) - centre < SEPARATION_SIGMAS * spread:
        return np.ones(overview.shape, np.bool_)
    low = centre + min(3.0 * spread, (float(np.median(bright)) - centre) / 3)
    return _without_specks(coded > max(low, centre + 0.35 * (threshold - centre)), longest)


def sample_points(image: Overviews) -> Points:
    """Return points all over the sample, where corrections are measured.

    Parameters
    ----------
    image : Overviews
        The image.

    Returns
    -------
    numpy.ndarray
        Shape ``(n, 2)``, ``(x, y)``, full-resolution pixels; at least one.
    """
    factor, (ny, nx) = image.factor_for(POINTS_OVERVIEW_PX), image.raster.shape
    rows, cols = np.nonzero(sample_mask(image.at(factor)))
    points = np.column_stack([cols, rows]) * factor + (factor - 1) / 2
    return np.asarray(np.minimum(points, (nx - 1, ny - 1)), np.float64)


def _without_specks(mask: Mask, longest: int) -> Mask:
    """Return the mask with small holes filled and small pieces removed."""
    side = max(3, int(SPECK * longest) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    return opened > 0 if opened.any() else mask


def outline_points(mask: Mask, smoothing_px: float) -> tuple[Points, NDArray[np.float64]]:
    """Return points and unit normals along the real part of the outline.

    Parameters
    ----------
    mask : numpy.ndarray of bool
        The sample, shape ``(ny, nx)``.
    smoothing_px : float
        Gaussian sigma that smooths the outline.

    Returns
    -------
    points : numpy.ndarray
        Shape ``(n, 2)``, ``(x, y)``; none where the image border cuts the sample.
    normals : numpy.ndarray
        Shape ``(n, 2)``, towards the sample.
    """
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(smoothing_px, 0.5))
    gradient = np.stack(
        [cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], axis=-1
    )
    contours, _ = cv2.findContours(
        (soft > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    if not contours:
        return np.empty((0, 2)), np.empty((0, 2))
    points = np.concatenate([c[:, 0, :] for c in contours])
    ny, nx = mask.shape
    guard = int(2 * smoothing_px) + 3
    inside = ((points >= guard) & (points < (nx - guard, ny - guard))).all(axis=1)
    points = points[inside]
    slope = gradient[points[:, 1], points[:, 0]].astype(np.float64)
    length = np.hypot(*slope.T)
    points, slope, length = points[length > 0], slope[length > 0], length[length > 0]
    level = soft[points[:, 1], points[:, 0]] - 0.5
    normals = slope / length[:, None]
    # A Sobel response is 8 times the derivative per pixel.
    step = np.clip(level / (length / 8), -1, 1)
    return points - normals * step[:, None], normals
