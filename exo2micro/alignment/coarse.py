"""Coarse alignment (stage 2): find the mapping anywhere in the search range, to about a pixel."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.alignment.overview import Overviews, make_overviews
from exo2micro.alignment.polish import refine_on_overviews
from exo2micro.alignment.search import (
    feature_search,
    find_features,
    find_mirrored_features,
    grid_search,
    search_texture,
)
from exo2micro.alignment.settings import Settings
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import LEAST_SUPPORT, Verified, unsupported, verify
from exo2micro.errors import ParameterError
from exo2micro.raster import Raster
from exo2micro.raster.windows import map_ordered
from exo2micro.verdict import Verdict

# Overview side of the search per unit of `down_scale`: 144 px at the default of 0.3.
SEARCH_PX_PER_SCALE = 480.0
FEATURE_OVERVIEW_PX = 1000.0
# Steps that the search never exceeds: verification reaches half of them with margin.
LARGEST_ANGLE_STEP_DEG = 1.0
LARGEST_MAGNIFICATION_STEP = 0.05
WIDE_ANGLE_STEP_DEG = 2.0
# An accepted mapping with this part of the tiles behind it ends the widening of the search.
ENOUGH_FRACTION = 0.25

_NOTHING = unsupported(Transform.identity())


@dataclass(frozen=True)
class CoarseSettings(Settings):
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
        Size of the overviews of the search, where 1 means 480 px on the longer side.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_min > self.scale_max:
            msg = (
                f"scale_min must not exceed scale_max, got {self.scale_min:g} and "
                f"{self.scale_max:g}; set both together"
            )
            raise ParameterError(msg)


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
        Transform in raw pixels and how far to trust it; the verdict is FAIL where nothing was
        found, blank images included.
    """
    overviews = make_overviews(post, pre, threads)
    return coarse_align_overviews(*overviews, settings, threads=threads)


def coarse_align_overviews(
    post: Overviews, pre: Overviews, settings: CoarseSettings, *, threads: int = 1
) -> CoarseResult:
    """Do what `coarse_align` does on overviews that are at hand."""
    best, found, messages = _search(post, pre, settings, threads)
    centre = ((post.raster.shape[1] - 1) / 2, (post.raster.shape[0] - 1) / 2)
    metrics: dict[str, Any] = {
        "support": best.support,
        "support_by_chance": best.chance,
        "tiles": best.tiles,
        "disagreement_px": _json_number(best.disagreement_px),
        "found_by": found,
        **best.transform.describe(centre),
    }
    if not best.accepted:
        reason = f"no alignment found: {_why_none(best)}"
        return CoarseResult(
            best.transform, best.transform, Verdict.fail(reason), metrics, (*messages, reason)
        )
    refined, outline = refine_on_overviews(post, pre, best, settings, threads)
    metrics["outline_fit"] = outline
    return CoarseResult(refined.transform, best.transform, Verdict(), metrics, tuple(messages))


def _why_none(best: Verified) -> str:
    """Return in words why no hypothesis was accepted."""
    if best.tiles < LEAST_SUPPORT:
        return (
            f"the images are too small or too blank ({best.tiles} places with texture in both, "
            f"{LEAST_SUPPORT} are needed)"
        )
    return (
        f"at most {best.support} of {best.tiles} places agree on one mapping, {best.chance} do by "
        "chance; are these images of the same sample and dye?"
    )


def _search(
    post: Overviews, pre: Overviews, settings: CoarseSettings, threads: int
) -> tuple[Verified, str, list[str]]:
    """Return the best verified hypothesis, which search found it, and what to tell the user."""
    best, origin, most = _NOTHING, "nothing", 0
    for hypotheses in _hypotheses(post, pre, settings, threads):
        for transform, name in hypotheses:
            checked = verify(
                post, pre, transform, rounds=2 if settings.multiscale else 1, threads=threads
            )
            most = max(most, checked.tiles)
            if _rank(checked) > _rank(best):
                best, origin = checked, name
            if best.clear:
                return best, origin, _told(best.transform, post, settings, origin)
        if best.accepted and best.fraction >= ENOUGH_FRACTION:
            break
    if not best.accepted:
        return replace(best, tiles=most), origin, []
    return best, origin, _told(best.transform, post, settings, origin)


def _rank(verified: Verified) -> tuple[bool, int]:
    """Return what makes one hypothesis better than another."""
    return verified.accepted, verified.support - verified.chance


def _hypotheses(
    post: Overviews, pre: Overviews, settings: CoarseSettings, threads: int
) -> Iterator[list[tuple[Transform, str]]]:
    """Yield lists of hypotheses at full resolution, the likeliest searches first."""
    factor = max(
        image.factor_for(max(48.0, SEARCH_PX_PER_SCALE * settings.down_scale))
        for image in (post, pre)
    )
    textures = [search_texture(i.at(factor), edges=settings.use_edges) for i in (post, pre)]
    angles, magnifications = _grid(settings)

    def grid(turns: NDArray[np.float64], *, mirrored: bool) -> list[tuple[Transform, str]]:
        found = grid_search(
            textures[0], textures[1], turns, magnifications, mirrored=mirrored, threads=threads
        )
        return [(h.transform.unscaled(factor, factor), h.origin) for h in found]

    def features(*, mirrored: bool) -> list[tuple[Transform, str]]:
        level = max(i.factor_for(FEATURE_OVERVIEW_PX) for i in (post, pre))
        make = find_mirrored_features if mirrored else find_features
        both = ((post, make), (pre, find_features))
        found = feature_search(
            *map_ordered(lambda image: image[0].derived(level, image[1]), both, threads)
        )
        return [(h.transform.unscaled(level, level), h.origin) for h in found]

    yield grid(angles, mirrored=False)
    yield features(mirrored=False)
    if settings.rotation_search:
        whole_turn = np.arange(-180.0, 180.0, WIDE_ANGLE_STEP_DEG)
        yield features(mirrored=True)
        yield grid(whole_turn, mirrored=False)
        yield grid(whole_turn, mirrored=True)


def _grid(settings: CoarseSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the angles in degrees and the magnifications to search."""
    angles, magnifications = np.zeros(1), np.ones(1)
    if settings.rotation_search:
        step = min(settings.angle_step, LARGEST_ANGLE_STEP_DEG)
        count = int(np.ceil(settings.angle_range / step))
        angles = np.linspace(-settings.angle_range, settings.angle_range, 2 * count + 1)
    if settings.scale_search:
        step = min(settings.scale_step, LARGEST_MAGNIFICATION_STEP)
        span = settings.scale_max - settings.scale_min
        count = max(1, int(np.ceil(span / step - 1e-9)))
        magnifications = np.linspace(settings.scale_min, settings.scale_max, count + 1)
    return angles, magnifications


def _told(
    transform: Transform, post: Overviews, settings: CoarseSettings, origin: str
) -> list[str]:
    """Return what a user should know about the mapping that was found."""
    ny, nx = post.raster.shape
    what = transform.describe(((nx - 1) / 2, (ny - 1) / 2))
    told = []
    if origin == "features":
        told.append("the grid search found less than SIFT features did; these were used")
    if what["mirrored"]:
        told.append("the pre image is a mirror image of the post image; it was turned over")
    if abs(what["rotation_deg"]) > settings.angle_range + LARGEST_ANGLE_STEP_DEG:
        told.append(
            f"the rotation of {what['rotation_deg']:.1f} degrees lies outside angle_range "
            f"{settings.angle_range:g}; the search was widened to find it"
        )
    low, high = settings.scale_min - 0.02, settings.scale_max + 0.02
    if not low <= what["magnification"] <= high:
        told.append(
            f"the magnification of {what['magnification']:.3f} lies outside scale_min "
            f"{settings.scale_min:g} to scale_max {settings.scale_max:g}"
        )
    return told


def _json_number(value: float) -> float | None:
    """Return None for a number that JSON cannot hold."""
    return value if np.isfinite(value) else None
