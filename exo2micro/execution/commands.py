"""Commands that people can paste: with the folders, parameters and extra stages of a run."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from exo2micro.custom.step import ResolvedStep
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.execution.plan import Request
from exo2micro.parameter import Value
from exo2micro.raster.paths import PairPaths

_DEFAULT_FOLDERS: Final = {"--output-dir": Path("processed"), "--raw-dir": Path("raw")}


def command_about(
    verb: str,
    paths: PairPaths,
    raw_dir: Path,
    values: Mapping[str, Value],
    steps: Iterable[ResolvedStep] = (),
    options: Sequence[str] = (),
) -> str:
    """Return ``exo2micro VERB SAMPLE DYE`` with all that it needs to mean this pair and run.

    Parameters
    ----------
    verb : str
        ``run``, ``detect``, ``limit``, ``report`` or ``view``.
    paths : PairPaths
        The pair and its output folder.
    raw_dir : Path
        Folder of the raw files.
    values : mapping
        Parameters to set; see `values_set`.
    steps : iterable of ResolvedStep
        Extra stages.
    options : sequence of str
        Further options.
    """
    words = ["exo2micro", verb, paths.sample, paths.dye]
    folders = {"--output-dir": paths.output_dir, "--raw-dir": raw_dir}
    for option, folder in folders.items():
        if folder != _DEFAULT_FOLDERS[option]:
            words += [option, str(folder)]
    for name, value in values.items():
        words += ["--set", f"{name}={PARAMETER_REGISTRY[name].format(value)}"]
    for resolved in steps:
        described = ",".join(f"{name}={value}" for name, value in values_of(resolved).items())
        words += ["--stage", f"{resolved.step.function}:{described}"]
    return shlex.join([*words, *options])


def values_set(request: Request) -> dict[str, Value]:
    """Return the parameters that something set, by whatever layer."""
    return {name: request.params[name] for name in request.params if name in request.sources}


def values_of(resolved: ResolvedStep) -> dict[str, object]:
    """Return what is to be said about an extra stage to have it again."""
    step = resolved.step
    return {"after": step.after, "applies_to": step.applies_to, **resolved.values}
