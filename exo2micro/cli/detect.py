"""``exo2micro detect``: find the objects in a difference."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.exits import BATCH_SEVERITY, ExitCode
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer, resolve_config
from exo2micro.errors import Exo2microError, FailedVerdictError

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro detect CD070 SybrGld_microbe
  exo2micro detect                            every finished pair
  exo2micro detect --sample CD070 --dye DAPI
  exo2micro detect somewhere/difference.fits  a file made by any program
  exo2micro detect CD070 DAPI --threshold 6 --json -q > found.json

\b
Exit code: 0 PASS, 1 error, 2 wrong usage, 3 CHECK (look first), 4 FAIL (refused).
"""
)
@click.argument("what", nargs=-1, metavar="[SAMPLE DYE | FILE...]")
@options.selection
@options.detection
@click.option("--accept-failed", is_flag=True, help="Search a difference whose verdict is FAIL.")
@options.settings
@options.extra_stages
@options.folders
@options.threads
@options.speaking()
def detect(
    terminal: Terminal,
    what: tuple[str, ...],
    samples: tuple[str, ...],
    dyes: tuple[str, ...],
    settings: Layer,
    stages: "tuple[FunctionStep, ...]",
    output_dir: Path,
    raw_dir: Path,
    threads: int | None,
    **how: Any,  # noqa: ANN401
) -> int:
    """Find the objects in the difference of SAMPLE and DYE, of finished pairs, or of FITS files.

    A table (ECSV) and a label image (TIFF) are written into the pair's folder, or beside the file.
    """
    from exo2micro import SampleDye
    from exo2micro.census import detect_file, detect_pair, finished_pairs

    def of_pair(sample: str, dye: str) -> Any:  # noqa: ANN401
        pair = SampleDye(
            sample, dye, output_dir, raw_dir, threads=threads, params=settings, stages=stages
        )
        return detect_pair(pair, **how)

    tasks: dict[str, Callable[[], Any]]
    if what and all(_is_file(name) for name in what):
        configured = resolve_config(raw_dir, settings)
        how |= {n: configured.option(n) for n in ("threshold", "width_px") if how[n] is None}
        in_file = partial(detect_file, threads=threads or 1, **how)
        tasks = {name: partial(in_file, Path(name)) for name in what}
    elif len(what) == 2:
        tasks = {" / ".join(what): partial(of_pair, *what)}
    elif not what:
        pairs = finished_pairs(output_dir, samples, dyes)
        tasks = {f"{s} / {d}": partial(of_pair, s, d) for s, d in pairs}
    else:
        msg = f"expected SAMPLE and DYE, FITS files, or nothing, got {' '.join(what)!r}"
        raise click.UsageError(msg)
    if len(tasks) == 1:
        result = next(iter(tasks.values()))().to_dict()
        terminal.result(result, lambda: summary_of(next(iter(tasks)), result))
        return exit_code_of(result)
    return _several(terminal, tasks)


def _several(terminal: Terminal, tasks: Mapping[str, Callable[[], Any]]) -> int:
    """Do several searches; an error ends only its own."""
    results = []
    for name, task in tasks.items():
        try:
            result = {"name": name} | task().to_dict()
        except FailedVerdictError as error:
            result = {"name": name, "verdict": "FAIL", "error": str(error)}
        except Exo2microError as error:
            result = {"name": name, "verdict": "ERROR", "error": str(error)}
        results.append(result)
        terminal.say(summary_of(name, result).splitlines()[0])
    code = max(map(exit_code_of, results), key=BATCH_SEVERITY.index)
    document = {"results": results, "exit_code": int(code)}
    terminal.result(document, lambda: "\n".join(summary_of(r["name"], r) for r in results))
    return code


def _is_file(name: str) -> bool:
    return Path(name).suffix.lower() in (".fits", ".fit", ".fts") or Path(name).is_file()


def exit_code_of(result: Mapping[str, Any]) -> ExitCode:
    """Return the exit code of one search."""
    if "error" in result:
        return ExitCode.FAIL if result["verdict"] == "FAIL" else ExitCode.ERROR
    untrusted = result["verdict"] in ("CHECK", "FAIL")
    return ExitCode.CHECK if untrusted else ExitCode.PASS


def summary_of(name: str, result: Mapping[str, Any]) -> str:
    """Return the result of one search as lines of text."""
    if "error" in result:
        return f"{name}: {result['verdict']} - {result['error']}"
    area = "mm^2" if result["density_unit"] == "mm-2" else "million pixels"
    counted = "" if result["counted"] == result["objects"] else f", {result['counted']} counted"
    density = "not measured: all of the sample is masked"
    if result["density"] is not None:
        low, high = result["density_interval"]
        density = (
            f"{result['density']:.4g} per {area} (95 % interval {low:.4g} to {high:.4g}), "
            f"area: {result['area_source']}"
        )
    lines = [
        f"{name}: {result['objects']} objects{counted}",
        f"  density        {density}",
        f"  false objects  {result['expected_false']:.2g} expected of noise at "
        f"{result['threshold']:g} sigma; {result['negatives']} in the negative image",
        f"  noise          {result['noise_source']}",
        f"  table          {result['table']}",
        f"  labels         {result['labels']}",
    ]
    lines += [f"  note: {text}" for text in result["warnings"]]
    return "\n".join(lines)
