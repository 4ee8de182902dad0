"""Interior refinement (stage 3): sub-pixel alignment from the texture inside the sample."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from exo2micro._typing import Points
from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.certify import (
    PRECISION_FACTOR,
    certify,
    coverage_factor,
    seen_in_both,
    within,
)
from exo2micro.alignment.held_out import CELLS, HeldOutZones, whole_tile
from exo2micro.alignment.moved import MOVED, Followers, find_moved
from exo2micro.alignment.outline import sample_points
from exo2micro.alignment.overview import Overviews, make_overviews
from exo2micro.alignment.refine import FINAL_SEARCH_PX, FOUND_KEY, Fitted, Refiner
from exo2micro.alignment.search import feature_search, find_features
from exo2micro.alignment.settings import Settings
from exo2micro.alignment.significance import Matcher
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.tiles import choose_held_out
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import Verified, verify
from exo2micro.raster import Raster
from exo2micro.raster.windows import map_ordered
from exo2micro.verdict import Verdict

# Tile side per unit of `interior_blur_base`: 80 px at the default of 8.
TILE_PER_BLUR = 10.0
# Where fewer of the tiles than this match, more are used.
ENOUGH_MATCHED = 0.35
MANY_CELLS = 1000
FEATURE_OVERVIEW_PX = 1000.0


@dataclass(frozen=True)
class InteriorSettings(Settings):
    """What steers the interior refinement; the names are those of the stage-3 parameters.

    Attributes
    ----------
    interior_ecc : bool
        Refine by interior texture; off: keep the coarse alignment and only certify it.
    interior_blur_base : float
        A tenth of the side, in pixels, of the tiles that are matched; larger for little texture.
    interior_max_correction : float
        Largest correction beyond the coarse alignment, in pixels over the sample.
    interior_min_inlier_ratio : float
        Smallest part of the matched tiles that the fit must explain; below it, the verdict is
        CHECK.
    deformation : str
        ``'auto'``: fit a smooth deformation where held-out tiles say that it helps; ``'off'``:
        never.
    """

    interior_ecc: bool = True
    interior_blur_base: float = 8.0
    interior_max_correction: float = 500.0
    interior_min_inlier_ratio: float = 0.4
    deformation: str = "auto"


@dataclass(frozen=True)
class InteriorResult:
    """Outcome of the interior refinement.

    Attributes
    ----------
    transform : Transform
        Post to pre, raw pixels.
    certificate : Certificate
        What the held-out tiles say about `transform`.
    verdict : Verdict
        The certificate's verdict and that of the fit, the worst of both.
    metrics : dict
        JSON values: tiles, inliers, precision, corrections.
    messages : tuple of str
        What a user should know, in words.
    """

    transform: Transform
    certificate: Certificate
    verdict: Verdict
    metrics: dict[str, Any]
    messages: tuple[str, ...] = ()


def refine_interior(
    post: Raster,
    pre: Raster,
    initial: Transform,
    settings: InteriorSettings,
    *,
    threads: int = 1,
) -> InteriorResult:
    """Refine an alignment to a small part of a pixel and certify it on held-out tiles.

    Parameters
    ----------
    post, pre : Raster
        The raw images.
    initial : Transform
        Post to pre, right to within a few per cent of the image.
    settings : InteriorSettings
        Limits of the refinement.
    threads : int
        Threads to use; the result does not depend on it.

    Returns
    -------
    InteriorResult
        Transform in raw pixels, certificate and verdict.
    """
    overviews = make_overviews(post, pre, threads)
    return refine_interior_overviews(*overviews, initial, settings, threads=threads)


def refine_interior_overviews(
    post: Overviews,
    pre: Overviews,
    initial: Transform,
    settings: InteriorSettings,
    *,
    threads: int = 1,
) -> InteriorResult:
    """Do what `refine_interior` does on overviews that are at hand."""
    found = _Alignment(initial)
    size = tile_size(post, pre, settings)
    if settings.interior_ecc:
        refiner = Refiner(post, pre, size, CELLS, settings.deformation != "off", threads)
        _fit(found, refiner, settings)
    else:
        found.messages.append("interior refinement is off; the coarse alignment was kept")
    zones = HeldOutZones.of(post.raster.shape)
    certified_size = min(size, zones.largest_tile_px)
    held_out = choose_held_out(post, pre, found.transform, size=certified_size)
    certificate = certify(
        post,
        pre,
        found.transform,
        held_out,
        MatchPlan(certified_size, search=FINAL_SEARCH_PX, steps=4),
        spacing_px=zones.spacing_px,
        fit_error=found.fitted.error if found.fitted else None,
        threads=threads,
    )
    if found.fitted is not None:
        tried = Followers(held_out, certificate.positions).others
        found.verdicts.append(_moved(refiner, found, found.fitted, tried))
    found.metrics["tile_px"] = size
    return InteriorResult(
        found.transform,
        certificate,
        Verdict.worst([certificate.verdict, *found.verdicts]),
        found.metrics,
        tuple(found.messages),
    )


@dataclass
class _Alignment:
    """The alignment on its way through the fit, and what is to be said of it."""

    transform: Transform
    fitted: Fitted | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def _fit(found: _Alignment, refiner: Refiner, settings: InteriorSettings) -> None:
    """Refine the initial alignment; it stays where no texture supports it or limits are broken."""
    post, pre, initial = refiner.post, refiner.pre, found.transform
    verified = _start(post, pre, initial, found.messages, refiner.threads)
    transform = verified.transform if verified else refiner.bend(initial.straight)
    if transform is not None and verified is None:
        found.messages.append("no affine mapping explains the overviews; a smooth field does")
    if transform is None:
        found.messages.append("no interior texture supports the coarse alignment; it was kept")
        return
    metrics = found.metrics
    for cells in (CELLS, MANY_CELLS):
        metrics.clear()
        fitted = replace(refiner, cells=cells).fit(transform, metrics)
        transform = fitted.transform if fitted else transform
        if metrics.get(FOUND_KEY, 0) >= ENOUGH_MATCHED * metrics.get("fit_tiles", np.inf):
            break
    if cells != CELLS:
        found.messages.append(f"few tiles match; {MANY_CELLS} places were tried, not {CELLS}")
    found.verdicts.append(_limits(post, initial, transform, metrics, settings))
    told = _deformation_told(metrics, settings)
    if metrics["correction_px"] > settings.interior_max_correction:
        metrics["deformation"] |= {"used": False, "reason": "the correction was refused"}
        return
    found.messages += told
    found.transform = transform
    found.fitted = fitted


def tile_size(post: Overviews, pre: Overviews, settings: InteriorSettings) -> int:
    """Return the tile side in pixels: ten times `interior_blur_base`, less for small images."""
    wanted = TILE_PER_BLUR * settings.interior_blur_base
    return min(whole_tile(wanted, image.raster.shape) for image in (post, pre))


def _start(
    post: Overviews, pre: Overviews, initial: Transform, messages: list[str], threads: int
) -> Verified | None:
    """Return the initial alignment refined on overviews, by features if need be, or None."""
    for rounds in (1, 2):
        checked = verify(post, pre, initial.straight, rounds=rounds, threads=threads)
        if checked.accepted and (checked.clear or rounds == 2):
            return checked
    level = max(i.factor_for(FEATURE_OVERVIEW_PX) for i in (post, pre))
    features = map_ordered(lambda i: i.derived(level, find_features), (post, pre), threads)
    for found in feature_search(*features):
        checked = verify(post, pre, found.transform.unscaled(level, level), threads=threads)
        if checked.accepted:
            messages.append(
                "the overviews contradict the coarse alignment; SIFT features replace it"
            )
            return checked
    return None


def _deformation_told(metrics: dict[str, Any], settings: InteriorSettings) -> list[str]:
    """Record whether a smooth deformation is part of the alignment, and return that in words."""
    found = metrics.setdefault("deformation", {"used": False})
    if not found["used"]:
        judged = "gain" in found
        found["reason"] = (
            "tiles held out of the fit do not ask for one" if judged else "too few tiles"
        )
        if settings.deformation == "off":
            found["reason"] = "switched off"
        return []
    ny, nx = found["nodes"]
    return [
        f"a smooth deformation of up to {found['largest_px']:.1f} px is part of the alignment "
        f"({nx} x {ny} nodes); it explains {100 * found['gain']:.0f} % of what the homography "
        "leaves at tiles held out of the fit"
    ]


def _moved(refiner: Refiner, found: _Alignment, fitted: Fitted, held_out: Points) -> Verdict:
    """Return CHECK where a piece of the sample has moved, and record where.

    Besides the tiles of the fit, held-out ones without a match are looked at.
    """
    images = refiner.post, refiner.pre
    post, pre = (image.raster for image in images)
    others = np.concatenate([fitted.followers.others, held_out])
    on_sample = seen_in_both(*images, found.transform)
    plan = MatchPlan(refiner.size, search=FINAL_SEARCH_PX, steps=4)
    moved = find_moved(
        Matcher(post, pre, found.transform, plan, refiner.threads),
        fitted.followers,
        others[within(on_sample, coverage_factor(*images), others)],
        variance_factor=PRECISION_FACTOR**2,
        spacing_px=HeldOutZones.of(post.shape).cell_px,
        field=fitted.error.field,
    )
    if moved is None:
        return Verdict()
    found.metrics[MOVED] = moved.to_dict()
    return Verdict.check(moved.reason())


def _limits(
    post: Overviews,
    initial: Transform,
    transform: Transform,
    metrics: dict[str, Any],
    settings: InteriorSettings,
) -> Verdict:
    """Return CHECK where the correction or the inliers break a limit."""
    points = sample_points(post)
    moved = np.hypot(*(transform(points) - initial(points)).T)
    metrics["correction_px"] = float(np.quantile(moved, 0.95))
    if metrics["correction_px"] > settings.interior_max_correction:
        return Verdict.check(
            f"the interior asks for a correction of {metrics['correction_px']:.0f} px, more than "
            f"interior_max_correction {settings.interior_max_correction:g}; the coarse alignment "
            "was kept"
        )
    if "fit_inliers" not in metrics:
        return Verdict.check("too few tiles match at full resolution; overviews were used")
    ratio = metrics["fit_inliers"] / metrics["fit_tiles_significant"]
    if ratio < settings.interior_min_inlier_ratio:
        return Verdict.check(
            f"only {100 * ratio:.0f} % of the matched tiles agree on one mapping, less than "
            f"interior_min_inlier_ratio {settings.interior_min_inlier_ratio:g}"
        )
    return Verdict()
