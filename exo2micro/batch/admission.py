"""When a task may start: its memory is reserved in a ledger that all tasks of the machine share."""

import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from exo2micro.execution.machine import available_memory_bytes

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@contextlib.contextmanager
def memory_reserved(
    need: int, cancelled: Callable[[], bool], waiting: Callable[[int, int], None]
) -> Iterator[bool]:
    """Wait until so much memory is free, and count it as taken while the context lasts.

    A task that would run alone on the machine starts in any case: the pre-flight check has judged
    it already. So does every task where the ledger cannot be used, with a warning.

    Parameters
    ----------
    need : int
        Bytes; 0 starts at once.
    cancelled : callable
        Asked while waiting.
    waiting : callable
        Told ``(need, free)`` once, if the task has to wait.

    Yields
    ------
    bool
        Whether the task may start; False once cancelled.
    """
    ledger = Ledger()
    try:
        key = _wait(ledger, need, cancelled, waiting)
    except OSError as error:
        logger.warning(
            "memory cannot be shared out among tasks, so this one starts at once: %s; make the "
            "folder of temporary files writable, or run fewer pairs at once",
            error,
        )
        yield True
        return
    try:
        yield bool(key)
    finally:
        if key:
            with contextlib.suppress(OSError):  # the promise ends with this process
                ledger.release(key)


def _wait(
    ledger: "Ledger", need: int, cancelled: Callable[[], bool], waiting: Callable[[int, int], None]
) -> str:
    """Return the key of a promise; empty once cancelled."""
    told = False
    while not (key := ledger.reserve(need)):
        if cancelled():
            return ""
        if not told:
            waiting(need, ledger.free())
            told = True
        time.sleep(_POLL_SECONDS)
    return key


class Ledger:
    """Memory promised to running tasks on this machine, of all batches of this user.

    Parameters
    ----------
    folder : Path, optional
        Where it lies; by default the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        base = folder or Path(tempfile.gettempdir())
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._path = base / f"exo2micro-memory-{user}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"))

    def free(self) -> int:
        """Return the bytes that are neither used nor promised."""
        with self._lock:
            return max(0, self._free(self._entries()))

    def reserve(self, need: int) -> str:
        """Promise memory to a task; return its key, empty if there is not enough."""
        with self._lock:
            entries = self._entries()
            if entries and need > self._free(entries):
                return ""
            key = f"{os.getpid()}-{time.monotonic_ns()}"
            entries[key] = {"pid": os.getpid(), "born": _born(os.getpid()), "need": need}
            self._write(entries)
            return key

    def release(self, key: str) -> None:
        """Give back what was promised."""
        with self._lock:
            entries = self._entries()
            entries.pop(key, None)
            self._write(entries)

    def _free(self, entries: dict[str, dict[str, Any]]) -> int:
        """Return what is free now, less what running tasks were promised and do not use yet."""
        owners = {entry["pid"] for entry in entries.values()}
        promised = sum(int(entry["need"]) for entry in entries.values())
        used = sum(_memory_of_children(pid) for pid in owners)
        return available_memory_bytes() - max(0, promised - used)

    def _entries(self) -> dict[str, dict[str, Any]]:
        """Return the promises to processes that live; what is no promise is left out."""
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: entry for key, entry in entries.items() if _is_alive(entry)}

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        temporary.replace(self._path)


def _is_alive(entry: object) -> bool:
    """Whether an entry is a promise to a process that lives; numbers of processes come again."""
    match entry:
        case {"pid": int(pid), "need": int(), "born": float(born)}:
            return _born(pid) == born
    return False


def _born(pid: int) -> float | None:
    """Return when a process was started; None if there is none of this number."""
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, OverflowError):
        return None


def _memory_of_children(pid: int) -> int:
    """Return the resident memory of what a supervisor started."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += child.memory_info().rss
    return total
