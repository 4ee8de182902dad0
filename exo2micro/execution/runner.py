"""Running the stages of one pair: inputs from checkpoints, results into checkpoints."""

import datetime
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exo2micro._version import __version__
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ParameterError
from exo2micro.execution.machine import peak_memory_bytes, single_threaded_blas
from exo2micro.execution.plan import (
    PlannedStage,
    Request,
    failed_label,
    plan_stage,
    upstream_inputs,
)
from exo2micro.raster.base import Raster
from exo2micro.raster.checkpoint import CheckpointStore, Product
from exo2micro.raster.paths import EXTENSIONS
from exo2micro.raster.record import FileStamp, Record
from exo2micro.stages.base import Stage, StageInputs, StageOutput
from exo2micro.verdict import Level

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
        Returns the stamps of the raw files, given those of the last record.
    code : mapping
        Hash of the custom code that takes part, by stage number.
    sibling : Record or None
        Stage-3 record of the dye that lends its alignment.
    """

    store: CheckpointStore
    stages: Mapping[int, Stage]
    request: Request
    formats: tuple[str, ...]
    threads: int
    load_pair: Callable[[], "RawPair"]
    raw_stamps: Callable[[Mapping[str, FileStamp]], Mapping[str, FileStamp]]
    code: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    sibling: Record | None = None

    def __post_init__(self) -> None:
        self.records: dict[tuple[int, str], Record] = {}
        self._stamps: Mapping[str, FileStamp] | None = None

    def plan(self, number: int) -> PlannedStage:
        """Return the plan of one stage; the stages that it reads are planned before it."""
        stage = self.stages[number]
        missing = next((n for n, name in stage.reads if (n, name) not in self.records), None)
        if missing is not None:
            reason = f"depends on stage {missing}"
            return PlannedStage(number, stage.title, "run", reason)
        planned = plan_stage(
            stage, self.store, self.request, self.inputs(stage), self.code.get(number, {})
        )
        for record in planned.records:
            self._remember(record)
        return planned

    def plan_all(self, numbers: Sequence[int], forced: Mapping[int, str]) -> list[PlannedStage]:
        """Return the plan of several stages; `forced` gives the reason for those computed anew."""
        rows = []
        for number in numbers:
            planned = self.plan(number)
            reason = forced.get(number) if planned.action != "run" else None
            if reason:
                planned = replace(planned, action="run", reason=reason, records=())
            if planned.action == "run":
                self.forget(number)
            rows.append(planned)
        return rows

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

    def forget(self, number: int) -> None:
        """Drop what is known of a stage's result, so that later stages wait for it."""
        self.records = {key: r for key, r in self.records.items() if key[0] != number}

    def main_record(self, number: int) -> Record | None:
        """Return the main record of a stage, None if it is not valid."""
        return next((r for key, r in self.records.items() if key[0] == number), None)

    def main_records(self) -> dict[int, Record]:
        """Return the main record of each stage that has a valid one."""
        return {n: record for n in self.stages if (record := self.main_record(n))}

    def inputs(self, stage: Stage) -> dict[str, str]:
        """Return what a stage would read now, by name."""
        inputs = upstream_inputs(stage, self.records)
        if stage.reads_raw:
            inputs |= {f"raw {role}": stamp.sha256 for role, stamp in self._raw(stage).items()}
        if stage.reads_sibling and self.sibling:
            inputs[f"alignment of {self.sibling.dye}"] = self.sibling.fingerprint
        return inputs

    def execute(self, number: int) -> tuple[Record, ...]:
        """Run one stage and write its checkpoints; return their records, the main one first."""
        stage = self.stages[number]
        started = time.perf_counter()
        upstream = {n: record for n in self._reads(stage) if (record := self.main_record(n))}
        withheld = self._withheld_by(stage, upstream)
        if withheld is not None:
            output = StageOutput((), withheld.transform, verdict=withheld.verdict)
        else:
            with single_threaded_blas():
                output = stage.process(self._stage_inputs(stage, upstream))
        for message in output.messages:
            logger.info("stage %d: %s", number, message)
        records = self._write(stage, output, upstream, started)
        for record in records:
            self._remember(record)
        return records

    def _stage_inputs(self, stage: Stage, upstream: Mapping[int, Record]) -> StageInputs:
        rasters: dict[tuple[int, str], Raster] = {
            key: self.store.open(self.records[key]) for key in stage.reads
        }
        return StageInputs(
            params=self.request.own_params(stage),
            rasters=rasters,
            records=upstream,
            pair=self.load_pair() if stage.reads_raw else None,
            threads=self.threads,
            sibling=self.sibling if stage.reads_sibling else None,
        )

    def _withheld_by(self, stage: Stage, upstream: Mapping[int, Record]) -> Record | None:
        """Return the upstream record whose FAIL makes this stage pointless, if any."""
        if not stage.withheld_on_fail or self.request.keep_failed:
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
                records.append(self.store.withhold(record))
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
        return self.store.write(record, product, formats, threads=self.threads, started=started)

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
            code=dict(self.code.get(number, {})),
            raw=dict(self._raw(stage) if stage.reads_raw else latest.raw if latest else {}),
            transform=output.transform,
            facts={**(latest.facts if latest else {}), **output.facts},
            metrics=output.metrics,
            verdict=output.verdict,
            messages=output.messages,
            software=software_versions(),
            written=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            peak_memory_bytes=peak_memory_bytes(),
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
        if self._stamps is None:
            base = self.request.main_base(stage)
            self._stamps = self.raw_stamps(self.store.known_raw(base, self.request.suffix(stage)))
        return self._stamps

    def _reads(self, stage: Stage) -> list[int]:
        return sorted({number for number, _ in stage.reads})

    def _remember(self, record: Record) -> None:
        if not record.label:
            self.records[(record.stage, record.name)] = record


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
