"""What only this process knows: a pair that runs in another one would do without it, unnoticed."""

import json
import pickle
import subprocess
import sys

from exo2micro.errors import ParameterError

_ASK = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from exo2micro.batch.travel import tell; tell()"
)
_PACKAGE = "exo2micro"


def refuse_what_stays_here() -> None:
    """Raise if a script replaced or registered what no process of a pair would know.

    Custom functions of the store travel with each pair, and plugins of installed packages are
    found everywhere.

    Raises
    ------
    ParameterError
        If there is anything of that kind.
    """
    if found := _replaced() + sorted(_only_here()):
        msg = (
            f"{', '.join(found)}: this script alone knows that, and the pairs would run in "
            "processes without it; use parallel=False, or put it into an installed package (entry "
            "points exo2micro.plugins) or among the custom functions"
        )
        raise ParameterError(msg)


def _replaced() -> list[str]:
    """Return what a script put in the place of the package's own functions, in words."""
    from exo2micro import pipeline, raw

    found = [
        f"SampleDye.{name}"
        for name, value in vars(pipeline.SampleDye).items()
        if callable(value) and str(value.__module__).partition(".")[0] != _PACKAGE
    ]
    if vars(pipeline)["load_image_pair"] is not raw.load_image_pair:
        found.append("exo2micro.pipeline.load_image_pair")
    return [f"{name} was replaced" for name in found]


def _only_here() -> set[str]:
    """Return what was added to the package here and is not in a fresh process."""
    if not (added := _added()):
        return set()
    command = [sys.executable, "-c", _ASK]
    answer = subprocess.run(command, input=pickle.dumps(sys.path), capture_output=True, check=False)
    lines = answer.stdout.decode(errors="replace").splitlines()
    return added - set(json.loads(lines[-1])) if answer.returncode == 0 and lines else added


def tell() -> None:
    """Write what this process knows beyond the package itself, as the last line of stdout."""
    sys.stdout.write("\n" + json.dumps(sorted(_added())) + "\n")


def _added() -> set[str]:
    """Return what plugins and scripts added to the package, or changed in it, in words."""
    from exo2micro.custom.function import MODULE_PREFIX
    from exo2micro.defaults import OWN_PARAMETERS, PARAMETER_REGISTRY
    from exo2micro.plotting.base import Diagnostic
    from exo2micro.raw.readers.base import RawReader
    from exo2micro.stages.base import Stage
    from exo2micro.subtraction.scale import ScaleEstimator

    classes = {
        cls
        for base in (Stage, RawReader, ScaleEstimator, Diagnostic)
        for cls in base.__registry__.values()
        if cls.__module__.partition(".")[0] != _PACKAGE
        and not cls.__module__.startswith(MODULE_PREFIX)
    }
    # Last: a plugin that is found only now may have brought parameters.
    parameters = {
        name
        for name in {*PARAMETER_REGISTRY, *OWN_PARAMETERS}
        if PARAMETER_REGISTRY.get(name) != OWN_PARAMETERS.get(name)
    }
    return {f"parameter {name}" for name in parameters} | {
        f"class {cls.__module__}.{cls.__qualname__}" for cls in classes
    }
