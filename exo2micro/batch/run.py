"""Running a batch: which pairs, in which processes, and what becomes of each."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from exo2micro.batch.dispatch import work_off
from exo2micro.batch.events import PLANNED, TaskEvent
from exo2micro.batch.following import Progress, followed, signals_as_interrupt
from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.needs import in_words
from exo2micro.batch.overrides import Overrides
from exo2micro.batch.prepare import Prepared, prepare, task_of
from exo2micro.batch.request import Request, make_request
from exo2micro.batch.results import BatchResults
from exo2micro.batch.selection import Names, select_pairs
from exo2micro.batch.task import left_out_result, skipped_result, stop_file
from exo2micro.batch.travel import refuse_what_stays_here
from exo2micro.execution.closing import close_batch
from exo2micro.execution.extras import Step

logger = logging.getLogger(__name__)

Parallel = bool | Literal["subprocess"]


def run_batch(
    samples: Names = None,
    dyes: Names = None,
    parallel: Parallel | None = None,
    n_workers: int | None = None,
    params: Mapping[str, Any] | None = None,
    output_dir: str | os.PathLike[str] = "processed",
    raw_dir: str | os.PathLike[str] = "raw",
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
    checkpoint_format: str | None = None,
    force_run: bool = False,
    *,
    keep_failed: bool = False,
    keep: Literal["all", "final"] | None = None,
    memory_debug: bool = False,
    strict_dyes: bool = True,
    timeout_per_task: float | None = None,
    retries: int | None = None,
    on_error: Literal["continue", "stop"] | None = None,
    overrides: Overrides = None,
    only: str | Sequence[str] = (),
    stages: Sequence[Step | str] = (),
    progress: Progress | None = None,
) -> BatchResults:
    """Run many pairs; whatever happens to one of them, the others go on.

    Parameters
    ----------
    samples, dyes : str or sequence of str, optional
        What to run; by default every complete pair in `raw_dir`. What has only one file of two,
        or too many, is in the results as ``skipped: ...``.
    parallel : bool or 'subprocess', optional
        False: one after the other in this process. ``'subprocess'``: one after the other, each in
        a fresh process. True: several at once, each in a process of its own, started through
        joblib: by threads of this process, or by the workers of the backend chosen with
        `joblib.parallel_config` (loky, dask, ray); who has chosen one need not say True. This and
        the next options: by default what the configuration files say.
    n_workers : int, optional
        How many at once; by default as many as there are cores and as memory allows. The threads
        of each are divided accordingly.
    params : mapping, optional
        Parameters for all pairs, above the configuration files; see `SampleDye`.
    output_dir, raw_dir, checkpoint_format
        As for `SampleDye`.
    from_stage, to_stage, force, force_run, keep_failed, keep, memory_debug
        As for `SampleDye.run`.
    strict_dyes : bool
        Whether a sample or dye without any complete pair is an error before anything starts;
        False: a warning, and the others are run.
    timeout_per_task : float, optional
        Seconds after which a pair's processes are ended; needs processes of their own.
    retries : int
        How often a pair that was killed or ran out of memory is tried again, alone and with one
        thread.
    on_error : {'continue', 'stop'}
        What to do after an error.
    overrides : path or rows, optional
        Parameters per sample, dye or pair, see `read_overrides`.
    only : str or sequence of str
        Patterns ``SAMPLE/DYE`` or ``SAMPLE`` (with ``*`` and ``?``); other pairs are left out.
    stages : sequence of FunctionStep or str, optional
        Extra stages of all pairs, as for `SampleDye`. Their code, and that of the custom plots,
        estimators and readers of the store, travels with the work.
    progress : callable, optional
        Called with each `TaskEvent` from a thread of this process.

    Returns
    -------
    BatchResults
        One result mapping per pair, in task order. Status is ``complete``, ``complete, check:
        ...``, ``failed: ...``, ``error: ...`` or ``skipped: ...``.

    Raises
    ------
    RawPairMissingError
        If there is nothing to run, or a sample or dye is unknown.
    ParameterError
        If an argument or a parameter is wrong; nothing is run then.
    InsufficientMemoryError, InsufficientDiskError
        If a pair does not fit into memory, or the output of all not onto the disk, unless
        `force_run`.
    ClusterError
        If the workers of the chosen joblib backend cannot be used or were lost; what was finished
        is kept.
    """
    request = make_request(
        output_dir,
        raw_dir,
        params,
        checkpoint_format=checkpoint_format,
        overrides=overrides,
        call={
            "from_stage": from_stage,
            "to_stage": to_stage,
            "force": force,
            "force_run": force_run,
            "keep_failed": keep_failed,
            "keep": keep,
            "memory_debug": memory_debug,
        },
        parallel=parallel,
        n_workers=n_workers,
        timeout_per_task=timeout_per_task,
        retries=retries,
        on_error=on_error,
        stages=stages,
    )
    chosen = select_pairs(Path(raw_dir), samples, dyes, only, strict_dyes=strict_dyes)
    if request.parallel is not False:
        refuse_what_stays_here()
    prepared = prepare(request, chosen.pairs)
    pairs = [*chosen.pairs, *chosen.left_out]
    journal = Journal.create(Path(request.output_dir), pairs, request)
    return _run(request, prepared, journal, progress, chosen.left_out)


def resume_batch(
    output_dir: str | os.PathLike[str] = "processed",
    *,
    batch: str | None = None,
    retry_failed: bool = False,
    parallel: Parallel | None = None,
    n_workers: int | None = None,
    timeout_per_task: float | None = None,
    progress: Progress | None = None,
) -> BatchResults:
    """Go on with a batch: run the pairs that have no result yet.

    Parameters
    ----------
    output_dir : path
        Output folder of the batch.
    batch : str, optional
        Name of the batch, as its folder in ``_batches``; by default the latest one.
    retry_failed : bool
        Also run the pairs again that ended with an error. A verdict FAIL is none: it would come
        out the same.
    parallel, n_workers, timeout_per_task, progress
        As for `run_batch`; by default as the batch was started.

    Raises
    ------
    CheckpointError
        If there is no batch to go on with.
    RawFileNotFoundError
        If its raw folder is not there any more.
    OutputLockedError
        If it is still running.
    """
    journal = Journal.find(Path(output_dir), batch)
    request: Request = journal.request().but(
        parallel=parallel, n_workers=n_workers, timeout_per_task=timeout_per_task
    )
    if request.parallel is not False:
        refuse_what_stays_here()
    pairs = journal.left(retry_failed=retry_failed)
    if not pairs:
        logger.warning("%s", journal.why_nothing_is_left())
    return _run(request, prepare(request, pairs), journal, progress)


def _run(
    request: Request,
    prepared: Prepared,
    journal: Journal,
    progress: Progress | None,
    left_out: Mapping[Pair, str] | None = None,
) -> BatchResults:
    """Run tasks, keep the journal, return the results of the whole batch in task order."""
    tasks = [task.inside(journal.folder, len(prepared.tasks)) for task in prepared.tasks]
    with journal.lock.held():
        stop_file(journal.folder).unlink(missing_ok=True)
        journal.start([(task.sample, task.dye) for task in tasks])
        for pair, why in (left_out or {}).items():
            journal.record(left_out_result(task_of(request, pair), why), 0)
        _announce(prepared, progress)
        with followed(journal, progress), signals_as_interrupt():
            work_off(request, tasks, journal)
    missing = [t for t in tasks if (t.sample, t.dye) not in journal.results]
    results = journal.results | {
        (t.sample, t.dye): skipped_result(t, "the batch was stopped") for t in missing
    }
    close_batch(Path(request.output_dir))
    return BatchResults(results[pair] for pair in journal.pairs)


def _announce(prepared: Prepared, progress: Progress | None) -> None:
    """Say what the batch is expected to need."""
    text = in_words(prepared.reports, prepared.needs)
    logger.info("%s", text)
    if progress is not None:
        progress(TaskEvent("", "", PLANNED, {"text": text}, time.time(), len(prepared.tasks)))
