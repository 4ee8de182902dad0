"""Progress of a batch on stderr: a bar on a terminal, elsewhere one line per pair that ended."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exo2micro.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import TaskID

    from exo2micro.batch import TaskEvent


@contextmanager
def showing_tasks(terminal: Terminal) -> "Iterator[Callable[[TaskEvent], None]]":
    """Show the pairs of a batch on stderr while the context lasts; yield what takes its events."""
    if terminal.verbosity < 0:
        yield lambda _event: None
    elif terminal.err.is_terminal:
        with _Bars(terminal) as bars:
            yield bars.take
    else:
        yield lambda event: _say(terminal, event)


def line_of(event: "TaskEvent") -> str:
    """Return what is said of an event for good, as one line of text; empty for most of them."""
    if event.kind == "planned":
        return str(event.detail["text"])
    if event.kind == "waiting":
        from exo2micro import format_bytes

        need, free = (format_bytes(event.detail[k]) for k in ("need_bytes", "free_bytes"))
        return f"{event.sample} / {event.dye}: waits for memory: needs {need}, free {free}"
    if event.kind != "finished":
        return ""
    seconds = event.detail.get("seconds")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    return f"{event.sample} / {event.dye}: {event.detail['status']}{took}"


def _say(terminal: Terminal, event: "TaskEvent") -> None:
    if line := line_of(event):
        terminal.say(line)


class _Bars:
    """One line per running pair with its stage, and one bar for the batch."""

    def __init__(self, terminal: Terminal) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._terminal = terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=terminal.err,
            transient=True,
        )
        self._running: dict[tuple[str, str], TaskID] = {}
        self._batch: TaskID | None = None
        self._done: set[tuple[str, str]] = set()
        self._started = time.monotonic()

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def take(self, event: "TaskEvent") -> None:
        """Show one event."""
        from exo2micro.defaults import MAX_STAGE

        pair = (event.sample, event.dye)
        if self._batch is None:
            self._batch = self._progress.add_task("pairs", total=event.pairs, rate="")
        if line := line_of(event):
            self._progress.print(line)
        if event.kind == "planned":
            return
        if event.kind == "finished":
            if (bar := self._running.pop(pair, None)) is not None:
                self._progress.remove_task(bar)
            self._count(pair, is_done=True)
            return
        if pair in self._done:  # it is tried again
            self._count(pair, is_done=False)
        if pair not in self._running:
            self._running[pair] = self._progress.add_task(
                " / ".join(pair), total=MAX_STAGE + 1, rate=""
            )
        if event.kind == "stage":
            number = int(event.detail["number"]) or MAX_STAGE + 1
            finished = number - 1 if event.detail["state"] == "start" else number
            text = f"{' / '.join(pair)}: {event.detail['title']}"
            self._progress.update(self._running[pair], completed=finished, description=text)

    def _count(self, pair: tuple[str, str], *, is_done: bool) -> None:
        assert self._batch is not None
        (self._done.add if is_done else self._done.discard)(pair)
        self._progress.update(self._batch, completed=len(self._done), rate=self._rate())

    def _rate(self) -> str:
        """Return in words how fast pairs are finished."""
        rate = len(self._done) / (time.monotonic() - self._started) * 3600
        return f"{rate:.{0 if rate >= 10 else 1}f} pairs/h"
