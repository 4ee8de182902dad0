"""``exo2micro status``: what of a pair is valid, what would be computed, and why."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exo2micro.cli import options
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro status CD070 DAPI
  exo2micro status CD070 DAPI --set boundary_width=20
"""
)
@click.argument("sample")
@click.argument("dye")
@options.settings
@options.extra_stages
@options.folders
@options.speaking(logs_warnings=False)
def status(
    terminal: Terminal,
    sample: str,
    dye: str,
    settings: Layer,
    stages: "tuple[FunctionStep, ...]",
    output_dir: Path,
    raw_dir: Path,
) -> None:
    """Show for each stage of SAMPLE and DYE whether its result is valid, and why not.

    Nothing is computed and nothing is written.
    """
    from exo2micro import SampleDye

    pair = SampleDye(
        sample, dye, output_dir=output_dir, raw_dir=raw_dir, params=settings, stages=stages
    )
    table = pair.status()
    document = {"sample": sample, "dye": dye, "params": pair.params, "stages": table.rows}
    terminal.result(document, lambda: str(table))
