"""What follows a run or a batch and must never cost a result: reports for people."""

import contextlib
import logging
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from exo2micro.execution.events import StageEvent
from exo2micro.execution.machine import peak_memory_bytes
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.base import Diagnostic
from exo2micro.raster.lock import FolderLock

logger = logging.getLogger(__name__)

PAIR_REPORT: Final = "exo2micro.report.after_run:report_run"
INDEX: Final = "exo2micro.report.after_run:report_batch"
"""Called by name: reports are made of runs and batches, which cannot import them."""

_REPORTED: Final = (3, 4)


def close_run(
    runner: StageRunner,
    own: Sequence[Diagnostic],
    result: Mapping[str, Any],
    raw_dir: Path,
    lock: FolderLock,
    tell: Callable[[StageEvent], None],
) -> dict[str, Any]:
    """Write the report of a pair that ran to its end; return where it is and what the run took.

    Parameters
    ----------
    runner : StageRunner
        The runner that knows all valid records.
    own : sequence of Diagnostic
        Further diagnostics of the run.
    result : mapping
        What the run returns.
    raw_dir : Path
        Folder of the raw files.
    lock : FolderLock
        Lock of the pair's folder.
    tell : callable
        Told when the report is written; nothing is told of one that still holds.
    """
    report = _reported(runner, own, result, raw_dir, lock, tell)
    if not any(stage["action"] == "run" for stage in result["stages"]):
        return report
    return report | {"peak_memory_bytes": max(result["peak_memory_bytes"], peak_memory_bytes())}


def _reported(
    runner: StageRunner,
    own: Sequence[Diagnostic],
    result: Mapping[str, Any],
    raw_dir: Path,
    lock: FolderLock,
    tell: Callable[[StageEvent], None],
) -> dict[str, Any]:
    """Write the report and return where it is, or what failed."""
    if any(runner.main_record(number) is None for number in _REPORTED):
        return {"report": None, "report_error": ""}
    try:
        path = pkgutil.resolve_name(PAIR_REPORT)(
            runner, own, result, raw_dir, partial(_told, lock, tell)
        )
    except Exception as error:
        logger.warning("the report could not be written: %s", _words(error), exc_info=True)
        return {"report": None, "report_error": _words(error)}
    return {"report": path, "report_error": ""}


def close_batch(output_dir: Path) -> None:
    """Write the index of all pairs; a failure is logged."""
    try:
        pkgutil.resolve_name(INDEX)(output_dir)
    except Exception:
        logger.warning("the index of all pairs could not be written", exc_info=True)


@contextlib.contextmanager
def _told(lock: FolderLock, tell: Callable[[StageEvent], None]) -> Iterator[None]:
    """Hold the lock of a pair and tell of the report that is written inside."""
    started = time.perf_counter()
    tell(StageEvent(0, "report", "start"))
    failure = ""
    try:
        with lock.held():
            yield
    except Exception as error:
        failure = _words(error)
        raise
    finally:
        tell(StageEvent(0, "report", "done", failure, time.perf_counter() - started))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
