"""What the pairs of a batch need together, before anything starts."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exo2micro.batch.task import Task
from exo2micro.errors import Exo2microError
from exo2micro.execution.machine import available_memory_bytes
from exo2micro.execution.preflight import PreflightReport, existing_folder, format_bytes
from exo2micro.pipeline import SampleDye

Report = PreflightReport | Exo2microError | None
"""What a pair needs; None where nothing is to run, an error where that cannot be known."""

_NAMED_PAIRS = 3


def planned_part(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return those keywords of a run that its plan takes."""
    return {name: call[name] for name in ("from_stage", "to_stage", "force") if name in call}


def report_of(task: Task) -> Report:
    """Return what a pair needs."""
    try:
        pair = SampleDye(task.sample, task.dye, **task.options)
        return pair.preflight(**planned_part(task.call))
    except Exo2microError as error:
        return error


def together(
    tasks: Sequence[Task],
    reports: Sequence[Report],
    output_dir: Path,
    *,
    at_once: int,
    keeps_all: bool,
) -> PreflightReport:
    """Return what a batch needs: memory of its largest pair, disk and time of all.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks.
    reports : sequence
        What each of them needs.
    output_dir : Path
        Where they write.
    at_once : int
        How many run at the same time.
    keeps_all : bool
        Whether the aligned images stay; else they take space only while their pair runs.
    """
    needs = [report for report in reports if isinstance(report, PreflightReport)]
    passing = [report.disk_bytes - report.final_disk_bytes for report in needs]
    final = sum(report.final_disk_bytes for report in needs)
    disk = final + sum(passing if keeps_all else sorted(passing)[-at_once:])
    memory = max((report.memory_bytes for report in needs), default=0)
    free_memory = available_memory_bytes()
    free_disk = shutil.disk_usage(existing_folder(output_dir)).free
    problems = []
    if memory > free_memory:
        too_large = [
            f"{task.sample} / {task.dye}"
            for task, report in zip(tasks, reports, strict=True)
            if isinstance(report, PreflightReport) and report.memory_bytes > free_memory
        ]
        further = len(too_large) - _NAMED_PAIRS
        named = ", ".join(too_large[:_NAMED_PAIRS]) + (f" and {further} more" * (further > 0))
        problems.append(
            f"not enough memory: up to about {format_bytes(memory)} needed (by {named}), "
            f"{format_bytes(free_memory)} available; close other programs, use a smaller pad, "
            "leave these pairs out, or start all the same with force_run"
        )
    if disk > free_disk:
        remedy = "keep only what is final (keep='final'), " if keeps_all else ""
        problems.append(
            f"not enough disk: the batch would write about {format_bytes(disk)}, "
            f"{format_bytes(free_disk)} are free in {output_dir}; free space, {remedy}choose "
            "another output_dir, run fewer pairs, or start all the same with force_run"
        )
    seconds = sum(report.seconds for report in needs)
    return PreflightReport(memory, free_memory, disk, free_disk, seconds, tuple(problems), final)


def in_words(reports: Sequence[Report], needs: PreflightReport) -> str:
    """Return in one line what a batch needs, what there is, and whether it fits."""
    busy = sum(isinstance(report, PreflightReport) for report in reports)
    if not reports:
        return "no pair is left to run"
    text = f"{busy} of {len(reports)} pairs have something to run"
    if not busy:
        return text
    minutes = needs.seconds / 60
    time = f"{math.ceil(minutes)} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return (
        f"{text}: memory up to {format_bytes(needs.memory_bytes)} per pair, "
        f"{format_bytes(needs.free_memory_bytes)} available; {format_bytes(needs.disk_bytes)} "
        f"to be written, {format_bytes(needs.free_disk_bytes)} free; about {time} one after the "
        f"other on two cores ({needs.band})"
    )
