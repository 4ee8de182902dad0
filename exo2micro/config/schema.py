"""The JSON schema of a configuration file, by which editors complete and check it."""

from collections.abc import Mapping
from typing import Any

from exo2micro.config.options import OPTIONS
from exo2micro.config.pairs import PAIR_KEYS
from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES, parameters_of
from exo2micro.parameter import Parameter

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of ``exo2micro.toml`` and of the user's ``config.toml``."""
    stages = {
        str(number): _table({n: PARAMETER_REGISTRY[n] for n in parameters_of(number)}, title=name)
        for number, name in STAGE_NAMES.items()
    }
    tables = {section: _table(rows) for section, rows in OPTIONS.items()}
    own = {"type": "object", "description": "A stage of your own and its parameters."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "exo2micro configuration",
        **_table(PARAMETER_REGISTRY),
        "properties": _properties(PARAMETER_REGISTRY)
        | tables
        | {
            "stage": {"type": "object", "properties": stages, "additionalProperties": own},
            "stages": {"type": "array", "items": own},
            "overrides": {"type": "array", "items": _overrides()},
        },
    }


def _overrides() -> dict[str, Any]:
    """Return the schema of parameters for some pairs only."""
    table = _table(PARAMETER_REGISTRY, description="Parameters of a sample, a dye or one pair.")
    for key in PAIR_KEYS:
        table["properties"][key] = {"type": "string", "minLength": 1}
    return table | {"anyOf": [{"required": [key]} for key in PAIR_KEYS]}


def _table(rows: Mapping[str, Parameter], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "type": "object",
        "properties": _properties(rows),
        "additionalProperties": False,
    } | more


def _properties(rows: Mapping[str, Parameter]) -> dict[str, Any]:
    return {name: _property(row) for name, row in rows.items()}


def _property(row: Parameter) -> dict[str, Any]:
    """Return the schema of one value."""
    kinds = sorted({_TYPES[type(choice)] for choice in row.choices}) or [_TYPES[row.kind]]
    value: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    low, high = row.bounds
    value |= {"minimum": low} if low is not None else {}
    value |= {"maximum": high} if high is not None else {}
    if row.choices:
        value["enum"] = list(row.choices)
    if row.nullable:
        value = {"anyOf": [value, {"const": "off"}]}
    default = "off" if row.default is None else row.default
    return value | {"description": f"{row.description} ({row.rule})", "default": default}
