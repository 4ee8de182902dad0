"""What a batch would do, without doing it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.needs import Report, in_words, planned_part
from exo2micro.batch.overrides import Overrides
from exo2micro.batch.prepare import Prepared, prepare
from exo2micro.batch.request import make_request
from exo2micro.batch.selection import Names, select_pairs
from exo2micro.batch.task import Task
from exo2micro.errors import Exo2microError
from exo2micro.execution.extras import Step
from exo2micro.execution.preflight import format_bytes
from exo2micro.pipeline import SampleDye
from exo2micro.tables import Table


def plan_batch(
    samples: Names = None,
    dyes: Names = None,
    params: Mapping[str, Any] | None = None,
    output_dir: str | os.PathLike[str] = "processed",
    raw_dir: str | os.PathLike[str] = "raw",
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
    checkpoint_format: str | None = None,
    *,
    strict_dyes: bool = True,
    overrides: Overrides = None,
    only: str | Sequence[str] = (),
    stages: Sequence[Step | str] = (),
) -> Table:
    """Return what `run_batch` would do: for each pair the stages to run, why, and their needs.

    The arguments are those of `run_batch`, and so are the errors.
    """
    request = make_request(
        output_dir,
        raw_dir,
        params,
        checkpoint_format=checkpoint_format,
        overrides=overrides,
        call={"from_stage": from_stage, "to_stage": to_stage, "force": force},
        stages=stages,
    )
    chosen = select_pairs(Path(raw_dir), samples, dyes, only, strict_dyes=strict_dyes)
    return _outlook(prepare(request, chosen.pairs, judge=False), chosen.left_out)


def plan_resumed(
    output_dir: str | os.PathLike[str] = "processed",
    *,
    batch: str | None = None,
    retry_failed: bool = False,
) -> Table:
    """Return what `resume_batch` would do.

    Raises
    ------
    CheckpointError
        If there is no batch to go on with.
    """
    journal = Journal.find(Path(output_dir), batch)
    pairs = journal.left(retry_failed=retry_failed)
    return _outlook(prepare(journal.request(), pairs, judge=False))


_NO_NEED: dict[str, Any] = {"memory": None, "disk": None, "seconds": None, "fits": None}


def _outlook(prepared: Prepared, left_out: Mapping[Pair, str] | None = None) -> Table:
    """Return one row per pair, and what all of them need together."""
    rows = [
        _row(task, report) for task, report in zip(prepared.tasks, prepared.reports, strict=True)
    ]
    rows += [
        {"sample": sample, "dye": dye, "to run": "", "why": f"skipped: {why}"} | _NO_NEED
        for (sample, dye), why in (left_out or {}).items()
    ]
    lines = [in_words(prepared.reports, prepared.needs), *prepared.needs.problems]
    return Table(rows, footer="\n" + "\n".join(lines))


def _row(task: Task, report: Report) -> dict[str, Any]:
    """Return the outlook of one pair; an error becomes the reason."""
    row: dict[str, Any] = {"sample": task.sample, "dye": task.dye}
    need = _NO_NEED
    if isinstance(report, Exo2microError):
        return row | {"to run": "", "why": f"error: {report}"} | need
    pair = SampleDye(task.sample, task.dye, **task.options)
    plan = pair.plan(**planned_part(task.call))
    planned = [stage for stage in plan if stage.action == "run"]
    if report is not None:
        need = {
            "memory": format_bytes(report.memory_bytes),
            "disk": format_bytes(report.disk_bytes),
            "seconds": round(report.seconds),
            "fits": report.band,
        }
    numbers = ", ".join(str(stage.number) for stage in planned)
    return row | {"to run": numbers, "why": planned[0].reason if planned else "all valid"} | need
