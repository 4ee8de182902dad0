"""How far a batch is, seen from outside."""

import time
from pathlib import Path
from typing import Any

from exo2micro.batch.events import FINISHED, STAGE, WAITING, EventReader, TaskEvent
from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.results import BatchResults, short_status
from exo2micro.batch.task import stop
from exo2micro.tables import Table


def batch_status(output_dir: Path, batch: str | None = None) -> Table:
    """Return one row per pair of a batch: state, what it does now, since when.

    Parameters
    ----------
    output_dir : Path
        Output folder of the batch.
    batch : str, optional
        Name of the batch; by default the latest one.

    Raises
    ------
    CheckpointError
        If there was no such batch.
    """
    journal = Journal.find(output_dir, batch)
    latest: dict[Pair, TaskEvent] = {}
    for event in EventReader(journal.folder).new():
        if event.time >= journal.started:
            latest[event.sample, event.dye] = event
    is_running = journal.is_running
    busy = journal.running if is_running else set()
    rows = [
        _row(p, journal, latest.get(p), is_running=is_running, has_ended=p not in busy)
        for p in journal.pairs
    ]
    title = (
        f"{journal.folder}: {_state_of(journal, is_running=is_running)}, {_count(journal, busy)}"
    )
    return Table(rows, title, _footer(journal, busy))


def _count(journal: Journal, busy: set[Pair]) -> str:
    """Return in words how many pairs have a result, and how many of those are errors."""
    done = set(journal.pairs) - set(journal.unfinished) - busy
    errors = len(done.intersection(journal.failed))
    text = f"{len(done)} of {len(journal.pairs)} done"
    return f"{text}, {errors} of them with an error" if errors else text


def _footer(journal: Journal, busy: set[Pair]) -> str:
    """Return the problems so far, and the other batches that are not finished."""
    ended = [journal.results[p] for p in journal.pairs if p in journal.results and p not in busy]
    lines = [
        f"not finished: {other.folder.name}, {len(other.unfinished)} of {len(other.pairs)} pairs "
        "left; --batch names it"
        for other in journal.unfinished_others()
    ]
    parts = (BatchResults(ended).problems(), "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def stop_batch(output_dir: Path, batch: str | None = None) -> str:
    """Tell a batch, by default the latest, to end and return in words what was done."""
    journal = Journal.find(output_dir, batch)
    if not journal.is_running:
        return f"{journal.folder} is not running: {_state_of(journal, is_running=False)}"
    stop(journal.folder, "stopped from another terminal; `exo2micro batch --resume` goes on")
    return f"{journal.folder} was told to stop; what was finished is kept"


def _state_of(journal: Journal, *, is_running: bool) -> str:
    if is_running:
        return f"running since {journal.owner['time']} (process {journal.owner['pid']})"
    return journal.ended or "ended without a word (killed?); `exo2micro batch --resume` goes on"


def _row(
    pair: Pair,
    journal: Journal,
    event: TaskEvent | None,
    *,
    is_running: bool,
    has_ended: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {"sample": pair[0], "dye": pair[1]}
    if has_ended and pair in journal.results:
        result = journal.results[pair]
        state = short_status(result)
        return row | {"state": state, "doing": None, "minutes": _minutes(result)}
    if event is None:
        state = "waiting for its turn" if is_running else "not started"
        return row | {"state": state, "doing": None, "minutes": None}
    doing = str(event.detail.get("title")) if event.kind == STAGE else None
    since = (time.time() - event.time) / 60
    state = "waiting for memory" if event.kind == WAITING else "running"
    if event.kind == FINISHED:
        state = short_status(event.detail)
    elif not is_running:
        state = f"was {state} when the batch ended"
    return row | {"state": state, "doing": doing, "minutes": round(since, 1)}


def _minutes(result: dict[str, Any]) -> float | None:
    seconds = result.get("seconds")
    return None if seconds is None else round(seconds / 60, 1)
