"""Stage 3 where extra stages made the images that it matches."""

from dataclasses import replace

from exo2micro.alignment.functions import as_doubt
from exo2micro.alignment.interior import InteriorResult, InteriorSettings, refine_interior
from exo2micro.alignment.transform import Transform
from exo2micro.raster.base import OffsetRaster, Raster
from exo2micro.stages.base import StageInputs
from exo2micro.stages.frames import raw_frames
from exo2micro.verdict import Verdict


def refine(inputs: StageInputs, initial: Transform, settings: InteriorSettings) -> InteriorResult:
    """Refine an alignment; the images as measured certify it, whatever images were matched."""
    post, pre = raw_frames(inputs)
    if not inputs.matching:
        return refine_interior(post, pre, initial, settings, threads=inputs.threads)
    found = _on_altered(inputs, post, pre, initial, settings)
    only_certify = replace(settings, interior_ecc=False)
    judged = refine_interior(post, pre, found.transform, only_certify, threads=inputs.threads)
    remark = "an extra stage altered the images that were matched; those as measured certify it"
    return replace(
        judged,
        verdict=Verdict.worst([judged.verdict, as_doubt(found.verdict)]),
        metrics={**judged.metrics, **found.metrics},
        messages=(*found.messages, remark),
    )


def _on_altered(
    inputs: StageInputs,
    post: Raster,
    pre: Raster,
    initial: Transform,
    settings: InteriorSettings,
) -> InteriorResult:
    """Refine on the images of extra stages; an altered pre is aligned coarsely already."""
    row, col = inputs.facts["offset"]
    shape = tuple(inputs.facts["post_shape"])
    altered = {
        role: OffsetRaster(raster, shape, (-row, -col)) for role, raster in inputs.matching.items()
    }
    post = altered.get("post", post)
    if "pre" not in altered:
        return refine_interior(post, pre, initial, settings, threads=inputs.threads)
    start = Transform.identity()
    found = refine_interior(post, altered["pre"], start, settings, threads=inputs.threads)
    return replace(found, transform=initial.straight @ found.transform)
