"""Editing configuration files without losing their comments."""

from pathlib import Path
from typing import Any

from exo2micro.config.code import toml_value
from exo2micro.config.files import parse_config
from exo2micro.config.options import OPTIONS, option_section, row_of
from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES
from exo2micro.errors import ConfigError
from exo2micro.parameter import Parameter, Value

_HEAD = """\
# Configuration of exo2micro: {purpose}.
# Take away the "# " in front of a line to set it. "off" is no value.
# `exo2micro params --sources` shows what holds and where it was set.
"""


def template(purpose: str) -> str:
    """Return a configuration file in which everything is a comment: nothing is set.

    Parameters
    ----------
    purpose : str
        What the file is for, in words.
    """
    lines = [_HEAD.format(purpose=purpose)]
    stage = None
    for name, row in PARAMETER_REGISTRY.items():
        if row.stage != stage:
            stage = row.stage
            lines.append(f"# ---- stage {stage}: {STAGE_NAMES.get(stage, '')}\n")
        lines.append(_commented(name, row))
    for section, rows in OPTIONS.items():
        lines.append(f"[{section}]\n")
        lines += [_commented(name, row) for name, row in rows.items()]
    return "\n".join(lines)


def set_value(path: Path, name: str, value: Value, stage: int | None = None) -> None:
    """Set a parameter or option in a configuration file; all else stays, comments included.

    Parameters
    ----------
    path : Path
        The file; it is made if it is absent.
    name : str
        Parameter or option.
    value : bool, int, float, str or None
        Its value; None is "off".
    stage : int, optional
        Set it in the table of this stage.

    Raises
    ------
    ConfigError
        If the file is not valid, before or after.
    ParameterError
        If the name is unknown or the value is not allowed. Nothing is written then.
    """
    value = row_of(name).validated(value, name)
    document = _document(path)
    table = _table(document, name, stage, create=True)
    import tomlkit

    table[name] = tomlkit.value(toml_value(value))
    _write(path, document)


def unset_value(path: Path, name: str, stage: int | None = None) -> bool:
    """Take a parameter or option out of a configuration file; return whether it was in it.

    Raises
    ------
    ConfigError
        If the file is not valid.
    ParameterError
        If the name is unknown.
    """
    row_of(name)
    document = _document(path)
    table = _table(document, name, stage, create=False)
    if table is None or name not in table:
        return False
    del table[name]
    _write(path, document)
    return True


def write_new(path: Path, text: str) -> None:
    """Write a configuration file that must not exist yet.

    Raises
    ------
    ConfigError
        If it does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        msg = f"{path} exists already; edit it, or delete it first"
        raise ConfigError(msg) from None


def _document(path: Path) -> Any:  # noqa: ANN401
    """Return a file's text as an editable document; an absent file is empty."""
    import tomlkit

    text = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
    parse_config(text, path, "project file")
    return tomlkit.parse(text)


def _table(document: Any, name: str, stage: int | None, *, create: bool) -> Any:  # noqa: ANN401
    """Return the table in which a name stands; None if there is none and none is to be made."""
    section = option_section(name)
    path = [section] if section else ["stage", str(stage)] if stage is not None else []
    table = document
    for part in path:
        if part not in table:
            if not create:
                return None
            import tomlkit

            table[part] = tomlkit.table(is_super_table=part == "stage")
        table = table[part]
    return table


def _write(path: Path, document: Any) -> None:  # noqa: ANN401
    """Write a document whole or not at all; what is not allowed is not written."""
    import os
    import tempfile

    text = document.as_string()
    parse_config(text, path, "project file")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _commented(name: str, row: Parameter) -> str:
    rule = row.rule.replace("None (off)", '"off"')
    return f"# {row.description} ({rule})\n# {name} = {toml_value(row.default)}\n"
