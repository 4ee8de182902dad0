"""How far a batch is, seen from outside."""

import time
from pathlib import Path
from typing import Any

from exo2micro.batch.events import FINISHED, STAGE, WAITING, EventReader, TaskEvent
from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.task import stop
from exo2micro.tables import Table


def batch_status(output_dir: Path) -> Table:
    """Return one row per pair of the latest batch: state, what it does now, since when.

    Raises
    ------
    CheckpointError
        If there was no batch.
    """
    journal = Journal.latest(output_dir)
    latest: dict[Pair, TaskEvent] = {}
    for event in EventReader(journal.folder).new():
        latest[event.sample, event.dye] = event
    is_running = journal.is_running
    rows = [_row(p, journal, latest.get(p), is_running=is_running) for p in journal.pairs]
    left = len(journal.unfinished)
    state = _state_of(journal)
    title = f"{journal.folder}: {state}, {len(journal.pairs) - left} of {len(journal.pairs)} done"
    return Table(rows, title)


def stop_batch(output_dir: Path) -> str:
    """Tell the latest batch to end and return in words what was done."""
    journal = Journal.latest(output_dir)
    if not journal.is_running:
        return f"{journal.folder} is not running: {_state_of(journal)}"
    stop(journal.folder, "stopped from another terminal; `exo2micro batch --resume` goes on")
    return f"{journal.folder} was told to stop; what was finished is kept"


def _state_of(journal: Journal) -> str:
    if journal.is_running:
        return f"running since {journal.owner['time']} (process {journal.owner['pid']})"
    return journal.ended or "ended without a word (killed?); `exo2micro batch --resume` goes on"


def _row(
    pair: Pair, journal: Journal, event: TaskEvent | None, *, is_running: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {"sample": pair[0], "dye": pair[1]}
    if pair in journal.results:
        result = journal.results[pair]
        return row | {"state": result["status"], "doing": None, "minutes": _minutes(result)}
    if event is None:
        state = "waiting for its turn" if is_running else "not started"
        return row | {"state": state, "doing": None, "minutes": None}
    doing = str(event.detail.get("title")) if event.kind == STAGE else None
    since = (time.time() - event.time) / 60
    state = "waiting for memory" if event.kind == WAITING else "running"
    if event.kind == FINISHED:
        state = str(event.detail["status"])
    elif not is_running:
        state = f"was {state} when the batch ended"
    return row | {"state": state, "doing": doing, "minutes": round(since, 1)}


def _minutes(result: dict[str, Any]) -> float | None:
    seconds = result.get("seconds")
    return None if seconds is None else round(seconds / 60, 1)
