"""The process of one task: reads it from stdin, tells its steps on stdout, ends with its parent."""

import base64
import faulthandler
import json
import logging
import os
import pickle
import sys
import threading
from dataclasses import asdict
from typing import Any, BinaryIO

from exo2micro.batch.task import execute
from exo2micro.execution.events import StageEvent

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main() -> None:
    """Run the task that stands in stdin and end."""
    messages = _private_stdout()
    task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    faulthandler.enable()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)

    def tell(event: StageEvent) -> None:
        _send(messages, {"stage": asdict(event)})

    result = execute(task, tell)
    _send(messages, {"result": base64.b64encode(pickle.dumps(result)).decode()})
    messages.flush()
    sys.stderr.flush()
    # The lifeline thread blocks in a read; an orderly shutdown would wait for it on some systems.
    os._exit(0)


def _private_stdout() -> BinaryIO:
    """Keep stdout for messages; what custom code prints goes to stderr, into the log."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _send(stream: BinaryIO, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def _end_with_parent() -> None:
    """End this process when the parent is gone, however it went: its end of stdin closes then."""
    sys.stdin.buffer.read()
    os._exit(1)
