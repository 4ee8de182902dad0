"""From significance to separate objects, within one window that holds them completely.

A pixel belongs to an object where the significance is above a floor and curves downwards, so that
the skirt of a bright object neither swallows nor chains its neighbours. Touching objects are parted
along the valleys between their peaks (watershed), where the valley is deep enough to be no noise.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro._typing import FloatImage, Mask

LEVEL_OF_PEAK: Final = 0.45
"""Part of its filtered peak down to which an object's footprint reaches. For a blob as wide as the
filter, that is where its unfiltered light falls to a fifth of its peak."""

VALLEY_SIGMAS: Final = 3.0
"""Least depth of a valley between two objects, in standard deviations."""

VALLEY_OF_PEAK: Final = 0.04
"""Least depth of a valley relative to the lower peak: shapes are no perfect Gaussians."""

SHOULDER_PX: Final = 9
"""Least area without a peak of its own that counts as an object, on the shoulder of a brighter one:
what noise curves downwards there is smaller."""

_FLAT: Final = 0.02
"""Curvature relative to the significance that still counts as flat, as on saturated plateaus."""

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Components:
    """Connected pixels of objects in one window.

    Attributes
    ----------
    labels : numpy.ndarray of int32
        0 or the number of the component.
    chosen : numpy.ndarray of int
        Numbers of the components with a peak that reaches the threshold. Noise on the skirt of a
        wide and bright object may reach it as well, but no peak is there.
    first : numpy.ndarray of int
        Flat index of the first pixel of each component; ``first[0]`` is meaningless.
    """

    labels: Labels
    chosen: NDArray[np.intp]
    first: NDArray[np.intp]


def find_components(significance: FloatImage, threshold: float) -> Components:
    """Return the connected pixels around every peak of at least `threshold`.

    Parameters
    ----------
    significance : numpy.ndarray of float32
        Shape ``(ny, nx)``.
    threshold : float
        In standard deviations.
    """
    curvature = ndimage.laplace(significance)
    mask = significance >= np.float32(LEVEL_OF_PEAK * threshold)
    mask &= curvature < np.float32(_FLAT) * significance
    labels = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, output=labels)
    flat = labels.ravel()
    high = flat[np.flatnonzero(significance.ravel() >= threshold)]
    shoulder = np.bincount(flat, minlength=count + 1) >= SHOULDER_PX
    chosen = np.union1d(flat[_peaks(significance, threshold)], high[shoulder[high]]).astype(np.intp)
    filled = np.flatnonzero(flat)
    first = np.zeros(count + 1, np.intp)
    first[flat[filled[::-1]]] = filled[::-1]
    return Components(labels, chosen[chosen > 0], first)


def _peaks(significance: FloatImage, threshold: float) -> NDArray[np.intp]:
    """Return the flat indices of pixels that reach the threshold and that no neighbour exceeds."""
    stride = significance.shape[1] + 2
    padded = np.pad(significance, 1, constant_values=-np.inf).ravel()
    high = np.flatnonzero(padded >= threshold)
    values = padded[high]
    is_peak = np.ones(high.size, np.bool_)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        is_peak &= values >= padded[high + dy * stride + dx]
    row, col = np.divmod(high[is_peak], stride)
    return np.asarray((row - 1) * significance.shape[1] + col - 1, np.intp)


def part(significance: FloatImage, sharp: FloatImage, inside: Mask, threshold: float) -> Labels:
    """Part components into objects.

    Parameters
    ----------
    significance : numpy.ndarray of float32
        Shape ``(ny, nx)``.
    sharp : numpy.ndarray of float32
        The same after less smoothing: its peaks and valleys decide.
    inside : numpy.ndarray of bool
        Pixels of complete components.
    threshold : float
        Objects with a lower peak are dropped.

    Returns
    -------
    numpy.ndarray of int32
        Footprints: 0 or the number of the object, 1 .. n in the order of their first pixels.
    """
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    from skimage import segmentation
    from skimage.morphology import local_maxima

    ground = np.where(inside, sharp, np.float32(0))
    peaks = local_maxima(ground) & inside
    markers, _ = ndimage.label(peaks, structure=np.ones((3, 3)))
    basins = segmentation.watershed(-ground, markers, mask=inside).astype(np.int32)
    merged = _merge_shallow(basins, ground)[basins]
    height = _maxima(merged, significance)
    high = (height >= threshold) & (np.arange(height.size) > 0)
    segments = np.where(high[merged], merged, 0)
    low = significance < np.float32(LEVEL_OF_PEAK) * height[segments]
    footprints = np.where(low, 0, segments)
    return _in_order(footprints, height.size)[footprints]


def _maxima(labels: Labels, values: FloatImage) -> FloatImage:
    """Return the largest value under each label, index 0 included."""
    top = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    inside = labels > 0
    np.maximum.at(top, labels[inside], values[inside])
    return top


def _merge_shallow(basins: Labels, values: FloatImage) -> NDArray[np.int32]:
    """Return for each basin the basin that it belongs to; shallow valleys part nothing."""
    height = _maxima(basins, values)
    parent = list(range(height.size))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second, saddle in _saddles(basins, values):
        low, high = sorted((root(first), root(second)), key=lambda n: (height[n], -n))
        depth = max(VALLEY_SIGMAS, VALLEY_OF_PEAK * float(height[low]))
        if low != high and float(height[low]) - saddle < depth:
            parent[low] = high
    return np.array([root(n) for n in range(height.size)], np.int32)


def _saddles(basins: Labels, values: FloatImage) -> list[tuple[int, int, float]]:
    """Return ``(basin, basin, height of the pass)`` of all neighbours, the highest pass first."""
    sides = []
    for one, two in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = basins[one], basins[two]
        border = (a != b) & (a > 0) & (b > 0)
        passes = np.minimum(values[one][border], values[two][border])
        sides.append((np.minimum(a, b)[border], np.maximum(a, b)[border], passes))
    low, high, saddle = (np.concatenate(part) for part in zip(*sides, strict=True))
    order = np.lexsort((high, low, -saddle))
    return list(zip(low[order].tolist(), high[order].tolist(), saddle[order].tolist(), strict=True))


def _in_order(labels: Labels, size: int) -> NDArray[np.int32]:
    """Return new numbers that follow the order of the labels' first pixels."""
    flat = labels[labels > 0]
    numbers, at = np.unique(flat, return_index=True)
    order = np.zeros(size, np.int32)
    order[numbers[np.argsort(at)]] = np.arange(1, numbers.size + 1)
    return order
