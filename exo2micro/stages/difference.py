"""Stage 4: estimate the brightness scale and subtract."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from exo2micro.alignment.transform import Transform
from exo2micro.parameter import Value
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.header import Card
from exo2micro.raster.record import Record
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.comparable import ComparablePair, make_comparable
from exo2micro.stages.difference_planes import (
    DifferenceSource,
    describe_noise,
    noise_cards,
    plane_specs,
)
from exo2micro.stages.frames import (
    CanvasValidity,
    certificate_cards,
    low_confidence,
    post_window,
)
from exo2micro.subtraction.confidence import registration_error
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.noise import ROUNDING_VARIANCE, CameraNoise, DifferenceNoise
from exo2micro.subtraction.noise_estimate import NoiseEstimate, estimate_noise
from exo2micro.subtraction.photon_transfer import GivenNoise
from exo2micro.subtraction.scale import (
    ScaleEstimate,
    active_estimators,
    estimate_scales,
    verdict_on_run,
)
from exo2micro.subtraction.tally import DifferenceTally
from exo2micro.verdict import Verdict

DECIDED = "scales_verdict"
"""Metric: what the scales that decide about the run say."""

Z_95 = 1.959963984540054
"""Half-width of a 95 % interval over the standard error."""


class DifferenceStage(Stage):
    """Subtract the scaled pre-stain image: ``difference = post - scale * aligned_pre - offset``."""

    number = 4
    stage_name = "difference"
    title = "scale and difference"
    revision = 8
    reads = ((1, "post"), (3, "pre"))
    both_formats = True
    withheld_on_fail = True

    def checkpoints(self, params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
        """Return the difference by each active scale, the canonical one first."""
        estimators = active_estimators(params)
        labels = ["" if i == 0 else e.label(params) for i, e in enumerate(estimators)]
        return tuple(("difference", label) for label in labels)

    def process(self, inputs: StageInputs) -> StageOutput:
        """Estimate every active scale and make its difference."""
        post, pre = inputs.rasters[(1, "post")], inputs.rasters[(3, "pre")]
        alignment = inputs.upstream(3)
        facts = alignment.facts
        valid = CanvasValidity(facts, Transform.from_dict(alignment.transform or {}))
        quality = QualitySources(
            valid=valid,
            post_window=post_window(facts),
            saturation_post=_saturation(facts, "post"),
            saturation_pre=_saturation(facts, "pre"),
            low_confidence=low_confidence(alignment),
        )
        pair = make_comparable(post, pre, quality, inputs.params, threads=inputs.threads)
        estimates = estimate_scales(pair.sample, inputs.params)
        canonical = next(iter(estimates.values()))
        metrics: dict[str, Any] = {"scales": [describe_estimate(e) for e in estimates.values()]}
        metrics |= pair.metrics()
        decided = verdict_on_run(estimates)
        metrics[DECIDED] = {"level": decided.level.name, "reasons": list(decided.reasons)}
        messages, noise = (*_remarks(estimates), *pair.messages), None
        judged = alignment.verdict
        if inputs.params["planes"] == "all":
            found = _estimate_noise(pair, canonical, valid, inputs)
            metrics["noise"] = describe_noise(found)
            messages, noise = (*messages, *found.messages), found.noise
            judged = Verdict.worst([judged, found.verdict])
        certified = certificate_cards(alignment.metrics.get("certificate")) | pair.cards()
        products = tuple(
            _product(
                pair.subtract(e, valid.noise_factor, _noise_of(noise, e)),
                label,
                e,
                certified,
                Verdict.worst([judged, e.verdict]),
            )
            for label, e in estimates.items()
        )
        return StageOutput(
            products,
            transform=alignment.transform,
            metrics=metrics,
            verdict=Verdict.worst([judged, canonical.verdict]),
            messages=messages,
        )


def scales_verdict(difference: Record) -> Verdict:
    """Return what the scales that decide about a run say: the canonical one and those asked for."""
    found = difference.metrics.get(DECIDED)
    return Verdict() if found is None else Verdict.from_words(found["level"], found["reasons"])


def _remarks(estimates: Mapping[str, ScaleEstimate]) -> tuple[str, ...]:
    """Return what the estimators say, each remark once, with the label of whose it is."""
    found: dict[str, str] = {}
    for label, estimate in estimates.items():
        for text in estimate.messages:
            found.setdefault(text, f"{label}: {text}" if label else text)
    return tuple(found.values())


def describe_estimate(estimate: ScaleEstimate) -> dict[str, Any]:
    """Return an estimate as JSON values; `estimate_from` restores it."""
    description = asdict(estimate)
    description["verdict"] = {
        "level": estimate.verdict.level.name,
        "reasons": list(estimate.verdict.reasons),
    }
    description["curve"] = {k: np.asarray(v).tolist() for k, v in estimate.curve.items()}
    description["metrics"] = {k: float(v) for k, v in estimate.metrics.items()}
    description["interval"] = list(estimate.interval)
    return description


def estimate_from(description: Mapping[str, Any]) -> ScaleEstimate:
    """Return the estimate that `describe_estimate` described."""
    verdict = description["verdict"]
    return ScaleEstimate(
        **{
            **description,
            "interval": tuple(description["interval"]),
            "messages": tuple(description["messages"]),
            "verdict": Verdict.from_words(verdict["level"], verdict["reasons"]),
            "curve": {k: np.asarray(v, float) for k, v in description["curve"].items()},
        }
    )


def _estimate_noise(
    pair: ComparablePair, estimate: ScaleEstimate, valid: CanvasValidity, inputs: StageInputs
) -> NoiseEstimate:
    """Measure the noise of the canonical difference."""
    levels = inputs.facts["saturation"]
    post, pre = (
        CameraNoise(
            0.0,
            0.0,
            pedestal=getattr(pair.sample.pedestal, role),
            rounding=0.0 if levels[role] is None else ROUNDING_VARIANCE,
        )
        for role in ("post", "pre")
    )
    registration_px, known = registration_error(inputs.upstream(3).metrics.get("certificate"))
    start = DifferenceNoise(
        post,
        pre,
        scale_error=estimate.half_width / Z_95,
        offset_error=pair.sample.pedestal.error,
        registration_px=registration_px,
        post_factor=pair.post_noise_factor,
        sharpness_px2=pair.sharpness_error_px2,
    )
    found = estimate_noise(
        pair.subtract(estimate, valid.noise_factor),
        start,
        (_given(inputs, "post"), _given(inputs, "pre")),
        unconvolved=pair.unconvolved(
            inputs.rasters[(1, "post")],
            inputs.rasters[(3, "pre")],
            estimate.scale,
            valid.noise_factor,
        ),
        threads=inputs.threads,
    )
    return found.doubted(known)


def _noise_of(noise: DifferenceNoise | None, estimate: ScaleEstimate) -> DifferenceNoise | None:
    """Return the noise with the error of a scale."""
    return replace(noise, scale_error=estimate.half_width / Z_95) if noise else None


def _given(inputs: StageInputs, role: str) -> GivenNoise:
    """Return what the user knows of a camera."""
    gain, read_noise = (inputs.params[f"{name}_{role}"] for name in ("gain", "read_noise"))
    return GivenNoise(
        None if gain is None else float(gain), None if read_noise is None else float(read_noise)
    )


def _product(
    difference: DifferenceRaster,
    label: str,
    estimate: ScaleEstimate,
    certified: Mapping[str, Card],
    verdict: Verdict,
) -> Product:
    tally = DifferenceTally(difference.shape[0] * difference.shape[1])
    cards: dict[str, Card] = {
        "SCALE": (estimate.scale, "brightness ratio post/pre of the background"),
        "SCALEK": (label or estimate.name, "how the scale was found"),
        "SCALELO": (estimate.interval[0], "lower end of the scale's 95 % interval"),
        "SCALEHI": (estimate.interval[1], "upper end of the scale's 95 % interval"),
        "OFFSET": (estimate.offset, "counts subtracted beside scale * pre"),
        **certified,
    }
    if difference.noise is not None:
        cards |= noise_cards(difference.noise)
    return Product(
        "difference",
        DifferenceSource(difference),
        label=label,
        cards=cards,
        planes=plane_specs(with_noise=difference.noise is not None),
        sinks=(lambda band: tally.add(band.planes),),
        summary=lambda: {"statistics": tally.summary()},
        verdict=verdict,
    )


def _saturation(facts: Mapping[str, Any], role: str) -> float | None:
    """Return the level at which a raw image saturates; it outlives the resampling to float."""
    level = facts["saturation"][role]
    return None if level is None else float(level)
