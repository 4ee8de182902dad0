"""``exo2micro explain``: what a file is and how it was made."""

from dataclasses import asdict
from pathlib import Path

import click

from exo2micro.cli import options
from exo2micro.cli.terminal import Terminal


@click.command(
    epilog="""\b
Examples:
  exo2micro explain processed/CD070/DAPI/fits/04_difference_difference.fits
  exo2micro explain processed/CD070/DAPI/pipeline_output/excess_heatmap.png
  exo2micro explain raw/CD070/CD070_PreStain_DAPI.tif
  exo2micro explain 03_interior_aligned_pre_bw20.tiff    a name alone is enough
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@options.speaking()
def explain(terminal: Terminal, file: Path) -> None:
    """Say what FILE is and how it was made.

    FILE is any image, picture or record that exo2micro wrote, or a raw file. What is said comes
    from the file's record, else from its header, else from its name.
    """
    from exo2micro.cli.decode import explain_file

    explanation = explain_file(file)
    terminal.result(asdict(explanation), lambda: "\n".join(explanation.lines()))
