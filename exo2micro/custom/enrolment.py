"""Scale estimators and readers of the store as members of their plugin families."""

import logging
from collections.abc import Iterable, Mapping

from exo2micro.custom.function import MODULE_PREFIX, CustomFunction
from exo2micro.custom.readers import FunctionReader
from exo2micro.custom.scales import FunctionEstimator
from exo2micro.raw.readers.base import RawReader
from exo2micro.registry import DuplicateKeyError, make_plugin_class
from exo2micro.subtraction.scale import SCALE_ESTIMATORS

logger = logging.getLogger(__name__)


def enrol(functions: Iterable[CustomFunction]) -> None:
    """Make these the custom members of their families; those of before are taken out.

    A function whose name the package or a plugin uses is left out, with a warning.
    """
    by_kind = {
        kind: {f.name: f for f in functions if f.kind == kind}
        for kind in ("scale_estimator", "reader")
    }
    _renew(FunctionEstimator, SCALE_ESTIMATORS, by_kind["scale_estimator"])
    _renew(FunctionReader, RawReader.__registry__, by_kind["reader"])


def _renew(
    base: type[FunctionEstimator] | type[FunctionReader],
    family: Mapping[str, type],
    functions: Mapping[str, CustomFunction],
) -> None:
    known = {name: cls.function for name, cls in family.items() if issubclass(cls, base)}
    for name in known.keys() - functions.keys():
        family.unregister(name)  # type: ignore[attr-defined]
    for name, function in functions.items():
        if known.get(name) == function:
            continue
        attributes = {"function": function, "__doc__": function.doc}
        attributes |= {
            k: function.options[k] for k in ("suffixes", "priority") if k in function.options
        }
        try:
            make_plugin_class(base, name, attributes, module=MODULE_PREFIX)
        except DuplicateKeyError as error:
            logger.warning("the custom function %s is not used: %s", name, error)
