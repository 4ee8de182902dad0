"""What a batch says while it runs."""

import pytest

from exo2micro.batch import TaskEvent
from exo2micro.cli.batch_progress import _Bars, line_of
from exo2micro.cli.terminal import Terminal

STAGE = {"number": 1, "state": "start", "title": "padding"}
FINISHED = {"status": "complete", "seconds": 2.0}


def event(kind: str, **detail) -> TaskEvent:
    return TaskEvent("A", "D", kind, detail, 0.0, 3)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("stage", **STAGE), ""),
        (event("finished", **FINISHED), "A / D: complete in 2.0 s"),
        (
            event("waiting", need_bytes=1e12, free_bytes=2e9),
            "A / D: waits for memory: needs 1.0 TB, free 2.0 GB",
        ),
    ],
)
def test_ends_and_waits_are_said_for_good(told, line):
    assert line_of(told) == line


def test_a_pair_that_is_tried_again_is_counted_once(capsys):
    with _Bars(Terminal()) as bars:
        counts = []
        for told in 2 * (event("started"), event("stage", **STAGE), event("finished", **FINISHED)):
            bars.take(told)
            counts.append(bars._progress.tasks[0].completed)
    assert counts == [0, 0, 1, 0, 0, 1]
    assert bars._progress.tasks[0].fields["rate"].partition(" ")[0].replace(".", "").isdigit()
