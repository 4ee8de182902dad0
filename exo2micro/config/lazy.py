"""Lazy dataclasses: a field that nobody set takes its value from the active layers."""

import dataclasses
import types
import typing
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from exo2micro.config.context import find_setting, is_raw
from exo2micro.config.layer import Layer
from exo2micro.config.source import DEFAULT, Setting, Source
from exo2micro.errors import ConfigError


class _Inherit:
    """The type of `INHERIT`."""

    def __repr__(self) -> str:
        return "INHERIT"

    def __reduce__(self) -> str:
        return "INHERIT"

    def __bool__(self) -> bool:
        return False


INHERIT: Final = _Inherit()
"""Stands in a field for which None is a value ("off") and that nobody set."""

LAZY_TYPES: "weakref.WeakSet[type]" = weakref.WeakSet()
"""All lazy dataclasses of this process."""


class LazyResolution:
    """What makes a dataclass lazy; see `lazy_dataclass`.

    Reading a field gives the value set in it, else that of the nearest active layer, else the
    default. ``object.__getattribute__(config, name)`` gives what is set: None, or `INHERIT` where
    None is a value, if nothing is. `dataclasses.replace` reads attributes: call it inside
    `patch_lazy_constructors` where unset fields are to stay unset.
    """

    concrete: ClassVar[type]
    """The dataclass that `resolve` makes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "concrete"):
            LAZY_TYPES.add(cls)

    def __init__(self, *args: Any, **values: Any) -> None:  # noqa: ANN401
        cls = type(self)
        fields = [f for f in dataclasses.fields(self) if f.init]  # type: ignore[arg-type]
        given = cls._named(args, values, [f.name for f in fields])
        if not is_raw(cls):
            given = cls._checked(given)
        for field in fields:
            unset = INHERIT if cls._none_is_value(field.name) else None
            object.__setattr__(self, field.name, given.get(field.name, unset))
        if hasattr(cls, "__post_init__"):
            self.__post_init__()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        cls = object.__getattribute__(self, "__class__")
        if not cls._has_field(name):
            return object.__getattribute__(self, name)
        if is_raw(cls):
            return raw_value(self, name)
        return resolved_setting(self, name).value

    def __repr__(self) -> str:
        given = ", ".join(f"{n}={v!r}" for n, v in explicit_values(self).items())
        return f"{type(self).__name__}({given})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return explicit_values(self) == explicit_values(other)

    def __hash__(self) -> int:
        return hash((type(self), tuple(explicit_values(self).items())))

    def resolve(self) -> Any:  # noqa: ANN401
        """Return the concrete dataclass with the values as they resolve now."""
        names = (f.name for f in dataclasses.fields(self) if f.init)  # type: ignore[arg-type]
        return type(self).concrete(**{n: resolved_setting(self, n).value for n in names})

    @classmethod
    def _named(
        cls, args: tuple[Any, ...], values: Mapping[str, Any], names: list[str]
    ) -> dict[str, Any]:
        """Return all arguments by name, refusing those that no field takes."""
        if len(args) > len(names):
            msg = f"{cls.__name__}() takes at most {len(names)} values, got {len(args)}"
            raise TypeError(msg)
        given = dict(zip(names, args, strict=False))
        for name, value in values.items():
            if name in given:
                msg = f"{cls.__name__}() got several values for {name!r}"
                raise TypeError(msg)
            if name not in names:
                raise TypeError(cls._unknown(name, names))
            given[name] = value
        return given

    @classmethod
    def _unknown(cls, name: str, names: list[str]) -> str:
        return f"{cls.__name__}() got an unexpected keyword argument {name!r}; it has {names}"

    @classmethod
    def _checked(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are kept; a sentinel where None means inherit becomes it."""
        return {
            name: None if value is INHERIT and not cls._none_is_value(name) else value
            for name, value in given.items()
        }

    @classmethod
    def _none_is_value(cls, name: str) -> bool:
        """Tell whether None is a value of a field, by its annotation."""
        return name in _optional_names(cls.concrete)

    @classmethod
    def _has_field(cls, name: str) -> bool:
        field = cls.__dataclass_fields__.get(name)  # type: ignore[attr-defined]
        return field is not None and field.init

    @classmethod
    def _key(cls, name: str) -> str:
        """Return the name under which layers know a field."""
        return f"{cls.concrete.__module__}.{cls.concrete.__qualname__}.{name}"

    @classmethod
    def _default(cls, name: str) -> Any:  # noqa: ANN401
        field = cls.concrete.__dataclass_fields__[name]  # type: ignore[attr-defined]
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        msg = f"{name} of {cls.__name__} is set in no active layer and has no default; set it"
        raise ConfigError(msg)


def lazy_dataclass(base: type, name: str = "") -> type:
    """Return the lazy twin of a dataclass.

    Parameters
    ----------
    base : type
        A dataclass. Where None is a value of a field, by its annotation, an unset field of the twin
        holds `INHERIT`, so that an explicit None counts.
    name : str, optional
        Name of the twin, by default that of `base` after ``Lazy``. Bind it to this name in the
        module of `base`, so that instances can be pickled.

    Raises
    ------
    TypeError
        If `base` is no dataclass, or is lazy already.
    """
    if not (isinstance(base, type) and dataclasses.is_dataclass(base)) or has_lazy_resolution(base):
        msg = f"a lazy twin is made of a dataclass that is not lazy itself, got {base!r}"
        raise TypeError(msg)
    name = name or f"Lazy{base.__name__}"
    prefix, dot, _ = base.__qualname__.rpartition(".")
    namespace = {
        "__module__": base.__module__,
        "__qualname__": f"{prefix}{dot}{name}",
        "__doc__": f"A `{base.__name__}` whose unset fields inherit.",
        "concrete": base,
    }
    return types.new_class(name, (LazyResolution, base), {}, lambda body: body.update(namespace))


def has_lazy_resolution(cls: object) -> bool:
    """Tell whether a class, or the class of an instance, resolves unset fields lazily."""
    return issubclass(cls if isinstance(cls, type) else type(cls), LazyResolution)


def raw_value(config: Any, name: str) -> Any:  # noqa: ANN401
    """Return what is set in a field; None, or `INHERIT` where None is a value, if nothing is."""
    try:
        return object.__getattribute__(config, name)
    except AttributeError:  # a parameter that was registered after this instance was made
        return INHERIT


def explicit_values(config: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the fields that are set in a lazy configuration, or all of a concrete one."""
    names = [f.name for f in dataclasses.fields(config) if f.init]
    if not has_lazy_resolution(config):
        return {name: getattr(config, name) for name in names}
    return {name: raw_value(config, name) for name in names if _is_set(config, name)}


def resolved_setting(config: Any, name: str) -> Setting:  # noqa: ANN401
    """Return value and source of a field of a lazy configuration as it resolves now."""
    if _is_set(config, name):
        return Setting(raw_value(config, name), _source_of(type(config)))
    return inherited_setting(type(config), name)


def inherited_setting(cls: Any, name: str) -> Setting:  # noqa: ANN401
    """Return value and source that a field of a lazy class has where it is not set."""
    return find_setting(cls._key(name)) or Setting(cls._default(name), DEFAULT)


def explicit_layer(config: Any) -> Layer:  # noqa: ANN401
    """Return the values that are set in a configuration as a layer."""
    cls = type(config)
    if not dataclasses.is_dataclass(cls):
        msg = f"expected a Layer, a Snapshot or a configuration, got {config!r}"
        raise TypeError(msg)
    source = _source_of(cls)
    key = cls._key if hasattr(cls, "_key") else lambda n: f"{cls.__module__}.{cls.__qualname__}.{n}"
    settings = {key(n): Setting(v, source) for n, v in explicit_values(config).items()}
    return Layer("context", settings)


def _source_of(cls: type) -> Source:
    return Source("context", cls.__name__)


def _is_set(config: Any, name: str) -> bool:  # noqa: ANN401
    raw = raw_value(config, name)
    if raw is INHERIT:
        return False
    return raw is not None or type(config)._none_is_value(name)


_OPTIONAL_NAMES: "weakref.WeakKeyDictionary[type, frozenset[str]]" = weakref.WeakKeyDictionary()


def _optional_names(cls: type) -> frozenset[str]:
    """Return the fields of a dataclass whose annotation admits None."""
    if cls not in _OPTIONAL_NAMES:
        hints = typing.get_type_hints(cls)
        _OPTIONAL_NAMES[cls] = frozenset(
            name for name, hint in hints.items() if type(None) in typing.get_args(hint)
        )
    return _OPTIONAL_NAMES[cls]
