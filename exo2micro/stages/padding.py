"""Stage 1: both raw images, one channel each, on one canvas with a dark border."""

from collections.abc import Mapping
from typing import Any

from exo2micro.raster.base import OffsetRaster, Raster
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.stream import RasterSource
from exo2micro.stages.base import Stage, StageInputs, StageOutput


class PaddingStage(Stage):
    """Place post-stain and pre-stain image on one canvas at ``(pad, pad)``."""

    number = 1
    stage_name = "padded"
    title = "read and pad"
    revision = 2
    reads_raw = True
    names = ("post", "pre")

    def process(self, inputs: StageInputs) -> StageOutput:
        """Pad both images; nothing is resampled."""
        pair = inputs.pair
        assert pair is not None
        pad = int(inputs.params["pad"] or 0)
        rasters = {"post": pair.post, "pre": pair.pre}
        canvas = (
            max(r.shape[0] for r in rasters.values()) + 2 * pad,
            max(r.shape[1] for r in rasters.values()) + 2 * pad,
        )
        products = tuple(
            Product(name, RasterSource(OffsetRaster(raster, canvas, (pad, pad))))
            for name, raster in rasters.items()
        )
        facts = canvas_facts(canvas, pad, rasters) | {
            "pixel_size_um": list(pair.pixel_size_um) if pair.pixel_size_um else None
        }
        metrics = {"channel": pair.channel.name, "channel_reason": pair.channel.reason}
        return StageOutput(
            products,
            facts=facts,
            metrics=metrics,
            messages=(f"channel {pair.channel.name}: {pair.channel.reason}", *pair.warnings),
        )


def canvas_facts(
    canvas: tuple[int, int], pad: int, rasters: Mapping[str, Raster]
) -> dict[str, Any]:
    """Return what later stages read of the canvas and the raw images ``post`` and ``pre``."""
    return {
        "offset": [pad, pad],
        "canvas_shape": list(canvas),
        "post_shape": list(rasters["post"].shape),
        "pre_shape": list(rasters["pre"].shape),
        "pixel_size_um": None,
        "saturation": {role: raster.saturates_at for role, raster in rasters.items()},
    }
