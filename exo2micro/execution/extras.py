"""The custom code of one pair: what was added to it, looked up in the store when a run starts."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from exo2micro.config import Snapshot
from exo2micro.config.files import ExtraStage, read_config_files
from exo2micro.custom.run_code import CustomCode, collect
from exo2micro.custom.step import FunctionStep, ResolvedStep, resolve
from exo2micro.errors import ConfigError, ParameterError
from exo2micro.execution.plan import PlannedStage
from exo2micro.execution.runner import StageRunner

Step = FunctionStep | ResolvedStep
Function = Callable[..., Any]

_NAMES = ("function", "name")  # keys under which a file names the function, the better one first


class Extras:
    """Extra stages asked for, and the custom code that they and the store stand for.

    Parameters
    ----------
    steps : sequence of FunctionStep, ResolvedStep or str
        Extra stages; text as the command line takes it.
    given : CustomCode, optional
        Code to use instead of the store, as a worker process is given it.
    """

    def __init__(self, steps: Sequence[Step | str] = (), given: CustomCode | None = None) -> None:
        self.steps: list[Step] = [
            FunctionStep.parse(step) if isinstance(step, str) else step for step in steps
        ]
        self.given = given
        self._held: CustomCode | None = None

    def resolve(self) -> CustomCode:
        """Return the code as it is now, and make its estimators and readers known."""
        if self._held is not None:
            return self._held
        code = self.given or collect(self.steps)
        code.enrol()
        return code

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep to the code as it is now, whatever happens to the store meanwhile."""
        before = self._held
        self._held = self.resolve()
        try:
            yield
        finally:
            self._held = before


def configured_steps(
    raw_dir: str | os.PathLike[str], params: Mapping[str, Any] | None
) -> list[FunctionStep]:
    """Return the extra stages of the user's and the project's file, in this order.

    Parameters
    ----------
    raw_dir : path
        Folder of raw files; the project file lies beside it.
    params : mapping or Snapshot, optional
        What the run was given; with a snapshot, no file is read.

    Raises
    ------
    ConfigError
        If one of them is not described well, with file and line.
    """
    if isinstance(params, Snapshot):
        return []
    return [
        _configured(stage) for file in read_config_files(raw_dir) for stage in file.extra_stages
    ]


def _configured(stage: ExtraStage) -> FunctionStep:
    values = {name: value for name, value in stage.values.items() if name not in _NAMES}
    name = next((str(stage.values[key]) for key in _NAMES if key in stage.values), "")
    if not name:
        msg = f"{stage.source}: an extra stage needs a function: add function = 'NAME'"
        raise ConfigError(msg)
    try:
        return FunctionStep.of(name, values, str(stage.source))
    except ParameterError as error:
        msg = f"{stage.source}: {error}"
        raise ConfigError(msg) from error


class TakesStages:
    """The part of `SampleDye` that takes extra stages."""

    _extras: Extras

    @overload
    def add_stage(
        self,
        function: str | Function,
        *,
        after: int = 3,
        applies_to: str = "",
        **parameters: Any,  # noqa: ANN401
    ) -> Step: ...

    @overload
    def add_stage(
        self,
        *,
        after: int = 3,
        applies_to: str = "",
        **parameters: Any,  # noqa: ANN401
    ) -> Callable[[Function], Function]: ...

    def add_stage(
        self,
        function: str | Function | None = None,
        *,
        after: int = 3,
        applies_to: str = "",
        **parameters: Any,
    ) -> Step | Callable[[Function], Function]:
        """Add an extra stage: a custom function on the images that a stage made.

        Its file names and all later ones bear a token ``+name-hash`` of code and values. Without
        a function, this is a decorator for one.

        Parameters
        ----------
        function : str or callable
            Name of a function of the store, in the version current when `run` starts; or a
            function that uses nothing from outside of itself.
        after : int
            Stage that it follows and belongs to. 1: later stages resample its result; 2: stage 3
            matches it; 3: stage 4 subtracts it; 4: it is written and used by nothing else.
        applies_to : str
            ``pre``, ``post``, ``pair`` or ``difference``; by default the difference after
            stage 4, else pre.
        **parameters
            Values of the function's own parameters.

        Raises
        ------
        ParameterError
            For a stage or an image that does not exist.
        CustomFunctionError
            For a function that has no source or uses names from outside.
        """
        if function is None:

            def decorate(given: Function) -> Function:
                self._add(given, after, applies_to, parameters)
                return given

            return decorate
        return self._add(function, after, applies_to, parameters)

    def _add(
        self, function: str | Function, after: int, applies_to: str, parameters: dict[str, Any]
    ) -> Step:
        step: Step
        if isinstance(function, str):
            step = FunctionStep(function, parameters, after, applies_to)
        else:
            from exo2micro.custom.plain import function_of

            own = function_of(function)
            asked = FunctionStep(own.name, parameters, after, applies_to)
            step = resolve(asked, lambda _: own)
        self._extras.steps.append(step)
        return step

    def _stage_rows(self, stage: int | None) -> list[dict[str, Any]]:
        """Return the parameters of the extra stages as rows of the table of all parameters."""
        steps = self._extras.resolve().steps
        return [r for s in steps if stage in (None, s.step.after) for r in s.parameter_rows()]


Owner = TypeVar("Owner", bound=TakesStages)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def under_held_code(
    method: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """Let a method work with the custom code that is current when it starts."""

    @functools.wraps(method)
    def inner(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with self._extras.held():
            return method(self, *args, **kwargs)

    return inner


def custom_bytes(runner: StageRunner, rows: Sequence[PlannedStage], shape: tuple[int, int]) -> int:
    """Return the memory that the custom code of a run needs beyond that of the stages.

    Parameters
    ----------
    runner : StageRunner
        The runner.
    rows : sequence of PlannedStage
        Its plan.
    shape : tuple of int
        ``(ny, nx)`` of the larger raw image.
    """
    from exo2micro.custom.windowed import working_bytes
    from exo2micro.plotting.user import full_resolution_bytes

    steps = [
        working_bytes(runner.steps[row.position].resolved, shape)
        for row in rows
        if row.action == "run" and row.position is not None
    ]
    plots = [
        full_resolution_bytes(shape)
        for function in runner.custom.of_kind("diagnostic")
        if function.options.get("full_resolution")
    ]
    return max([0, *steps, *plots])
