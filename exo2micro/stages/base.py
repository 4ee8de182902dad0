"""The stage family: a numbered step that declares what it reads, writes and is steered by."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from exo2micro.defaults import STAGE_NAMES, parameters_of
from exo2micro.errors import ParameterError
from exo2micro.parameter import Value
from exo2micro.raster.base import Raster
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.record import Record
from exo2micro.registry import AutoRegisterMeta
from exo2micro.verdict import Verdict

if TYPE_CHECKING:
    from exo2micro.raw import RawPair


@dataclass(frozen=True)
class StageInputs:
    """What a stage works on.

    Attributes
    ----------
    params : mapping
        Values of the stage's own parameters.
    rasters : mapping
        Upstream checkpoints by ``(stage, name)``, as declared in `Stage.reads`.
    records : mapping
        Main record of each upstream stage by number.
    pair : RawPair or None
        The raw files, for a stage that declares `Stage.reads_raw`.
    threads : int
        Threads to use; no result depends on it.
    sibling : Record or None
        Stage-3 record of the dye that lends its alignment, for a stage that declares
        `Stage.reads_sibling`.
    matching : mapping
        Images by role, ``post`` and ``pre`` on post's canvas, that stage 3 is to match instead of
        those that it resamples; empty where no extra stage made any.
    """

    params: Mapping[str, Value]
    rasters: Mapping[tuple[int, str], Raster]
    records: Mapping[int, Record]
    pair: "RawPair | None"
    threads: int
    sibling: Record | None = None
    matching: Mapping[str, Raster] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the latest upstream stage."""
        return self.records[max(self.records)].facts if self.records else {}

    def upstream(self, stage: int) -> Record:
        """Return an upstream stage's main record."""
        return self.records[stage]


@dataclass(frozen=True)
class StageOutput:
    """What a stage found.

    Attributes
    ----------
    products : tuple of Product
        Images to be written, in the order of `Stage.checkpoints`; empty if withheld.
    transform : mapping or None
        Post-to-pre mapping in raw pixels, as `Transform.to_dict` gives it.
    facts : mapping
        JSON values that later stages read; those of earlier stages are carried on.
    metrics : mapping
        JSON values for people.
    verdict : Verdict
        Trust in this stage's result.
    messages : tuple of str
        Remarks in words.
    """

    products: tuple[Product, ...]
    transform: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    messages: tuple[str, ...] = ()


class Stage(metaclass=AutoRegisterMeta):
    """A numbered step of the pipeline. It holds no I/O, no plotting and no state.

    Attributes
    ----------
    number : int
        Place in the pipeline; key of the family.
    stage_name : str
        Name in file names.
    title : str
        Name for people.
    revision : int
        Raised whenever the same input gives another result.
    names : tuple of str
        Names of the images that it writes, the main one first.
    reads : tuple of (int, str)
        Upstream checkpoints ``(stage, name)`` that `process` gets as rasters.
    reads_raw : bool
        Whether it reads the raw files.
    reads_sibling : bool
        Whether it may take over the alignment of another dye of the sample.
    both_formats : bool
        Whether its images are always written as TIFF and FITS.
    withheld_on_fail : bool
        Whether its images are not written where the verdict is FAIL.
    """

    __registry_key__ = "number"
    __registry_name__ = "stage"
    __registry_policy__ = "error"
    __skip_if_no_key__ = True

    number: ClassVar[int | None] = None
    stage_name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[tuple[int, str], ...]] = ()
    reads_raw: ClassVar[bool] = False
    reads_sibling: ClassVar[bool] = False
    both_formats: ClassVar[bool] = False
    withheld_on_fail: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        if cls.number is not None:
            name_stage(cls.number, cls.stage_name)

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the names of the parameters that steer this stage."""
        return parameters_of(cls.number or 0)

    def checkpoints(self, params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """Return ``(name, label)`` of each image that it writes, the main one first."""
        return tuple((name, "") for name in self.names)

    @abstractmethod
    def process(self, inputs: StageInputs) -> StageOutput:
        """Do the work on rasters and return the result; nothing is written here."""


def name_stage(number: int, name: str) -> None:
    """Enter a stage into `STAGE_NAMES`.

    Raises
    ------
    ParameterError
        If the number is taken by a stage of another name.
    """
    if STAGE_NAMES.setdefault(number, name) != name:
        msg = f"stage {number} is already called {STAGE_NAMES[number]!r}, cannot call it {name!r}"
        raise ParameterError(msg)
