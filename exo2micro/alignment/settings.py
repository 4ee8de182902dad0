"""Settings of the alignment: checked when they are made, by the rules of the parameters."""

from dataclasses import dataclass, fields
from typing import Any, Self

from exo2micro.errors import ParameterError
from exo2micro.parameter import Parameter

# The rules of the parameters of the same names, which a test holds equal.
RULES: dict[str, dict[str, Any]] = {
    "boundary_width": {"bounds": (1, 1000)},
    "boundary_smooth": {"bounds": (0, 1000)},
    "angle_range": {"bounds": (0, 180)},
    "angle_step": {"bounds": (0.05, 45)},
    "scale_min": {"bounds": (0.2, 5)},
    "scale_max": {"bounds": (0.2, 5)},
    "scale_step": {"bounds": (0.001, 1)},
    "down_scale": {"bounds": (0.01, 1)},
    "max_translation": {"bounds": (0, 1e6)},
    "max_rotation": {"bounds": (0, 180)},
    "max_scale_delta": {"bounds": (0, 5)},
    "max_scale_diff": {"bounds": (0, 5)},
    "stopit": {"bounds": (1, 100_000)},
    "stopdelta": {"bounds": (1e-15, 1)},
    "interior_blur_base": {"bounds": (3.2, 1000)},
    "interior_max_correction": {"bounds": (0, 1e6)},
    "interior_min_inlier_ratio": {"bounds": (0, 1)},
    "deformation": {"choices": ("auto", "off")},
}


@dataclass(frozen=True)
class Settings:
    """Base of settings: each value has the type of its default and keeps its rule.

    Raises
    ------
    ParameterError
        With the name, the value and what is allowed.
    """

    def __post_init__(self) -> None:
        for entry in fields(self):
            default: Any = entry.default
            rule = Parameter(default, "s", 1, entry.name, **RULES.get(entry.name, {}))
            value = rule.validated(getattr(self, entry.name), entry.name)
            object.__setattr__(self, entry.name, value)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the settings of these names and values, or raise ParameterError."""
        names = [entry.name for entry in fields(cls)]
        unknown = [name for name in given if name not in names]
        if unknown:
            msg = f"unknown setting {unknown[0]!r}: {cls.__name__} has {', '.join(names)}"
            raise ParameterError(msg)
        return cls(**given)
