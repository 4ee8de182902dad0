"""``exo2micro params``: the table of all parameters, generated from the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exo2micro.cli import options
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer, explain, resolve_config
from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES
from exo2micro.parameter import Parameter, Value
from exo2micro.tables import Table as Rows

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("stage", "parameter", "short", "default", "allowed", "description")


@click.command(
    epilog="""\b
Examples:
  exo2micro params                    all parameters
  exo2micro params --stage 2          those of stage 2
  exo2micro params --json             for programs
  exo2micro params --sources          what holds here, and who set it
  exo2micro run CD070 DAPI --set boundary_width=20 --set scale_percentile=50
"""
)
@click.option("--stage", type=click.IntRange(min=1), help="Only the parameters of this stage.")
@click.option("--markdown", is_flag=True, help="Write the table as Markdown.")
@click.option("--sources", is_flag=True, help="Show what holds, and who set it.")
@options.settings
@options.raw_dir
@options.speaking()
def params(
    terminal: Terminal,
    stage: int | None,
    markdown: bool,
    sources: bool,
    settings: Layer,
    raw_dir: Path,
) -> None:
    """List all parameters with their defaults, allowed values and meaning.

    The short name stands in file names and, in upper case, in FITS headers.
    """
    if sources:
        from exo2micro.custom.run_code import collect
        from exo2micro.execution.extras import configured_steps

        extra = collect(configured_steps(raw_dir, None)).steps
        own = [r for s in extra if stage in (None, s.step.after) for r in s.parameter_rows()]
        table = Rows([*explain(resolve_config(raw_dir, settings), stage).rows, *own])
        terminal.result({"parameters": table.rows}, lambda: str(table))
        return
    rows = {n: row for n, row in PARAMETER_REGISTRY.items() if stage in (None, row.stage)}
    if not rows:
        msg = f"stage {stage} has no parameters; the stages are {_stage_list()}"
        raise click.BadParameter(msg, param_hint="--stage")
    document = {"parameters": [describe(name, row) for name, row in rows.items()]}
    terminal.result(document, lambda: markdown_table(rows) if markdown else _table(rows))


def describe(name: str, row: Parameter) -> dict[str, object]:
    """Return one parameter as a JSON object."""
    return {
        "name": name,
        "stage": row.stage,
        "stage_name": STAGE_NAMES.get(row.stage),
        "abbreviation": row.abbreviation,
        "default": row.default,
        "type": row.kind.__name__,
        "unit": row.unit,
        "bounds": list(row.bounds),
        "choices": list(row.choices),
        "nullable": row.nullable,
        "rule": row.rule,
        "description": row.description,
    }


def markdown_table(rows: Mapping[str, Parameter]) -> str:
    """Return the parameters as a Markdown table."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for name, row in rows.items():
        cells = (
            str(row.stage),
            f"`{name}`",
            f"`{row.abbreviation}`",
            f"`{as_text(row.default)}`",
            row.rule,
            row.description,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def as_text(value: Value) -> str:
    """Return a value as it is typed after ``--set name=``."""
    if value is None:
        return "off"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _table(rows: Mapping[str, Parameter]) -> "Table":
    from rich.table import Table

    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    previous = None
    for name, row in rows.items():
        if previous not in (None, row.stage):
            table.add_section()
        number = "" if previous == row.stage else f"{row.stage} {STAGE_NAMES.get(row.stage, '')}"
        previous = row.stage
        table.add_row(
            number, name, row.abbreviation, as_text(row.default), row.rule, row.description
        )
    return table


def _stage_list() -> str:
    return ", ".join(f"{number} ({name})" for number, name in STAGE_NAMES.items())
