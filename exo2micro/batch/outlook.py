"""What a batch would do, without doing it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exo2micro.batch.journal import Journal
from exo2micro.batch.overrides import Overrides
from exo2micro.batch.prepare import make_request, planned_part, prepare, select_pairs
from exo2micro.batch.task import Task
from exo2micro.errors import Exo2microError
from exo2micro.execution.extras import Step
from exo2micro.execution.preflight import PreflightReport, format_bytes
from exo2micro.pipeline import SampleDye
from exo2micro.tables import Table


def plan_batch(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
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
    only: Sequence[str] = (),
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
    pairs = select_pairs(Path(raw_dir), samples, dyes, only, strict_dyes=strict_dyes)
    return _outlook(prepare(request, pairs, judge=False))


def plan_resumed(
    output_dir: str | os.PathLike[str] = "processed", *, retry_failed: bool = False
) -> Table:
    """Return what `resume_batch` would do.

    Raises
    ------
    CheckpointError
        If there is no batch to go on with.
    """
    journal = Journal.latest(Path(output_dir))
    tasks = prepare(journal.request(), journal.left(retry_failed=retry_failed), judge=False)
    return _outlook(tasks)


def _outlook(tasks: Sequence[Task]) -> Table:
    """Return one row per pair, and what all of them need together."""
    reports = [_report(task) for task in tasks]
    rows = [_row(task, report) for task, report in zip(tasks, reports, strict=True)]
    needs = [report for report in reports if isinstance(report, PreflightReport)]
    busy = sum(bool(row["to run"]) for row in rows)
    footer = f"\n{busy} of {len(rows)} pairs have something to run"
    if needs:
        disk = sum(report.disk_bytes for report in needs)
        minutes = sum(report.seconds for report in needs) / 60
        time = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
        free = needs[0].free_disk_bytes
        footer += (
            f": {format_bytes(disk)} to be written, {format_bytes(free)} free; about {time} "
            "one after the other on two cores"
        )
        if disk > free:
            footer += (
                "\nThis does not fit: free space, choose another output_dir, or run fewer pairs"
            )
    return Table(rows, footer=footer)


def _report(task: Task) -> PreflightReport | Exo2microError | None:
    """Return what a pair needs; None where nothing is to run."""
    try:
        pair = SampleDye(task.sample, task.dye, **task.options)
        return pair.preflight(**planned_part(task.call))
    except Exo2microError as error:
        return error


def _row(task: Task, report: PreflightReport | Exo2microError | None) -> dict[str, Any]:
    """Return the outlook of one pair; an error becomes the reason."""
    row: dict[str, Any] = {"sample": task.sample, "dye": task.dye}
    need: dict[str, Any] = {"memory": None, "disk": None, "seconds": None, "fits": None}
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
