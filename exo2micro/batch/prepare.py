"""Before a batch starts: which pairs, with which parameters, and whether they fit the machine."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exo2micro.batch.journal import Pair
from exo2micro.batch.needs import Report, report_of, together
from exo2micro.batch.overrides import params_for
from exo2micro.batch.request import Request, leaves_this_process
from exo2micro.batch.task import Task
from exo2micro.config import layers_of_pair, resolve_layers
from exo2micro.errors import Exo2microError
from exo2micro.execution.machine import available_cores
from exo2micro.execution.parameters import ParameterSet
from exo2micro.execution.preflight import PreflightReport, require

logger = logging.getLogger(__name__)


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
    tasks = [task_of(request, pair) for pair in pairs]
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


def task_of(request: Request, pair: Pair) -> Task:
    """Return the task of one pair, with its own parameters."""
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
