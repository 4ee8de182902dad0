"""Detection over a whole difference, window by window."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from exo2micro.detection.calibration import calibrated
from exo2micro.detection.detections import Detections, SearchFacts
from exo2micro.detection.difference import Difference
from exo2micro.detection.labels import LabelStore
from exo2micro.detection.mesh import CELL_PX, Mesh, measure_mesh
from exo2micro.detection.search import Found, Scene, search_window
from exo2micro.detection.significance import MatchedFilter
from exo2micro.errors import DetectionError, ParameterError
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import map_ordered, row_bands

THRESHOLD: Final = 5.0
WIDTH_PX: Final = 1.5
WINDOW_PX: Final = 1024
BRIGHT_QUANTILE: Final = 0.95
"""Part of the background that is darker than what the column ``bright_overlap`` calls bright."""

_BRIGHT_CELLS: Final = 256

_TAIL_SIGMAS: Final = 4.0
_STEPS: Final = 129
"""Where the distribution of peaks above the threshold is integrated: to better than 1 in 10 000."""

_SMOOTHEST: Final = 1 - 1e-6
"""Largest correlation of neighbouring pixels: at 1 there are no peaks to integrate."""


def detect(
    difference: Difference,
    *,
    threshold: float = THRESHOLD,
    width_px: float = WIDTH_PX,
    background: Raster | None = None,
    region: Raster | None = None,
    window_px: int = WINDOW_PX,
    threads: int = 1,
    scratch: Path | None = None,
) -> Detections:
    """Find the objects that stand out of a difference.

    The difference is filtered with a Gaussian as wide as a microbe, weighted by the noise of each
    pixel; an object is a peak of at least `threshold` standard deviations of the filtered
    background. Touching objects are parted along the valleys between their peaks.

    Parameters
    ----------
    difference : Difference
        As `open_difference` returns it.
    threshold : float, optional
        Least significance, standard deviations of the filtered background, at least 3.
    width_px : float, optional
        Standard deviation of the Gaussian, px: the point-spread function widened by the microbe's
        own size. Being off by 30 % costs 4 % of significance.
    background : Raster, optional
        Brightness before staining on the same canvas, for the column ``bright_overlap``.
    region : Raster, optional
        Bool, where the sample is on the same canvas: only there objects, false objects and area
        count. By default everywhere.
    window_px : int, optional
        Side of the windows, px; no result depends on it, but where structures longer than 768 px
        are cut, which the warnings say.
    threads : int, optional
        Windows in work at once; no result depends on it.
    scratch : Path, optional
        Folder on a disk with room for 4 bytes per pixel of the canvas; if given, the label image is
        kept.

    Returns
    -------
    Detections
        The objects, what was searched, and how many false ones to expect.

    Raises
    ------
    ParameterError
        If a setting is out of range.
    DetectionError
        If the difference holds nothing that can be searched.
    """
    _check(threshold, width_px, window_px)
    mesh = measure_mesh(difference, threads)
    filtered, calibration = calibrated(MatchedFilter(difference, mesh, width_px), region)
    level = None if background is None else _bright_level(background, mesh)
    search = partial(_search, filtered, threshold, Scene(background, level, region))
    labels = LabelStore(difference.shape, scratch) if scratch is not None else None
    found = []
    for part in map_ordered(search, _windows(difference.shape, window_px), threads):
        if labels is not None:
            labels.add(part)
        found.append((part.columns, part.negatives, part.pixels, part.masked, part.cut))
    columns, negatives, pixels, masked, cut = zip(*found, strict=True)
    if sum(pixels) + sum(masked) == 0:
        msg = (
            f"{difference.name} has nothing to search: no pixel of the sample has data; look at "
            "the plane DQ and the outline of the sample"
        )
        raise DetectionError(msg)
    together = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    order = np.lexsort((together.pop("col"), together.pop("row")))
    if labels is not None:
        labels.sort(order)
    facts = SearchFacts(
        threshold=threshold,
        width_px=width_px,
        noise_source=difference.noise_source,
        noise_factor=calibration.scatter,
        pixels=sum(pixels),
        masked=sum(masked),
        area_source="the sample's outline" if region is not None else "all pixels with data",
        expected_false=sum(pixels) * false_rate(threshold, calibration.roughness),
        negatives=sum(negatives),
        cut=sum(cut),
        level_range=(float(mesh.level.min()), float(mesh.level.max())),
        bright_level=level,
    )
    return Detections({n: v[order] for n, v in together.items()}, facts, difference, labels)


def false_rate(threshold: float, roughness: float) -> float:
    """Return the peaks above a threshold to expect per pixel of smooth Gaussian noise.

    A peak is a pixel above its neighbours on either side, along rows and along columns. Given its
    own value, its differences to neighbours in the row do not depend on those to neighbours in the
    column, if the noise is correlated as by a Gaussian filter.

    Parameters
    ----------
    threshold : float
        Standard deviations.
    roughness : float
        Mean square of the step from pixel to pixel at unit variance.
    """
    from scipy import integrate, stats

    correlation = min(max(0.0, 1 - roughness / 2), _SMOOTHEST)
    values = np.linspace(threshold, threshold + _TAIL_SIGMAS, _STEPS)
    margin = values * np.sqrt((1 - correlation) / (1 + correlation))
    pair = stats.multivariate_normal(cov=[[1, -(correlation**2)], [-(correlation**2), 1]])
    both_lower = pair.cdf(np.stack([margin, margin], axis=1))
    return float(integrate.simpson(stats.norm.pdf(values) * both_lower**2, x=values))


def _search(
    filtered: MatchedFilter,
    threshold: float,
    scene: Scene,
    window: tuple[slice, slice],
) -> Found:
    return search_window(filtered, *window, threshold, scene)


def _windows(shape: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    for rows in row_bands(shape[0], side):
        for cols in row_bands(shape[1], side):
            yield rows, cols


def _bright_level(background: Raster, mesh: Mesh) -> float:
    """Return the level of the brightest background, judged on cells that hold data."""
    cells = np.argwhere(mesh.measured)
    numbers = np.linspace(0, len(cells) - 1, min(_BRIGHT_CELLS, len(cells))).astype(int)
    ny, nx = background.shape
    values = [
        background.read(
            slice(y * CELL_PX, min((y + 1) * CELL_PX, ny)),
            slice(x * CELL_PX, min((x + 1) * CELL_PX, nx)),
        )
        for y, x in cells[numbers].tolist()
    ]
    flat = np.concatenate([v.ravel() for v in values])
    return float(np.quantile(flat, BRIGHT_QUANTILE))


def _check(threshold: float, width_px: float, window_px: int) -> None:
    for name, value, low, high in (
        ("threshold", threshold, 3.0, 100.0),
        ("width_px", width_px, 0.5, 20.0),
        ("window_px", window_px, 64, 8192),
    ):
        if not low <= value <= high:
            msg = f"{name} must be a number from {low:g} to {high:g}, got {value!r}"
            raise ParameterError(msg)
