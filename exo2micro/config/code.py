"""Configurations as text that makes them again: Python and TOML."""

from pathlib import Path
from typing import Any

from exo2micro.config import patching, sections
from exo2micro.config.files import parse_config
from exo2micro.config.lazy import INHERIT, explicit_values, has_lazy_resolution
from exo2micro.config.options import OPTIONS, option_section
from exo2micro.config.snapshot import Snapshot
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ConfigError
from exo2micro.parameter import Value

_LAZY: dict[str, type[sections.LazyConfig]] = {
    "pipeline": sections.LazyPipelineConfig,
    "detection": sections.LazyDetectionConfig,
    "batch": sections.LazyBatchConfig,
    "output": sections.LazyOutputConfig,
}


def to_python(*configs: Any, comments: dict[str, str] | None = None) -> str:  # noqa: ANN401
    """Return Python code that makes configurations again; fields that are not set are left out.

    Parameters
    ----------
    configs : configurations
        Lazy or concrete ones of this package.
    comments : dict, optional
        What to write beside fields, by name.
    """
    names = sorted({type(config).__name__ for config in configs})
    lines = [f"from exo2micro.config import {', '.join(names)}", ""]
    for config in configs:
        head = f"{config.section} = {type(config).__name__}("
        fields = [
            f"    {name}={value!r},{_comment(comments, name)}"
            for name, value in explicit_values(config).items()
        ]
        lines += [head, *fields, ")"] if fields else [f"{head})"]
    return "\n".join(lines) + "\n"


def from_python(code: str) -> tuple[Any, ...]:
    """Return the configurations that code makes, in order.

    The code is executed with lazy constructors as `patch_lazy_constructors` leaves them, and the
    values are checked afterwards. What comes back holds the values that were set, nothing else.

    Parameters
    ----------
    code : str
        Python code, as `to_python` writes it. It is run, so run only your own.

    Raises
    ------
    ConfigError
        If the code fails or makes no configuration.
    ParameterError
        If a value is not allowed.
    """
    namespace: dict[str, Any] = {"INHERIT": INHERIT} | {
        cls.__name__: cls for lazy in _LAZY.values() for cls in (lazy, lazy.concrete)
    }
    known = set(namespace)
    try:
        with patching.patch_lazy_constructors():
            exec(compile(code, "<configuration>", "exec"), namespace)
    except Exception as error:
        msg = f"the edited configuration cannot be executed: {type(error).__name__}: {error}"
        raise ConfigError(msg) from error
    made = [v for n, v in namespace.items() if n not in known and _is_configuration(v)]
    if not made:
        msg = "the code makes no configuration; assign one, as `exo2micro config show` prints it"
        raise ConfigError(msg)
    return tuple(type(config)(**explicit_values(config)) for config in made)


def to_toml(*configs: Any, comments: dict[str, str] | None = None) -> str:  # noqa: ANN401
    """Return configurations as the text of a configuration file; unset fields are left out."""
    tables: dict[str, list[str]] = {"": []}
    for config in configs:
        for name, value in explicit_values(config).items():
            line = f"{name} = {toml_value(value)}{_comment(comments, name)}"
            table = tables.setdefault(option_section(name) or "", [])
            table += [] if line in table else [line]
    heads = {name: [f"[{name}]"] if name else [] for name in tables}
    parts = ["\n".join([*heads[name], *lines, ""]) for name, lines in tables.items() if lines]
    return "\n".join(parts)


def from_toml(text: str) -> dict[str, Any]:
    """Return the configurations in the text of a configuration file, lazy ones, by section.

    Raises
    ------
    ConfigError
        If the text says what is not allowed.
    """
    values: dict[str, Value] = {}
    for layer in parse_config(text, Path("configuration"), "project file").layers:
        values |= layer
    return {
        section: cls(**{n: v for n, v in values.items() if n in cls.rows})
        for section, cls in _LAZY.items()
    }


def configs_of(snapshot: Snapshot) -> list[Any]:
    """Return lazy configurations of what is set in a snapshot above the defaults."""
    values: dict[str, Value] = {}
    for layer in snapshot.layers:
        values |= layer
    found = {
        section: {n: v for n, v in values.items() if n in OPTIONS.get(section, PARAMETER_REGISTRY)}
        for section in _LAZY
    }
    return [_LAZY[s](**found[s]) for s in _LAZY if found[s] or s == "pipeline"]


def toml_value(value: Value) -> str:
    """Return a value as it stands in a configuration file."""
    if value is None:
        return '"off"'
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _is_configuration(value: object) -> bool:
    return isinstance(value, sections.LiveConfig) or (
        has_lazy_resolution(value) and not isinstance(value, type)
    )


def _comment(comments: dict[str, str] | None, name: str) -> str:
    text = (comments or {}).get(name)
    return f"  # {text}" if text else ""
