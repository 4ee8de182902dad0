"""``exo2micro report``: pages to look at, one per pair and one of all pairs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exo2micro.cli import options
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer

if TYPE_CHECKING:
    from exo2micro import SampleDye
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro report                       processed/index.html: all pairs
  exo2micro report CD070 DAPI            processed/CD070/DAPI/report.html
  exo2micro report CD070 DAPI --set boundary_width=20
"""
)
@click.argument("pair", nargs=-1, metavar="[SAMPLE DYE]")
@options.settings
@options.extra_stages
@options.folders
@options.speaking()
def report(
    terminal: Terminal,
    pair: tuple[str, ...],
    settings: Layer,
    stages: "tuple[FunctionStep, ...]",
    output_dir: Path,
    raw_dir: Path,
) -> None:
    """Write the report of SAMPLE and DYE, or the index of all pairs and what reports are missing.

    Each page is one file that opens in any browser, without a network. Runs and batches write them
    by themselves; nothing is computed anew here but pages.
    """
    if len(pair) not in (0, 2):
        msg = f"expected SAMPLE and DYE, or nothing, got {' '.join(pair)!r}"
        raise click.UsageError(msg)
    from exo2micro import SampleDye
    from exo2micro.report import report_finished, report_pair, write_index

    def of_pair(sample: str, dye: str) -> "SampleDye":
        return SampleDye(sample, dye, output_dir, raw_dir, params=settings, stages=stages)

    missing: list[tuple[str, str, str]] = []
    if pair:
        path = report_pair(of_pair(*pair))
        write_index(output_dir)
    else:
        missing = report_finished(output_dir, of_pair)
        path = write_index(output_dir)
    for sample, dye, reason in missing:
        terminal.say(f"{sample} / {dye}: {reason}")
    document = {"report": path, "missing": [" / ".join(row[:2]) for row in missing]}
    terminal.result(document, lambda: str(path))
