"""Matching of tiles: where a small piece of post lies in pre, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask, Points
from exo2micro.alignment.seen import SeenPre
from exo2micro.alignment.subpixel import (
    MAD_TO_SIGMA,
    MARGIN,
    MEDIAN_STRIDE,
    UNUSABLE,
    MatchPlan,
    Patch,
    sub_pixel_fit,
)
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.raster.windows import map_ordered

# Band of the texture that is compared, as Gaussian sigmas in pixels: finer is noise and
# interpolation, coarser is illumination.
FINE_SIGMA_PX = 0.8
COARSE_SIGMA_PX = 6.0
# Enough matches with strangers to know the 99 % quantile of their correlation to a few per cent.
STRANGERS = 100
# Texture beyond this many robust sigmas (microbes, debris) is clipped before the correlation.
CLIP_SIGMAS = 4.0

_COARSE_KERNEL = (31, 31)

# Which pixels of a window of post a match may not see.
Hidden = Callable[[slice, slice], Mask]


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

    def joined(self, other: "TileMatches") -> "TileMatches":
        """Return these tiles followed by others."""
        return TileMatches(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )

    @property
    def precisions(self) -> NDArray[np.float64]:
        """One-sigma error of each shift, pixels per axis."""
        trace = np.trace(self.covariances, axis1=1, axis2=2)
        return np.asarray(np.sqrt(trace / 2), np.float64)


def match_tiles(
    post: Raster,
    pre: Raster,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    hidden: Hidden | None = None,
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
    hidden : callable, optional
        Which pixels of a window of post take no part.
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
    seen = SeenPre(pre, transform, centres, tile_reach(plan.size) + plan.search)
    patches = _Patches(post, seen, _saturation(post), _saturation(pre), plan, hidden)

    def measure(centre: Points) -> tuple[float, ...]:
        return _measure(patches.of(centre, centre), plan)

    return _collect(centres, list(map_ordered(measure, centres, threads)))


def match_strangers(
    post: Raster,
    pre: Raster,
    transform: Transform,
    centres: Points,
    plan: MatchPlan,
    *,
    hidden: Hidden | None = None,
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
    others = centres[(chosen + count // 2) % count] if count else centres
    seen = SeenPre(pre, transform, others, tile_reach(plan.size) + plan.search)
    patches = _Patches(post, seen, _saturation(post), _saturation(pre), plan, hidden)

    def measure(pair: tuple[Points, Points]) -> tuple[float, ...]:
        return _measure(patches.of(*pair), whole_pixel)

    pairs = zip(centres[chosen], others, strict=True)
    return _collect(centres[chosen], list(map_ordered(measure, pairs, threads)))


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


def _measure(patch: Patch | None, plan: MatchPlan) -> tuple[float, ...]:
    """Return shift, covariance, score, gain, significance and usability of one tile."""
    if patch is None:
        return UNUSABLE
    start, score = _whole_pixel_peak(patch, plan.search)
    if plan.steps == 0:
        return (*start, 1.0, 0.0, 1.0, score, 1.0, 0.0, 1.0)
    return sub_pixel_fit(patch, start, score, plan)


@dataclass(frozen=True, eq=False)
class _Patches:
    """Reads tiles of post and squares of pre."""

    post: Raster
    pre: SeenPre
    saturation_post: float
    saturation_pre: float
    plan: MatchPlan
    hidden: Hidden | None

    def of(self, here: Points, there: Points) -> Patch | None:
        """Return the texture of a tile and of a square of pre, None where too little is valid."""
        reach = tile_reach(self.plan.size)
        x, y = int(here[0]), int(here[1])
        rows, cols = slice(y - reach, y + reach), slice(x - reach, x + reach)
        window = self.post.read(rows, cols)
        values, inside = self.pre.around(int(there[0]), int(there[1]))
        post_valid = window < self.saturation_post
        if self.hidden is not None:
            post_valid &= ~self.hidden(rows, cols)
        pre_valid = inside & (values < self.saturation_pre)
        if post_valid.mean() < 0.5 or pre_valid.mean() < 0.5:
            return None
        post_texture, post_valid = _band_pass(window, post_valid)
        pre_texture, pre_valid = _band_pass(values, pre_valid)
        return Patch(post_texture, post_valid, pre_texture, pre_valid)


def _saturation(image: Raster) -> float:
    """Return the value from which a pixel counts as saturated, resampled ones included."""
    level = image.saturates_at
    return np.inf if level is None else level - 0.5


def _band_pass(window: Image, valid: Mask) -> tuple[FloatImage, Mask]:
    """Return the texture band of a window, 0 where not valid, and the validity one px eroded."""
    values = window.astype(np.float32)
    if not valid.all():
        values[~valid] = np.median(values[valid])
        valid = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    fine = cv2.GaussianBlur(values, (0, 0), FINE_SIGMA_PX)
    texture = fine - cv2.GaussianBlur(values, _COARSE_KERNEL, COARSE_SIGMA_PX)
    if not valid.all():
        texture *= valid
    return texture, valid


def _whole_pixel_peak(patch: Patch, search: int) -> tuple[tuple[float, float], float]:
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
    some = np.abs(texture.ravel()[::MEDIAN_STRIDE])
    middle = (len(some) - 1) // 2, len(some) // 2
    median = np.partition(some, middle)[list(middle)].mean()
    limit = CLIP_SIGMAS * MAD_TO_SIGMA * float(median)
    return np.clip(texture, -limit, limit) if limit > 0 else np.ascontiguousarray(texture)
