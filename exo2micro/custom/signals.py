"""Signals that tell listeners what changed, without any GUI library."""

import logging
from typing import Final

from psygnal import SignalInstance

logger = logging.getLogger(__name__)


class IsolatedSignal(SignalInstance):
    """A signal that calls every listener, whatever the others do.

    psygnal ends an emission with the first listener that fails; here the failure is logged.
    """

    def _run_emit_loop_immediate(self) -> None:
        arguments = self._emit_queue.popleft()
        for listener in list(self._slots):
            try:
                listener.cb(arguments)
            except ReferenceError:  # its object is gone, and so is the listener
                continue
            except Exception:
                logger.exception("a listener of %s failed", self.name)


functions_changed: Final = IsolatedSignal((), name="functions_changed")
"""Emitted once, without arguments, after each change of the custom functions."""
