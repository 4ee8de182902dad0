"""``exo2micro run``: one sample and dye, from the raw files to the difference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import exit_code_of
from exo2micro.cli.progress import showing_stages
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro run CD070 SybrGld_microbe
  exo2micro run CD070 DAPI --set boundary_width=20 --set scale_percentile=50
  exo2micro run CD070 DAPI --from-stage 3
  exo2micro run CD070 DAPI --stage denoise:after=3,sigma=2
  exo2micro run CD070 DAPI --json -q > result.json

\b
Exit code: 0 PASS, 1 error, 2 wrong usage, 3 CHECK (look first), 4 FAIL (withheld).
"""
)
@click.argument("sample")
@click.argument("dye")
@options.settings
@options.extra_stages
@options.stages
@options.checkpoint_format
@options.folders
@options.threads
@options.speaking()
def run(
    terminal: Terminal,
    sample: str,
    dye: str,
    settings: Layer,
    checkpoint_format: str | None,
    output_dir: Path,
    raw_dir: Path,
    threads: int | None,
    stages: "tuple[FunctionStep, ...]",
    **how: Any,  # noqa: ANN401
) -> int:
    """Register, scale and subtract the images of SAMPLE and DYE.

    Only what is not valid any more is computed: results are kept as long as the raw files, the
    parameters and the method are the same.
    """
    from exo2micro import SampleDye

    pair = SampleDye(
        sample,
        dye,
        output_dir=output_dir,
        raw_dir=raw_dir,
        checkpoint_format=checkpoint_format,
        threads=threads,
        params=settings,
        stages=stages,
    )
    with showing_stages(terminal) as progress:
        result = pair.run(**how, progress=progress)
    terminal.result(result, lambda: summary_of(result))
    return exit_code_of(result)


def summary_of(result: Mapping[str, Any]) -> str:
    """Return the result of one pair as lines of text."""
    lines = [f"{result['sample']} / {result['dye']}: {result['verdict']} - {result['status']}"]
    rows = {"scale": _scale_text(result)}
    for scale in (result.get("scales") or ())[1:]:
        rows[f"by {scale['name']}"] = _interval_text(scale["scale"], scale["interval"])
    rows |= {
        "alignment": _alignment_text(result.get("certificate")),
        "difference": _difference_text(result),
        "pictures": _folder_text(result.get("diagnostics") or {}),
        "report": str(result.get("report") or ""),
        "time": f"{result['seconds']:.1f} s",
    }
    width = max(map(len, rows)) + 1
    lines += [f"  {name:<{width}} {text}" for name, text in rows.items() if text]
    lines += [f"  note: {message}" for message in result.get("messages") or ()]
    return "\n".join(lines)


def _scale_text(result: Mapping[str, Any]) -> str:
    scale = result.get("scale_estimate")
    if scale is None:
        return "none"
    text = _interval_text(scale, result.get("scale_interval"))
    if offset := result.get("scale_offset"):
        text += f", offset {offset:.2f}"
    return text


def _interval_text(scale: float, interval: Sequence[float] | None) -> str:
    if interval is None:
        return f"{scale:.4f}"
    return f"{scale:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"


def _alignment_text(certificate: Mapping[str, Any] | None) -> str:
    if not certificate or certificate.get("median_px") is None:
        return ""
    text = f"held-out tiles off by {certificate['median_px']:.3f} px (median)"
    if certificate.get("p95_px") is not None:
        text += f", {certificate['p95_px']:.3f} px (95 % of the sample)"
    if certificate.get("bound_px") is not None:
        text += f"; bound {certificate['bound_px']:.3f} px"
    if certificate.get("coverage") is not None:
        text += f"; {100 * certificate['coverage']:.0f} % of the sample covered"
    return text


def _difference_text(result: Mapping[str, Any]) -> str:
    files = result.get("difference")
    if not files:
        return "withheld" if result["verdict"] == "FAIL" else "not made"
    label = "written, labelled failed: " if result["verdict"] == "FAIL" else ""
    return label + ", ".join(str(path) for _, path in sorted(files.items()))


def _folder_text(pictures: Mapping[str, Path]) -> str:
    folders = {str(Path(path).parent) for path in pictures.values()}
    return f"{len(pictures)} in {', '.join(sorted(folders))}" if pictures else ""
