"""``exo2micro demo``: make demonstration data, run them and compare the results with the truth."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode, exit_code_of_batch
from exo2micro.cli.progress import showing_stages
from exo2micro.cli.terminal import Terminal
from exo2micro.errors import OutputError

if TYPE_CHECKING:
    from exo2micro.synthetic import DemoPair

MARKER = ".exo2micro-demo"
"""File that tells a demo's folder, whose raw/ and processed/ may be made anew."""

SCALE_GOAL = 0.005
"""Largest relative error of the scale that the method aims at."""
ALIGNMENT_GOAL_PX = 0.3
"""Largest alignment error, for 95 % of the sample, that the method aims at."""
_GRID = 60


@dataclass(frozen=True)
class Comparison:
    """One pair's result beside the truth.

    Attributes
    ----------
    sample, dye, verdict : str
        The pair and its verdict.
    scale, true_scale : float or None
        Brightness scale found and true.
    median_px, p95_px : float or None
        True alignment error over the sample: median and 95 %.
    """

    sample: str
    dye: str
    verdict: str
    scale: float | None
    true_scale: float
    median_px: float | None
    p95_px: float | None

    @property
    def is_within_goals(self) -> bool:
        """Whether scale and alignment are as good as the method aims at."""
        if self.scale is None or self.p95_px is None:
            return False
        error = abs(self.scale / self.true_scale - 1)
        return error <= SCALE_GOAL and self.p95_px <= ALIGNMENT_GOAL_PX

    def line(self) -> str:
        """Return the comparison as one line of text."""
        if self.scale is None or self.p95_px is None:
            return f"{self.sample} / {self.dye}: {self.verdict}, nothing to compare"
        return (
            f"{self.sample} / {self.dye}: {self.verdict}; scale {self.scale:.4f}, "
            f"truth {self.true_scale:.4f} ({100 * (self.scale / self.true_scale - 1):+.2f} %); "
            f"alignment off by {self.median_px:.3f} px (median), {self.p95_px:.3f} px "
            "(95 % of the sample)" + ("" if self.is_within_goals else "; MISSES THE GOAL")
        )


@click.command(
    epilog="""\b
Examples:
  exo2micro demo
  exo2micro demo --dir /tmp/look --keep

\b
Exit code: 0 all is as it should be, 3 a result misses the truth by more than the method aims at.
"""
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the demonstration; raw/ and processed/ are made in it.",
)
@click.option("--keep", is_flag=True, help="Keep what an earlier demo left there, and reuse it.")
@options.threads
@options.speaking()
def demo(terminal: Terminal, folder: Path, keep: bool, threads: int | None) -> int:
    """Make three small pairs with known truth, run them and compare scale and alignment with it.

    It takes less than a minute and shows what results look like.
    """
    from exo2micro import SampleDye
    from exo2micro.synthetic import demo_specs, write_demo

    prepare(folder, keep=keep)
    terminal.say(f"making the demonstration data in {folder / 'raw'}")
    write_demo(folder / "raw")
    results, comparisons = [], []
    for pair in demo_specs():
        run = SampleDye(
            pair.sample, pair.dye, folder / "processed", folder / "raw", threads=threads
        )
        terminal.say(f"{pair.sample} / {pair.dye}")
        with showing_stages(terminal, "  ") as progress:
            result = run.run(progress=progress)
        results.append(result)
        comparisons.append(compare_with_truth(pair, run, result))
    terminal.result(
        {
            "folder": folder,
            "results": results,
            "truth": [asdict(c) | {"is_within_goals": c.is_within_goals} for c in comparisons],
        },
        lambda: "\n".join([*(c.line() for c in comparisons), "", where_to_look(results)]),
    )
    code = exit_code_of_batch(results)
    if code is ExitCode.PASS and not all(c.is_within_goals for c in comparisons):
        return ExitCode.CHECK
    return code


def prepare(folder: Path, *, keep: bool) -> None:
    """Make the demo's folder; what an earlier demo left is removed unless it is to be kept.

    Raises
    ------
    OutputError
        If the folder holds anything that no demo has made.
    """
    marker = folder / MARKER
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        msg = (
            f"{folder} holds files that no demo has made, and they shall stay as they are; "
            "choose another folder with --dir"
        )
        raise OutputError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("Made by `exo2micro demo`, which may remove raw/ and processed/ here.\n")
    if not keep:
        for name in ("raw", "processed"):
            if (folder / name).exists():
                shutil.rmtree(folder / name)


def compare_with_truth(pair: "DemoPair", run: Any, result: Mapping[str, Any]) -> Comparison:  # noqa: ANN401
    """Return how far scale and alignment are from the truth, over the overlap on the sample."""
    import numpy as np

    from exo2micro.synthetic import make_pair

    truth = make_pair(pair.spec).truth
    head = (pair.sample, pair.dye, str(result["verdict"]))
    if result["scale_estimate"] is None:
        return Comparison(*head, None, truth.scale, None, None)
    rows, cols = np.nonzero(truth.overlap_mask())
    step = max(1, rows.size // _GRID**2)
    points = np.column_stack([cols[::step], rows[::step]]).astype(np.float64)
    pad = float(run.params["pad"])
    found = run.transform()(points + pad) - pad
    errors = np.hypot(*(found - truth.mapping(points)).T)
    median, p95 = np.quantile(errors, [0.5, 0.95])
    scale = float(result["scale_estimate"])
    return Comparison(*head, scale, truth.scale, float(median), float(p95))


def where_to_look(results: Sequence[Mapping[str, Any]]) -> str:
    """Return which files to open first."""
    lines = ["Where to look:"]
    first = results[0]
    for text, path in (
        ("the difference, for ds9 or astropy", (first.get("difference") or {}).get("fits")),
        ("the same, for Fiji or QuPath", (first.get("difference") or {}).get("tiff")),
        *(
            (name.replace("_", " "), (first.get("diagnostics") or {}).get(name))
            for name in ("registration", "fine_alignment", "difference_image", "excess_heatmap")
        ),
    ):
        if path:
            lines.append(f"  {text}: {path}")
    if path := (first.get("difference") or {}).get("fits"):
        lines.append(f"How a file was made: exo2micro explain {path}")
    return "\n".join(lines)
