"""Working off the tasks of a batch: in which processes, and what becomes of each."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence

from exo2micro.batch.child import LOG_FORMAT
from exo2micro.batch.events import EventLog
from exo2micro.batch.following import Running
from exo2micro.batch.journal import Journal
from exo2micro.batch.request import Request, leaves_this_process
from exo2micro.batch.supervisor import KILLED, supervise
from exo2micro.batch.task import INTERRUPTED, Result, Task, execute, skipped_result, stop, stop_file
from exo2micro.errors import ClusterError, Exo2microError

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = (KILLED, "MemoryError", "InsufficientMemoryError")
"""Errors after which a task is tried again alone."""


def work_off(request: Request, tasks: Sequence[Task], journal: Journal) -> None:
    """Run the tasks of a batch; whatever ends them stands in the journal, and ends them all.

    Raises
    ------
    ClusterError
        If the workers of a joblib backend cannot be used or were lost.
    """
    running = Running(journal)
    reason = "ended by an error of the batch itself"
    try:
        _run_all(request, tasks, journal)
        stopped = stop_file(journal.folder)
        reason = stopped.read_text(encoding="utf-8") if stopped.exists() else "done"
    except KeyboardInterrupt:
        reason = "cancelled"
        stop(journal.folder, INTERRUPTED)
        running.wait_for_the_last()
        raise KeyboardInterrupt(INTERRUPTED) from None
    except BaseException as error:
        stop(journal.folder, f"{reason}; `exo2micro batch --resume` goes on from there")
        running.wait_for_the_last()
        if isinstance(error, Exo2microError) or not leaves_this_process():
            raise
        msg = (
            f"the workers of the batch were lost or cannot be used ({_in_words(error)}); what was "
            "finished is kept: see to the scheduler and its workers, then go on with "
            "`exo2micro batch --resume` (and --scheduler as before)"
        )
        raise ClusterError(msg) from error
    finally:
        journal.end(reason)


def _in_words(error: BaseException) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _run_all(request: Request, tasks: Sequence[Task], journal: Journal) -> None:
    again: list[tuple[Task, Result]] = []
    by_pair = {(task.sample, task.dye): task for task in tasks}
    for result in _results(request, tasks):
        task = by_pair[result["sample"], result["dye"]]
        if result.get("error_type") in OUT_OF_MEMORY and request.retries:
            again.append((task, result))
            logger.warning(
                "%s / %s will be tried again, alone and with one thread, after all others",
                task.sample,
                task.dye,
            )
        else:
            _settle(request, journal, task, result, 1)
    for task, result in again:
        _settle(request, journal, task, *_retried(request, task, result))


def _retried(request: Request, task: Task, result: Result) -> tuple[Result, int]:
    """Run a task alone, and again if need be; return its result and the number of attempts.

    Where the batch is stopped meanwhile, the error that asked for the retry stays the result.
    """
    attempt = 1
    while result.get("error_type") in OUT_OF_MEMORY and attempt <= request.retries:
        (new,) = _results(request, [task.alone()])
        if str(new["status"]).startswith("skipped"):
            break
        attempt, result = attempt + 1, new
    return result, attempt


def _settle(request: Request, journal: Journal, task: Task, result: Result, attempt: int) -> None:
    """Enter a final result into the journal."""
    result["attempts"] = attempt
    is_error = str(result["status"]).startswith("error")
    if task.log is not None and task.log.exists():
        result["log"] = str(task.log)
    if attempt > 1 and is_error:
        result["status"] += f"; attempt {attempt}, alone and with one thread, ended so, too"
    elif attempt > 1:
        note = f"ran out of memory at first; attempt {attempt}, alone and with one thread, worked"
        result["messages"] = [*result.get("messages", ()), note]
    journal.record(result, attempt)
    if request.on_error == "stop" and is_error:
        stop(journal.folder, f"stopped after the error of {task.sample} / {task.dye}")


def _results(request: Request, tasks: Sequence[Task]) -> Iterable[Result]:
    """Yield results as they come."""
    if request.parallel is False:
        return map(_in_this_process, tasks)
    elsewhere = request.parallel is True and leaves_this_process()
    if not elsewhere and (request.parallel is not True or len(tasks) < 2):
        return map(supervise, tasks)
    import joblib

    n_workers = request.workers(tasks)
    if elsewhere and len(tasks) == 1:
        n_workers = 2  # joblib would do without the workers where one is enough
    if elsewhere and joblib.effective_n_jobs(n_workers) == 1:
        logger.warning(
            "one worker alone: joblib does its work in this process; give the backend two or more"
        )
    run = joblib.Parallel(
        n_jobs=n_workers,
        prefer="threads",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="n_jobs",
    )
    results: Iterable[Result] = run(joblib.delayed(supervise)(task) for task in tasks)
    return results


@contextlib.contextmanager
def _logged(task: Task) -> Iterator[None]:
    """Write what the package logs into the task's file, too, at the level that is set."""
    if task.log is None:
        yield
        return
    task.log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(task.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    package = logging.getLogger("exo2micro")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


def _in_this_process(task: Task) -> Result:
    if task.stopped():
        return skipped_result(task, task.why_stopped())
    log, result = EventLog(task), skipped_result(task, INTERRUPTED)
    log.started(os.getpid())
    started = time.perf_counter()
    try:
        with _logged(task):
            result = execute(task, lambda event: log.stage(vars(event)))
    finally:
        result["seconds"] = time.perf_counter() - started
        log.finished(result)
    return result
