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
from exo2micro.batch.overview import batch_status
from exo2micro.errors import OutputLockedError

# A shell lets jobs in the background ignore SIGINT, and the tests may be one.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from exo2micro import run_batch
run_batch(raw_dir=sys.argv[1] + "/raw", output_dir=sys.argv[1] + "/processed", parallel=True,
          n_workers=2)
"""
GO_ON = (
    START.partition("from")[0]
    + """
from exo2micro.batch import resume_batch
resume_batch(sys.argv[1] + "/processed")
"""
)


def started_batch(lab: Path, code: str) -> tuple[subprocess.Popen, set[int]]:
    """Run a batch in a process of its own until a pair works; return it and its children."""
    readers = {f: EventReader(f) for f in (lab / "processed" / "_batches").glob("*")}
    for reader in readers.values():
        reader.new()
    process = subprocess.Popen([sys.executable, "-c", code, str(lab)], stderr=subprocess.DEVNULL)
    deadline, events = time.monotonic() + 120, []
    while time.monotonic() < deadline:
        for folder in (lab / "processed" / "_batches").glob("*"):
            events += readers.setdefault(folder, EventReader(folder)).new()
        if any(e.kind == "stage" and e.detail["state"] == "start" for e in events):
            return process, {e.detail["pid"] for e in events if e.kind == "started"}
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the batch did not start")


ONE_BY_ONE = START.replace("parallel=True,\n          n_workers=2", "parallel='subprocess'")


def wait_until_gone(pids) -> None:
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def latest_events(journal: Journal) -> list:
    """Return the last event of each pair."""
    return list({e.sample: e for e in EventReader(journal.folder).new()}.values())


def test_a_batch_that_is_ended_again_and_again_leaves_no_process_and_is_resumed(lab, calm):
    for number, code in (
        (signal.SIGINT, ONE_BY_ONE),
        (signal.SIGTERM, GO_ON),
        (signal.SIGKILL, GO_ON),
    ):
        process, pids = started_batch(lab, code)
        with pytest.raises(OutputLockedError, match=f"in use by process {process.pid}"):
            resume_batch(lab / "processed")
        assert "running" in str(batch_status(lab / "processed"))
        process.send_signal(number)
        process.wait(timeout=60)
        wait_until_gone(pids)
        journal = Journal.latest(lab / "processed")
        assert journal.ended == ("" if number == signal.SIGKILL else "cancelled")
        assert not journal.is_running
        states = {event.kind for event in latest_events(journal)}
        assert number == signal.SIGKILL or not states & {"started", "stage"}, "each end is noted"
        assert journal.unfinished
    results = resume_batch(lab / "processed")
    assert [r["status"].split(",")[0] for r in results] == ["complete"] * len(PAIRS)
    for sample, _ in PAIRS:
        assert digests(lab / "processed", sample) == calm[sample]
