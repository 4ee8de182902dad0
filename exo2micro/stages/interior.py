"""Stage 3: refine the alignment on the sample's interior and certify it on held-out tiles."""

from typing import Any

from exo2micro.alignment.transform import Transform
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.borrowed import BORROWED, confirm
from exo2micro.stages.frames import aligned_product
from exo2micro.verdict import Verdict


class InteriorStage(Stage):
    """Align to a fraction of a pixel; the transform is composed and resampled once."""

    number = 3
    stage_name = "interior_aligned"
    title = "interior alignment"
    revision = 6
    names = ("pre",)
    reads = ((1, "post"), (1, "pre"), (2, "pre"))

    def process(self, inputs: StageInputs) -> StageOutput:
        """Refine, certify and resample the raw pre-stain pixels by the final transform."""
        from exo2micro.alignment.functions import as_doubt
        from exo2micro.alignment.interior import InteriorSettings
        from exo2micro.stages.matching import refine

        if BORROWED in inputs.facts:
            return confirm(inputs)
        values: dict[str, Any] = dict(inputs.params)
        coarse = inputs.upstream(2)
        initial = Transform.from_dict(coarse.transform or {})
        result = refine(inputs, initial, InteriorSettings(**values))
        certificate = result.certificate.to_dict()
        return StageOutput(
            (aligned_product(inputs, result.transform, certificate),),
            transform=result.transform.to_dict(),
            metrics={**result.metrics, "certificate": certificate},
            verdict=Verdict.worst([result.verdict, as_doubt(coarse.verdict)]),
            messages=(*result.messages, result.certificate.summary),
        )
