"""A batch that is ended as a whole, and going on with it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from batch_lab import PAIRS, digests

from exo2micro.batch import EventReader, Journal, resume_batch

# A shell lets jobs in the background ignore SIGINT, and the tests may be one.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from exo2micro import run_batch
run_batch(raw_dir=sys.argv[1] + "/raw", output_dir=sys.argv[1] + "/processed", parallel=True,
          n_workers=2)
"""


def started_batch(lab: Path) -> tuple[subprocess.Popen, EventReader]:
    """Start a batch in a process of its own and wait until its first pair runs."""
    process = subprocess.Popen([sys.executable, "-c", START, str(lab)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        folders = list((lab / "processed" / "_batches").glob("*"))
        if folders:
            reader = EventReader(folders[0])
            events = reader.new()
            if any(e.kind == "stage" for e in events):
                return process, {e.detail["pid"] for e in events if e.kind == "started"}
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the batch did not start")


def wait_until_gone(pids) -> None:
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_batch_that_is_ended_leaves_no_process_and_is_resumed(lab, calm, number):
    process, pids = started_batch(lab)
    process.send_signal(number)
    process.wait(timeout=60)
    wait_until_gone(pids)
    journal = Journal.latest(lab / "processed")
    assert journal.ended == ("" if number == signal.SIGKILL else "cancelled")
    assert not journal.is_running
    assert journal.unfinished
    results = resume_batch(lab / "processed")
    assert [r["status"].split(",")[0] for r in results] == ["complete"] * len(PAIRS)
    for sample, _ in PAIRS:
        assert digests(lab / "processed", sample) == calm[sample]
