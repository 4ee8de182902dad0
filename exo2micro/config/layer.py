"""One layer of settings: what one file, one batch or one call set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exo2micro.config.options import refuse_other_stage, row_of, unknown_name
from exo2micro.config.source import Setting, Source
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ParameterError
from exo2micro.parameter import Value


@dataclass(frozen=True)
class Layer(Mapping[str, Value]):
    """Validated settings of one origin; as a mapping it holds plain values.

    Attributes
    ----------
    kind : str
        One of `LAYERS`, or ``context``.
    """

    kind: str
    _settings: Mapping[str, Setting]

    @classmethod
    def of(
        cls, kind: str, values: Mapping[str, object], place: str, *, stage: int | None = None
    ) -> "Layer":
        """Return a layer of values that a program gave.

        Parameters
        ----------
        kind : str
            One of `LAYERS`.
        values : mapping
            Parameters by name.
        place : str
            Who gave them, e.g. ``set_params``.
        stage : int, optional
            Stage to which all of them must belong.

        Raises
        ------
        ParameterError
            For an unknown name, a wrong type or a value out of range.
        """
        source = Source(kind, place)
        for name in values:
            if name not in PARAMETER_REGISTRY:
                raise ParameterError(unknown_name(name))
            if stage is not None:
                refuse_other_stage(name, stage)
        return cls(kind, {n: Setting(row_of(n).validated(v, n), source) for n, v in values.items()})

    def setting(self, name: str) -> Setting | None:
        """Return value and source of one name, None if this layer does not set it."""
        return self._settings.get(name)

    def settings(self) -> Iterator[tuple[str, Setting]]:
        """Yield all names with value and source."""
        yield from self._settings.items()

    def updated(self, other: "Layer") -> "Layer":
        """Return this layer with the settings of another one on top."""
        return Layer(self.kind, {**self._settings, **other._settings})

    def __getitem__(self, name: str) -> Value:
        return self._settings[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)
