"""``exo2micro limit``: what would have been found on a slide."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro limit CD070 SybrGld_microbe
  exo2micro limit CD070 DAPI --sigma-px 1.3 --sources 200
  exo2micro limit CD070 DAPI --json -q > limit.json

\b
Exit code: 0 PASS, 1 error, 2 wrong usage, 3 CHECK (look first), 4 FAIL (refused).
"""
)
@click.argument("sample")
@click.argument("dye")
@options.detection
@click.option(
    "--sigma-px",
    type=click.FloatRange(0.3, 20),
    help="Width of the synthetic microbes, pixels; by default that of the slide's own objects.",
)
@click.option(
    "--sources",
    type=click.IntRange(10),
    default=80,
    show_default=True,
    help="Synthetic microbes for each of ten fluxes.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of places and noise."
)
@options.settings
@options.extra_stages
@options.folders
@options.threads
@options.speaking()
def limit(
    terminal: Terminal,
    sample: str,
    dye: str,
    settings: Layer,
    stages: "tuple[FunctionStep, ...]",
    output_dir: Path,
    raw_dir: Path,
    threads: int | None,
    **how: Any,  # noqa: ANN401
) -> int:
    """Measure how bright a microbe on SAMPLE stained with DYE had to be to be found.

    Synthetic microbes are added to the raw post-stain image; scale, subtraction and detection are
    done again, the alignment is kept. Table and figure are written into the pair's folder.
    """
    from exo2micro import SampleDye
    from exo2micro.census import detection_limit

    pair = SampleDye(
        sample, dye, output_dir, raw_dir, threads=threads, params=settings, stages=stages
    )
    result = detection_limit(pair, **how)
    document = result.to_dict()
    terminal.result(document, lambda: summary_of(f"{sample} / {dye}", document, result.rows()))
    return ExitCode.CHECK if document["verdict"] == "CHECK" else ExitCode.PASS


def summary_of(
    name: str, document: Mapping[str, Any], rows: list[tuple[float, int, int, float, float]]
) -> str:
    """Return a limit as lines of text."""
    lines = [f"{name}: detection limit", "  flux (counts)  found         95 % interval"]
    lines += [
        f"  {flux:13.4g}  {found:4d} of {injected:4d}  {low:.2f} to {high:.2f}"
        for flux, injected, found, low, high in rows
    ]
    lines.append(f"  {document['sentence']}")
    lines.append(f"  table {document['table']}")
    lines.append(f"  figure {document['figure']}")
    lines += [f"  note: {text}" for text in document["warnings"]]
    return "\n".join(lines)
