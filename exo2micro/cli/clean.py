"""``exo2micro clean``: give disk back."""

from pathlib import Path

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal


@click.command(
    epilog="""\b
Examples:
  exo2micro clean --intermediates --dry-run
  exo2micro clean --stale --sample CD070
"""
)
@click.option(
    "--intermediates",
    is_flag=True,
    help="Remove the aligned images where the difference is valid; they can be made again.",
)
@click.option("--stale", is_flag=True, help="Remove results that no run would take any more.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@options.selection
@options.folders
@options.speaking()
def clean(
    terminal: Terminal,
    samples: tuple[str, ...],
    dyes: tuple[str, ...],
    intermediates: bool,
    stale: bool,
    dry_run: bool,
    output_dir: Path,
    raw_dir: Path,
) -> int:
    """Remove files that are not needed from the output folder.

    Raw files, differences that are valid, pictures, and files that exo2micro did not write are
    never touched. What --intermediates removes stays valid for the plan: it is computed again only
    where something needs the images.
    """
    from exo2micro.batch.cleaning import clean as remove

    if not (intermediates or stale):
        text = "say what to remove: --intermediates, --stale, or both"
        raise click.UsageError(text)
    table = remove(
        output_dir,
        raw_dir,
        samples or None,
        dyes or None,
        stale=stale,
        images=intermediates,
        dry_run=dry_run,
    )
    terminal.result({"files": table.rows, "dry_run": dry_run}, lambda: str(table))
    return ExitCode.PASS
