"""What estimators share: ratios of a sample, the interval, and the words about its trust."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import ScaleError
from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.moffat import histogram_edges
from exo2micro.subtraction.psf import is_significant
from exo2micro.subtraction.regression import noise_by_level
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.statistics import Vector, robust_sigma, tile_sums, tukey_location
from exo2micro.verdict import Verdict

DITHER_SEED: Final = 71
MIN_LEVEL: Final = 0.1
"""Blocks darker than this fraction of the middle brightness of pre carry no ratio."""

WIDE_INTERVAL: Final = 0.01
"""Half-width of the interval, relative, from which a person should look."""

FIELD_VARIATION: Final = 0.02
"""Variation of the ratio over the field from which one scale is not enough."""

SCATTERS: Final = 3.0
"""Chi-squared per tile from which tiles differ on their own; clean pairs stay below 1."""

TINY: Final = float(np.finfo(np.float64).tiny)

MIN_THIRD: Final = 50
"""Blocks needed in each third of the brightness to compare them."""

GAUSSIAN_95: Final = 1.96

OVERLAP: Final = 0.9
"""Factor on the root of the sum of squares: tiles redrawn also see a part of what a closer cut and
another pedestal change; from 620 pairs of known scales."""

SYSTEMATIC: Final = 0.00005
"""Relative error that nothing measures: interpolation, the form of the noise."""

SYSTEMATIC_CUT: Final = 1.5
"""Error per change that a closer cut of the microbes makes: as many more are seen by neither."""

SYSTEMATIC_FIELD: Final = 0.013
"""Error per variation of the ratio: which parts of the sample are counted moves the median."""

SYSTEMATIC_SKEW: Final = 0.22
"""Error per distance of the field's mean from its median: of a plateau with a spot in it, the
smooth surface follows the edges only so far."""

SYSTEMATIC_SHARPNESS: Final = 0.0009
"""Error per px squared by which the widths of the point-spread functions differ: light that
leaves bright places makes them count less. This and the others: from pairs of known scales."""


@dataclass(frozen=True)
class Ratios:
    """Logarithms of the local ratio; arrays of shape ``(n,)``."""

    log_ratio: Vector
    weights: Vector
    tile: NDArray[np.intp]
    n_tiles: int
    level: Vector

    def trend(self) -> float:
        """Return how much the ratio of the brightest third exceeds that of the dimmest, relative.

        A pedestal that was missed, or a camera that is not linear, shows here.
        """
        low, high = np.quantile(self.level, [1 / 3, 2 / 3])
        parts = (self.level <= low, self.level >= high)
        if min(int(part.sum()) for part in parts) < MIN_THIRD:
            return 0.0
        dim, bright = (tukey_location(self.log_ratio[p], self.weights[p]) for p in parts)
        return bright - dim


def local_ratios(sample: PairSample, blocks: Blocks, *, flatten: bool) -> Ratios:
    """Return ``log((post - pedestal) / (pre - pedestal))`` per block, dithered by post's step.

    Blocks are chosen by the brightness of their neighbours in pre, so that no block is chosen
    for its own noise. Weights are inverse variances, normalised so that each tile counts by its
    area.

    Parameters
    ----------
    sample : PairSample
        Gives pedestals and the field.
    blocks : Blocks
        ``sample.clean`` or ``sample.every``.
    flatten : bool
        Divide by the smooth variation of the ratio.

    Raises
    ------
    ScaleError
        No block is brighter than the pedestals.
    """
    pedestal = sample.pedestal
    level = blocks.level - pedestal.pre
    post, pre = blocks.post - pedestal.post, blocks.pre - pedestal.pre
    use = (level > MIN_LEVEL * float(np.median(level))) & (post > 0) & (pre > 0)
    if not use.any():
        msg = (
            "no part of the background is brighter than the camera pedestal; no scale exists. "
            "Check the exposure of both images"
        )
        raise ScaleError(msg)
    rng = np.random.default_rng(DITHER_SEED)
    post = post + sample.step * rng.uniform(-0.5, 0.5, len(post)) / np.sqrt(blocks.pixels)
    use &= post > 0
    chosen = blocks.take(use)
    field = sample.relative_ratio(chosen) if flatten else np.ones(len(chosen))
    post, pre, level = post[use], pre[use], level[use]
    log_ratio = np.log(post / (pre * field))
    scale = np.exp(np.median(log_ratio)) * field
    variance = noise_by_level(post - scale * pre, chosen.pixels, level)
    weights = np.square(scale * level) / variance
    numbers, tile = np.unique(chosen.tile, return_inverse=True)
    per_tile = tile_sums(weights, tile, len(numbers))
    area = tile_sums(chosen.pixels, tile, len(numbers))
    return Ratios(log_ratio, weights * (area / per_tile)[tile], tile, len(numbers), level)


def interval_of(
    sample: PairSample, scale: float, bootstrap_error: float, *, with_offset: bool = True
) -> tuple[tuple[float, float], dict[str, float]]:
    """Return the 95 % interval of a scale and the parts of its error, relative.

    Parameters
    ----------
    sample : PairSample
        Gives the error of the pedestal and the fraction of background.
    scale : float
        The estimate.
    bootstrap_error : float
        Relative standard error from the bootstrap over tiles.
    with_offset : bool
        Count the error of the pedestal; False where the estimator fitted its own offset.
    """
    brightness = float(np.median(sample.clean.post)) - sample.pedestal.post
    from_offset = sample.pedestal.error / max(brightness, TINY) if with_offset else 0.0
    test = field_test(sample)
    from_field = np.hypot(SYSTEMATIC_FIELD * test.variation, SYSTEMATIC_SKEW * test.skew)
    parts = {
        "error_bootstrap": _with_few_tiles(bootstrap_error, sample.n_tiles),
        "error_offset": from_offset,
        "error_cut": SYSTEMATIC_CUT * abs(sample.cut_shift),
        "error_field": float(from_field),
        "error_sharpness": SYSTEMATIC_SHARPNESS * abs(sample.sharpness.difference),
        "error_systematic": SYSTEMATIC,
    }
    half = GAUSSIAN_95 * OVERLAP * float(np.linalg.norm(list(parts.values())))
    return (scale * (1.0 - half), scale * (1.0 + half)), parts


def _with_few_tiles(bootstrap_error: float, n_tiles: int) -> float:
    """Return the error with Student's t in place of a Gaussian: few tiles hardly know it.

    A single tile does not know it at all; what varies from tile to tile unnoticed stands for it.
    """
    from scipy import special

    if n_tiles < 2:
        return max(bootstrap_error, FIELD_VARIATION)
    freedom = n_tiles - 1
    widening = float(special.stdtrit(freedom, 0.975)) / GAUSSIAN_95
    return bootstrap_error * widening * float(np.sqrt(n_tiles / freedom))


@dataclass(frozen=True)
class FieldTest:
    """Whether one scale is enough.

    Attributes
    ----------
    variation : float
        Half the range (2.5 % to 97.5 %) of the smooth ratio over the sample, relative.
    skew : float
        Distance of the mean of the smooth ratio from its median, relative.
    tile_scatter : float
        Standard deviation of the tiles' ratios beyond their errors, relative.
    chi_squared : float
        Of the tiles' ratios about the smooth one, per tile.
    is_corrected : bool
        Whether the difference follows the smooth ratio.
    """

    variation: float
    skew: float
    tile_scatter: float
    chi_squared: float
    is_corrected: bool = False

    @property
    def message(self) -> str:
        """The finding in words; empty if one scale is enough."""
        if self.variation >= FIELD_VARIATION and not self.is_corrected:
            return (
                f"the brightness ratio varies by +-{100 * self.variation:.1f} % over the field; "
                "one scale is not enough (scale_field=auto follows it)"
            )
        if self.tile_scatter >= FIELD_VARIATION and self.chi_squared >= SCATTERS:
            return (
                f"the brightness ratio differs by +-{100 * self.tile_scatter:.1f} % from place to "
                "place, not smoothly; neither one scale nor a smooth field is enough"
            )
        return ""


def field_test(sample: PairSample) -> FieldTest:
    """Compare tile-wise scales with their errors."""
    tiles = sample.tiles
    values = sample.field.at(sample.area.x, sample.area.y)
    low, middle, high = (sample.area.quantile(values, q) for q in (0.025, 0.5, 0.975))
    variation = (high - low) / 2.0 / middle
    skew = abs(float(np.average(values, weights=sample.area.weight)) / middle - 1.0)
    if len(tiles.tile) < 3:
        return FieldTest(variation, skew, 0.0, 0.0, sample.is_corrected)
    rest = tiles.log_ratio - np.log(sample.field.at(tiles.x, tiles.y))
    rest -= np.median(rest)
    scaled = np.clip(rest / tiles.error, -8.0, 8.0)
    spread = float(np.quantile(np.abs(rest), 0.683))
    noise = float(np.median(tiles.error))
    scatter = float(np.sqrt(max(0.0, spread**2 - noise**2)))
    chi_squared = float(np.mean(np.square(scaled)))
    return FieldTest(variation, skew, scatter, chi_squared, sample.is_corrected)


def trust(
    sample: PairSample, half_width: float, messages: tuple[str, ...]
) -> tuple[Verdict, tuple[str, ...], dict[str, float]]:
    """Return the verdict on an estimate, all its messages, and the figures behind them.

    Parameters
    ----------
    sample : PairSample
        What the estimate was made from.
    half_width : float
        Relative half-width of its 95 % interval.
    messages : tuple of str
        Doubts that the estimator itself has; each is a reason to CHECK.
    """
    test = field_test(sample)
    doubts = [*messages, *sample.warnings]
    if test.message:
        doubts.append(test.message)
    if is_significant(sample.sharpness):
        blurrier = "post" if sample.sharpness.difference > 0 else "pre"
        doubts.append(
            f"{blurrier} is less sharp than the other image by a Gaussian of "
            f"{sample.sharpness.sigma_px:.1f} px; rings are left around grains (psf_match=auto "
            "removes them)"
        )
    if sample.sharpness.elongation_message:
        doubts.append(sample.sharpness.elongation_message)
    if half_width > WIDE_INTERVAL:
        doubts.append(f"the scale is uncertain by +-{100 * half_width:.1f} % (95 %)")
    metrics = {
        "field_variation": test.variation,
        "tile_scatter": test.tile_scatter,
        "tile_chi_squared": test.chi_squared,
        "sharpness_difference_px2": sample.sharpness.difference,
        "background_fraction": sample.clean_fraction,
        "saturated_fraction": sample.saturated_fraction,
        "correlation": sample.correlation,
        "offset_error": sample.pedestal.error,
    }
    verdict = Verdict.worst([Verdict.check(doubt) for doubt in doubts])
    return verdict, (*doubts, *sample.pedestal.messages), metrics


def explained(sample: PairSample, scale: float, offset: float) -> float:
    """Return which part of the background's brightness ``scale * pre + offset`` explains, 0..1.

    A ratio that varies smoothly is allowed for.
    """
    blocks, zero = sample.clean, sample.pedestal.pre
    expected = scale * ((blocks.pre - zero) * sample.relative_ratio(blocks) + zero) + offset
    misfit = float(np.mean(np.square(blocks.post - expected)))
    return float(np.clip(1.0 - misfit / max(float(np.var(blocks.post)), TINY), 0.0, 1.0))


def peak_at(ratios: Ratios, scale: float) -> Mapping[str, Vector]:
    """Return the drawing data of a scale that fits no profile: the ratios, and where it puts them.

    The model is a Gaussian of the robust width of the ratios about the scale.
    """
    from scipy.special import ndtr

    edges = histogram_edges(ratios.log_ratio, ratios.weights)
    counts = np.histogram(ratios.log_ratio, edges, weights=ratios.weights)[0]
    counts = counts * (ratios.weights.sum() / np.sum(np.square(ratios.weights)))
    position = (edges - np.log(scale)) / max(robust_sigma(ratios.log_ratio), TINY)
    return curve_of(edges, counts, counts.sum() * np.diff(ndtr(position)))


def curve_of(edges: Vector, counts: Vector, fitted: Vector) -> Mapping[str, Vector]:
    """Return the drawing data for a histogram in ``log(ratio)``, with centres as ratios."""
    return {
        "centres": np.exp(0.5 * (edges[1:] + edges[:-1])),
        "counts": np.asarray(counts, dtype=np.float64),
        "fitted": np.asarray(fitted, dtype=np.float64),
    }
