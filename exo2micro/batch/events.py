"""The steps of each task as JSON lines, written by its supervisor, read by anybody."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exo2micro.batch.task import Result, Task

logger = logging.getLogger(__name__)

PLANNED = "planned"
WAITING, STARTED, STAGE, FINISHED = "waiting", "started", "stage", "finished"


@dataclass(frozen=True)
class TaskEvent:
    """One step of one task, or what the batch as a whole is about to do.

    Attributes
    ----------
    sample, dye : str
        The pair; empty for ``planned``.
    kind : str
        ``planned`` (once, before the first pair), ``waiting`` (for memory), ``started``, ``stage``
        or ``finished``.
    detail : mapping
        For ``planned`` the expected need of memory, disk and time in words (``text``); for
        ``waiting`` the bytes that are needed and free;
        for ``stage`` the fields of `StageEvent`; for ``finished`` status and seconds; for
        ``started`` process and machine.
    time : float
        Seconds since the epoch.
    pairs : int
        Number of pairs that run in this batch.
    """

    sample: str
    dye: str
    kind: str
    detail: Mapping[str, Any]
    time: float
    pairs: int


class EventLog:
    """Writes the steps of one task; one file has one writer.

    Parameters
    ----------
    task : Task
        The task; without a folder nothing is written.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def waiting(self, need: int, free: int) -> None:
        """Say that the task waits for memory."""
        self._append(WAITING, {"need_bytes": need, "free_bytes": free})

    def started(self, pid: int) -> None:
        """Say that the task's process runs."""
        self._append(STARTED, {"pid": pid, "host": socket.gethostname()})

    def stage(self, event: Mapping[str, Any]) -> None:
        """Hand on what a stage tells."""
        self._append(STAGE, event)

    def finished(self, result: Result) -> None:
        """Say how the task ended."""
        self._append(FINISHED, {"status": result["status"], "seconds": result.get("seconds")})

    def _append(self, kind: str, detail: Mapping[str, Any]) -> None:
        if self._task.events is not None:
            task = self._task
            event = TaskEvent(task.sample, task.dye, kind, detail, time.time(), task.pairs)
            try:
                append_line(self._task.events, vars(event))
            except OSError as error:
                logger.warning("%s / %s: a step is not noted: %s", task.sample, task.dye, error)


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append one JSON line with a single write, and bring it to the disk.

    Where a kill cut the last line short, the new one starts on a line of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(content, allow_nan=False).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file of JSON lines; a line that a kill cut short is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    yield from _entries(content)


def _entries(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


class EventReader:
    """Follows the event files of a batch; each event is handed out once.

    Parameters
    ----------
    folder : Path
        Folder of the batch.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tasks"
        self._seen: dict[Path, int] = {}

    def new(self) -> list[TaskEvent]:
        """Return the events written since the last call, in order of time."""
        events: list[TaskEvent] = []
        for path in sorted(self._folder.glob("*/*.jsonl")):
            seen = self._seen.get(path, 0)
            if path.stat().st_size == seen:
                continue
            with path.open("rb") as file:
                file.seek(seen)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._seen[path] = seen + len(whole)
            events += [TaskEvent(**entry) for entry in _entries(whole)]
        return sorted(events, key=lambda event: event.time)
