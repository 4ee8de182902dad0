"""What a form shows beside each field of a configuration."""

from dataclasses import dataclass
from typing import Any

from exo2micro.config.lazy import explicit_values, inherited_setting
from exo2micro.config.source import Setting


@dataclass(frozen=True)
class FieldState:
    """One field of a lazy configuration.

    Attributes
    ----------
    name : str
        The field.
    is_set : bool
        Whether the configuration itself sets it.
    value : object
        The value that holds.
    inherited : Setting
        What holds where the configuration does not set it.
    """

    name: str
    is_set: bool
    value: Any
    inherited: Setting

    @property
    def text(self) -> str:
        """What to show beside the field, e.g. ``inherited: 15 (exo2micro.toml)``."""
        value = "off" if self.inherited.value is None else self.inherited.value
        word = "instead of" if self.is_set else "inherited:"
        return f"{word} {value} ({self.inherited.source.short})"


def field_states(config: Any) -> list[FieldState]:  # noqa: ANN401
    """Return the state of each field of a lazy configuration under the active layers."""
    given = explicit_values(config)
    cls = type(config)
    states = []
    for name in cls.__dataclass_fields__:
        inherited = inherited_setting(cls, name)
        value = given.get(name, inherited.value)
        states.append(FieldState(name, name in given, value, inherited))
    return states
