"""While a batch runs: its events handed to a callback, a signal to end it, its last tasks."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

from exo2micro.batch.events import FINISHED, STARTED, WAITING, EventReader, TaskEvent
from exo2micro.batch.journal import Journal, Pair

Progress = Callable[[TaskEvent], None]

_POLL_SECONDS = 0.3
_LAST_BREATH_SECONDS = 8.0
"""Docker and systemd kill a process some 10 s or more after the signal that asks it to end."""


@contextlib.contextmanager
def followed(journal: Journal, progress: Progress | None) -> Iterator[None]:
    """Hand the events of all tasks to a callback while the context lasts."""
    if progress is None:
        yield
        return
    reader, done = EventReader(journal.folder), threading.Event()
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


class Running:
    """Which tasks of this run of a batch go on, on whatever machine.

    Parameters
    ----------
    journal : Journal
        The batch; what its earlier runs left does not count.
    """

    def __init__(self, journal: Journal) -> None:
        self._reader = EventReader(journal.folder)
        self._reader.new()
        self._pairs: set[Pair] = set()

    def wait_for_the_last(self) -> None:
        """Wait until the supervisors have ended their processes, but not for ever."""
        deadline = time.monotonic() + _LAST_BREATH_SECONDS
        while self._now() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _now(self) -> set[Pair]:
        for event in self._reader.new():
            if event.kind in (WAITING, STARTED):
                self._pairs.add((event.sample, event.dye))
            elif event.kind == FINISHED:
                self._pairs.discard((event.sample, event.dye))
        return self._pairs


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, and the end of the terminal, like Ctrl-C, where this thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    # Under nohup the end of the terminal is ignored, and stays so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
