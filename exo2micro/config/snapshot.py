"""All effective settings of one run, frozen, each with its source."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exo2micro.config.layer import Layer
from exo2micro.config.options import OPTIONS, all_rows
from exo2micro.config.source import DEFAULT, LAYERS, Setting
from exo2micro.defaults import DEFAULTS, PARAMETER_REGISTRY, refuse_contradictions
from exo2micro.errors import ParameterError
from exo2micro.parameter import Value
from exo2micro.tables import Table


@dataclass(frozen=True)
class Snapshot(Mapping[str, Value]):
    """The settings of one run, resolved once; picklable, and the same in every process.

    As a mapping it holds the value of every parameter, in registry order. A parameter that is
    registered later joins with its default.

    Attributes
    ----------
    layers : tuple of Layer
        What they were resolved from, lowest first, without the defaults.
    """

    layers: tuple[Layer, ...] = ()
    _settings: Mapping[str, Setting] = field(default_factory=dict)

    def setting(self, name: str) -> Setting | None:
        """Return value and source of a parameter or option; None if there is no such name."""
        if name in self._settings:
            return self._settings[name]
        if name in PARAMETER_REGISTRY:
            return Setting(PARAMETER_REGISTRY[name].default, DEFAULT)
        return None

    def option(self, name: str) -> Any:  # noqa: ANN401
        """Return the value of an option of a batch or of output."""
        return self._settings[name].value

    def sources(self) -> dict[str, str]:
        """Return in words who set each parameter that somebody set."""
        return {
            name: str(s.source)
            for name in self
            if (s := self._settings.get(name)) and s.source != DEFAULT
        }

    def below(self, kind: str) -> tuple[Layer, ...]:
        """Return the layers below one kind."""
        rank = LAYERS.index(kind)
        return tuple(layer for layer in self.layers if LAYERS.index(layer.kind) < rank)

    def __getitem__(self, name: str) -> Value:
        if name not in PARAMETER_REGISTRY and not self._is_foreign(name):
            raise KeyError(name)
        setting = self._settings.get(name)
        return DEFAULTS[name] if setting is None else setting.value

    def __iter__(self) -> Iterator[str]:
        yield from PARAMETER_REGISTRY
        yield from (name for name in self._settings if self._is_foreign(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_foreign(self, name: str) -> bool:
        """Tell whether a value was set for a parameter that this process does not know."""
        if name in PARAMETER_REGISTRY or any(name in rows for rows in OPTIONS.values()):
            return False
        return name in self._settings and self._settings[name].source != DEFAULT


def resolve_layers(layers: Iterable[Layer]) -> Snapshot:
    """Return the effective settings of several layers.

    Parameters
    ----------
    layers : iterable of Layer
        In any order; of two layers of one kind the later one counts.

    Raises
    ------
    ParameterError
        If values make no sense together, with the source of each.
    """
    ordered = tuple(sorted(layers, key=lambda layer: LAYERS.index(layer.kind)))
    settings = {name: Setting(row.default, DEFAULT) for name, row in all_rows()}
    for layer in ordered:
        settings.update(layer.settings())
    snapshot = Snapshot(ordered, settings)
    try:
        refuse_contradictions(snapshot)
    except ParameterError as error:
        named = (n for n, s in settings.items() if s.source != DEFAULT and n in str(error))
        where = ", ".join(f"{name} by {settings[name].source}" for name in named)
        msg = f"{error} (set: {where})"
        raise ParameterError(msg) from None
    return snapshot


def explain(snapshot: Snapshot, stage: int | None = None) -> Table:
    """Return one row per parameter: stage, value, default, source and what it overrides.

    Parameters
    ----------
    snapshot : Snapshot
        The settings.
    stage : int, optional
        Only the parameters of this stage.
    """
    rows = [
        {
            "stage": row.stage,
            "parameter": name,
            "value": _shown(snapshot[name]),
            "default": _shown(row.default),
            "source": str(setting.source),
            "overrides": _hidden(snapshot, name),
        }
        for name, row in PARAMETER_REGISTRY.items()
        if stage in (None, row.stage) and (setting := snapshot.setting(name))
    ]
    return Table(rows)


def _hidden(snapshot: Snapshot, name: str) -> str | None:
    """Return the settings of a name that a higher layer hides, nearest first."""
    found = [s for layer in reversed(snapshot.layers) if (s := layer.setting(name))]
    return ", ".join(f"{_shown(s.value)} ({s.source})" for s in found[1:]) or None


def _shown(value: Value) -> Any:  # noqa: ANN401
    return "off" if value is None else value
