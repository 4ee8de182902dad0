"""What estimators share: ratios of a sample, the interval, and the words about its trust."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import ScaleError
from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.regression import noise_by_level
from exo2micro.subtraction.sampling import PairSample
from exo2micro.subtraction.statistics import Vector, tile_sums, tukey_location
from exo2micro.verdict import Verdict

DITHER_SEED: Final = 71
MIN_LEVEL: Final = 0.1
"""Blocks darker than this fraction of the middle brightness of pre carry no ratio."""

WIDE_INTERVAL: Final = 0.01
"""Half-width of the interval, relative, from which a person should look."""

FIELD_VARIATION: Final = 0.02
"""Variation of the ratio over the field from which one scale is not enough."""

MIN_THIRD: Final = 50
"""Blocks needed in each third of the brightness to compare them."""

INFLATION: Final = 1.5
"""Factor on bootstrap errors, which hold the choice of the background and its weights fixed; from
the benchmark, where it brings the coverage on 8-bit pairs to 95 %."""

SYSTEMATIC: Final = 0.0002
"""Relative error that no bootstrap sees: faint microbes, interpolation, the form of the noise."""

SYSTEMATIC_COVERAGE: Final = 0.0004
"""The same per fraction of the sample that is not background."""

SYSTEMATIC_FIELD: Final = 0.04
"""Error per variation of the ratio: which parts of the sample are counted moves the median."""


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
    """Return ``log((post - pedestal) / (pre - pedestal))`` per block, dithered.

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
    post = post + rng.uniform(-0.5, 0.5, len(post)) / np.sqrt(blocks.pixels)
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
    from_offset = sample.pedestal.error / max(brightness, 1e-9) if with_offset else 0.0
    systematic = SYSTEMATIC + SYSTEMATIC_COVERAGE * (1.0 - sample.clean_fraction)
    from_field = SYSTEMATIC_FIELD * field_test(sample).variation
    parts = {
        "error_bootstrap": INFLATION * bootstrap_error,
        "error_offset": INFLATION * from_offset,
        "error_systematic": systematic,
        "error_field": from_field,
    }
    total = float(np.linalg.norm(list(parts.values())))
    half = 1.96 * total
    return (scale * (1.0 - half), scale * (1.0 + half)), parts


@dataclass(frozen=True)
class FieldTest:
    """Whether one scale is enough.

    Attributes
    ----------
    variation : float
        Half the range (2.5 % to 97.5 %) of the smooth ratio over the sample, relative.
    tile_scatter : float
        Standard deviation of the tiles' ratios beyond their errors, relative.
    chi_squared : float
        Of the tiles' ratios about their mean, per degree of freedom.
    """

    variation: float
    tile_scatter: float
    chi_squared: float

    @property
    def message(self) -> str:
        """The finding in words; empty if one scale is enough."""
        size = max(self.variation, self.tile_scatter)
        if size < FIELD_VARIATION or (self.variation == 0.0 and self.chi_squared < 3.0):
            return ""
        return (
            f"the brightness ratio varies by +-{100 * size:.1f} % over the field; "
            "one scale is not enough"
        )


def field_test(sample: PairSample) -> FieldTest:
    """Compare tile-wise scales with their errors."""
    tiles = sample.tiles
    values = sample.relative_ratio(sample.every)
    low, high = np.quantile(values, [0.025, 0.975])
    variation = float(high - low) / 2.0 / float(np.median(values))
    if len(tiles.tile) < 3:
        return FieldTest(variation, 0.0, 0.0)
    middle = float(np.median(tiles.log_ratio))
    scaled = np.clip((tiles.log_ratio - middle) / tiles.error, -8.0, 8.0)
    spread = float(np.quantile(np.abs(tiles.log_ratio - middle), 0.683))
    noise = float(np.median(tiles.error))
    scatter = float(np.sqrt(max(0.0, spread**2 - noise**2)))
    return FieldTest(variation, scatter, float(np.mean(np.square(scaled))))


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
    if half_width > WIDE_INTERVAL:
        doubts.append(f"the scale is uncertain by +-{100 * half_width:.1f} % (95 %)")
    metrics = {
        "field_variation": test.variation,
        "tile_scatter": test.tile_scatter,
        "tile_chi_squared": test.chi_squared,
        "background_fraction": sample.clean_fraction,
        "saturated_fraction": sample.saturated_fraction,
        "correlation": sample.correlation,
        "offset_error": sample.pedestal.error,
    }
    verdict = Verdict.worst([Verdict.check(doubt) for doubt in doubts])
    return verdict, (*doubts, *sample.pedestal.messages), metrics


def curve_of(edges: Vector, counts: Vector, fitted: Vector) -> Mapping[str, Vector]:
    """Return the drawing data for a histogram in ``log(ratio)``, with centres as ratios."""
    return {
        "centres": np.exp(0.5 * (edges[1:] + edges[:-1])),
        "counts": np.asarray(counts, dtype=np.float64),
        "fitted": np.asarray(fitted, dtype=np.float64),
    }
