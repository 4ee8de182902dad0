"""``exo2micro sweep``: one pair with several settings, side by side."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.options import parse_settings
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer
from exo2micro.parameter import Value

Grid = dict[str, list[Value]]


def parse_grid(texts: Sequence[str]) -> Grid:
    """Return the values of ``name=a,b,c`` and ``name=first:last:step`` texts, both ends included.

    Raises
    ------
    click.BadParameter
        For an unknown name, a value that is not allowed or a range that makes no sense.
    """
    grid: Grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            parse_settings([text])
        words = [word for part in values.split(",") for word in _expanded(part)]
        found = [parse_settings([f"{name}={word}"]) for word in words]
        ((name, _),) = found[0].items()
        grid[name] = list(dict.fromkeys(value[name] for value in found))
    return grid


def _expanded(text: str) -> list[str]:
    """Return the words of ``first:last:step``; any other text is one word."""
    parts = text.split(":")
    if len(parts) == 1:
        return [text]
    try:
        first, last, step = (Decimal(part.strip()) for part in parts)
        count = int((last - first) / step) + 1
    except (InvalidOperation, ValueError, ZeroDivisionError):
        count = 0
    if count < 1:
        msg = f"a range is FIRST:LAST:STEP, the step leading from one to the other, got {text!r}"
        raise click.BadParameter(msg)
    return [f"{(first + number * step).normalize():f}" for number in range(count)]


@click.command(
    epilog="""\b
Examples:
  exo2micro sweep CD070 DAPI --set boundary_width=10,15,20
  exo2micro sweep CD070 DAPI --set scale_percentile=40:60:5
  exo2micro sweep CD070 DAPI --set boundary_width=10,20 --set scale_percentile=off,50

\b
Exit code: 0 all variants ran, 1 one ended in an error, 2 wrong usage.
"""
)
@click.argument("sample")
@click.argument("dye")
@click.option(
    "--set",
    "grid",
    metavar="NAME=VALUES",
    multiple=True,
    required=True,
    callback=lambda _ctx, _param, texts: parse_grid(texts),
    help="Values of a parameter: A,B,C or FIRST:LAST:STEP; repeat to combine. One value: for all.",
)
@options.checkpoint_format
@options.folders
@options.threads
@options.speaking()
def sweep(
    terminal: Terminal,
    sample: str,
    dye: str,
    grid: Grid,
    **how: Any,  # noqa: ANN401
) -> int:
    """Run SAMPLE and DYE with all combinations of several values and compare the results.

    A table and a contact sheet with the differences come at the end. Results of other settings stay
    as they are, and variants share what their values do not concern.
    """
    from exo2micro import SampleDye

    fixed = {name: values[0] for name, values in grid.items() if len(values) == 1}
    varied = {name: values for name, values in grid.items() if len(values) > 1}
    if not varied:
        msg = "give at least one parameter several values, e.g. --set boundary_width=10,15,20"
        raise click.UsageError(msg)
    pair = SampleDye(sample, dye, params=Layer.of("run", fixed, "--set"), **how)
    table = pair.sweep(varied, progress=lambda row: terminal.say(_line_of(row, varied)))
    document = {"rows": table.rows, "contact_sheet": table.sheet}
    terminal.result(document, lambda: str(table))
    failed = any(row["status"].startswith("error") for row in table.rows)
    return ExitCode.ERROR if failed else ExitCode.PASS


def _line_of(row: Mapping[str, Any], varied: Mapping[str, Any]) -> str:
    values = ", ".join(f"{n}={'off' if row[n] is None else row[n]}" for n in varied)
    return f"{values}: {row['status']}"
