"""Lets one thread discover while the others wait, without a deadlock against the import locks.

Discovery imports modules, and Python holds one lock per module that is being imported. A plain
lock around discovery therefore deadlocks: thread A discovers and waits for the import of module
M, thread B imports M, whose body reads the registry, and waits for A. So no lock is held during
discovery. Others wait on a condition, but a thread that is inside an import stops waiting as soon
as the discovering thread turns out to wait for it; it then sees what was registered so far, as
in any circular import.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

POLL_S = 0.02
"""How often a waiting thread that is inside an import looks for a deadlock."""

_IMPORT_MACHINERY = "<frozen importlib._bootstrap"


class DiscoveryGate:
    """Admits one thread at a time; re-entry by that thread is told so instead of blocked."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._condition = threading.Condition()
        self._owner: int | None = None
        self._pid = os.getpid()

    def enter(self, is_done: Callable[[], bool]) -> bool:
        """Return True if the calling thread shall do the work and then call `leave`.

        Parameters
        ----------
        is_done : callable
            Whether the work is done; asked again after each wait.

        Returns
        -------
        bool
            False if the work is done, is being done by this very thread further up its stack, or
            waiting for it would never end.
        """
        if self._pid != os.getpid():
            self._reset()  # a forked child has no thread that could finish the parent's work
        me = threading.get_ident()
        with self._condition:
            while not is_done():
                if self._owner is None:
                    self._owner = me
                    return True
                if self._owner == me:
                    return False
                if not _is_importing():
                    self._condition.wait()
                    continue
                self._condition.wait(POLL_S)
                if self._owner is not None and _waits_for(self._owner, me):
                    return False
            return False

    def leave(self) -> None:
        """Let the next thread in."""
        with self._condition:
            self._owner = None
            self._condition.notify_all()


def _is_importing() -> bool:
    """Whether the calling thread is inside an import and so holds an import lock."""
    return any(
        frame.f_code.co_filename.startswith(_IMPORT_MACHINERY)
        for frame, _ in traceback.walk_stack(None)
    )


def _waits_for(thread: int, me: int) -> bool:
    """Whether ``thread`` waits, over any number of other threads, for an import lock of ``me``."""
    frames = sys._current_frames()
    seen: set[int] = set()
    while thread not in seen:
        seen.add(thread)
        frame = frames.get(thread)
        if frame is None or not _is_waiting_for_module(frame):
            return False
        holder = getattr(frame.f_locals.get("self"), "owner", me)
        if holder == me:
            return True
        if holder is None:
            return False
        thread = holder
    return False


def _is_waiting_for_module(frame: FrameType) -> bool:
    """Whether the innermost frame of a thread waits for the import lock of a module."""
    code = frame.f_code
    return code.co_name == "acquire" and code.co_filename.startswith(_IMPORT_MACHINERY)
