"""Strays: tiles that lie off, believed only where their parts or a neighbour say the same."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points
from exo2micro.alignment.error_model import off_from_others
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.significance import Matcher
from exo2micro.alignment.subpixel import CLUSTER_PX

# The quarters of a tile are matched by themselves, this far around where the tile has matched.
PART_SEARCH_PX = 4
# Two shifts are the same within this many pixels, and within this many errors.
SAME_PX = 1.0
SAME_SIGMAS = 3.0
LEAST_PARTS = 2
# Neighbours lie within this many distances between held-out zones.
NEIGHBOUR_SPACINGS = 1.6


def split_strays(
    matcher: Matcher, kept: TileMatches, variances: NDArray[np.float64], spacing_px: float
) -> tuple[TileMatches, int]:
    """Drop the tiles that have matched elsewhere by mistake.

    Parameters
    ----------
    matcher : Matcher
        What has matched them.
    kept : TileMatches
        Significant matches.
    variances : numpy.ndarray
        By which they may be off: their own, and those of the alignment, pixels squared.
    spacing_px : float
        Typical distance between tiles.

    Returns
    -------
    kept : TileMatches
        The tiles that lie where the others say, and those that truly lie elsewhere.
    misfits : int
        Number of the latter.

    Notes
    -----
    A piece of the sample that has moved takes the quarters of a tile with it, and often the next
    tile. A match by chance does neither.
    """
    off = off_from_others(kept.shifts, variances)
    if not off.any():
        return kept, 0
    real = truly_off(matcher, kept, off, spacing_px, kept.centres)
    return kept.select(~off | real), int(real.sum())


def truly_off(
    matcher: Matcher, kept: TileMatches, off: Mask, spacing_px: float, typical: Points
) -> Mask:
    """Return which of the tiles that are off have a neighbour or quarters with the same shift.

    `typical` are the centres of tiles whose parts, matched with strangers, give the null.
    """
    confirmed = _with_neighbour(kept, off, spacing_px) | _with_parts(matcher, kept, off, typical)
    return np.asarray(off & confirmed, np.bool_)


def _with_neighbour(kept: TileMatches, off: Mask, spacing_px: float) -> Mask:
    """Return which tiles have a neighbour, off too, with the same shift."""
    apart = np.hypot(*(kept.centres[:, None] - kept.centres[None]).transpose(2, 0, 1))
    unlike = np.hypot(*(kept.shifts[:, None] - kept.shifts[None]).transpose(2, 0, 1))
    errors = np.hypot(kept.precisions[:, None], kept.precisions[None])
    alike = unlike < np.maximum(SAME_PX, SAME_SIGMAS * errors)
    near = (apart > 0) & (apart < NEIGHBOUR_SPACINGS * spacing_px)
    return np.asarray((alike & near & off[None]).any(axis=1), np.bool_)


def _with_parts(matcher: Matcher, kept: TileMatches, off: Mask, typical: Points) -> Mask:
    """Return which of the tiles that are off have quarters with the same shift."""
    side = matcher.plan.size // 2 // CLUSTER_PX * CLUSTER_PX
    plan = replace(matcher.plan, size=side, search=PART_SEARCH_PX)
    parts = matcher.planned(plan)
    half = (matcher.plan.size - side) // 2
    quarters = np.array([(x, y) for y in (-half, half) for x in (-half, half)], np.float64)
    threshold = parts.threshold(typical)
    said = np.zeros(len(off), np.bool_)
    for index in np.flatnonzero(off):
        there = parts.beyond(kept.shifts[index])
        found = there.significant(kept.centres[index] + quarters, threshold)
        said[index] = _confirm(found.shifts, found.precisions)
    return said


def _confirm(shifts: Points, precisions: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bool:
    """Return whether enough parts lie where the whole does, and most of those that match."""
    same = np.hypot(*shifts.T) < np.maximum(SAME_PX, SAME_SIGMAS * precisions)
    return bool(same.sum() >= max(LEAST_PARTS, len(shifts) / 2))
