"""Before a batch starts: which pairs, with which parameters, and whether they fit the machine."""

import fnmatch
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from exo2micro.batch.journal import Pair
from exo2micro.batch.needs import Report, report_of, together
from exo2micro.batch.overrides import Overrides, params_for, read_overrides, unused_rows
from exo2micro.batch.task import Task
from exo2micro.config import PairLayer, Snapshot, layers_of_pair, read_config_files, resolve_layers
from exo2micro.custom.run_code import CustomCode
from exo2micro.errors import (
    Exo2microError,
    ParameterError,
    RawFileNotFoundError,
    RawPairingError,
)
from exo2micro.execution.extras import Extras, Step, configured_steps
from exo2micro.execution.machine import available_cores, available_memory_bytes
from exo2micro.execution.parameters import ParameterSet, settings_from
from exo2micro.execution.preflight import PreflightReport, require
from exo2micro.raw import diagnose_raw_layout, discover_tasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked of a batch, resolved once: a later change of files or store does not count.

    Attributes
    ----------
    output_dir, raw_dir, checkpoint_format
        Keywords of `SampleDye` for all pairs; the folders are absolute, because tasks may run, and
        a batch go on, in another current directory.
    settings : Snapshot
        Parameters and options of all pairs, resolved.
    steps : tuple of FunctionStep or ResolvedStep
        Extra stages of all pairs.
    custom : CustomCode
        The custom code that takes part; it travels with each task.
    pair_layers : tuple of PairLayer
        Parameters per sample, dye or pair from the configuration files.
    overrides : tuple of mapping
        The same from the table that this batch was given; they hide all others.
    call : mapping
        Keywords of `SampleDye.run`.
    parallel, n_workers, timeout_per_task, retries, on_error
        As for `run_batch`.
    """

    output_dir: str
    raw_dir: str
    checkpoint_format: str
    settings: Snapshot
    custom: CustomCode
    steps: tuple[Step, ...] = ()
    pair_layers: tuple[PairLayer, ...] = ()
    overrides: tuple[Mapping[str, Any], ...] = ()
    call: Mapping[str, Any] = field(default_factory=dict)
    parallel: bool | Literal["subprocess"] = False
    n_workers: int | None = None
    timeout_per_task: float | None = None
    retries: int = 1
    on_error: str = "continue"

    def __post_init__(self) -> None:
        if self.parallel not in (False, True, "subprocess"):
            msg = f"parallel must be False, True or 'subprocess', got {self.parallel!r}"
            raise ParameterError(msg)
        if self.on_error not in ("continue", "stop"):
            msg = f"on_error must be 'continue' or 'stop', got {self.on_error!r}"
            raise ParameterError(msg)
        if self.n_workers is not None and self.n_workers < 1:
            msg = f"n_workers must be a whole number >= 1, got {self.n_workers!r}"
            raise ParameterError(msg)
        if self.retries < 0:
            msg = f"retries must be a whole number >= 0, got {self.retries!r}"
            raise ParameterError(msg)
        if self.timeout_per_task is not None and self.timeout_per_task <= 0:
            msg = f"timeout_per_task must be a number of seconds > 0, got {self.timeout_per_task!r}"
            raise ParameterError(msg)
        if self.timeout_per_task is not None and self.parallel is False:
            msg = (
                "timeout_per_task needs a process per pair: set parallel=True or "
                "parallel='subprocess'"
            )
            raise ParameterError(msg)

    def on(self, parallel: bool | Literal["subprocess"], n_workers: int | None) -> "Request":
        """Return the same request in other processes."""
        return replace(self, parallel=parallel, n_workers=n_workers)

    def in_folder(self, output_dir: Path) -> "Request":
        """Return the same request where its output folder lies now.

        Raises
        ------
        RawFileNotFoundError
            If its raw folder is gone: every pair that is left would end with an error.
        """
        if not Path(self.raw_dir).is_dir():
            msg = (
                f"{self.raw_dir}, the raw folder of this batch, is not there; bring it back, or "
                "start a new batch with another raw_dir: what is valid is kept"
            )
            raise RawFileNotFoundError(msg)
        return replace(self, output_dir=str(output_dir))

    def workers(self, tasks: Sequence[Task]) -> int:
        """Return how many tasks run at once; -1: as many as the workers of a cluster take.

        Where nobody says, cores and memory of this machine decide.
        """
        if self.n_workers is not None:
            return min(self.n_workers, len(tasks))
        if leaves_this_process():
            return -1
        need = max(task.memory_bytes for task in tasks)
        fit = available_memory_bytes() // need if need else len(tasks)
        return max(1, min(available_cores(), len(tasks), fit))


def leaves_this_process() -> bool:
    """Tell whether the caller has chosen a joblib backend of other processes, such as dask.

    Raises
    ------
    ParameterError
        If the backend cannot hand on results as they come.
    """
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    if not getattr(backend, "supports_return_generator", False):
        msg = (
            f"joblib's {type(backend).__name__} cannot hand on results as they come; choose "
            "another backend with joblib.parallel_config: loky, threading or dask"
        )
        raise ParameterError(msg)
    return not getattr(backend, "supports_sharedmem", False)


def make_request(
    output_dir: str | os.PathLike[str],
    raw_dir: str | os.PathLike[str],
    params: Mapping[str, Any] | None,
    *,
    overrides: Overrides,
    call: Mapping[str, Any],
    stages: Sequence[Step | str] = (),
    **options: Any,  # noqa: ANN401
) -> Request:
    """Return a request from the arguments of `run_batch`; None is what the configuration says.

    Raises
    ------
    ParameterError
        If an argument or a parameter is wrong, or overrides concern no pair of the raw folder.
    """
    settings = settings_from(raw_dir, params, "batch", "run_batch(params)")
    files = () if isinstance(params, Snapshot) else read_config_files(raw_dir)
    pair_layers = tuple(own for file in files for own in file.pair_layers)
    rows = tuple(read_overrides(overrides))
    _refuse_unused(Path(raw_dir), pair_layers, rows)
    extras = Extras([*configured_steps(raw_dir, params), *stages])
    if options.get("parallel", False) is None and leaves_this_process():
        options["parallel"] = True
    chosen = {
        name: settings.option(name) if value is None else value for name, value in options.items()
    }
    return Request(
        output_dir=str(Path(output_dir).absolute()),
        raw_dir=str(Path(raw_dir).absolute()),
        settings=settings,
        custom=extras.resolve(),
        steps=tuple(extras.steps),
        pair_layers=pair_layers,
        overrides=rows,
        call=call,
        **chosen,
    )


def _refuse_unused(
    raw_dir: Path, pair_layers: Sequence[PairLayer], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Raise if parameters are given for a pair that is not there: most likely a typing error."""
    if not (pair_layers or rows):
        return
    pairs = diagnose_raw_layout(raw_dir).tasks
    unused = [
        f"{own.source}: [[overrides]] of {'/'.join(filter(None, (own.sample, own.dye)))}"
        for own in pair_layers
        if not any(own.concerns(*pair) for pair in pairs)
    ]
    unused += [f"overrides for {dict(row)}" for row in unused_rows(rows, pairs)]
    if unused:
        msg = (
            f"{'; '.join(unused)} concern none of the {len(pairs)} complete pairs in {raw_dir}; "
            "`exo2micro survey` lists them"
        )
        raise ParameterError(msg)


def select_pairs(
    raw_dir: Path,
    samples: Sequence[str] | None,
    dyes: Sequence[str] | None,
    only: Sequence[str],
    *,
    strict_dyes: bool,
) -> list[Pair]:
    """Return the pairs to run.

    Raises
    ------
    RawPairingError
        If there are none; where strict, also if a sample, a dye or a pattern has none.
    """
    pairs = discover_tasks(raw_dir, samples, dyes)
    lacking = [sample for sample in samples or () if all(sample != p[0] for p in pairs)]
    lacking += [dye for dye in dyes or () if not discover_tasks(raw_dir, samples, [dye])]
    for pattern in only:
        if not any(_matches(pair, pattern) for pair in pairs):
            lacking.append(f"only {pattern}")
    if only:
        pairs = [pair for pair in pairs if any(_matches(pair, pattern) for pattern in only)]
    if lacking or not pairs:
        named = ", ".join(lacking) or "any sample"
        msg = f"no complete pair for {named} in {raw_dir}; `exo2micro survey` lists what is there"
        if strict_dyes or not pairs:
            raise RawPairingError(msg)
        logger.warning("%s; the others are run", msg)
    return pairs


def _matches(pair: Pair, pattern: str) -> bool:
    return fnmatch.fnmatchcase("/".join(pair), pattern)


@dataclass(frozen=True)
class Prepared:
    """A batch that is ready to start.

    Attributes
    ----------
    tasks : list of Task
        Its tasks, with the memory that each is expected to need.
    reports : list
        What each of them needs.
    needs : PreflightReport
        What all of them need together.
    """

    tasks: list[Task]
    reports: list[Report]
    needs: PreflightReport


def prepare(request: Request, pairs: Sequence[Pair], *, judge: bool = True) -> Prepared:
    """Return the tasks of a batch, checked as far as that is possible before it starts.

    Parameters
    ----------
    request : Request
        What was asked.
    pairs : sequence of (str, str)
        Sample and dye of each task.
    judge : bool
        Whether to refuse what does not fit into memory or onto the disk.

    Raises
    ------
    ParameterError
        If a parameter of any pair is wrong.
    InsufficientMemoryError, InsufficientDiskError
        If a pair does not fit into memory, or the output of all not onto the disk, unless
        ``force_run``.
    """
    tasks = [_task(request, pair) for pair in pairs]
    reports = [report_of(task) for task in tasks]
    tasks = [
        replace(task, memory_bytes=report.memory_bytes)
        if isinstance(report, PreflightReport)
        else task
        for task, report in zip(tasks, reports, strict=True)
    ]
    parallel = request.parallel is True and len(tasks) > 1
    workers = request.workers(tasks) if parallel else 1
    needs = together(
        tasks,
        reports,
        Path(request.output_dir),
        at_once=workers if workers > 0 else len(tasks),
        keeps_all=(request.call.get("keep") or request.settings.option("keep")) != "final",
    )
    if judge:
        _judge(request, tasks, reports, needs)
    cores = available_cores()
    if request.parallel is True:
        cores = 1 if leaves_this_process() else cores // workers
    threads = request.settings.option("threads") or max(1, cores)
    tasks = [replace(t, options={**t.options, "threads": threads}) for t in tasks]
    return Prepared(tasks, reports, needs)


def _judge(
    request: Request, tasks: Sequence[Task], reports: Sequence[Report], needs: PreflightReport
) -> None:
    """Refuse what does not fit, and warn of what may not."""
    for task, report in zip(tasks, reports, strict=True):
        if isinstance(report, Exo2microError):
            # The task itself will end with this error; the others can run.
            logger.warning("%s / %s: %s", task.sample, task.dye, report)
    for warning in needs.warnings:
        logger.warning("%s", warning)
    if not request.call.get("force_run"):
        require(needs)


def _task(request: Request, pair: Pair) -> Task:
    sample, dye = pair
    own = layers_of_pair(request.pair_layers, sample, dye)
    settings = ParameterSet(resolve_layers((*request.settings.layers, *own)))
    if changes := params_for(request.overrides, sample, dye):
        settings.update(changes, "overrides")
    options = {
        "output_dir": Path(request.output_dir),
        "raw_dir": Path(request.raw_dir),
        "checkpoint_format": request.checkpoint_format,
        "params": settings.snapshot(),
        "stages": request.steps,
        "custom": request.custom,
    }
    return Task(sample, dye, options, request.call, request.timeout_per_task)
