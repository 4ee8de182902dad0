"""The command and the Python that repeat a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from exo2micro.execution.commands import command_about, values_of, values_set
from exo2micro.execution.plan import Request
from exo2micro.raster.paths import PairPaths

DEFAULT_FORMAT: Final = "tiff"


def python_code(paths: PairPaths, raw_dir: Path, request: Request, formats: Sequence[str]) -> str:
    """Return Python that repeats the run.

    Parameters
    ----------
    paths : PairPaths
        The pair and its output folder.
    raw_dir : Path
        Folder of the raw files.
    request : Request
        What was asked for.
    formats : sequence of str
        Of the aligned images.
    """
    arguments = [repr(paths.sample), repr(paths.dye)]
    arguments += [f"output_dir={str(paths.output_dir)!r}", f"raw_dir={str(raw_dir)!r}"]
    if _format(formats) != DEFAULT_FORMAT:
        arguments.append(f"checkpoint_format={_format(formats)!r}")
    lines = ["from exo2micro import SampleDye", "", f"run = SampleDye({', '.join(arguments)})"]
    values = values_set(request)
    if values:
        lines.append(f"run.set_params({', '.join(f'{n}={v!r}' for n, v in values.items())})")
    for resolved in request.steps:
        text = ", ".join(f"{name}={value!r}" for name, value in values_of(resolved).items())
        lines.append(f"run.add_stage({resolved.step.function!r}, {text})")
    lines.append(f"result = run.run({'keep_failed=True' if request.keep_failed else ''})")
    return "\n".join(lines)


def command_line(paths: PairPaths, raw_dir: Path, request: Request, formats: Sequence[str]) -> str:
    """Return the command that repeats the run; for the parameters see `python_code`."""
    options = [] if _format(formats) == DEFAULT_FORMAT else ["--format", _format(formats)]
    if request.keep_failed:
        options.append("--keep-failed")
    return command_about("run", paths, raw_dir, values_set(request), request.steps, options)


def _format(formats: Sequence[str]) -> str:
    """Return the value of checkpoint_format."""
    return formats[0] if len(formats) == 1 else "both"
