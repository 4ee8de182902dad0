"""Parameters that differ between the pairs of a batch."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from exo2micro.defaults import PARAMETER_REGISTRY, unknown_name_message
from exo2micro.errors import ParameterError
from exo2micro.parameter import Value

_KEYS = ("sample", "dye")

Row = Mapping[str, Any]
Overrides = str | os.PathLike[str] | Iterable[Row] | None
"""A CSV file, or rows ``{"sample": ..., "dye": ..., "<parameter>": value}``."""


def read_overrides(overrides: Overrides) -> list[dict[str, Any]]:
    """Return the rows of overrides with validated values.

    Parameters
    ----------
    overrides : path, iterable of mapping or None
        A CSV file with the columns ``sample``, ``dye`` and any parameters, or such rows. An empty
        sample or dye stands for all; an empty value leaves the parameter as it is; ``off`` is no
        value.

    Raises
    ------
    ParameterError
        For an unknown column or a wrong value; the message names file and line.
    """
    if overrides is None:
        return []
    if isinstance(overrides, str | os.PathLike):
        return [_row(row, where) for where, row in _csv_rows(Path(overrides))]
    return [_row(row, f"overrides, row {i}") for i, row in enumerate(overrides, 1)]


def params_for(rows: Iterable[Row], sample: str, dye: str) -> dict[str, Value]:
    """Return the parameters that overrides give to one pair; a narrower row wins."""
    matching = [
        row for row in rows if row.get("sample") in (None, sample) and row.get("dye") in (None, dye)
    ]
    matching.sort(key=lambda row: sum(row.get(key) is not None for key in _KEYS))
    params: dict[str, Value] = {}
    for row in matching:
        params |= {name: value for name, value in row.items() if name not in _KEYS}
    return params


def unused_rows(rows: Iterable[Row], pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """Return the rows that concern none of the pairs: most likely a typing error."""
    pairs = list(pairs)
    return [
        row
        for row in rows
        if not any(
            row.get("sample") in (None, sample) and row.get("dye") in (None, dye)
            for sample, dye in pairs
        )
    ]


def _csv_rows(path: Path) -> Iterable[tuple[str, Row]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; it shall be a CSV file with a header"
        raise ParameterError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} is not in UTF-8 ({error.reason}); save it as 'CSV UTF-8'"
        raise ParameterError(msg) from error
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the decimal sign of the country is a comma.
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = [n.lower() if n.lower() in _KEYS else n for n in names]
    if not set(_KEYS).intersection(reader.fieldnames):
        msg = f"{path} has no column sample or dye in its first line, got {header.strip()!r}"
        raise ParameterError(msg)
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        nameless = [*(row.pop(None, None) or ()), row.pop("", None) or ""]
        if any(value.strip() for value in nameless):
            msg = f"{where} has a value without a name in the first line: {nameless}"
            raise ParameterError(msg)
        yield where, {name: value and value.strip() for name, value in row.items()}


def _row(row: Row, where: str) -> dict[str, Any]:
    """Return one row with its values in their types."""
    clean: dict[str, Any] = {}
    for name, value in row.items():
        if name in _KEYS:
            clean[name] = value or None
        elif name not in PARAMETER_REGISTRY:
            msg = f"{where}: {unknown_name_message(str(name), PARAMETER_REGISTRY)}"
            raise ParameterError(msg)
        elif value not in ("", None):
            clean[name] = _value(name, value, where)
    return clean


def _value(name: str, value: object, where: str) -> Value:
    parameter = PARAMETER_REGISTRY[name]
    try:
        if isinstance(value, str):
            return parameter.parse(value)
        return parameter.validated(value, name)
    except ParameterError as error:
        msg = f"{where}: {name}: {error}"
        raise ParameterError(msg) from error
