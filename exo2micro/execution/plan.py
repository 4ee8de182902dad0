"""The plan: for each stage, whether its result is still valid, and if not, why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exo2micro.custom.stage import FunctionStage
from exo2micro.custom.step import ResolvedStep
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import CheckpointError
from exo2micro.parameter import Value
from exo2micro.raster.checkpoint import CheckpointStore
from exo2micro.raster.paths import EXTENSIONS, base_name
from exo2micro.raster.record import Record
from exo2micro.stages.base import Stage
from exo2micro.suffix import CUSTOM_STAGES, build_suffix
from exo2micro.verdict import Level

FAILED_LABEL = "failed"
"""Label of a difference that was written although the verdict is FAIL."""


@dataclass(frozen=True)
class PlannedStage:
    """What a run would do with one stage.

    Attributes
    ----------
    number : int
        Stage number.
    title : str
        Stage name for people.
    action : str
        ``cached`` (valid), ``withheld`` (valid, but its images are not to be used) or ``run``.
    reason : str
        Why, in words.
    records : tuple of Record
        The valid records, main checkpoint first; empty where the stage must run.
    files : tuple of Path
        Image files that belong to the stage now.
    position : int or None
        Which of the run's extra stages it is; None for a numbered stage.
    """

    number: int
    title: str
    action: str
    reason: str
    records: tuple[Record, ...] = ()
    files: tuple[Path, ...] = ()
    position: int | None = None


@dataclass(frozen=True)
class Request:
    """What is asked of a pair: parameters, formats and switches that the plan depends on.

    Attributes
    ----------
    params : mapping
        All effective parameters.
    sources : mapping
        Who set each value that is not at its default.
    keep_failed : bool
        Also write a difference whose verdict is FAIL.
    deep : bool
        Hash every file instead of trusting size and time.
    steps : tuple of ResolvedStep
        Extra stages, in the order in which they run.
    """

    params: Mapping[str, Value]
    sources: Mapping[str, str] = field(default_factory=dict)
    keep_failed: bool = False
    deep: bool = False
    steps: tuple[ResolvedStep, ...] = ()

    def own_params(self, stage: Stage) -> dict[str, Value]:
        """Return the values of one stage's parameters."""
        return {name: self.params[name] for name in stage.parameters()}

    def suffix_at(self, stage: int) -> str:
        """Return the suffix of the files of a stage number."""
        return self._suffix(stage, self._steps_before(stage))

    def final_suffix(self) -> str:
        """Return the suffix of what is made of all stages, such as diagnostics."""
        return self._suffix(None, self.steps)

    def steps_of(self, stage: Stage) -> tuple[ResolvedStep, ...]:
        """Return the extra stages that a stage's file names tell, its own included."""
        if isinstance(stage, FunctionStage):
            return self.steps[: stage.position + 1]
        return self._steps_before(stage.number or 0)

    def _steps_before(self, number: int) -> tuple[ResolvedStep, ...]:
        return tuple(resolved for resolved in self.steps if resolved.step.after < number)

    def _suffix(self, stage: int | None, steps: Sequence[ResolvedStep]) -> str:
        tokens = [resolved.token for resolved in steps]
        return build_suffix({**self.params, CUSTOM_STAGES: tokens}, stage)

    def main_base(self, stage: Stage) -> str:
        """Return the stem of a stage's main checkpoint."""
        name, label = stage.checkpoints(self.params)[0]
        return base_name(stage.number or 0, stage.stage_name, name, label)

    def suffix(self, stage: Stage) -> str:
        """Return the suffix of one stage's files."""
        return self._suffix(stage.number or 0, self.steps_of(stage))


def plan_stage(
    stage: Stage,
    store: CheckpointStore,
    request: Request,
    inputs: Callable[[], Mapping[str, str]],
    code: Callable[[], Mapping[str, str]],
) -> PlannedStage:
    """Return whether one stage's checkpoints are valid for these inputs.

    Parameters
    ----------
    stage : Stage
        The stage.
    store : CheckpointStore
        Where its checkpoints lie.
    request : Request
        What is asked for.
    inputs : callable
        Returns what the stage would read now: fingerprint or hash by name. Asked only where there
        is a record to compare with, because hashing raw files takes long.
    code : callable
        Returns the hash of each piece of custom code that would take part; asked likewise.
    """
    number = stage.number or 0
    suffix = request.suffix(stage)
    records: list[Record] = []
    files: list[Path] = []
    for name, label in stage.checkpoints(request.params):
        base = base_name(number, stage.stage_name, name, label)
        files += store.files(base, suffix)
        try:
            record = store.record(base, suffix)
        except CheckpointError:
            return PlannedStage(number, stage.title, "run", "record damaged", files=tuple(files))
        reason = (
            _absence(store, base, suffix)
            if record is None
            else _staleness(stage, record, request, inputs, code)
            or _file_problem(stage, record, store, request)
        )
        if record is None or reason:
            return PlannedStage(number, stage.title, "run", reason, files=tuple(files))
        records.append(record)
    if not records:
        return PlannedStage(number, stage.title, "run", "missing")
    if stage.withheld_on_fail and records[0].verdict.level is Level.FAIL:
        return _withheld(stage, records, files)
    reason = "cached, images removed to save disk" if records[0].removed else "cached"
    return PlannedStage(number, stage.title, "cached", reason, tuple(records), tuple(files))


def _withheld(stage: Stage, records: Sequence[Record], files: Sequence[Path]) -> PlannedStage:
    reason = f"failed: {records[0].verdict.reason}"
    return PlannedStage(
        stage.number or 0, stage.title, "withheld", reason, tuple(records), tuple(files)
    )


def _absence(store: CheckpointStore, base: str, suffix: str) -> str:
    files = store.files(base, suffix)
    if not files:
        return "missing"
    names = ", ".join(path.name for path in files)
    return f"{names}: no record (made by another program); a run moves it aside"


def _staleness(
    stage: Stage,
    record: Record,
    request: Request,
    inputs: Callable[[], Mapping[str, str]],
    code: Callable[[], Mapping[str, str]],
) -> str:
    """Return why a record does not describe what is asked for; empty if it does."""
    if record.suffix != request.suffix(stage):
        return f"made with the parameters {record.suffix or 'all at default'}"
    if record.revision != stage.revision:
        return f"stage revision {record.revision}→{stage.revision}"
    changes = list(_parameter_changes(record.own_params(), request.own_params(stage)))
    if changes:
        return ", ".join(changes)
    now = code()
    if dict(record.code) != dict(now):
        return "code changed: " + ", ".join(sorted({*record.code, *now}))
    read = inputs()
    changed = sorted(
        name for name in {*read, *record.inputs} if record.inputs.get(name) != read.get(name)
    )
    return "input changed: " + ", ".join(changed) if changed else ""


def _parameter_changes(old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[str]:
    """Yield each changed parameter in words; one that a record does not know was at default."""
    for name, value in new.items():
        row = PARAMETER_REGISTRY[name]
        before = old.get(name, row.default)
        if before != value:
            yield f"{name} {row.format(before)}→{row.format(value)}"


def _file_problem(stage: Stage, record: Record, store: CheckpointStore, request: Request) -> str:
    """Return why a record's files are not valid; empty if they are."""
    if record.removed and not store.files(record.base, record.suffix):
        return ""
    if not record.files:
        if not (stage.withheld_on_fail and record.verdict.level is Level.FAIL):
            return "missing"
        kept = request.keep_failed and not isinstance(stage, FunctionStage)
        return _kept_problem(record, store) if kept else ""
    problems = {
        kind: stamp.problem(store.paths.image(kind, record.base, record.suffix), deep=request.deep)
        for kind, stamp in record.files.items()
    }
    bad = [problem for problem in problems.values() if problem]
    if stage.both_formats and (bad or len(problems) < len(EXTENSIONS)):
        return bad[0] if bad else "missing"
    damaged = [problem for problem in bad if not problem.endswith("missing")]
    if damaged:
        return damaged[0]
    return bad[0] if len(bad) == len(problems) else ""


def _kept_problem(record: Record, store: CheckpointStore) -> str:
    """Return why the labelled files of a failed result are not there; empty if they are."""
    kept = _labelled_record(record, store)
    if kept is None:
        return "keep_failed: the failed difference is not written yet"
    problems = (
        stamp.problem(store.paths.image(kind, kept.base, kept.suffix))
        for kind, stamp in kept.files.items()
    )
    return next((problem for problem in problems if problem), "")


def kept_record(record: Record, store: CheckpointStore) -> Record | None:
    """Return the record of a failed result's labelled files; None where they were not written."""
    if record.files or record.verdict.level is not Level.FAIL or _kept_problem(record, store):
        return None
    return _labelled_record(record, store)


def _labelled_record(record: Record, store: CheckpointStore) -> Record | None:
    """Return the record that the same result has under the label of what failed."""
    wanted = replace(record, label=failed_label(record.label))
    try:
        kept = store.record(wanted.base, wanted.suffix)
    except CheckpointError:
        return None
    return kept if kept and kept.fingerprint == wanted.fingerprint else None


def failed_label(label: str) -> str:
    """Return the label under which a failed difference is kept."""
    return f"{label}_{FAILED_LABEL}" if label else FAILED_LABEL


def is_kept(record: Record) -> bool:
    """Tell whether a record is that of a difference that was written although it failed."""
    return record.label.rpartition("_")[2] == FAILED_LABEL
