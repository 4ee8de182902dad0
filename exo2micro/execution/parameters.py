"""The parameters of one run and who set them."""

from collections.abc import Mapping

from exo2micro.defaults import DEFAULTS, PARAMETER_REGISTRY, validate_params
from exo2micro.parameter import Value


class ParameterSet:
    """Values of all parameters; a parameter registered later joins with its default."""

    def __init__(self) -> None:
        self._set: dict[str, Value] = {}
        self._sources: dict[str, str] = {}

    def values(self) -> dict[str, Value]:
        """Return all effective values in registry order."""
        return {name: self._set.get(name, DEFAULTS[name]) for name in PARAMETER_REGISTRY}

    def sources(self) -> dict[str, str]:
        """Return who set each value that somebody set."""
        return dict(self._sources)

    def update(self, changes: Mapping[str, object], source: str) -> None:
        """Set values; on an error none is changed.

        Raises
        ------
        ParameterError
            For an unknown name, a wrong type, a value out of range, or values that make no sense
            together.
        """
        validated = validate_params(changes, self.values())
        self._set |= {name: validated[name] for name in changes}
        self._sources |= dict.fromkeys(changes, source)

    def reset(self) -> None:
        """Return to the defaults."""
        self._set.clear()
        self._sources.clear()

    def copy(self) -> "ParameterSet":
        """Return an independent copy."""
        other = ParameterSet()
        other._set, other._sources = dict(self._set), dict(self._sources)
        return other

    def non_default(self, stage: int | None = None) -> dict[str, Value]:
        """Return the values that differ from their default, up to a stage if given."""
        return {
            name: value
            for name, value in self.values().items()
            if value != PARAMETER_REGISTRY[name].default
            and (stage is None or PARAMETER_REGISTRY[name].stage <= stage)
        }
