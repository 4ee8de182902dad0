"""Stage 2: find the pre-stain image's place, rotation and magnification, to about a pixel."""

from collections.abc import Mapping
from typing import Any

from exo2micro.parameter import Value
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.frames import aligned_product, raw_frames


class CoarseStage(Stage):
    """Align by overviews and by the sample's outline."""

    number = 2
    stage_name = "icp_aligned"
    title = "coarse alignment"
    reads = ((1, "post"), (1, "pre"))

    def checkpoints(self, params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
        """Return the aligned image and, if asked for, the one before the outline refinement."""
        before = (("coarse_pre", ""),) if params["save_all_intermediates"] else ()
        return (("pre", ""), *before)

    def process(self, inputs: StageInputs) -> StageOutput:
        """Align coarsely and resample the pre-stain image."""
        from exo2micro.alignment.coarse import CoarseSettings, coarse_align

        post, pre = raw_frames(inputs)
        values: dict[str, Any] = dict(inputs.params)
        save_before = values.pop("save_all_intermediates")
        result = coarse_align(post, pre, CoarseSettings(**values), threads=inputs.threads)
        products = [aligned_product(inputs, result.transform)]
        if save_before:
            products.append(aligned_product(inputs, result.before_icp, name="coarse_pre"))
        return StageOutput(
            tuple(products),
            transform=result.transform.to_dict(),
            metrics=result.metrics,
            verdict=result.verdict,
            messages=result.messages,
        )
