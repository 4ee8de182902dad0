"""The parameters of one run: what the layers below say, and what was set on the run itself."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from exo2micro.config import (
    Layer,
    Snapshot,
    config_context,
    explain,
    resolve_config,
    resolve_layers,
)
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.parameter import Value
from exo2micro.tables import Table

Method = TypeVar("Method", bound=Callable[..., Any])


class ParameterSet:
    """The settings of one run, which may be changed; `snapshot` gives them frozen.

    Parameters
    ----------
    snapshot : Snapshot
        The settings to start from.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        """Return all effective settings, frozen."""
        return self._snapshot

    def values(self) -> dict[str, Value]:
        """Return all effective parameters in registry order."""
        return dict(self._snapshot)

    def update(self, changes: Mapping[str, object], place: str, stage: int | None = None) -> None:
        """Set parameters of the run, or of one stage of it; on an error none is changed.

        Raises
        ------
        ParameterError
            For an unknown name, a wrong type, a value out of range, values that make no sense
            together, or a parameter of another stage.
        """
        kind = "run" if stage is None else "stage"
        new = changes if isinstance(changes, Layer) else Layer.of(kind, changes, place, stage=stage)
        same = [layer for layer in self._snapshot.layers if layer.kind == new.kind]
        others = [layer for layer in self._snapshot.layers if layer.kind != new.kind]
        merged = same[-1].updated(new) if same else new
        self._snapshot = resolve_layers((*others, *same[:-1], merged))

    def reset(self) -> None:
        """Return to what the layers below the run say."""
        self._snapshot = resolve_layers(self._snapshot.below("run"))

    def override(self, changes: Mapping[str, object], place: str) -> None:
        """Set parameters above everything that is set, as variants of a run need them."""
        self.update(Layer.of("stage", changes, place), place)

    def non_default(self, stage: int | None = None) -> dict[str, Value]:
        """Return the values that differ from their default, up to a stage if given."""
        return {
            name: value
            for name, value in self.values().items()
            if (row := PARAMETER_REGISTRY.get(name)) is None
            or (value != row.default and (stage is None or row.stage <= stage))
        }


class TakesParameters:
    """The part of `SampleDye` that is told its parameters and explains them."""

    _parameters: ParameterSet

    @property
    def params(self) -> dict[str, Value]:
        """All effective parameters, a copy."""
        return self._parameters.values()

    @property
    def _params(self) -> dict[str, Value]:
        return self._parameters.values()

    def set_params(self, *, stage: int | None = None, **params: Any) -> None:  # noqa: ANN401
        """Set parameters; on an error none is changed.

        Parameters
        ----------
        stage : int, optional
            Set them as parameters of this stage, above everything that is set without a stage.
        params
            Values by name; None is "off".

        Raises
        ------
        ParameterError
            For an unknown name, a wrong type, a value out of range, values that make no sense
            together, or a parameter that belongs to another stage.
        """
        place = "set_params" if stage is None else f"set_params(stage={stage})"
        self._parameters.update(params, place, stage)

    def reset_params(self) -> None:
        """Return to what the layers below this run say: batch, configuration files, defaults."""
        self._parameters.reset()

    def explain_params(self, stage: int | None = None) -> Table:
        """Return a table of all parameters: value, default, who set it, what that overrides.

        Parameters
        ----------
        stage : int, optional
            Only the parameters of this stage.
        """
        table = explain(self._parameters.snapshot(), stage)
        return Table([*table.rows, *self._stage_rows(stage)])

    def non_default_params(self, stage: int | None = None) -> dict[str, Value]:
        """Return the parameters that differ from their default, up to a stage if given."""
        return self._parameters.non_default(stage)

    def _stage_rows(self, stage: int | None) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return further rows of the table of all parameters."""
        return []


def settings_from(
    raw_dir: str | os.PathLike[str],
    params: Mapping[str, Any] | None,
    kind: str,
    place: str,
    pair: tuple[str, str] | None = None,
) -> Snapshot:
    """Return the settings of a run or batch.

    Parameters
    ----------
    raw_dir : path
        Folder of raw files; the project file lies beside it.
    params : mapping, optional
        Plain values, a `Layer` that says where they come from, or a `Snapshot`, which holds as it
        is: nothing is read then.
    kind, place : str
        Layer and origin of plain values.
    pair : tuple of str, optional
        Sample and dye, for which a file may have settings of their own.

    Raises
    ------
    ParameterError
        If a file or a value is not allowed.
    """
    if isinstance(params, Snapshot):
        return params
    layer = params if isinstance(params, Layer) else Layer.of(kind, params or {}, place)
    return resolve_config(raw_dir, layer, pair=pair)


def under_own_settings(method: Method) -> Method:
    """Let lazy configurations resolve through a runner's own settings while a method works."""

    @functools.wraps(method)
    def inner(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with config_context(self._parameters.snapshot()):
            return method(self, *args, **kwargs)

    return cast("Method", inner)
