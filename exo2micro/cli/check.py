"""``exo2micro check``: will a run find its files and fit into memory, disk and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer
from exo2micro.errors import Exo2microError

if TYPE_CHECKING:
    from exo2micro.execution.plan import PlannedStage
    from exo2micro.execution.preflight import PreflightReport


@dataclass(frozen=True)
class PairCheck:
    """What was found out about one pair.

    Attributes
    ----------
    sample, dye : str
        The pair.
    preflight : PreflightReport or None
        Expected cost; None if the raw files cannot be used.
    plan : sequence of PlannedStage
        What a run would do.
    problem : str
        Why the pair cannot be run; empty if it can.
    """

    sample: str
    dye: str
    preflight: "PreflightReport | None" = None
    plan: "Sequence[PlannedStage]" = ()
    problem: str = ""

    @property
    def is_runnable(self) -> bool:
        """Whether a run would start."""
        return not self.problem and (self.preflight is None or self.preflight.ok)

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "sample": self.sample,
            "dye": self.dye,
            "problem": self.problem,
            "preflight": self.preflight.to_dict() if self.preflight else None,
            "plan": [
                {"number": r.number, "title": r.title, "action": r.action, "reason": r.reason}
                for r in self.plan
            ],
        }

    def lines(self) -> list[str]:
        """Return the check as lines of text."""
        lines = [f"{self.sample} / {self.dye}" + (": cannot be run" if self.problem else "")]
        lines += [f"  {self.problem}"] if self.problem else []
        lines += [f"  {line}" for line in (self.preflight.lines() if self.preflight else ())]
        return lines + [f"  stage {row.number} {row.title}: {_action(row)}" for row in self.plan]


@click.command(
    epilog="""\b
Examples:
  exo2micro check                          all pairs
  exo2micro check CD070 DAPI --set pad=500
  exo2micro check CD070 DAPI --deep        hash every file of the pair

\b
Exit code: 0 all is well, 3 look at the remarks, 1 a run would not start.
"""
)
@click.argument("sample", required=False)
@click.argument("dye", required=False)
@click.option(
    "--deep", is_flag=True, help="Hash all raw files and checkpoints instead of trusting dates."
)
@options.settings
@options.checkpoint_format
@options.folders
@options.speaking(logs_warnings=False)
def check(
    terminal: Terminal,
    sample: str | None,
    dye: str | None,
    deep: bool,
    settings: Layer,
    checkpoint_format: str | None,
    output_dir: Path,
    raw_dir: Path,
) -> int:
    """Look at the raw files and say what a run would need and do, before it is started.

    Without SAMPLE and DYE all pairs are checked. Nothing is written.
    """
    from exo2micro import SampleDye, diagnose_raw_layout
    from exo2micro.custom.run_code import enrol_stored

    if sample is not None and dye is None:
        msg = "give SAMPLE and DYE, or neither to check all pairs"
        raise click.UsageError(msg)
    enrol_stored()
    layout = diagnose_raw_layout(raw_dir)
    tasks = list(layout.tasks) if sample is None or dye is None else [(sample, dye)]
    pairs = (
        SampleDye(s, d, output_dir, raw_dir, checkpoint_format, params=settings) for s, d in tasks
    )
    checks = [check_pair(pair, deep=deep) for pair in pairs]
    problems = [p for p in layout.problems if sample in (None, p.sample)]
    document = {"layout": layout.to_dict(), "pairs": [c.to_dict() for c in checks]}
    document["total"] = totals = total_of(checks)
    lines = [line for c in checks for line in c.lines()] or [f"no complete pair in {raw_dir}"]
    lines += [f"{p.sample or raw_dir}: {p.kind}\n  {p.text}" for p in problems]
    if len(checks) > 1:
        lines.append(_total_line(totals))
    terminal.result(document, lambda: "\n".join(lines))
    if not checks or not all(c.is_runnable for c in checks) or totals["disk_short"]:
        return ExitCode.ERROR
    is_stale = deep and any(row.action == "run" for c in checks for row in c.plan)
    return ExitCode.CHECK if problems or is_stale else ExitCode.PASS


def check_pair(pair: Any, *, deep: bool) -> PairCheck:  # noqa: ANN401
    """Return what a run of one `SampleDye` would need and do."""
    from exo2micro import load_image_pair, preflight_check

    try:
        post, pre = raw = load_image_pair(pair.sample, pair.dye, pair.raw_dir)
        shapes = post.shape, pre.shape
        bits = 8 * max(post.dtype.itemsize, pre.dtype.itemsize)
        raw.close()
        plan = pair.plan(deep=deep)
        report = preflight_check(
            *shapes,
            pair.params,
            pair.output_dir,
            pair.checkpoint_format,
            bits=bits,
            threads=pair.threads,
            stages={row.number for row in plan if row.action == "run"},
        )
        return PairCheck(pair.sample, pair.dye, report, plan)
    except Exo2microError as error:
        return PairCheck(pair.sample, pair.dye, problem=str(error))


def _action(row: "PlannedStage") -> str:
    word = {"run": "to run", "cached": "valid"}.get(row.action, row.action)
    return word if row.reason == row.action else f"{word} ({row.reason})"


def total_of(checks: Sequence[PairCheck]) -> dict[str, Any]:
    """Return the cost of all pairs that still have stages to run, one after the other."""
    due = [
        c.preflight for c in checks if c.preflight and any(row.action == "run" for row in c.plan)
    ]
    disk = sum(report.disk_bytes for report in due)
    return {
        "pairs_to_run": len(due),
        "memory_bytes": max((report.memory_bytes for report in due), default=0),
        "disk_bytes": disk,
        "disk_short": any(disk > report.free_disk_bytes for report in due),
        "seconds": sum(report.seconds for report in due),
    }


def _total_line(totals: dict[str, Any]) -> str:
    from exo2micro.execution.preflight import format_bytes

    text = (
        f"all together: {totals['pairs_to_run']} pairs to run, one after the other in about "
        f"{totals['seconds']:.0f} s, with at most {format_bytes(totals['memory_bytes'])} of "
        f"memory and {format_bytes(totals['disk_bytes'])} of output"
    )
    return text + (", which is more than is free on the disk" if totals["disk_short"] else "")
