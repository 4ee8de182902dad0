"""The command group and the entry point: parsing, errors, exit codes."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence

import click

from exo2micro._version import __version__
from exo2micro.cli.exits import ExitCode, exit_code_of_error
from exo2micro.cli.options import QUIET, VERBOSE
from exo2micro.cli.terminal import Terminal
from exo2micro.errors import Exo2microError

COMMANDS = (
    *("demo", "survey", "check", "run", "batch", "sweep", "status", "detect", "limit", "clean"),
    *("report", "view", "params", "config", "custom", "explain"),
)
"""In the order of work; each lives in the module of its name and is imported when it is needed."""

_EPILOG = """\b
First steps:
  exo2micro demo                      make demonstration data and run them
  exo2micro survey                    which raw files are there, how they pair up
  exo2micro check                     will it fit into memory, disk and time
  exo2micro run CD070 SybrGld_microbe
  exo2micro batch                     all samples and dyes
  exo2micro report                    pages to look at: processed/index.html
  exo2micro view CD070 DAPI           the whole slide at any magnification
  exo2micro detect                    tables of the objects in all finished pairs
  exo2micro explain FILE              what is this file, how was it made

\b
Exit codes:
  0  done, result can be trusted (PASS)    3  done, look at it first (CHECK)
  1  error                                 4  not to be trusted, withheld (FAIL)
  2  wrong usage or value                130  interrupted
"""


class _CommandGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"exo2micro.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else "the commands are " + ", ".join(COMMANDS)
            )
            ctx.fail(f"unknown command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_CommandGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", prog_name="exo2micro")
@VERBOSE
@QUIET
@click.pass_context
def app(ctx: click.Context, verbose: int, quiet: int) -> None:
    """Register, scale and subtract pre- and post-stain fluorescence scans of rock samples.

    The scans lie in raw/<sample>/, named <anything with pre or post>_<dye>.tif; results go to
    processed/<sample>/<dye>/.
    """
    ctx.ensure_object(Terminal).verbosity += verbose - quiet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default that of this process.

    Returns
    -------
    int
        The exit code, see `exo2micro.cli.exits.ExitCode`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(json="--json" in arguments)
    try:
        code = app.main(arguments, prog_name="exo2micro", standalone_mode=False, obj=terminal)
    except click.Abort as abort:
        # A command that is gone on with in another way says how.
        remedy = "what was finished is kept, the same command goes on from there"
        text = str(abort) or f"interrupted; {remedy}"
        terminal.error(text, "Interrupted")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        return _usage_error(terminal, error)
    except (Exo2microError, OSError, MemoryError) as error:
        if terminal.verbosity > 1:
            click.echo(traceback.format_exc(), err=True)
        terminal.error(str(error) or type(error).__name__, type(error).__name__)
        return exit_code_of_error(error)
    return int(code or ExitCode.PASS)


def _usage_error(terminal: Terminal, error: click.ClickException) -> ExitCode:
    """Say what was wrong with the command; a bare ``exo2micro`` shows the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return ExitCode.USAGE
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"`{error.ctx.command_path} --help` explains the command.", err=True)
    terminal.error(error.format_message(), type(error).__name__)
    return ExitCode.USAGE
