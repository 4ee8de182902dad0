"""Stage 2: find the pre-stain image's place, rotation and magnification, to about a pixel."""

from collections.abc import Mapping
from typing import Any

from exo2micro.parameter import Value
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.borrowed import take_over
from exo2micro.stages.frames import preview_product, raw_frames


class CoarseStage(Stage):
    """Align by overviews and by the sample's outline, or take over a sibling dye's alignment."""

    number = 2
    stage_name = "icp_aligned"
    title = "coarse alignment"
    revision = 5
    reads = ((1, "post"), (1, "pre"))
    reads_sibling = True

    def checkpoints(self, params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
        """Return the aligned image and, if asked for, the one before the outline refinement."""
        has_before = params["save_all_intermediates"] and params["borrow_from"] is None
        return (("pre", ""), ("coarse_pre", "")) if has_before else (("pre", ""),)

    def process(self, inputs: StageInputs) -> StageOutput:
        """Align coarsely and resample the pre-stain image."""
        from exo2micro.alignment.coarse import CoarseSettings, coarse_align

        if inputs.sibling is not None:
            return take_over(inputs, inputs.sibling)
        post, pre = raw_frames(inputs)
        values: dict[str, Any] = dict(inputs.params)
        save_before = values.pop("save_all_intermediates")
        del values["borrow_from"]
        result = coarse_align(post, pre, CoarseSettings(**values), threads=inputs.threads)
        products = [preview_product(inputs, result.transform)]
        if save_before:
            products.append(preview_product(inputs, result.before_icp, name="coarse_pre"))
        return StageOutput(
            tuple(products),
            transform=result.transform.to_dict(),
            metrics=result.metrics,
            verdict=result.verdict,
            messages=result.messages,
        )
