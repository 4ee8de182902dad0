"""``exo2micro config``: the configuration files."""

import json
from pathlib import Path

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal
from exo2micro.config import (
    Layer,
    Snapshot,
    configs_of,
    json_schema,
    project_file,
    read_config_file,
    resolve_config,
    set_value,
    template,
    to_python,
    to_toml,
    unset_value,
    user_file,
    write_new,
)
from exo2micro.config.options import row_of
from exo2micro.errors import ConfigError, ParameterError

_FOR_USER = click.option(
    "--user", "for_user", is_flag=True, help="The user's file, which holds for all projects."
)
_STAGE = click.option(
    "--stage", type=click.IntRange(min=1), help="In the table of this stage of the file."
)


@click.group(
    epilog="""\b
Examples:
  exo2micro config init                        exo2micro.toml beside raw/, all in comments
  exo2micro config set boundary_width 20
  exo2micro config set threads 4 --user        for all projects of this user
  exo2micro config show --as python
  exo2micro config validate
"""
)
def config() -> None:
    """Show and edit the configuration files.

    A value of the project file, exo2micro.toml beside raw/, hides that of the user's file; both are
    hidden by what a batch, a run or --set says. `exo2micro params --sources` shows what holds.
    """


@config.command()
@options.raw_dir
@options.speaking()
def path(terminal: Terminal, raw_dir: Path) -> None:
    """Show where the configuration files lie, lowest layer first."""
    files = {"user file": user_file(), "project file": project_file(raw_dir)}
    document = {name: {"path": p, "exists": p.exists()} for name, p in files.items()}
    lines = [f"{n:<13} {p}{'' if p.exists() else ' (absent)'}" for n, p in files.items()]
    terminal.result(document, lambda: "\n".join(lines))


@config.command()
@_FOR_USER
@options.raw_dir
@options.speaking()
def init(terminal: Terminal, for_user: bool, raw_dir: Path) -> None:
    """Write a configuration file in which every parameter stands as a comment."""
    file = _file(raw_dir, for_user=for_user)
    write_new(file, template("for all projects" if for_user else "for the project in this folder"))
    terminal.result({"path": file}, lambda: f"wrote {file}")


@config.command()
@click.option(
    "--as", "language", type=click.Choice(["toml", "python"]), default="toml", show_default=True
)
@options.settings
@options.raw_dir
@options.speaking()
def show(terminal: Terminal, language: str, settings: Layer, raw_dir: Path) -> None:
    """Print what is set, as code that makes it again; each value with its source.

    Values that nobody set are left out: they follow the package's defaults.
    """
    snapshot = resolve_config(raw_dir, settings)
    sources = _sources(snapshot)
    configs = configs_of(snapshot)
    write = to_python if language == "python" else to_toml
    document = {
        "settings": {
            name: {"value": setting.value, "source": sources[name]}
            for name in sources
            if (setting := snapshot.setting(name))
        }
    }
    terminal.result(document, lambda: write(*configs, comments=sources).rstrip("\n"))


@config.command("set")
@click.argument("name")
@click.argument("value")
@_STAGE
@_FOR_USER
@options.raw_dir
@options.speaking()
def set_(
    terminal: Terminal, name: str, value: str, stage: int | None, for_user: bool, raw_dir: Path
) -> None:
    """Set NAME to VALUE in a configuration file; comments stay. "off" is no value."""
    row = row_of(name)
    try:
        parsed = row.parse(value)
    except ParameterError:
        msg = f"{name} must be {row.rule}, got {value!r}"
        raise ParameterError(msg) from None
    file = _file(raw_dir, for_user=for_user)
    set_value(file, name, parsed, stage)
    terminal.result({"path": file, "name": name, "value": parsed}, lambda: f"set in {file}")


@config.command()
@click.argument("name")
@_STAGE
@_FOR_USER
@options.raw_dir
@options.speaking()
def unset(terminal: Terminal, name: str, stage: int | None, for_user: bool, raw_dir: Path) -> None:
    """Take NAME out of a configuration file, so that it follows the layers below."""
    file = _file(raw_dir, for_user=for_user)
    removed = unset_value(file, name, stage)
    text = f"taken out of {file}" if removed else f"{name} is not set in {file}"
    terminal.result({"path": file, "name": name, "removed": removed}, lambda: text)


@config.command()
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@options.raw_dir
@options.speaking()
def validate(terminal: Terminal, files: tuple[Path, ...], raw_dir: Path) -> int:
    """Check FILES, by default the user's and the project's, and that they agree.

    Exit code: 0 all is well, 2 something is not allowed; the error names file, line and the nearest
    valid name.
    """
    chosen = files or (user_file(), project_file(raw_dir))
    problems = []
    for file in chosen:
        if files and not file.exists():
            problems.append(f"{file} does not exist")
            continue
        try:
            read_config_file(file)
        except ConfigError as error:
            problems.append(str(error))
    if not files and not problems:
        try:
            resolve_config(raw_dir)
        except ParameterError as error:
            problems.append(str(error))
    found = [str(file) for file in chosen if file.exists()]
    lines = problems or [f"{file}: valid" for file in found] or ["there is no configuration file"]
    terminal.result({"files": found, "problems": problems}, lambda: "\n".join(lines))
    return ExitCode.USAGE if problems else ExitCode.PASS


@config.command()
@options.speaking()
def schema(terminal: Terminal) -> None:
    """Print the JSON schema by which editors complete and check the files."""
    document = json_schema()
    terminal.result(document, lambda: json.dumps(document, indent=1))


def _file(raw_dir: Path, *, for_user: bool) -> Path:
    return user_file() if for_user else project_file(raw_dir)


def _sources(snapshot: Snapshot) -> dict[str, str]:
    """Return who set each parameter and option that somebody set."""
    names = {name for layer in snapshot.layers for name in layer}
    return {n: str(s.source) for n in sorted(names) if (s := snapshot.setting(n))}
