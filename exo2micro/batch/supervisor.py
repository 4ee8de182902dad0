"""A task in a process of its own: a crash, a leak or a timeout is that task's alone."""

import base64
import contextlib
import errno
import json
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

import psutil

from exo2micro.batch.admission import memory_reserved
from exo2micro.batch.events import EventLog
from exo2micro.batch.task import INTERRUPTED, Result, Task, error_result, skipped_result
from exo2micro.execution.machine import available_memory_bytes
from exo2micro.execution.preflight import format_bytes

logger = logging.getLogger(__name__)

_BOOTSTRAP = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from exo2micro.batch.child import main; main()"
)
_POLL_SECONDS = 0.2
_RUN_AGAIN = "run it again (`exo2micro batch --retry-failed`)"

KILLED = "TaskKilledError"
"""`error_type` of a task that was ended by SIGKILL."""

CRASHED = "TaskCrashedError"
"""`error_type` of a task whose process died in another way."""


def supervise(task: Task) -> Result:
    """Run a task in a fresh process and return its result, whatever becomes of the process."""
    log, result = EventLog(task), skipped_result(task, INTERRUPTED)
    started = time.perf_counter()
    try:
        result = _supervised(task, log)
    except Exception as error:
        logger.exception("%s / %s cannot be supervised", task.sample, task.dye)
        out_of_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
        kind = "MemoryError" if out_of_memory else type(error).__name__
        text = f"its process could not be started or followed: {str(error) or kind}"
        result = error_result(task, text, kind) | {"seconds": time.perf_counter() - started}
    finally:
        log.finished(result)
    return result


def _supervised(task: Task, log: EventLog) -> Result:
    with contextlib.ExitStack() as stack:
        reserved = memory_reserved(task.memory_bytes, task.stopped, log.waiting)
        if task.stopped() or not stack.enter_context(reserved):
            return skipped_result(task, task.why_stopped())
        started = time.perf_counter()
        process = stack.enter_context(_child(task))
        log.started(process.pid)
        result = _outcome(task, process, log)
        result["seconds"] = time.perf_counter() - started
    return result


def _outcome(task: Task, process: subprocess.Popen[bytes], log: EventLog) -> Result:
    """Follow the process to its end."""
    assert process.stdout is not None
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    deadline = None if task.timeout_s is None else time.monotonic() + task.timeout_s
    while True:
        if task.stopped():
            end_group(process)
            return skipped_result(task, task.why_stopped())
        if deadline is not None and time.monotonic() > deadline:
            end_group(process)
            text = (
                f"took longer than timeout_per_task = {task.timeout_s:g} s and was ended; "
                "what was finished is kept: go on with `exo2micro batch --retry-failed`, and with "
                "--timeout if it needs longer"
            )
            return error_result(task, text, "TimeoutError")
        try:
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return error_result(task, *_cause_of_death(process.wait(), task.memory_bytes))
        message = _whole(line)
        if "result" in message:
            process.wait()
            result: Result = pickle.loads(base64.b64decode(message["result"]))
            return result
        if "stage" in message:
            log.stage(message["stage"])


def _whole(line: bytes) -> dict[str, Any]:
    """Return what a line says; nothing where the process died while it wrote it."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


@contextlib.contextmanager
def _child(task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process of a task; it and all that it started are gone afterwards."""
    with _log_file(task) as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died already; its exit code tells
            process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(task))
            process.stdin.flush()
        yield process
    finally:
        end_group(process)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def _log_file(task: Task) -> Iterator[IO[bytes] | int]:
    if task.log is None:
        yield subprocess.DEVNULL
        return
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as file:
        yield file


def _read_lines(stream: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    with contextlib.suppress(ValueError, OSError):  # closed while it was read
        for line in stream:
            lines.put(line)
    lines.put(None)


def _cause_of_death(code: int, expected_bytes: int) -> tuple[str, str]:
    """Return in words why a process ended without a result, and an error type."""
    if code == -getattr(signal, "SIGKILL", 9):
        free = format_bytes(available_memory_bytes())
        text = (
            "killed by the system (SIGKILL), probably out of memory: about "
            f"{format_bytes(expected_bytes)} expected at the peak, {free} free after its end; "
            f"close other programs or take a machine with more memory, then {_RUN_AGAIN}"
        )
        return text, KILLED
    if code < 0:
        name = signal.Signals(-code).name
        return (
            f"the process crashed ({name}); the end of its log shows in which function: see to "
            f"that, then {_RUN_AGAIN}",
            CRASHED,
        )
    return (
        f"the process ended by itself with exit code {code} and no result; see the end of its log, "
        f"then {_RUN_AGAIN}",
        CRASHED,
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything that it started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    if process.poll() is None:
        process.kill()
    process.wait()
