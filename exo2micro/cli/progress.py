"""Progress on stderr: a live display on a terminal, one line per finished stage elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from exo2micro.cli.terminal import Terminal
from exo2micro.defaults import STAGE_NAMES

if TYPE_CHECKING:
    from rich.status import Status

MOST_REASON_CHARACTERS = 100


class Event(Protocol):
    """The part of `exo2micro.execution.events.StageEvent` that is shown."""

    @property
    def number(self) -> int:
        """Stage number; 0 for the diagnostics."""

    @property
    def title(self) -> str:
        """What is worked on."""

    @property
    def state(self) -> str:
        """``cached``, ``start`` or ``done``."""

    @property
    def message(self) -> str:
        """Reason or remark."""

    @property
    def seconds(self) -> float:
        """Time since the start of the stage."""


@contextmanager
def showing_stages(terminal: Terminal, prefix: str = "") -> Iterator[Callable[[Event], None]]:
    """Show the stages of a run on stderr while the context lasts.

    Parameters
    ----------
    terminal : Terminal
        Where to; nothing is shown if it is quiet.
    prefix : str, optional
        Text before each line, such as the pair's name.

    Yields
    ------
    callable
        To be called with each event.
    """
    if terminal.verbosity < 0:
        yield lambda _event: None
        return
    if not terminal.err.is_terminal:
        yield lambda event: _show_line(terminal, prefix, event)
        return
    with terminal.err.status(f"{prefix}starting") as status:
        yield lambda event: _show_live(terminal, prefix, status, event)


def line_of(event: Event) -> str:
    """Return an event as one line of text."""
    remark = event.message
    if len(remark) > MOST_REASON_CHARACTERS:
        remark = remark[: MOST_REASON_CHARACTERS - 3] + "..."
    head = event.title
    if event.number:
        head = f"stage {event.number}/{max(STAGE_NAMES)} {event.title}"
    if event.state == "cached":
        return f"{head}: valid, kept"
    if remark:
        head += f" ({remark})"
    return f"{head}: done in {event.seconds:.1f} s" if event.state == "done" else f"{head} ..."


def _show_line(terminal: Terminal, prefix: str, event: Event) -> None:
    if event.state != "start":
        terminal.say(prefix + line_of(event))


def _show_live(terminal: Terminal, prefix: str, status: "Status", event: Event) -> None:
    from rich.text import Text

    if event.state == "start":
        status.update(Text(prefix + line_of(event)))
    else:
        terminal.err.print(Text(prefix + line_of(event), style="dim"))
