"""The configurations of this package: pipeline, detection, batch and output, each with its twin.

Their fields are read from the registry whenever they are asked for, so a parameter that is
registered later is a field at once.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from exo2micro.config.lazy import INHERIT, LazyResolution
from exo2micro.config.options import OPTIONS, detection_rows
from exo2micro.defaults import PARAMETER_REGISTRY, refuse_contradictions, unknown_name_message
from exo2micro.parameter import Parameter

Rows = tuple[tuple[str, Parameter], ...]

_SECTIONS: dict[str, Callable[[], Mapping[str, Parameter]]] = {
    "pipeline": lambda: PARAMETER_REGISTRY,
    "detection": detection_rows,
    "batch": lambda: OPTIONS["batch"],
    "output": lambda: OPTIONS["output"],
}


class LiveFields(type):
    """A class whose dataclass fields follow rows that may change."""

    section: str

    @property
    def rows(cls) -> Mapping[str, Parameter]:
        """The rows that the fields are made from."""
        return _SECTIONS[cls.section]()

    @property
    def __dataclass_fields__(cls) -> dict[str, "dataclasses.Field[Any]"]:
        return _fields_of(tuple(cls.rows.items()), issubclass(cls, LazyResolution))

    @property
    def __signature__(cls) -> inspect.Signature:
        kind = inspect.Parameter.KEYWORD_ONLY
        fields = cls.__dataclass_fields__.values()
        return inspect.Signature(
            [inspect.Parameter(f.name, kind, default=f.default, annotation=f.type) for f in fields]
        )


class LiveConfig(metaclass=LiveFields):
    """Base of the configurations: frozen, validated, by keyword only."""

    section = "pipeline"

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        rows = type(self).rows
        for name in values:
            if name not in rows:
                raise TypeError(_unknown(type(self), name))
        for name, row in rows.items():
            value = row.validated(values[name], name) if name in values else row.default
            object.__setattr__(self, name, value)
        if type(self).section == "pipeline":
            refuse_contradictions(vars(self))
        if hasattr(type(self), "__post_init__"):
            self.__post_init__()

    @property
    def __dataclass_fields__(self) -> dict[str, "dataclasses.Field[Any]"]:
        cls: Any = type(self)
        fields: dict[str, dataclasses.Field[Any]] = cls.__dataclass_fields__
        return fields

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return the default of a parameter that was registered after this instance was made."""
        rows = type(self).rows
        if name not in rows:
            msg = f"{type(self).__name__} has no field: {unknown_name_message(name, rows)}"
            raise AttributeError(msg)
        return rows[name].default

    @classmethod
    def _key(cls, name: str) -> str:
        """Return the name under which layers know a field."""
        return name

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"{type(self).__name__} is frozen; make another one by dataclasses.replace"
        raise dataclasses.FrozenInstanceError(msg)

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in type(self).rows)

    def __repr__(self) -> str:
        rows = type(self).rows
        given = ", ".join(f"{n}={v!r}" for n, v in self if v != rows[n].default)
        return f"{type(self).__name__}({given})"

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), tuple(self)))


class LazyConfig(LazyResolution, LiveConfig):
    """Base of the lazy twins; unset fields inherit."""

    def __setattr__(self, name: str, value: object) -> None:
        LiveConfig.__setattr__(self, name, value)

    @classmethod
    def _checked(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are kept; values are validated, ``"off"`` is None."""
        kept: dict[str, Any] = {}
        for name, value in super()._checked(given).items():
            row = cls.rows[name]
            if row.nullable and value == "off":
                kept[name] = None
            elif value is INHERIT or value is None:
                kept[name] = value
            else:
                kept[name] = row.validated(value, name)
        return kept

    @classmethod
    def _named(
        cls, args: tuple[Any, ...], values: Mapping[str, Any], names: list[str]
    ) -> dict[str, Any]:
        if args:
            msg = f"{cls.__name__}() takes keywords only, for example {names[0]}=..."
            raise TypeError(msg)
        return super()._named(args, values, names)

    @classmethod
    def _unknown(cls, name: str, names: list[str]) -> str:  # noqa: ARG003
        return _unknown(cls, name)

    @classmethod
    def _has_field(cls, name: str) -> bool:
        return name in cls.rows

    @classmethod
    def _none_is_value(cls, name: str) -> bool:
        return cls.rows[name].nullable

    @classmethod
    def _key(cls, name: str) -> str:
        return LiveConfig._key(name)

    @classmethod
    def _default(cls, name: str) -> Any:  # noqa: ANN401
        return cls.rows[name].default


class PipelineConfig(LiveConfig):
    """All parameters of the pipeline."""

    section = "pipeline"


class DetectionConfig(LiveConfig):
    """What steers the detection: its options, and parameters of stages after the difference."""

    section = "detection"


class BatchConfig(LiveConfig):
    """How a batch is worked off."""

    section = "batch"


class OutputConfig(LiveConfig):
    """How results are written."""

    section = "output"


class LazyPipelineConfig(LazyConfig, PipelineConfig):
    """A `PipelineConfig` whose unset fields inherit."""

    concrete = PipelineConfig


class LazyDetectionConfig(LazyConfig, DetectionConfig):
    """A `DetectionConfig` whose unset fields inherit."""

    concrete = DetectionConfig


class LazyBatchConfig(LazyConfig, BatchConfig):
    """A `BatchConfig` whose unset fields inherit."""

    concrete = BatchConfig


class LazyOutputConfig(LazyConfig, OutputConfig):
    """An `OutputConfig` whose unset fields inherit."""

    concrete = OutputConfig


@functools.lru_cache(maxsize=64)
def _fields_of(rows: Rows, is_lazy: bool) -> dict[str, "dataclasses.Field[Any]"]:
    """Return dataclass fields for rows."""
    described = []
    for name, row in rows:
        unset = INHERIT if row.nullable else None
        field: Any = dataclasses.field(
            default=unset if is_lazy else row.default,
            kw_only=True,
            metadata={"nullable": row.nullable, "parameter": row},
        )
        kind: Any = row.kind | None if row.nullable or is_lazy else row.kind
        described.append((name, kind, field))
    made = dataclasses.make_dataclass("Fields", described)
    return {field.name: field for field in dataclasses.fields(made)}


def _unknown(cls: type, name: str) -> str:
    rows: Mapping[str, Parameter] = cls.rows  # type: ignore[attr-defined]
    return (
        f"{cls.__name__}() got an unexpected keyword argument: {unknown_name_message(name, rows)}"
    )
