"""Running a batch: which pairs, in which processes, and what becomes of each."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from exo2micro.batch.events import FINISHED, STARTED, EventLog, EventReader, TaskEvent
from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.overrides import Overrides
from exo2micro.batch.prepare import Request, make_request, prepare, select_pairs
from exo2micro.batch.results import BatchResults
from exo2micro.batch.supervisor import KILLED, supervise
from exo2micro.batch.task import Result, Task, execute, skipped_result, stop_file
from exo2micro.execution.closing import close_batch
from exo2micro.execution.extras import Step
from exo2micro.raster.atomic import write_text_atomically

logger = logging.getLogger(__name__)

Parallel = bool | Literal["subprocess"]
Progress = Callable[[TaskEvent], None]

OUT_OF_MEMORY = (KILLED, "MemoryError", "InsufficientMemoryError")
"""Errors after which a task is tried again alone."""

_POLL_SECONDS = 0.3
_LAST_BREATH_SECONDS = 15.0
_INTERRUPTED = "cancelled; what was finished is kept, `exo2micro batch --resume` goes on from there"


def run_batch(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
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
    only: Sequence[str] = (),
    stages: Sequence[Step | str] = (),
    progress: Progress | None = None,
) -> BatchResults:
    """Run many pairs; whatever happens to one of them, the others go on.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        What to run; by default every complete pair in `raw_dir`.
    parallel : bool or 'subprocess', optional
        False: one after the other in this process. ``'subprocess'``: one after the other, each in
        a fresh process. True: several at once, each in a process of its own, started through
        joblib: by threads of this process, or by the workers of the backend chosen with
        `joblib.parallel_config` (loky, dask, ray). This and the next options: by default what
        the configuration files say.
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
    only : sequence of str
        Patterns ``SAMPLE/DYE`` (with ``*`` and ``?``); other pairs are left out.
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
    RawPairingError
        If there is nothing to run, or a sample or dye is unknown.
    ParameterError
        If an argument or a parameter is wrong; nothing is run then.
    InsufficientDiskError
        If the output of all pairs together does not fit, unless `force_run`.
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
    pairs = select_pairs(Path(raw_dir), samples, dyes, only, strict_dyes=strict_dyes)
    tasks = prepare(request, pairs)
    journal = Journal.create(Path(request.output_dir), pairs, request)
    return _run(request, tasks, journal, progress)


def resume_batch(
    output_dir: str | os.PathLike[str] = "processed",
    *,
    retry_failed: bool = False,
    parallel: Parallel | None = None,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> BatchResults:
    """Go on with the latest batch: run the pairs that have no result yet.

    Parameters
    ----------
    output_dir : path
        Output folder of the batch.
    retry_failed : bool
        Also run the pairs again that ended with an error.
    parallel, n_workers, progress
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
    journal = Journal.latest(Path(output_dir))
    request: Request = journal.request()
    if parallel is not None or n_workers is not None:
        request = request.on(request.parallel if parallel is None else parallel, n_workers)
    pairs = journal.left(retry_failed=retry_failed)
    tasks = prepare(request, pairs) if pairs else []
    return _run(request, tasks, journal, progress)


def _run(
    request: Request, tasks: Sequence[Task], journal: Journal, progress: Progress | None
) -> BatchResults:
    """Run tasks, keep the journal, return the results of the whole batch in task order."""
    tasks = [task.inside(journal.folder, len(tasks)) for task in tasks]
    with journal.lock.held():
        stop_file(journal.folder).unlink(missing_ok=True)
        journal.start([(task.sample, task.dye) for task in tasks])
        with _watched(journal.folder, progress), _sigterm_as_interrupt():
            _run_noting_the_end(request, tasks, journal)
    missing = [t for t in tasks if (t.sample, t.dye) not in journal.results]
    results = journal.results | {
        (t.sample, t.dye): skipped_result(t, "the batch was stopped") for t in missing
    }
    close_batch(Path(request.output_dir))
    return BatchResults(results[pair] for pair in journal.pairs)


def _run_noting_the_end(request: Request, tasks: Sequence[Task], journal: Journal) -> None:
    """Run tasks; whatever ends them stands in the journal."""
    reason = "ended by an error of the batch itself"
    try:
        _run_all(request, tasks, journal)
        stopped = stop_file(journal.folder)
        reason = stopped.read_text(encoding="utf-8") if stopped.exists() else "done"
    except KeyboardInterrupt:
        reason = "cancelled"
        stop(journal.folder, _INTERRUPTED)
        _wait_for_the_last(journal.folder)
        raise
    finally:
        journal.end(reason)


def _run_all(request: Request, tasks: Sequence[Task], journal: Journal) -> None:
    again: list[Task] = []
    by_pair = {(task.sample, task.dye): task for task in tasks}
    for result in _results(request, tasks):
        task = by_pair[result["sample"], result["dye"]]
        if result.get("error_type") in OUT_OF_MEMORY and request.retries:
            again.append(task)
        else:
            _settle(request, journal, task, result, 1)
    for task in again:
        _settle(request, journal, task, *_retried(request, task))


def _retried(request: Request, task: Task) -> tuple[Result, int]:
    """Run a task alone, and again if need be; return its result and the number of attempts."""
    attempt = 2
    while True:
        result = supervise(task.alone())
        if result.get("error_type") not in OUT_OF_MEMORY or attempt > request.retries:
            return result, attempt
        attempt += 1


def _settle(request: Request, journal: Journal, task: Task, result: Result, attempt: int) -> None:
    """Enter a final result into the journal."""
    result["attempts"] = attempt
    if attempt > 1 and not str(result["status"]).startswith("error"):
        note = f"ran out of memory at first; attempt {attempt}, alone and with one thread, worked"
        result["messages"] = [*result.get("messages", ()), note]
    journal.record(result, attempt)
    if request.on_error == "stop" and str(result["status"]).startswith("error"):
        stop(journal.folder, f"stopped after the error of {task.sample} / {task.dye}")


def _results(request: Request, tasks: Sequence[Task]) -> Iterable[Result]:
    """Yield results as they come."""
    if request.parallel is False:
        return map(_in_this_process, tasks)
    if request.parallel == "subprocess" or len(tasks) < 2:
        return map(supervise, tasks)
    import joblib

    run = joblib.Parallel(
        n_jobs=request.workers(tasks),
        prefer="threads",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="n_jobs",
    )
    results: Iterable[Result] = run(joblib.delayed(supervise)(task) for task in tasks)
    return results


def _in_this_process(task: Task) -> Result:
    if task.stopped():
        return skipped_result(task, task.why_stopped())
    log = EventLog(task)
    log.started(os.getpid())
    started = time.perf_counter()
    result = execute(task, lambda event: log.stage(vars(event)))
    result["seconds"] = time.perf_counter() - started
    log.finished(result)
    return result


def stop(folder: Path, reason: str) -> None:
    """Tell all tasks of a batch to end, on whatever machine they are."""
    write_text_atomically(stop_file(folder), reason)


def _wait_for_the_last(folder: Path) -> None:
    """Wait until the supervisors have ended their processes, but not for ever."""
    deadline = time.monotonic() + _LAST_BREATH_SECONDS
    running: set[Pair] = set()
    reader = EventReader(folder)
    while time.monotonic() < deadline:
        for event in reader.new():
            if event.kind == STARTED:
                running.add((event.sample, event.dye))
            elif event.kind == FINISHED:
                running.discard((event.sample, event.dye))
        if not running:
            return
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _watched(folder: Path, progress: Progress | None) -> Iterator[None]:
    """Hand the events of all tasks to a callback while the context lasts."""
    if progress is None:
        yield
        return
    reader, done = EventReader(folder), threading.Event()
    reader.new()

    def follow() -> None:
        last_round = False
        while not last_round:
            last_round = done.wait(_POLL_SECONDS)
            for event in reader.new():
                progress(event)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, where this thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
