"""Plots, scale estimators and readers of the store as members of their plugin families."""

import logging
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from exo2micro.custom.function import MODULE_PREFIX, CustomFunction
from exo2micro.registry import DuplicateKeyError, make_plugin_class

logger = logging.getLogger(__name__)

_CLASSES: Final = {
    "diagnostic": ("exo2micro.custom.plots", "StoredDiagnostic"),
    "scale_estimator": ("exo2micro.custom.scales", "FunctionEstimator"),
    "reader": ("exo2micro.custom.readers", "FunctionReader"),
}
"""Kind of function -> module and class that its members derive from; imported when needed."""


def enrol(functions: Iterable[CustomFunction]) -> None:
    """Make these the custom members of their families; those of before are taken out.

    A function whose name the package or a plugin uses is left out, with a warning.
    """
    functions = tuple(functions)
    for kind, (module, name) in _CLASSES.items():
        wanted = {f.name: f for f in functions if f.kind == kind}
        if wanted or module in sys.modules:
            _renew(getattr(import_module(module), name), wanted)


def _renew(base: Any, functions: Mapping[str, CustomFunction]) -> None:  # noqa: ANN401
    family = base.__registry__
    known = {name: cls.function for name, cls in family.items() if issubclass(cls, base)}
    for name in known.keys() - functions.keys():
        family.unregister(name)
    for name, function in functions.items():
        if known.get(name) == function:
            continue
        try:
            make_plugin_class(base, name, _attributes(function), module=MODULE_PREFIX)
        except DuplicateKeyError as error:
            logger.warning("the custom function %s is not used: %s", name, error)


def _attributes(function: CustomFunction) -> dict[str, Any]:
    """Return the class attributes that a function's decorator gives."""
    attributes = {"function": function, "__doc__": function.doc, **function.options}
    if function.kind == "diagnostic":
        attributes |= {"shows": function.caption, "code_hash": function.sha256}
        attributes.pop("caption", None)  # the caption of a diagnostic is put together
    return attributes
