"""``exo2micro custom``: a user's own functions, from a template to a bundle for another machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exo2micro.cli import options
from exo2micro.cli.exits import ExitCode
from exo2micro.cli.terminal import Terminal
from exo2micro.errors import CustomFunctionError, OutputError, ValidationError
from exo2micro.tables import Table

if TYPE_CHECKING:
    from exo2micro.custom import CustomFunctionInfo, CustomFunctionManager

KINDS = ("image", "diagnostic", "scale_estimator", "reader")

_source_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_store = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the functions; else $EXO2MICRO_CUSTOM_DIR, else the folder for user data.",
)
_isolated = click.option(
    "--isolated", is_flag=True, help="Try it out in a process with limits of time and memory."
)


@click.group(
    epilog="""\b
Examples:
  exo2micro custom new denoise                     write denoise.py, to be edited
  exo2micro custom new my_plot --kind diagnostic
  exo2micro custom check denoise.py
  exo2micro custom add denoise.py
  exo2micro custom list
  exo2micro custom export functions.zip            for another machine
"""
)
def custom() -> None:
    """Keep your own functions: image filters, plots, scale estimators, readers."""


@custom.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="image",
    show_default=True,
    help="What the function is for.",
)
@click.option("--memory", "memory_type", default="", help="Memory type of an image: torch, jax ...")
@options.speaking()
def new(terminal: Terminal, name: str, kind: str, memory_type: str) -> None:
    """Write NAME.py in this folder, a function that works, to be edited."""
    from exo2micro.custom import check_name, get_template_for_kind

    check_name(name, kind)
    path = Path(f"{name}.py")
    template = get_template_for_kind(kind, name, memory_type)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template)
    except FileExistsError:
        msg = f"{path} exists; choose another name or remove it"
        raise OutputError(msg) from None
    terminal.result(
        {"file": path},
        lambda: f"{path} written; edit it, then: exo2micro custom add {path}",
    )


@custom.command()
@click.argument("file", type=_source_file)
@_isolated
@_store
@options.speaking()
def add(terminal: Terminal, file: Path, isolated: bool, store: Path | None) -> None:
    """Check all functions of FILE and keep them, or none; known ones are replaced."""
    manager = _manager(store)
    code = file.read_text(encoding="utf-8")
    functions = manager.register_from_code(code, run_isolated=isolated)
    names = [function.__name__ for function in functions]
    terminal.result(
        {"added": names, "store": manager.storage_dir},
        lambda: f"added {', '.join(names)} ({manager.storage_dir})",
    )


@custom.command(name="list")
@_store
@options.speaking(logs_warnings=False)
def list_functions(terminal: Terminal, store: Path | None) -> None:
    """List the functions; none is executed."""
    manager = _manager(store)
    infos = manager.list_custom_functions()
    broken = manager.broken_files()
    document = {
        "store": manager.storage_dir,
        "functions": [_document(info) for info in infos],
        "broken": broken,
    }
    terminal.result(document, lambda: _table(infos, broken, manager.storage_dir))


@custom.command()
@click.argument("name")
@_store
@options.speaking()
def show(terminal: Terminal, name: str, store: Path | None) -> None:
    """Show what is known of the function NAME, and its source."""
    manager = _manager(store)
    code = manager.get_function_code(name)
    info = next((i for i in manager.list_custom_functions() if i.name == name), None)
    about = {"name": name} if info is None else _document(info)
    versions = len(manager.history(name))
    terminal.result(
        {**about, "versions": versions, "code": code},
        lambda: "\n".join([*(f"# {key}: {value}" for key, value in about.items()), "", code]),
    )


@custom.command()
@click.argument("name")
@_store
@options.speaking()
def edit(terminal: Terminal, name: str, store: Path | None) -> None:
    """Open the source of the function NAME in $EDITOR and keep what is saved, if it is valid."""
    manager = _manager(store)
    before = manager.get_function_code(name)
    after = click.edit(before, extension=".py")
    if after is None or after == before:
        terminal.result({"name": name, "changed": False}, lambda: f"{name} was not changed")
        return
    try:
        manager.update_custom_function(name, after)
    except CustomFunctionError:
        rejected = Path(f"{name}.rejected.py")
        rejected.write_text(after, encoding="utf-8")
        terminal.say(f"{name} stays as it was; your text lies in {rejected}")
        raise
    terminal.result({"name": name, "changed": True}, lambda: f"{name} was changed")


@custom.command()
@click.argument("names", nargs=-1, required=True)
@_store
@options.speaking()
def remove(terminal: Terminal, names: tuple[str, ...], store: Path | None) -> None:
    """Remove the functions NAMES; their versions are kept in the store's history."""
    manager = _manager(store)
    for name in names:
        manager.get_function_code(name)  # an unknown name is an error before anything is removed
    for name in names:
        manager.remove_function(name)
    terminal.result({"removed": list(names)}, lambda: f"removed {', '.join(names)}")


@custom.command()
@click.argument("target")
@click.option("--strict", is_flag=True, help="Ask that functions on images are annotated.")
@_isolated
@_store
@options.speaking()
def check(
    terminal: Terminal, target: str, strict: bool, isolated: bool, store: Path | None
) -> ExitCode:
    """Check TARGET, a file or the name of a function, and keep nothing.

    Its source is executed for a trial run on a small synthetic pair.
    """
    from exo2micro.custom import validate_code

    path = Path(target)
    is_file = path.suffix == ".py" or path.is_file()
    code = (
        path.read_text(encoding="utf-8") if is_file else _manager(store).get_function_code(target)
    )
    result = validate_code(code, strict=strict, run_isolated=isolated)
    document = {
        "is_valid": result.is_valid,
        "functions": result.function_names,
        "errors": [_error_document(error) for error in result.errors],
        "warnings": result.warnings,
    }
    lines = [f"error: {target}: {error}" for error in result.errors]
    lines += [f"warning: {target}: {warning}" for warning in result.warnings]
    if result.is_valid:
        lines.append(f"{target}: {', '.join(result.function_names)} can be added")
    terminal.result(document, lambda: "\n".join(lines))
    return ExitCode.PASS if result.is_valid else ExitCode.ERROR


@custom.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("names", nargs=-1)
@_store
@options.speaking()
def export(terminal: Terminal, file: Path, names: tuple[str, ...], store: Path | None) -> None:
    """Write the functions NAMES, or all, to the bundle FILE for another machine."""
    written = _manager(store).export_bundle(file, names or None)
    terminal.result(
        {"file": file, "exported": written}, lambda: f"{file} holds {', '.join(written)}"
    )


@custom.command(name="import")
@click.argument("file", type=_source_file)
@click.option("--overwrite", is_flag=True, help="Replace functions whose source differs.")
@_isolated
@_store
@options.speaking()
def import_functions(
    terminal: Terminal, file: Path, overwrite: bool, isolated: bool, store: Path | None
) -> None:
    """Check all functions of the bundle FILE and keep them, or none."""
    manager = _manager(store)
    names = manager.import_bundle(file, overwrite=overwrite, run_isolated=isolated)
    text = f"imported {', '.join(names)}" if names else f"all functions of {file} are here already"
    terminal.result({"imported": names, "store": manager.storage_dir}, lambda: text)


def _manager(store: Path | None) -> "CustomFunctionManager":
    from exo2micro.custom import CustomFunctionManager

    return CustomFunctionManager(store)


def _document(info: "CustomFunctionInfo") -> dict[str, object]:
    return {
        "name": info.name,
        "kind": info.kind,
        "memory_type": info.memory_type,
        "parameters": {p.name: p.default for p in info.parameters},
        "doc": info.doc.partition("\n")[0],
        "sha256": info.sha256,
        "file": info.file_path,
    }


def _error_document(error: ValidationError) -> dict[str, object]:
    return {
        "message": error.message,
        "line_number": error.line_number,
        "code_snippet": error.code_snippet,
    }


def _table(infos: "Sequence[CustomFunctionInfo]", broken: dict[str, str], store: Path) -> str:
    if not infos and not broken:
        return f"no custom functions in {store}; `exo2micro custom new NAME` begins one"
    rows = [
        {
            "name": info.name,
            "kind": info.kind + (f" ({info.memory_type})" if info.memory_type else ""),
            "parameters": ", ".join(str(p) for p in info.parameters),
            "hash": info.sha256[:8],
            "what": info.doc.partition("\n")[0],
        }
        for info in infos
    ]
    lines = [str(Table(rows, str(store)))]
    lines += [f"broken: {message}" for message in broken.values()]
    return "\n".join(lines)
