"""What stage 4 does before it estimates scales: equal sharpness, and a ratio that may vary."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.parameter import Value
from exo2micro.raster.base import Raster
from exo2micro.raster.header import Card
from exo2micro.subtraction.correction import FieldCorrection
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources, WindowFactor
from exo2micro.subtraction.matching import PsfMatch, match_psf
from exo2micro.subtraction.noise import DifferenceNoise
from exo2micro.subtraction.noise_windows import HIGH_PASS_LAGS, Unconvolved
from exo2micro.subtraction.patches import read_patches
from exo2micro.subtraction.sampling import PairSample, sample_pairs
from exo2micro.subtraction.scale import ScaleEstimate

Interpolation = Callable[[slice, slice, tuple[float, ...]], FloatImage]
"""``(rows, cols, lags) -> factor`` on the variance of pre, see `WarpedRaster.read_noise_factor`."""


@dataclass(frozen=True)
class ComparablePair:
    """Post and pre as they are subtracted, and what was gathered from them.

    Attributes
    ----------
    match : PsfMatch or None
        How their sharpness was made equal; None where that is switched off.
    post, pre : Raster
        The images to subtract.
    sample : PairSample
        What the scales are estimated from.
    quality : QualitySources
        What decides about missing and doubtful pixels.
    correction : FieldCorrection or None
        How the scale varies over the canvas; None: not at all, or not corrected.
    """

    match: PsfMatch | None
    post: Raster
    pre: Raster
    sample: PairSample
    quality: QualitySources
    correction: FieldCorrection | None

    @property
    def messages(self) -> tuple[str, ...]:
        """Remarks in words."""
        found = [self.match.message] if self.match is not None else []
        if self.correction is not None:
            left = 100 * self.sample.field.predicted
            found.append(
                f"the scale follows the brightness ratio over the field; tiles left out of the "
                f"fit are predicted within {left:.1f} % beyond their noise"
            )
        return tuple(text for text in found if text)

    @property
    def post_noise_factor(self) -> float:
        """Factor that the matching puts on the variance of the noise of post."""
        return self.match.noise_factor if self.match and self.match.role == "post" else 1.0

    @property
    def sharpness_error_px2(self) -> float:
        """Standard error of the squared widths that were matched; 0 where nothing was matched."""
        return self.match.gap.error if self.match and self.match.role != "none" else 0.0

    def subtract(
        self,
        estimate: ScaleEstimate,
        interpolation: Interpolation,
        noise: DifferenceNoise | None = None,
    ) -> DifferenceRaster:
        """Return the difference by a scale.

        `interpolation` gives the factor of the resampling on the variance of pre.
        """
        lags = self.match.lags if self.match and self.match.role == "pre" else (1.0,)
        return DifferenceRaster(
            self.post,
            self.pre,
            scale=estimate.scale,
            offset=estimate.offset,
            quality=self.quality,
            noise=noise,
            resampling=self._resampling(interpolation, lags),
            correction=self.correction,
        )

    def unconvolved(
        self, post: Raster, pre: Raster, scale: float, interpolation: Interpolation
    ) -> Unconvolved | None:
        """Return both images as they were before the matching; None where nothing was matched."""
        if self.match is None or self.match.role == "none":
            return None
        correction = self.correction

        def scaled(rows: slice, cols: slice) -> FloatImage:
            image = pre.read(rows, cols).astype(np.float32)
            if correction is not None:
                image = correction.apply(image, rows, cols)
            return image * np.float32(scale)

        return Unconvolved(
            lambda rows, cols: post.read(rows, cols).astype(np.float32),
            scaled,
            self._resampling(interpolation, HIGH_PASS_LAGS),
        )

    def _resampling(self, interpolation: Interpolation, lags: tuple[float, ...]) -> WindowFactor:
        """Return the factor on the variance of pre: interpolation, a filter and the field together.

        The field enters once: shot noise grows as the light, of which the noise model sees the
        corrected amount.
        """
        correction = self.correction

        def factor(rows: slice, cols: slice) -> FloatImage:
            found = interpolation(rows, cols, lags)
            return found if correction is None else found * correction.relative(rows, cols)

        return factor

    def metrics(self) -> dict[str, Any]:
        """Return matching, tiles and field as JSON values for the record."""
        field, tiles = self.sample.field, self.sample.tiles
        return {
            "tile_scales": {
                "x": tiles.x.round(1).tolist(),
                "y": tiles.y.round(1).tolist(),
                "ratio": np.exp(tiles.log_ratio).round(6).tolist(),
                "error": tiles.error.round(6).tolist(),
            },
            "psf_match": None if self.match is None else self.match.to_dict(),
            "scale_field": None
            if field.is_flat
            else {
                **field.to_dict(),
                "pre_pedestal": self.sample.pedestal.pre,
                "is_applied": self.correction is not None,
            },
        }

    def cards(self) -> dict[str, Card]:
        """Return matching and field as cards of the primary header."""
        cards: dict[str, Card] = {}
        if self.match is not None and self.match.role != "none":
            cards["PSFROLE"] = (self.match.role, "image convolved to match the other")
            cards["PSFSIGMA"] = (self.match.sigma_px, "sigma of that Gaussian in px")
        if self.correction is not None:
            cards["SFIELD"] = (True, "scale varies; SCALE is its median")
            pedestal = self.correction.pre_pedestal
            cards["PEDPRE"] = (pedestal, "counts of pre that do not follow the field")
        return cards


def make_comparable(
    post: Raster,
    pre: Raster,
    quality: QualitySources,
    params: Mapping[str, Value],
    *,
    threads: int,
) -> ComparablePair:
    """Match the sharpness of two images, gather their sample, and decide about the field."""
    match, patches, sharpness = None, None, None
    if params["psf_match"] == "auto":
        patches = read_patches(post, pre, quality, threads=threads)
        match = match_psf(post, pre, quality, patches=patches)
        post, pre = match.post, match.pre
        sharpness = match.gap
        if match.role != "none":
            patches, sharpness = None, match.gap.after_matching()
        margin = quality.saturation_margin_px + match.saturation_margin_px
        quality = replace(quality, saturation_margin_px=margin)
    sample = sample_pairs(
        post,
        pre,
        quality.valid,
        post_window=quality.post_window,
        saturation_post=quality.saturation_post,
        saturation_pre=quality.saturation_pre,
        debris=quality.debris,
        patches=patches,
        sharpness=sharpness,
        threads=threads,
    )
    if params["scale_field"] == "off" or sample.field.is_flat:
        return ComparablePair(match, post, pre, sample, quality, None)
    correction = FieldCorrection(sample.field, sample.pedestal.pre)
    corrected = replace(sample, is_corrected=True)
    return ComparablePair(match, post, pre, corrected, quality, correction)
