"""Custom functions: a user's own code, checked, kept and used by its name.

Importing this package reads no store and executes no one's code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exo2micro.custom.decorators import diagnostic, reader, scale_estimator
    from exo2micro.custom.function import CustomFunction, FunctionParameter
    from exo2micro.custom.isolation import Limits
    from exo2micro.custom.manager import (
        CustomFunctionManager,
        default_manager,
        get_function,
        register_function,
    )
    from exo2micro.custom.memory import get_default_template, get_template_for_memory_type
    from exo2micro.custom.names import check_name
    from exo2micro.custom.signals import functions_changed
    from exo2micro.custom.step import FunctionStep
    from exo2micro.custom.store import CustomFunctionInfo
    from exo2micro.custom.templates import get_template_for_kind
    from exo2micro.custom.validation import (
        ValidationResult,
        validate_code,
        validate_decorator,
        validate_function,
        validate_imports,
        validate_syntax,
    )
    from exo2micro.errors import ValidationError

    AVAILABLE_MEMORY_TYPES: tuple[str, ...]

_HOMES = {
    "AVAILABLE_MEMORY_TYPES": "custom.memory",
    "CustomFunction": "custom.function",
    "CustomFunctionInfo": "custom.store",
    "CustomFunctionManager": "custom.manager",
    "FunctionParameter": "custom.function",
    "FunctionStep": "custom.step",
    "Limits": "custom.isolation",
    "ValidationError": "errors",
    "ValidationResult": "custom.validation",
    "check_name": "custom.names",
    "default_manager": "custom.manager",
    "diagnostic": "custom.decorators",
    "functions_changed": "custom.signals",
    "get_default_template": "custom.memory",
    "get_function": "custom.manager",
    "get_template_for_kind": "custom.templates",
    "get_template_for_memory_type": "custom.memory",
    "reader": "custom.decorators",
    "register_function": "custom.manager",
    "scale_estimator": "custom.decorators",
    "validate_code": "custom.validation",
    "validate_decorator": "custom.validation",
    "validate_function": "custom.validation",
    "validate_imports": "custom.validation",
    "validate_syntax": "custom.validation",
}

__all__ = [
    "AVAILABLE_MEMORY_TYPES",
    "CustomFunction",
    "CustomFunctionInfo",
    "CustomFunctionManager",
    "FunctionParameter",
    "FunctionStep",
    "Limits",
    "ValidationError",
    "ValidationResult",
    "check_name",
    "default_manager",
    "diagnostic",
    "functions_changed",
    "get_default_template",
    "get_function",
    "get_template_for_kind",
    "get_template_for_memory_type",
    "reader",
    "register_function",
    "scale_estimator",
    "validate_code",
    "validate_decorator",
    "validate_function",
    "validate_imports",
    "validate_syntax",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(f"exo2micro.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
