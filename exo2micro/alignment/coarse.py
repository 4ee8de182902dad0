"""Coarse alignment (stage 2): find the mapping anywhere in the search range, to about a pixel."""

from dataclasses import dataclass
from typing import Any

from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.verdict import Verdict


@dataclass(frozen=True)
class CoarseSettings:
    """What steers the coarse alignment; the names are those of the stage-2 parameters.

    Attributes
    ----------
    use_edges : bool
        Let the search compare edge strength; off: compare local brightness only.
    boundary_width : int
        Half-width, in overview pixels, within which the outline fit (ICP) pairs outline points.
    boundary_smooth : int
        Smoothing of the sample outline, in tenths of an overview pixel (10: 1 overview pixel).
    rotation_search : bool
        Search over rotation; off: start from 0 degrees.
    angle_range : float
        Degrees to each side of 0 that are searched first; widened to 180 when nothing is found.
    angle_step : float
        Largest step of the rotation search in degrees (the search never steps coarser).
    scale_search : bool
        Search over magnification; off: start from 1.
    scale_min, scale_max : float
        Range of magnifications (pre pixels per post pixel) that are searched.
    scale_step : float
        Largest step of the magnification search.
    multiscale : bool
        Refine the search result from small to larger overviews; off: on one overview only.
    down_scale : float
        Size of the overviews of the search, relative to 800 px on the longer side per unit.
    max_translation : float
        Largest correction by the outline fit, in pixels over the sample.
    max_rotation : float
        Largest rotation by the outline fit, in degrees.
    max_scale_delta : float
        Largest change of magnification by the outline fit.
    max_scale_diff : float
        Largest difference between the magnifications along two axes after the outline fit.
    fine_ecc : bool
        Also refine the result by maximising the correlation of the overviews.
    stopit : int
        Largest number of iterations of each refinement.
    stopdelta : float
        Refinements stop when a step moves the sample by less than this part of its size.
    """

    use_edges: bool = True
    boundary_width: int = 15
    boundary_smooth: int = 10
    rotation_search: bool = True
    angle_range: float = 20.0
    angle_step: float = 1.0
    scale_search: bool = True
    scale_min: float = 0.85
    scale_max: float = 1.15
    scale_step: float = 0.05
    multiscale: bool = True
    down_scale: float = 0.3
    max_translation: float = 200.0
    max_rotation: float = 5.0
    max_scale_delta: float = 0.2
    max_scale_diff: float = 0.15
    fine_ecc: bool = False
    stopit: int = 500
    stopdelta: float = 1e-6


@dataclass(frozen=True)
class CoarseResult:
    """Outcome of the coarse alignment.

    Attributes
    ----------
    transform : Transform
        Post to pre, raw pixels.
    before_icp : Transform
        The same before the outline fit.
    verdict : Verdict
        FAIL if no alignment was found.
    metrics : dict
        JSON values: scores, their null distribution, what the outline fit did.
    messages : tuple of str
        What a user should know, in words.
    """

    transform: Transform
    before_icp: Transform
    verdict: Verdict
    metrics: dict[str, Any]
    messages: tuple[str, ...] = ()


def coarse_align(
    post: Raster, pre: Raster, settings: CoarseSettings, *, threads: int = 1
) -> CoarseResult:
    """Find the mapping from post to pre over the whole search range.

    Parameters
    ----------
    post, pre : Raster
        The raw images.
    settings : CoarseSettings
        Search range and limits.
    threads : int
        Threads to use; the result does not depend on it.

    Returns
    -------
    CoarseResult
        Transform in raw pixels and how far to trust it.

    Raises
    ------
    RegistrationError
        If an image holds nothing to align.
    """
    raise NotImplementedError
