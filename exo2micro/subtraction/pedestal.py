"""The offset: decided once for a pair, from the dark surroundings and from the line itself."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from exo2micro.subtraction.background import Background
from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.dark import Surroundings
from exo2micro.subtraction.field import RatioField
from exo2micro.subtraction.regression import (
    FREE_INTERCEPT,
    Prior,
    dark_prior,
    robust_weights,
    solve_line,
)
from exo2micro.subtraction.statistics import (
    Vector,
    bootstrap_counts,
    robust_sigma,
    tile_sums,
    tukey_weights,
)

SIGNIFICANT_SIGMA: Final = 3.0
"""A pedestal is taken out above this many standard errors, `INTERCEPT_FLOOR` included: one that is
missed then costs the scale 0.3 % at most."""

DISAGREE_SIGMA: Final = 4.0
DISAGREE_EFFECT: Final = 0.004
"""The dark and the sample contradict each other beyond both of these (the second: fraction of
the middle brightness of post)."""

INTERCEPT_FLOOR: Final = 0.001
"""Offset over the middle brightness of post that faint microbes and stray light can make; one is
significant only beyond `SIGNIFICANT_SIGMA` of these."""

INTERCEPT_ERROR: Final = 0.0003
"""Error of an offset over that brightness that no bootstrap sees; from pairs of known pedestals."""

SLOPE_ERROR: Final = 0.002
"""Relative error of the slope with which the line is followed from the dark down to zero."""

MIN_DARK_BLOCKS: Final = 50
"""Blocks of dark surroundings from which the light in them is told from the pedestals."""

STRAY_ROUNDS: Final = 5
"""Rounds of robust weights; the third changes nothing on clean surroundings."""

FIELD_ERROR: Final = 0.002
"""Relative error of the field in the middle of the dark surroundings, from pairs of known
pedestals."""

FIELD_SLOPE_ERROR: Final = 0.005
"""The same of its variation there, beyond the tiles it was fitted to."""

Source = Literal["none", "dark", "regression", "both"]


@dataclass(frozen=True)
class Pedestal:
    """What the pedestals of both cameras leave in ``post - scale * pre``.

    Attributes
    ----------
    post, pre : float
        Pedestals taken off post and pre, counts; the offset is ``post - scale * pre``.
    error : float
        Standard error of the offset, counts.
    source : str
        ``none`` (not significant), ``dark`` (measured outside the sample), ``regression`` (from
        the line through the background), ``both``.
    messages : tuple of str
        Remarks in words.
    """

    post: float
    pre: float
    error: float
    source: Source
    messages: tuple[str, ...] = ()

    def offset(self, scale: float) -> float:
        """Return the offset that goes with a scale, counts."""
        return self.post - scale * self.pre


def decide_pedestal(background: Background, around: Surroundings) -> Pedestal:
    """Decide which offset to use: see the module's text and constants."""
    line = background.line
    intercept, error = _free_intercept(background)
    middle = max(1e-9, float(np.median(background.clean.post)) - line.intercept)
    error = float(np.hypot(error, INTERCEPT_ERROR * middle))
    prior = dark_prior(around, line.scale)
    if prior is None or around.pre is None or around.post is None:
        return _zero_unless_significant(
            Pedestal(intercept, 0.0, error, "regression"), line.scale, middle
        )
    gap = intercept - prior.centre
    allowed = float(np.hypot(error, prior.error))
    if abs(gap) > DISAGREE_SIGMA * allowed and abs(gap) > DISAGREE_EFFECT * middle:
        found = Pedestal(intercept, around.pre.level, error, "regression")
        found = _zero_unless_significant(found, line.scale, middle)
        message = (
            f"the dark surroundings suggest an offset of "
            f"{prior.centre - line.scale * around.pre.level:.3g} counts, the sample itself "
            f"{found.offset(line.scale):.3g}; the sample was followed"
        )
        return replace(found, messages=(message,))
    weights = np.array([prior.error**-2, error**-2])
    both = float(np.average([prior.centre, intercept], weights=weights))
    combined = float(weights.sum() ** -0.5)
    source: Source = "both" if around.post.clipped or around.pre.clipped else "dark"
    found = Pedestal(both, around.pre.level, combined, source)
    return _zero_unless_significant(found, line.scale, middle)


def _zero_unless_significant(found: Pedestal, scale: float, middle: float) -> Pedestal:
    """Return no pedestal where the offset may as well be zero.

    The error is then that of zero: cameras without a pedestal are as common as others, whose
    pedestals spread over `FREE_INTERCEPT` of the brightness, so that an offset well within its
    error is most likely none (Bayes factor of a point against that spread).
    """
    parts = (found.error, scale * SLOPE_ERROR * found.pre, INTERCEPT_FLOOR * middle)
    reach = float(np.linalg.norm(parts))
    size = abs(found.offset(scale)) / reach
    if size > SIGNIFICANT_SIGMA:
        return found
    odds = reach / (FREE_INTERCEPT * middle) * float(np.exp(0.5 * size**2))
    error = reach * float(np.sqrt(odds / (1.0 + odds) * (1.0 + size**2)))
    return Pedestal(0.0, 0.0, error, "none")


def pedestal_beneath(
    dark: Blocks, around: Surroundings, field: RatioField, scale: float
) -> Pedestal | None:
    """Return the pedestals beneath the stray light of dark surroundings; None if they do not tell.

    Where the ratio varies, it varies for the stray light, too, but not for the pedestals:
    ``post - scale * field * pre`` is a line in ``scale * field`` there, whose slope is minus the
    pedestal of pre and whose value at zero is that of post.

    Parameters
    ----------
    dark : Blocks
        Averages over the dark surroundings.
    around : Surroundings
        Their levels, which no pedestal exceeds.
    field : RatioField
        Relative ratio.
    scale : float
        Its median.
    """
    if len(dark) < MIN_DARK_BLOCKS or around.pre is None:
        return None
    ratio = scale * field.at(dark.x, dark.y)
    middle = float(np.median(ratio))
    value, slope, errors = _robust_line(ratio - middle, dark.post - ratio * dark.pre, dark.pixels)
    light = scale * float(np.median(dark.pre))
    lever = max(float(np.std(ratio)), 1e-9)
    pre_error = float(np.hypot(errors[1], FIELD_SLOPE_ERROR * light / lever))
    if SIGNIFICANT_SIGMA * pre_error > around.pre.level:
        return None
    pre = float(np.clip(-slope, 0.0, around.pre.level))
    error = float(np.linalg.norm([errors[0], FIELD_ERROR * light, (middle - scale) * pre_error]))
    found = Pedestal(value + middle * pre, pre, error, "dark")
    offset = found.offset(scale)
    if pre < SIGNIFICANT_SIGMA * pre_error and abs(offset) < SIGNIFICANT_SIGMA * error:
        return Pedestal(0.0, 0.0, float(np.hypot(error, offset)), "none")
    return found


def _robust_line(x: Vector, y: Vector, weights: Vector) -> tuple[float, float, Vector]:
    """Return value at zero and slope of the line through ``y(x)``, and their errors."""
    basis, robust = np.stack([np.ones_like(x), x], axis=1), weights
    for _ in range(STRAY_ROUNDS):
        weighted = (basis * robust[:, None]).T
        normal = np.linalg.pinv(weighted @ basis)
        value, slope = normal @ weighted @ y
        rest = y - value - slope * x
        spread = max(1e-9, robust_sigma(rest))
        robust = weights * tukey_weights(rest / spread)
    errors = spread * np.sqrt(np.diag(normal) * float(np.mean(weights)))
    return float(value), float(slope), errors


def _free_intercept(background: Background) -> tuple[float, float]:
    """Return the intercept from the line alone and its bootstrap error, counts.

    A single tile does not tell a pedestal from a mineral: nothing is known then.
    """
    blocks, line = background.clean, background.line
    wide = Prior(0.0, FREE_INTERCEPT * float(np.median(blocks.post)))
    used = np.unique(blocks.tile)
    if len(used) < 2:
        return wide.centre, wide.error
    field = background.field.at(blocks.x, blocks.y)
    pre = field * (blocks.pre - line.pre_pedestal)
    instrument = field * (blocks.level - line.pre_pedestal)
    weights = robust_weights(blocks.post - line.scale * pre - line.intercept, blocks)
    _, intercept = solve_line(blocks.post, pre, instrument, weights, wide)
    n_tiles = int(blocks.tile.max()) + 1
    wz = weights * instrument
    terms = (weights, wz, weights * pre, wz * pre, weights * blocks.post, wz * blocks.post)
    sums = np.stack([tile_sums(term, blocks.tile, n_tiles)[used] for term in terms], axis=1)
    drawn = bootstrap_counts(len(used)) @ sums
    w, z, x, zx, y, zy = drawn.T
    pull = wide.error**-2
    values = (zx * y - x * zy) / (zx * (w + pull) - z * x)
    low, high = np.quantile(values, [0.16, 0.84])
    return intercept, max(1e-6, float(0.5 * (high - low)))
