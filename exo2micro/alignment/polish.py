"""Polishing of a verified coarse mapping: outline fit and correlation, kept only if they help."""

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from exo2micro._typing import Mask, Points
from exo2micro.alignment.held_out import HeldOutZones
from exo2micro.alignment.icp import fit_outlines
from exo2micro.alignment.outline import sample_points
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.search import search_texture
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import Verified, verify, verify_factor

if TYPE_CHECKING:
    from exo2micro.alignment.coarse import CoarseSettings

# A polished mapping is kept if it gains at least this part of the supporting tiles, or loses none
# and lowers their disagreement by this part.
GAIN = 0.05
# An outline fit closer than this to a clear interior result, overview pixels, only confirms it.
AGREEMENT_PX = 0.5


def refine_on_overviews(
    post: Overviews, pre: Overviews, best: Verified, settings: "CoarseSettings", threads: int
) -> tuple[Verified, dict[str, Any]]:
    """Try the outline fit and, if asked, correlation; keep what improves interior agreement.

    Returns
    -------
    verified : Verified
        The best mapping.
    record : dict
        What was tried and why it was kept or not.
    """
    factor = verify_factor(post, pre)
    small = best.transform.scaled(factor, factor)
    here, there = post.at(factor), pre.at(factor)
    record: dict[str, Any] = {}
    hidden = HeldOutZones.of(post.raster.shape).hidden(
        slice(0, here.shape[0]), slice(0, here.shape[1]), factor
    )
    fitted = fit_outlines(
        here,
        there,
        small,
        hidden=hidden,
        reach_px=float(settings.boundary_width),
        smoothing_px=settings.boundary_smooth / 10.0,
        iterations=max(1, min(settings.stopit, 50)),
        stop=settings.stopdelta,
    )
    if fitted is None:
        record["outline"] = "not used: no real outline in both images"
    else:
        record |= {
            "outline_pairs": fitted.pairs,
            "outline_distance_px": fitted.distance_px * factor,
        }
        candidate = fitted.transform.unscaled(factor, factor)
        apart = _moved(best.transform, candidate, sample_points(post))
        record["outline_apart_px"] = apart
        if best.clear and apart < AGREEMENT_PX * factor:
            record["outline"] = "not used: it confirms the interior"
        else:
            best, record["outline"] = _better(post, pre, best, candidate, settings, threads)
    if settings.fine_ecc:
        small = best.transform.scaled(factor, factor)
        correlated = _correlate(here, there, small, ~hidden, settings)
        if correlated is None:
            record["correlation"] = "not used: it did not converge"
        else:
            candidate = correlated.unscaled(factor, factor)
            best, record["correlation"] = _better(post, pre, best, candidate, settings, threads)
    return best, record


def _better(
    post: Overviews,
    pre: Overviews,
    best: Verified,
    candidate: Transform,
    settings: "CoarseSettings",
    threads: int,
) -> tuple[Verified, str]:
    """Return the candidate if it is within the limits and agrees better, else the best so far."""
    refused = _beyond_limits(best.transform, candidate, sample_points(post), settings)
    if refused:
        return best, f"not used: {refused}"
    checked = verify(post, pre, candidate, rounds=1, threads=threads)
    more = checked.support >= best.support * (1 + GAIN) + 1
    closer = (
        checked.support >= best.support
        and checked.disagreement_px < (1 - GAIN) * best.disagreement_px
    )
    if checked.accepted and (more or closer):
        return checked, "used: interior agreement improved"
    return best, "not used: interior agreement did not improve"


def _beyond_limits(
    before: Transform, after: Transform, sample: Points, settings: "CoarseSettings"
) -> str:
    """Return in words which limit a correction breaks over the sample, empty if none."""
    x, y = sample.mean(axis=0)
    centre = (float(x), float(y))
    shift = _moved(before, after, sample)
    turn = after.rotation_deg(centre) - before.rotation_deg(centre)
    turn = abs((turn + 180) % 360 - 180)
    growth = abs(after.magnification(centre) / before.magnification(centre) - 1)
    stretch = np.linalg.svd(after.linear(centre), compute_uv=False)
    if shift > settings.max_translation:
        return f"correction of {shift:.1f} px exceeds max_translation"
    if turn > settings.max_rotation:
        return f"correction of {turn:.2f} degrees exceeds max_rotation"
    if growth > settings.max_scale_delta:
        return f"change of magnification by {growth:.3f} exceeds max_scale_delta"
    if stretch[0] / stretch[1] - 1 > settings.max_scale_diff:
        return f"magnifications along two axes differ by {stretch[0] / stretch[1] - 1:.3f}"
    return ""


def _moved(before: Transform, after: Transform, sample: Points) -> float:
    """Return by how much two mappings differ, median over the sample, pixels."""
    return float(np.median(np.hypot(*(after(sample) - before(sample)).T)))


def _correlate(
    post: "np.ndarray[Any, np.dtype[np.float32]]",
    pre: "np.ndarray[Any, np.dtype[np.float32]]",
    initial: Transform,
    visible: Mask,
    settings: "CoarseSettings",
) -> Transform | None:
    """Return the affine mapping with the largest correlation near a start, None if it diverges."""
    textures = [search_texture(image, edges=False) for image in (post, pre)]
    ny, nx = pre.shape
    mask = cv2.warpPerspective(
        visible.astype(np.uint8), initial.matrix, (nx, ny), flags=cv2.INTER_NEAREST
    )
    criteria = (
        cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT,
        settings.stopit,
        settings.stopdelta,
    )
    start = initial.matrix[:2].astype(np.float32)
    try:
        _, matrix = cv2.findTransformECC(
            textures[0], textures[1], start, cv2.MOTION_AFFINE, criteria, mask, 5
        )
    except cv2.error:
        return None
    return Transform.from_matrix(matrix) if np.isfinite(matrix).all() else None
