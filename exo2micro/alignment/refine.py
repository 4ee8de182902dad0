"""The fit of stage 3: tiles outside the certificate, matched and fitted from coarse to fine."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from exo2micro._typing import Points
from exo2micro.alignment.certify import PRECISION_FACTOR, WEAK_FRACTION
from exo2micro.alignment.deformation import (
    DeformationFit,
    fit_deformation,
    total_shifts,
)
from exo2micro.alignment.error_model import field_variances, off_from_others
from exo2micro.alignment.field_error import FieldError, FitError
from exo2micro.alignment.fit import Model, fit_correction
from exo2micro.alignment.held_out import HeldOutZones
from exo2micro.alignment.matching import TileMatches, match_strangers, match_tiles
from exo2micro.alignment.moved import Followers
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.significance import null_threshold, significant
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.tiles import choose_tiles
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import verify_factor

# Search range at full resolution; the overviews are right to a few pixels, or smooth deformation
# of up to this size is left.
FINAL_SEARCH_PX = 12
# Once a field is on, what it leaves.
DEFORMED_SEARCH_PX = 4
# Overviews coarser than this are not followed by full resolution at once.
LARGEST_JUMP = 12
FINAL_TOLERANCE_PX = 6.0
LAST_TOLERANCE_PX = 2.0
TILES_FOR_HOMOGRAPHY = 24
TILES_FOR_AFFINE = 12
LEAST_TILES = 6
# A residual of the fit is no noise beyond this many errors of its tile.
REAL_SIGMAS = 4.0
NULL_KEY = "correlation_by_chance_z"
FOUND_KEY = "fit_tiles_found_over_search_range"
# Tiles of the first look for a deformation, on the overviews where hypotheses are verified.
OVERVIEW_PLAN = MatchPlan(48, search=8, steps=4)
# The same where no affine mapping explains the overviews.
WIDE_OVERVIEW_PLAN = MatchPlan(48, search=18, steps=4)


@dataclass(frozen=True)
class Refiner:
    """Fits an alignment to tiles that the certificate does not use.

    Attributes
    ----------
    post, pre : Overviews
        The images.
    size : int
        Tile side, pixels.
    cells : int
        Wanted number of tiles over post.
    deformation : bool
        Whether a smooth deformation may be fitted.
    threads : int
        Threads; the result does not depend on it.
    """

    post: Overviews
    pre: Overviews
    size: int
    cells: int
    deformation: bool
    threads: int

    def fit(self, start: Transform, metrics: dict[str, Any]) -> "Fitted | None":
        """Return the alignment that the tiles fit best; None if too few match.

        Parameters
        ----------
        start : Transform
            Post to pre, right to a few overview pixels.
        metrics : dict
            Receives what the fit found, JSON values.
        """
        transform = start
        if self.deformation:
            transform = self._on_overview(
                transform, verify_factor(self.post, self.pre), OVERVIEW_PLAN
            )
        if self.post.base_factor > 1 and verify_factor(self.post, self.pre) > LARGEST_JUMP:
            plan = MatchPlan(self.size, search=FINAL_SEARCH_PX, steps=4)
            transform = self._on_overview(transform, self.post.base_factor, plan)
        everywhere = choose_tiles(self.post, self.pre, transform, size=self.size, cells=self.cells)
        centres, threshold = everywhere, 0.0
        for search, steps in ((FINAL_SEARCH_PX, 4), (DEFORMED_SEARCH_PX, 4), (1, 3)):
            if search == DEFORMED_SEARCH_PX and transform.field is None:
                continue
            plan = MatchPlan(self.size, search=search, steps=steps)
            corrected = self._correct(1, transform, centres, plan, metrics)
            if corrected is None:
                return None
            transform, kept, error = corrected.transform, corrected.tiles, corrected.error
            threshold = max(threshold, metrics[NULL_KEY])
            centres = kept.centres
            metrics.setdefault(FOUND_KEY, len(centres))
            if len(centres) < WEAK_FRACTION * len(everywhere):
                centres = everywhere
                metrics.pop(NULL_KEY)
        variances = (PRECISION_FACTOR * kept.precisions) ** 2
        variances += field_variances(error.field, kept.centres)
        follows = ~off_from_others(kept.shifts, variances)
        gain = float(np.median(kept.gains))
        followers = Followers(everywhere, kept.centres[follows], gain, threshold)
        return Fitted(transform, followers, error)

    def bend(self, start: Transform) -> Transform | None:
        """Return a deformed alignment of the overviews, None unless held-out tiles ask for it.

        A strong deformation of a small image leaves no affine mapping that most tiles support.
        """
        if not self.deformation:
            return None
        factor = verify_factor(self.post, self.pre)
        bent = self._on_overview(start, factor, WIDE_OVERVIEW_PLAN)
        return None if bent.field is None else bent

    def _on_overview(self, transform: Transform, factor: int, plan: MatchPlan) -> Transform:
        """Return the alignment corrected on one level, or as it was where that is not possible."""
        centres = choose_tiles(
            self.post, self.pre, transform, size=plan.size, cells=self.cells, factor=factor
        )
        small = transform.scaled(factor, factor)
        corrected = self._correct(factor, small, centres, plan, {})
        return transform if corrected is None else corrected.transform.unscaled(factor, factor)

    def _correct(
        self,
        factor: int,
        transform: Transform,
        centres: Points,
        plan: MatchPlan,
        metrics: dict[str, Any],
    ) -> "_Corrected | None":
        """Return the alignment corrected by one matching of tiles.

        Everything is in the pixels of the overview of block side `factor`.
        """
        if len(centres) < LEAST_TILES:
            return None
        post, pre = self.post.level(factor), self.pre.level(factor)
        hidden = partial(HeldOutZones.of(self.post.raster.shape).hidden, factor=factor)
        images = (post, pre, transform, centres, plan)
        found = match_tiles(*images, hidden=hidden, threads=self.threads)
        if NULL_KEY not in metrics:
            strangers = match_strangers(*images, hidden=hidden, threads=self.threads)
            metrics[NULL_KEY] = null_threshold(strangers)
        kept = found.select(significant(found, metrics[NULL_KEY]))
        metrics |= {
            "fit_tiles": metrics.get("fit_tiles", len(centres)),
            "fit_tiles_significant": len(kept.centres),
        }
        if len(kept.centres) < LEAST_TILES:
            return None
        totals = total_shifts(kept, transform)
        if self.deformation and (plan.search > 1 or transform.field is not None):
            deformed = fit_deformation(totals, post.shape)
            if deformed is not None:
                metrics["deformation"] = _told(deformed)
                if deformed.helps:
                    metrics |= _fit_metrics("deformed", deformed.used, deformed.excess_px, totals)
                    return _Corrected.by(
                        deformed.transform, transform, totals, kept, deformed.error
                    )
        model: Model = "homography"
        if len(kept.centres) < TILES_FOR_HOMOGRAPHY:
            model = "affine" if len(kept.centres) >= TILES_FOR_AFFINE else "similarity"
        tolerance = FINAL_TOLERANCE_PX if plan.search > 1 else LAST_TOLERANCE_PX
        correction = fit_correction(totals, model, tolerance_px=tolerance)
        if correction is None or correction.support < LEAST_TILES:
            return None
        metrics |= _fit_metrics(model, correction.inliers, correction.excess_px, totals)
        return _Corrected.by(correction.transform, transform, totals, kept)


@dataclass(frozen=True)
class Fitted:
    """An alignment, the tiles that follow it, and what its fit knows of its error."""

    transform: Transform
    followers: Followers
    error: FitError


@dataclass(frozen=True)
class _Corrected:
    """An alignment after one correction, the tiles that made it, and what it knows of its error."""

    transform: Transform
    tiles: TileMatches
    error: FitError

    @classmethod
    def by(
        cls,
        correction: Transform,
        before: Transform,
        totals: TileMatches,
        tiles: TileMatches,
        field: FieldError | None = None,
    ) -> "_Corrected":
        """Return an alignment corrected by a mapping of post that was fitted to total shifts."""
        left = np.hypot(*(totals.centres + totals.shifts - correction(totals.centres)).T)
        real = left > REAL_SIGMAS * PRECISION_FACTOR * totals.precisions
        p95_px = float(np.quantile(np.where(real, left, 0.0), 0.95))
        return cls(before.straight @ correction, tiles, FitError(field, p95_px))


def _fit_metrics(
    model: str, inliers: "np.ndarray[Any, Any]", excess_px: float, tiles: TileMatches
) -> dict[str, Any]:
    """Return what is recorded of a fit."""
    return {
        "model": model,
        "fit_inliers": int(inliers.sum()),
        "fit_excess_px": excess_px,
        "fit_tile_precision_px": float(np.median(tiles.precisions[inliers])),
    }


def _told(fit: DeformationFit) -> dict[str, Any]:
    """Return what is recorded of a deformation and of the judgement of held-out tiles."""
    ny, nx, _ = fit.field.coefficients.shape
    return {
        "used": fit.helps,
        "largest_px": fit.largest_px,
        "nodes": [ny, nx],
        "gain": fit.gain,
        "gain_sigmas": fit.significance,
    }
