"""Moved pieces: tiles that match elsewhere than where the final alignment puts them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exo2micro._typing import Points
from exo2micro.alignment.error_model import field_variances, off_from_others
from exo2micro.alignment.field_error import FieldError
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.significance import LARGEST_GAIN_RATIO, Matcher
from exo2micro.alignment.strays import truly_off

MOVED = "moved"
"""Metric of stage 3 that lists tiles that lie off, if any."""

# Pieces are looked for within this many pixels of where the alignment puts them.
MOVED_SEARCH_PX = 40
# The best of n correlations by chance grows as the root of log(n): this much from the range over
# which the null threshold was found to that one.
WIDE_RANGE_FACTOR = 1.2
# Enough tiles to tell that something has moved, where very many do not follow.
MOST_TILES = 100


@dataclass(frozen=True, eq=False)
class Followers:
    """Which tiles lie where an alignment puts them.

    Attributes
    ----------
    tried : numpy.ndarray
        Centres of all tiles, shape ``(n, 2)``, ``(x, y)`` in post pixels.
    following : numpy.ndarray
        Centres of those that follow the alignment.
    gain : float
        Their brightness ratio post/pre, the middle one.
    threshold : float
        Correlation by chance, as Fisher's z.
    """

    tried: Points
    following: Points
    gain: float = 1.0
    threshold: float = 0.0

    @property
    def others(self) -> Points:
        """Tiles that do not follow, or match nothing."""
        same = (self.tried[:, None] == self.following).all(axis=2).any(axis=1)
        return np.asarray(self.tried[~same])


@dataclass(frozen=True, eq=False)
class Moved:
    """Tiles that lie off the alignment, as their parts or a neighbour confirm.

    Attributes
    ----------
    tiles : TileMatches
        Their centres and their shifts beyond the alignment.
    share : float
        Their part, 0 to 1, of all tiles that match.
    """

    tiles: TileMatches
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "positions": self.tiles.centres.tolist(),
            "shifts": self.tiles.shifts.tolist(),
            "precisions": self.tiles.precisions.tolist(),
            "share": self.share,
        }

    def reason(self) -> str:
        """Return in words what was found."""
        lengths = np.hypot(*self.tiles.shifts.T)
        count = len(lengths)
        tiles, do, they = ("tile", "does", "it lies") if count == 1 else ("tiles", "do", "they lie")
        return (
            f"{count} {tiles} ({100 * self.share:.1f} % of those that match) "
            f"{do} not follow the alignment: {they} {lengths.min():.1f} to {lengths.max():.1f} px "
            "off, and parts or neighbours confirm it: a piece of the sample may have moved; the "
            "difference there is of low confidence"
        )


def find_moved(
    matcher: Matcher,
    followers: Followers,
    others: Points,
    *,
    variance_factor: float,
    spacing_px: float,
    field: FieldError | None = None,
) -> Moved | None:
    """Look for pieces of the sample that have moved between the images.

    Parameters
    ----------
    matcher : Matcher
        Matches tiles of the pair from the final alignment.
    followers : Followers
        Which tiles of the fit follow it.
    others : numpy.ndarray
        Tiles on the sample that do not follow it; at most `MOST_TILES`, evenly picked, are
        looked at.
    variance_factor : float
        The true variances of shifts over those given.
    spacing_px : float
        Typical distance between the tiles of the fit.
    field : FieldError, optional
        Uncertainty of the displacement field that is part of the alignment.

    Returns
    -------
    Moved or None
        None if nothing is known to have moved.

    Notes
    -----
    A piece that is as large as the cells of the fit's lattice holds a tile, if it has texture. It
    must match, within `MOVED_SEARCH_PX`, better than chance, and so must its quarters or the next
    tile at the same shift: what matches nothing (a lost piece, debris) is not called moved.
    """
    others = others[:: -(-len(others) // MOST_TILES) or 1]
    if len(others) == 0 or len(followers.following) == 0:
        return None
    wide = matcher.planned(replace(matcher.plan, search=MOVED_SEARCH_PX))
    found = wide.match(others)
    scores = np.arctanh(np.clip(found.scores, 0, 0.999))
    ratio = found.gains / followers.gain
    real = found.usable & (scores > WIDE_RANGE_FACTOR * followers.threshold)
    real &= (ratio > 1 / LARGEST_GAIN_RATIO) & (ratio < LARGEST_GAIN_RATIO)
    variances = variance_factor * found.precisions**2 + field_variances(field, found.centres)
    off = real & off_from_others(found.shifts, variances, np.zeros(2))
    if not off.any():
        return None
    off &= truly_off(wide, found, off, spacing_px, followers.tried)
    if not off.any():
        return None
    count = int(off.sum())
    return Moved(found.select(off), count / (count + len(followers.following)))
