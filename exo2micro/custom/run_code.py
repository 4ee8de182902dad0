"""All custom code of a run as plain data, so that it travels to processes with an empty store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exo2micro.custom.function import CustomFunction
from exo2micro.custom.step import (
    FIRST_DIFFERENCE_STAGE,
    FunctionStep,
    ResolvedStep,
    in_order,
    resolve,
)

if TYPE_CHECKING:
    from exo2micro.custom.manager import CustomFunctionManager

PLUGIN_KINDS = ("diagnostic", "scale_estimator", "reader")
"""Kinds of functions that take part in every run; those on images do where they are added."""


@dataclass(frozen=True)
class CustomCode:
    """The custom functions of a run, with their code; it can be pickled.

    Attributes
    ----------
    steps : tuple of ResolvedStep
        Extra stages, in the order in which they run.
    functions : tuple of CustomFunction
        Diagnostics, scale estimators and readers of the store.
    """

    steps: tuple[ResolvedStep, ...] = ()
    functions: tuple[CustomFunction, ...] = ()

    def of_kind(self, kind: str) -> tuple[CustomFunction, ...]:
        """Return the functions of one kind."""
        return tuple(function for function in self.functions if function.kind == kind)

    def enrol(self) -> None:
        """Make the plots, scale estimators and readers known in this process."""
        from exo2micro.custom.enrolment import enrol

        enrol(self.functions)

    def code_of(self, number: int, params: Mapping[str, Any], raw: Iterable[str]) -> dict[str, str]:
        """Return the hashes of the readers and scale estimators that a stage uses.

        Parameters
        ----------
        number : int
            Stage number.
        params : mapping
            All effective parameters.
        raw : iterable of str
            Names of the raw files, for a stage that reads them.
        """
        readers = {
            f.name: f.sha256
            for f in self.of_kind("reader")
            if any(name.lower().endswith(tuple(f.options.get("suffixes", ()))) for name in raw)
        }
        if number != FIRST_DIFFERENCE_STAGE or not self.of_kind("scale_estimator"):
            return readers
        from exo2micro.subtraction.scale import active_estimators

        active = {cls.name for cls in active_estimators(params)}
        scales = {f.name: f.sha256 for f in self.of_kind("scale_estimator") if f.name in active}
        return readers | scales


def enrol_stored() -> None:
    """Make the plots, scale estimators and readers of the store known in this process."""
    collect().enrol()


def collect(
    steps: Sequence[FunctionStep | ResolvedStep] = (),
    manager: "CustomFunctionManager | None" = None,
) -> CustomCode:
    """Return the code that runs with these extra stages use now.

    Parameters
    ----------
    steps : sequence of FunctionStep or ResolvedStep
        Extra stages; a name is looked up in the store, a resolved one brings its code.
    manager : CustomFunctionManager, optional
        The store; None: the default one.

    Raises
    ------
    UnknownFunctionError
        If a name is not in the store; tells the near ones.
    ParameterError
        If a value does not fit.
    """
    from exo2micro.custom.manager import default_manager

    store = manager or default_manager()
    found = [s if isinstance(s, ResolvedStep) else resolve(s, store.get) for s in steps]
    return CustomCode(in_order(found), tuple(_plugins(store)))


def _plugins(store: "CustomFunctionManager") -> Iterable[CustomFunction]:
    # Not the list of all: objects that were registered without a source cannot travel.
    return (f for _, f in sorted(store.functions().items()) if f.kind in PLUGIN_KINDS)
