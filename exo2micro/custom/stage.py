"""An extra stage: a custom function on the images of the stage that it follows."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from exo2micro._typing import Image
from exo2micro.alignment.transform import Transform
from exo2micro.custom.step import FIRST_DIFFERENCE_STAGE, ResolvedStep
from exo2micro.custom.windowed import AppliedFunction, AppliedRaster
from exo2micro.raster.base import OffsetRaster, Raster
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.stream import RasterSource
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.stages.frames import CanvasValidity, post_window
from exo2micro.verdict import Level, Verdict

MATCHING_STAGE = 2
"""A step after this stage changes what stage 3 matches, not what it resamples."""

_LAST_ALIGNMENT = 3
_REPLACING = (1, 3)  # a step after one of these stages changes what all later ones read


class FunctionStage(Stage, ABC):
    """A custom function as a stage; ABC keeps it out of the registry.

    Parameters
    ----------
    resolved : ResolvedStep
        Function, values and place.
    position : int
        Place among all extra stages of the run.
    """

    def __init__(self, resolved: ResolvedStep, position: int) -> None:
        self.resolved = resolved
        self.position = position
        role = resolved.step.applies_to
        self.roles = ("post", "pre") if role == "pair" else (role,)
        number = resolved.step.after
        # On the instance: the class serves many functions.
        vars(self)["number"] = number
        vars(self).update(
            stage_name=resolved.name,
            title=resolved.title,
            names=self.roles,
            reads=tuple(self.key_of(role) for role in self.roles),
            withheld_on_fail=number >= FIRST_DIFFERENCE_STAGE,
        )

    def key_of(self, role: str) -> tuple[int, str]:
        """Return the checkpoint that a role means after this stage's number."""
        number = self.number or 0
        if role == "post":
            return 1, role
        if role == "pre":
            return min(number, _LAST_ALIGNMENT), role
        return FIRST_DIFFERENCE_STAGE, role

    def replaces(self, key: tuple[int, str], reader: Stage) -> str:
        """Return the role whose result a later stage reads instead of a checkpoint, empty if none.

        A step after stage 2 is for the matching of stage 3 alone (`feeds_matching_of`), one after
        stage 4 for the steps that follow it.
        """
        number, later = self.number or 0, reader.number or 0
        if isinstance(reader, FunctionStage):
            follows = reader.position > self.position
            concerned = follows and (later == number or number != MATCHING_STAGE)
        else:
            concerned = later > number and number in _REPLACING
        return next((role for role in self.roles if concerned and self.key_of(role) == key), "")

    def feeds_matching_of(self, reader: Stage) -> bool:
        """Tell whether a stage is to match this step's images without resampling them."""
        return (
            self.number == MATCHING_STAGE
            and reader.number == MATCHING_STAGE + 1
            and (not isinstance(reader, FunctionStage))
        )

    def process(self, inputs: StageInputs) -> StageOutput:
        """Apply the function to the part of the canvas that the images cover."""
        window = self._window(inputs)
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        offset = (window[0].start, window[1].start)
        sources = [
            OffsetRaster(inputs.rasters[key], shape, (-offset[0], -offset[1])) for key in self.reads
        ]
        applied = AppliedFunction(self.resolved, sources)
        latest = inputs.records[max(inputs.records)]
        valid = self._validity(inputs)
        canvas = tuple(inputs.facts["canvas_shape"])
        products = []
        for plane, role in enumerate(self.roles):
            own = tuple(inputs.facts[f"{role}_shape"]) if self.number == 1 else shape
            result = OffsetRaster(AppliedRaster(applied, plane), own, (0, 0))
            placed: Raster = OffsetRaster(result, canvas, offset)
            if role != "post" and valid is not None:
                placed = Masked(placed, valid)
            source = RasterSource(placed)
            products.append(Product(role, source, summary=lambda: {"function": applied.summary()}))
        return StageOutput(tuple(products), transform=latest.transform, verdict=self.verdict())

    def verdict(self) -> Verdict:
        """Return CHECK where the noise is no longer that of the camera."""
        if not self.resolved.alters_noise:
            return Verdict()
        return Verdict.check(
            f"the extra stage {self.resolved.name} after stage {self.number} alters the noise; "
            "the significance (SNR) is not calibrated"
        )

    def _window(self, inputs: StageInputs) -> tuple[slice, slice]:
        """Return rows and columns of the canvas that the images cover."""
        facts = inputs.facts
        if self.number != 1:
            return post_window(facts)
        row, col = facts["offset"]
        shapes = [facts[f"{role}_shape"] for role in self.roles]
        ny, nx = (max(sizes) for sizes in zip(*shapes, strict=True))
        return slice(row, row + ny), slice(col, col + nx)

    def _validity(self, inputs: StageInputs) -> CanvasValidity | None:
        """Return where the aligned pre-stain image has data, None before it is aligned."""
        aligned = inputs.records[max(inputs.records)]
        if self.number == 1 or aligned.transform is None:
            return None
        return CanvasValidity(aligned.facts, Transform.from_dict(aligned.transform))


def doubted(output: StageOutput, doubts: Sequence[Verdict]) -> StageOutput:
    """Return a result with what extra stages do to the trust in it, its significance labelled."""
    verdict = Verdict.worst([output.verdict, *doubts])
    products = tuple(
        replace(p, verdict=Verdict.worst([p.verdict, *doubts]) if p.verdict else None)
        for p in output.products
    )
    if any(doubt.level is not Level.PASS for doubt in doubts):
        planes = [plane for product in output.products for plane in product.planes]
        for plane in planes:
            if plane.name == "SNR":
                plane.header["SNRCAL"] = (False, "extra stages altered the noise")
    return replace(output, products=products, verdict=verdict)


class Masked(Raster):
    """Another raster, exactly 0 where there is no data.

    Parameters
    ----------
    source : Raster
        The image.
    valid : CanvasValidity
        Where there is data.
    """

    def __init__(self, source: Raster, valid: CanvasValidity) -> None:
        self._source = source
        self._valid = valid
        self.shape = source.shape
        self.dtype = source.dtype

    @property
    def extent(self) -> tuple[slice, slice]:
        """The extent of the image itself."""
        return self._source.extent

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window with zeros where there is no data."""
        return np.where(self._valid(rows, cols), self._source.read(rows, cols), self.dtype.type(0))
