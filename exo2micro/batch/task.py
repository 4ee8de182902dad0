"""One pair of a batch as plain data, and running it in this very process."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exo2micro.execution.events import StageEvent
from exo2micro.pipeline import SampleDye
from exo2micro.raster.atomic import write_text_atomically

logger = logging.getLogger(__name__)

# How Python and the dynamic linker say that there is no memory for a stack, a library, a process.
_NO_MEMORY_WORDS = ("can't start new thread", "failed to map segment", "Cannot allocate memory")

INTERRUPTED = "cancelled; what was finished is kept, `exo2micro batch --resume` goes on from there"
"""Why a task was left out after Ctrl-C or a signal that ends the batch."""

Result = dict[str, Any]
"""What `SampleDye.run` returns, or an error as a mapping with the same keys."""


@dataclass(frozen=True)
class Task:
    """One pair of a batch; it can be pickled.

    Attributes
    ----------
    sample, dye : str
        The pair.
    options : mapping
        Keywords of `SampleDye`.
    call : mapping
        Keywords of `SampleDye.run`.
    timeout_s : float or None
        Longest time that the pair may take.
    memory_bytes : int
        Expected peak; the task starts when so much is free.
    folder : Path or None
        Folder of the batch, for the log and the events; None: neither is written.
    pairs : int
        Number of pairs that run in this batch.
    """

    sample: str
    dye: str
    options: Mapping[str, Any]
    call: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    memory_bytes: int = 0
    folder: Path | None = None
    pairs: int = 1

    @property
    def log(self) -> Path | None:
        """File that the task's log goes to."""
        return self.folder / "logs" / self.sample / f"{self.dye}.log" if self.folder else None

    @property
    def events(self) -> Path | None:
        """File that the task's steps are appended to as JSON lines."""
        return self.folder / "tasks" / self.sample / f"{self.dye}.jsonl" if self.folder else None

    def stopped(self) -> bool:
        """Whether the batch was told to stop."""
        return self.folder is not None and stop_file(self.folder).exists()

    def why_stopped(self) -> str:
        """Return why the batch was told to stop."""
        assert self.folder is not None
        return stop_file(self.folder).read_text(encoding="utf-8")

    def inside(self, folder: Path, pairs: int) -> "Task":
        """Return the same task as one of several in a batch that has a folder."""
        return replace(self, folder=folder, pairs=pairs)

    def alone(self) -> "Task":
        """Return the same task with the least memory: one thread holds one window at a time."""
        return replace(self, options={**self.options, "threads": 1})


def stop_file(folder: Path) -> Path:
    """Return the file whose presence ends a batch: its tasks may run on several machines."""
    return folder / "stop"


def stop(folder: Path, reason: str) -> None:
    """Tell all tasks of a batch to end, on whatever machine they are."""
    write_text_atomically(stop_file(folder), reason)


def execute(task: Task, progress: Callable[[StageEvent], None] | None = None) -> Result:
    """Run a task in this process; an error becomes a result."""
    try:
        pair = SampleDye(task.sample, task.dye, **task.options)
        return pair.run(**task.call, progress=progress)
    except SystemExit as error:
        logger.exception("%s / %s failed", task.sample, task.dye)
        text = f"a function called exit({error.code}); it has to return an image or raise an error"
        return error_result(task, text, "SystemExit")
    except Exception as error:
        logger.exception("%s / %s failed", task.sample, task.dye)
        kind = "MemoryError" if _is_memory_error(error) else type(error).__name__
        return error_result(task, str(error) or kind, kind)


def _is_memory_error(error: Exception) -> bool:
    """Tell whether memory ran out, in whatever library."""
    import cv2

    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    return isinstance(error, MemoryError) or any(w in str(error) for w in _NO_MEMORY_WORDS)


def error_result(task: Task, text: str, error_type: str) -> Result:
    """Return the result of a task that ended with an error."""
    return _empty_result(task, f"error: {text}", text) | {"error_type": error_type}


def skipped_result(task: Task, reason: str) -> Result:
    """Return the result of a task that was not run."""
    return _empty_result(task, f"skipped: {reason}", reason)


def left_out_result(task: Task, why: str) -> Result:
    """Return the result of a pair that could not be run, because it is none."""
    return skipped_result(task, f"no complete pair: {why}") | {"error_type": "RawPairingError"}


def _empty_result(task: Task, status: str, reason: str) -> Result:
    return {
        "sample": task.sample,
        "dye": task.dye,
        "status": status,
        "verdict": None,
        "reason": reason,
        "scale_estimate": None,
        "scale_percentile_value": None,
        "manual_scale": task.options["params"]["manual_scale"],
    }
