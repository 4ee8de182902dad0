"""``exo2micro batch``: many samples and dyes."""

from collections.abc import Mapping
from typing import Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import exit_code_of_batch
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer


@click.command(
    epilog="""\b
Examples:
  exo2micro batch
  exo2micro batch --sample CD070 --sample CD071 --dye DAPI
  exo2micro batch --parallel --workers 4 --set scale_percentile=50
  exo2micro batch --json -q > results.json

\b
Exit code: the gravest of all pairs: 1 error, 4 FAIL, 3 CHECK, 0 PASS.
"""
)
@options.selection
@click.option("--parallel", is_flag=True, help="Work on several pairs at once.")
@click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(min=1),
    help="How many at once; by default one per core. Implies --parallel.",
)
@options.settings
@options.extra_stages
@options.stages
@options.checkpoint_format
@options.folders
@options.speaking()
def batch(
    terminal: Terminal,
    samples: tuple[str, ...],
    dyes: tuple[str, ...],
    parallel: bool,
    n_workers: int | None,
    settings: Layer,
    **how: Any,  # noqa: ANN401
) -> int:
    """Run every complete pair of the raw folder, or a selection.

    An error of one pair ends that pair only. A table of all pairs and a list of the problems come
    at the end.
    """
    from exo2micro import run_batch

    results = run_batch(
        samples or None,
        dyes or None,
        parallel=True if parallel or n_workers is not None else None,
        n_workers=n_workers,
        params=settings,
        progress=lambda result: terminal.say(line_of(result)),
        **how,
    )
    code = exit_code_of_batch(results)
    terminal.result({"results": list(results), "exit_code": int(code)}, lambda: str(results))
    return code


def line_of(result: Mapping[str, Any]) -> str:
    """Return one finished pair as a line of text."""
    seconds = result.get("seconds")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    return f"{result['sample']} / {result['dye']}: {result['status']}{took}"
