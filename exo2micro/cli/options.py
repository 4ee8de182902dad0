"""Options that several commands share."""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer
from exo2micro.config.options import unknown_name
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ParameterError
from exo2micro.parameter import Value

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("tiff", "fits", "both")


def stacked(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that applies several, in the order in which ``--help`` shows them."""

    def apply(function: Command) -> Command:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def speaking(*, logs_warnings: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hand a command its `Terminal` and give it ``--json``, ``-v`` and ``-q``.

    Parameters
    ----------
    logs_warnings : bool, optional
        False for a command whose result repeats the library's warnings.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def command(**kwargs: Any) -> Any:  # noqa: ANN401
            terminal = click.get_current_context().find_object(Terminal) or Terminal()
            terminal.verbosity += kwargs.pop("verbose") - kwargs.pop("quiet")
            terminal.json = kwargs.pop("as_json")
            with terminal.logging(shows_warnings=logs_warnings):
                return function(terminal, **kwargs)

        command = update_wrapper(command, function)
        return stacked(AS_JSON, VERBOSE, QUIET)(command)

    return decorate


AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Write the result as one JSON document to stdout."
)
VERBOSE = click.option(
    "-v", "--verbose", count=True, help="Say more; twice shows details and tracebacks."
)
QUIET = click.option("-q", "--quiet", count=True, help="Show no progress and no warnings.")

raw_dir = click.option(
    "--raw-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("raw"),
    show_default=True,
    help="Folder of the scans, one folder per sample in it.",
)
output_dir = click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("processed"),
    show_default=True,
    help="Folder of the results.",
)
folders = stacked(raw_dir, output_dir)
batch_name = click.option(
    "--batch", "name", metavar="NAME", help="Another batch than the latest; its folder's name."
)
selection = stacked(
    click.option(
        "--sample", "--samples", "samples", multiple=True, help="Only this one; repeat for more."
    ),
    click.option("--dye", "--dyes", "dyes", multiple=True, help="Only this dye; repeat for more."),
)
settings = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    callback=lambda _ctx, _param, texts: Layer.of("run", parse_settings(texts), "--set"),
    help='Set a parameter; repeat for more. "off" is no value. `exo2micro params` lists them.',
)
extra_stages = click.option(
    "--stage",
    "stages",
    metavar="NAME:after=3,...",
    multiple=True,
    callback=lambda _ctx, _param, texts: parse_stages(texts),
    help="Add a custom function as an extra stage, with its parameters: "
    "--stage denoise:after=3,sigma=2; repeat for more.",
)
stages = stacked(
    click.option("--from-stage", type=click.IntRange(min=1), help="Compute anew from this stage."),
    click.option("--to-stage", type=click.IntRange(min=1), help="Stop after this stage."),
    click.option("--force", is_flag=True, help="Compute everything anew, whatever is valid."),
    click.option(
        "--force-run",
        is_flag=True,
        help="Run although the pre-flight check expects too little memory or disk.",
    ),
    click.option(
        "--keep",
        type=click.Choice(("all", "final")),
        help="final: remove the aligned images in the end; they are made again where needed.",
    ),
    click.option(
        "--memory-debug", is_flag=True, help="Say how much memory each stage took and left."
    ),
    click.option(
        "--keep-failed",
        is_flag=True,
        help="Write the difference even if it cannot be trusted; name and header say so.",
    ),
)
checkpoint_format = click.option(
    "--format",
    "checkpoint_format",
    type=click.Choice(FORMATS),
    help="Format of the aligned images; by default what the configuration files say, else tiff. "
    "The difference is always written as TIFF and FITS.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads to use; by default what the configuration files say, else one per core up to "
    "eight. No result depends on it.",
)


def parse_stages(texts: Sequence[str]) -> "tuple[FunctionStep, ...]":
    """Return the extra stages that ``name:after=3,parameter=value`` texts describe.

    Raises
    ------
    click.BadParameter
        For a text of another form or a stage that does not exist.
    """
    if not texts:
        return ()
    from exo2micro.custom.step import FunctionStep

    try:
        return tuple(FunctionStep.parse(text) for text in texts)
    except ParameterError as error:
        raise click.BadParameter(str(error)) from None


detection = stacked(
    click.option(
        "--threshold",
        type=click.FloatRange(3, 100),
        help="Least significance, in standard deviations of the filtered background; by default "
        "what the configuration files say, else 5.",
    ),
    click.option(
        "--width-px",
        type=click.FloatRange(0.5, 20),
        help="Width of what is sought: standard deviation of a microbe's light, pixels; by default "
        "what the configuration files say, else 1.5.",
    ),
)


def parse_settings(texts: Sequence[str]) -> dict[str, Value]:
    """Return the parameter values of ``name=value`` texts.

    Raises
    ------
    click.BadParameter
        For a text without ``=``, an unknown name or a value that is not allowed.
    """
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            msg = f"expected NAME=VALUE, got {text!r}; for example --set boundary_width=20"
            raise click.BadParameter(msg)
        if name not in PARAMETER_REGISTRY:
            raise click.BadParameter(unknown_name(name))
        row = PARAMETER_REGISTRY[name]
        try:
            values[name] = row.parse(value)
        except ParameterError:
            msg = f"{name} must be {row.rule}, got {value!r}"
            raise click.BadParameter(msg) from None
    return values
