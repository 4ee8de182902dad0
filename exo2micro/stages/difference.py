"""Stage 4: estimate the brightness scale and subtract."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from astropy.io import fits

from exo2micro._typing import Image
from exo2micro.alignment.transform import Transform
from exo2micro.parameter import Value
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.fits_tiles import PlaneSpec
from exo2micro.raster.header import Card
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.frames import CanvasValidity, post_window
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.quality import DQ, header_cards
from exo2micro.subtraction.sampling import sample_pairs
from exo2micro.subtraction.scale import ScaleEstimate, active_estimators, estimate_scales
from exo2micro.subtraction.tally import DifferenceTally
from exo2micro.verdict import Verdict


class DifferenceStage(Stage):
    """Subtract the scaled pre-stain image: ``difference = post - scale * aligned_pre - offset``."""

    number = 4
    stage_name = "difference"
    title = "scale and difference"
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
        )
        sample = sample_pairs(
            post,
            pre,
            valid,
            post_window=quality.post_window,
            saturation_post=quality.saturation_post,
            saturation_pre=quality.saturation_pre,
            threads=inputs.threads,
        )
        estimates = estimate_scales(sample, inputs.params)
        products = tuple(
            _product(
                DifferenceRaster(
                    post, pre, scale=scale.scale, offset=scale.offset, quality=quality
                ),
                label,
                scale,
            )
            for label, scale in estimates.items()
        )
        canonical = next(iter(estimates.values()))
        return StageOutput(
            products,
            transform=alignment.transform,
            metrics={"scales": [describe_estimate(e) for e in estimates.values()]},
            verdict=Verdict.worst([alignment.verdict, *(e.verdict for e in estimates.values())]),
            messages=canonical.messages,
        )


class DifferenceSource:
    """A difference and its data quality as one source of planes."""

    def __init__(self, difference: DifferenceRaster, window: tuple[slice, slice]) -> None:
        self.shape = difference.shape
        self.dtype = difference.dtype
        self.extent = window
        self._difference = difference

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Image]:
        """Return the window of ``data`` and ``DQ``."""
        data, quality = self._difference.read_with_quality(rows, cols)
        return {"data": data, "DQ": quality}


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


def _product(difference: DifferenceRaster, label: str, estimate: ScaleEstimate) -> Product:
    tally = DifferenceTally(difference.shape[0] * difference.shape[1])
    window = difference.quality.post_window or (
        slice(0, difference.shape[0]),
        slice(0, difference.shape[1]),
    )
    cards: dict[str, Card] = {
        "SCALE": (estimate.scale, "brightness ratio post/pre of the background"),
        "SCALEK": (label or estimate.name, "how the scale was found"),
        "SCALELO": (estimate.interval[0], "lower end of the scale's 95 % interval"),
        "SCALEHI": (estimate.interval[1], "upper end of the scale's 95 % interval"),
        "OFFSET": (estimate.offset, "counts subtracted beside scale * pre"),
    }
    quality_cards = fits.Header()
    for keyword, value, text in header_cards():
        quality_cards[keyword] = (value, text)
    plane = PlaneSpec("DQ", np.dtype(np.uint8), int(DQ.BORDER), quality_cards)
    return Product(
        "difference",
        DifferenceSource(difference, window),
        label=label,
        cards=cards,
        planes=(plane,),
        sinks=(lambda band: tally.add(band.planes),),
        summary=lambda: {"statistics": tally.summary()},
    )


def _saturation(facts: Mapping[str, Any], role: str) -> float | None:
    """Return the level at which a raw image saturates; it outlives the resampling to float."""
    level = facts["saturation"][role]
    return None if level is None else float(level)
