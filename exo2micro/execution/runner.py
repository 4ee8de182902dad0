"""Running the stages of one pair: inputs from checkpoints, results into checkpoints."""

import datetime
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from exo2micro._version import __version__
from exo2micro.custom.run_code import CustomCode
from exo2micro.custom.stage import FunctionStage, doubted
from exo2micro.custom.step import FIRST_DIFFERENCE_STAGE
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ParameterError
from exo2micro.execution.machine import (
    cost_since,
    memory_report,
    reset_peak_memory,
    single_threaded_libraries,
)
from exo2micro.execution.plan import PlannedStage, Request, failed_label, plan_stage
from exo2micro.raster.base import Raster
from exo2micro.raster.checkpoint import CheckpointStore, Product
from exo2micro.raster.paths import EXTENSIONS
from exo2micro.raster.record import FileStamp, Record
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.verdict import Level, Verdict

if TYPE_CHECKING:
    from exo2micro.raw import RawPair

logger = logging.getLogger(__name__)


@dataclass
class StageRunner:
    """Plans and runs the stages of one pair.

    Attributes
    ----------
    store : CheckpointStore
        The pair's checkpoints.
    stages : mapping
        The stages by number.
    request : Request
        Parameters and switches.
    formats : tuple of str
        Formats in which intermediate images are written.
    threads : int
        Threads to use.
    load_pair : callable
        Returns the raw pair.
    raw_stamps : callable
        Finds the raw files, given their stamps in the last record; returns what takes their stamps
        now.
    code : mapping
        Hash of the custom code that takes part, by stage number.
    sibling : Record or None
        Stage-3 record of the dye that lends its alignment.
    custom : CustomCode
        Custom functions of the run; its extra stages are those of `request`.
    """

    store: CheckpointStore
    stages: Mapping[int, Stage]
    request: Request
    formats: tuple[str, ...]
    threads: int
    load_pair: Callable[[], "RawPair"]
    raw_stamps: Callable[[Mapping[str, FileStamp]], Callable[[], Mapping[str, FileStamp]]]
    code: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    sibling: Record | None = None
    custom: CustomCode = field(default_factory=CustomCode)

    def __post_init__(self) -> None:
        self.records: dict[tuple[int, str], Record] = {}
        self.steps = [FunctionStage(r, place) for place, r in enumerate(self.request.steps)]
        lost = next((step for step in self.steps if step.number not in self.stages), None)
        if lost is not None:
            msg = (
                f"the extra stage {lost.stage_name} follows stage {lost.number}, which this run "
                f"does not have; its stages are {list(self.stages)}"
            )
            raise ParameterError(msg)
        self.step_records: dict[tuple[int, str], Record] = {}
        self._stamps: Callable[[], Mapping[str, FileStamp]] | None = None
        self.memory_debug = False

    def sequence(self, numbers: Sequence[int]) -> list[Stage]:
        """Return the stages of these numbers, each followed by the extra stages after it."""
        return [
            stage
            for number in numbers
            for stage in (self.stages[number], *(s for s in self.steps if s.number == number))
        ]

    def plan(self, stage: Stage, forced: Mapping[int, str] | None = None) -> PlannedStage:
        """Return the plan of one stage; the stages that it reads are planned before it.

        `forced` gives the reason for the stage numbers that are computed anew in any case.
        """
        number, position = stage.number or 0, position_of(stage)
        sources = self._sources(stage)
        missing = next((name for name, record in sources.items() if record is None), None)
        if missing is not None:
            reason = f"depends on stage {missing.split()[0]}"
            planned = PlannedStage(number, stage.title, "run", reason)
        else:
            if stage.reads_raw:
                self._found_raw(stage)
            planned = plan_stage(
                stage,
                self.store,
                self.request,
                partial(self.inputs, stage),
                partial(self._code_of, stage),
            )
        if planned.action != "run" and forced and number in forced:
            planned = replace(planned, action="run", reason=forced[number], records=())
        if planned.action == "run":
            self.forget(stage)
        for record in planned.records:
            self._remember(stage, record)
        return replace(planned, position=position)

    def plan_all(self, numbers: Sequence[int], forced: Mapping[int, str]) -> list[PlannedStage]:
        """Return the plan of several stages and of the extra stages after them."""
        return [self.plan(stage, forced) for stage in self.sequence(numbers)]

    def numbers(self, to_stage: int | None) -> list[int]:
        """Return the numbers of all stages up to one.

        Raises
        ------
        ParameterError
            If there is no such stage.
        """
        if to_stage is not None and to_stage not in self.stages:
            msg = f"to_stage must be one of {list(self.stages)}, got {to_stage!r}"
            raise ParameterError(msg)
        return [n for n in self.stages if to_stage is None or n <= to_stage]

    def forget(self, stage: Stage) -> None:
        """Drop what is known of a stage's result, so that later stages wait for it."""
        if isinstance(stage, FunctionStage):
            place = stage.position
            self.step_records = {k: r for k, r in self.step_records.items() if k[0] != place}
        else:
            self.records = {k: r for k, r in self.records.items() if k[0] != stage.number}

    def source(self, stage: Stage, key: tuple[int, str]) -> Record | None:
        """Return the record of what a stage reads as a checkpoint: an extra stage may replace it.

        None if it is not valid.
        """
        for step in reversed(self.steps):
            if role := step.replaces(key, stage):
                return self.step_records.get((step.position, role))
        return self.records.get(key)

    def doubts(self) -> list[Verdict]:
        """Return what the extra stages before the difference do to the trust in the result."""
        done = {position for position, _ in self.step_records}
        before = [s for s in self.steps if (s.number or 0) < FIRST_DIFFERENCE_STAGE]
        return [step.verdict() for step in before if step.position in done]

    def record_of(self, row: PlannedStage) -> Record | None:
        """Return the main record of a planned stage, None if it is not valid."""
        if row.position is None:
            return self.main_record(row.number)
        return self.step_records.get((row.position, self.steps[row.position].roles[0]))

    def main_record(self, number: int) -> Record | None:
        """Return the main record of a stage, None if it is not valid."""
        return next((r for key, r in self.records.items() if key[0] == number), None)

    def main_records(self) -> dict[int, Record]:
        """Return the main record of each stage that has a valid one."""
        return {n: record for n in self.stages if (record := self.main_record(n))}

    def inputs(self, stage: Stage) -> dict[str, str]:
        """Return what a stage would read now, by name."""
        found = self._sources(stage).items()
        inputs = {name: record.fingerprint for name, record in found if record is not None}
        if stage.reads_raw:
            inputs |= {f"raw {role}": stamp.sha256 for role, stamp in self._raw(stage).items()}
        if stage.reads_sibling and self.sibling:
            inputs[f"alignment of {self.sibling.dye}"] = self.sibling.fingerprint
        return inputs

    def execute(self, stage: Stage) -> tuple[Record, ...]:
        """Run one stage and write its checkpoints; return their records, the main one first."""
        with single_threaded_libraries():
            return self._execute(stage)

    def open(self, record: Record) -> Raster:
        """Return a checkpoint as a raster; images that were removed to save disk are made again."""
        if record.removed and not self.store.files(record.base, record.suffix):
            stage = next(
                (self.steps[place] for (place, _), r in self.step_records.items() if r is record),
                self.stages[record.stage],
            )
            logger.info("stage %d: its images were removed and are made again", record.stage)
            self.execute(stage)
        return self.store.open(record)

    def _execute(self, stage: Stage) -> tuple[Record, ...]:
        started = time.perf_counter()
        reset_peak_memory()
        if stage.reads_raw:
            self._raw(stage)  # a file that changes while it is read differs from its stamp then
        upstream = {n: record for n in self._reads(stage) if (record := self.main_record(n))}
        if (withheld := self._withheld_by(stage, upstream)) is not None:
            output = StageOutput((), withheld.transform, verdict=withheld.verdict)
        else:
            output = stage.process(self._stage_inputs(stage, upstream))
        if (stage.number or 0) >= FIRST_DIFFERENCE_STAGE:
            output = doubted(output, self.doubts())
        for message in output.messages:
            logger.info("stage %d: %s", stage.number, message)
        severity = logging.INFO if output.verdict.level is Level.PASS else logging.WARNING
        logger.log(severity, "stage %d: %s", stage.number, output.verdict.status)
        records = self._write(stage, output, upstream, started)
        for record in records:
            self._remember(stage, record)
        if self.memory_debug:
            logger.warning("stage %d (%s): %s", stage.number, stage.title, memory_report())
        return records

    def _sources(self, stage: Stage) -> dict[str, Record | None]:
        """Return the records of all that a stage reads, by name; None for those not valid."""
        sources = {f"{n} {name}": self.source(stage, (n, name)) for n, name in stage.reads}
        matching = {
            f"{step.number} {role} for matching": self.step_records.get((step.position, role))
            for step in self.steps
            if step.feeds_matching_of(stage)
            for role in step.roles
        }
        return sources | matching

    def _code_of(self, stage: Stage) -> dict[str, str]:
        """Return the hash of each piece of custom code that takes part in a stage."""
        if isinstance(stage, FunctionStage):
            return {stage.resolved.name: stage.resolved.digest}
        raw = [stamp.name for stamp in self._raw(stage).values()] if stage.reads_raw else []
        number = stage.number or 0
        stored = self.custom.code_of(number, self.request.params, raw)
        return {**self.code.get(number, {}), **stored}

    def _stage_inputs(self, stage: Stage, upstream: Mapping[int, Record]) -> StageInputs:
        sources = {key: self.source(stage, key) for key in stage.reads}
        rasters: dict[tuple[int, str], Raster] = {
            key: self.open(record) for key, record in sources.items() if record is not None
        }
        matching = {
            role: self.open(self.step_records[step.position, role])
            for step in self.steps
            if step.feeds_matching_of(stage)
            for role in step.roles
        }
        return StageInputs(
            params=self.request.own_params(stage),
            rasters=rasters,
            records=upstream,
            pair=self.load_pair() if stage.reads_raw else None,
            threads=self.threads,
            sibling=self.sibling if stage.reads_sibling else None,
            matching=matching,
        )

    def _withheld_by(self, stage: Stage, upstream: Mapping[int, Record]) -> Record | None:
        """Return the upstream record whose FAIL makes this stage pointless, if any."""
        kept = self.request.keep_failed and not isinstance(stage, FunctionStage)
        if not stage.withheld_on_fail or kept:
            return None
        return next((r for r in upstream.values() if r.verdict.level is Level.FAIL), None)

    def _write(
        self,
        stage: Stage,
        output: StageOutput,
        upstream: Mapping[int, Record],
        started: float,
    ) -> tuple[Record, ...]:
        formats = tuple(EXTENSIONS) if stage.both_formats else self.formats
        failed = stage.withheld_on_fail and output.verdict.level is Level.FAIL
        records = []
        products = {(p.name, p.label): p for p in output.products}
        for name, label in stage.checkpoints(self.request.params):
            record = self.describe(stage, output, upstream, name, label)
            if failed:
                records.append(self.store.withhold(replace(record, **cost_since(started))))
                if self.request.keep_failed and (name, label) in products:
                    kept = replace(record, label=failed_label(label))
                    self._write_one(kept, products[name, label], formats, started)
            else:
                product: Product = products[name, label]
                records.append(self._write_one(record, product, formats, started))
        return tuple(records)

    def _write_one(
        self, record: Record, product: Product, formats: Sequence[str], started: float
    ) -> Record:
        cost = partial(cost_since, started)
        return self.store.write(record, product, formats, threads=self.threads, measure=cost)

    def describe(
        self,
        stage: Stage,
        output: StageOutput,
        upstream: Mapping[int, Record],
        name: str,
        label: str,
    ) -> Record:
        """Return the record of one checkpoint, complete but for its files."""
        number = stage.number or 0
        latest = upstream[max(upstream)] if upstream else None
        return Record(
            sample=self.store.paths.sample,
            dye=self.store.paths.dye,
            stage=number,
            stage_name=stage.stage_name,
            name=name,
            label=label,
            suffix=self.request.suffix(stage),
            revision=stage.revision,
            params=self._described_params(number),
            inputs=self.inputs(stage),
            code=self._code_of(stage),
            custom_stages=tuple(r.describe() for r in self.request.steps_of(stage)),
            raw=dict(self._raw(stage) if stage.reads_raw else latest.raw if latest else {}),
            transform=output.transform,
            facts={**(latest.facts if latest else {}), **output.facts},
            metrics=output.metrics,
            verdict=output.verdict,
            messages=output.messages,
            software=software_versions(),
            written=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _described_params(self, stage: int) -> dict[str, dict[str, object]]:
        return {
            name: {
                "value": self.request.params[name],
                "source": self.request.sources.get(name, "default"),
                "stage": row.stage,
            }
            for name, row in PARAMETER_REGISTRY.items()
            if row.stage <= stage
        }

    def _raw(self, stage: Stage) -> Mapping[str, FileStamp]:
        """Return the stamps of the raw files, taken once."""
        return self._found_raw(stage)()

    def _found_raw(self, stage: Stage) -> Callable[[], Mapping[str, FileStamp]]:
        """Find the raw files, once; return what takes their stamps."""
        if self._stamps is None:
            base = self.request.main_base(stage)
            known = self.store.known_raw(base, self.request.suffix(stage))
            self._stamps = cache(self.raw_stamps(known))
        return self._stamps

    def _reads(self, stage: Stage) -> list[int]:
        return sorted({number for number, _ in stage.reads})

    def _remember(self, stage: Stage, record: Record) -> None:
        if isinstance(stage, FunctionStage):
            self.step_records[(stage.position, record.name)] = record
        elif not record.label:
            self.records[(record.stage, record.name)] = record


def position_of(stage: Stage) -> int | None:
    """Return which of the extra stages a stage is, None for a numbered one."""
    return stage.position if isinstance(stage, FunctionStage) else None


def software_versions() -> dict[str, str]:
    """Return the versions of what decides about the pixels."""
    import cv2
    import numpy as np
    import scipy

    return {
        "exo2micro": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "opencv": cv2.__version__,
    }


def forced_stages(numbers: Sequence[int], from_stage: int | None, *, force: bool) -> dict[int, str]:
    """Return the stages that are to be computed anew in any case, each with the reason.

    Raises
    ------
    ParameterError
        If `from_stage` is not among the stages.
    """
    if from_stage is not None and from_stage not in numbers:
        msg = f"from_stage must be one of {list(numbers)}, got {from_stage!r}"
        raise ParameterError(msg)
    if force:
        return dict.fromkeys(numbers, "forced")
    if from_stage is None:
        return {}
    return {n: f"from stage {from_stage} on" for n in numbers if n >= from_stage}
