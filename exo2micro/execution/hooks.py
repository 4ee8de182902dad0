"""Stages that a subclass of SampleDye adds or replaces by a method ``_run_stage_N_name``."""

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from exo2micro.execution.plan import Request
from exo2micro.parameter import Value
from exo2micro.raster.checkpoint import CheckpointStore
from exo2micro.raster.record import read_record
from exo2micro.stages import STAGES
from exo2micro.stages.base import Stage, StageInputs, StageOutput

HOOK = re.compile(r"_run_stage_(\d+)_(\w+)")


class MethodStage(Stage):
    """A stage whose work is done by a method of the runner itself.

    Parameters
    ----------
    number : int
        Stage number.
    name : str
        Stage name, from the method's name.
    reads : tuple of (int, str)
        Main checkpoint of the stage before it.
    store : CheckpointStore
        Where its checkpoints lie; which it has is known from their records alone.
    request : Request
        Parameters of the run.
    """

    def __init__(
        self,
        number: int,
        name: str,
        reads: tuple[tuple[int, str], ...],
        store: CheckpointStore,
        request: Request,
    ) -> None:
        self.__dict__.update(number=number, stage_name=name, title=name, reads=reads)
        self._store = store
        self._request = request

    def checkpoints(self, params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """Return what an earlier run of the method wrote."""
        suffix = self._request.suffix(self)
        pattern = f"{self.number or 0:02d}_{self.stage_name}_*.json"
        records = map(read_record, sorted(self._store.paths.records.glob(pattern)))
        return tuple((r.name, r.label) for r in records if r is not None and r.suffix == suffix)

    def process(self, inputs: StageInputs) -> StageOutput:
        """Refuse: the runner calls the method itself."""
        raise NotImplementedError


def hooks_of(cls: type) -> dict[int, tuple[str, str]]:
    """Return ``(method, stage name)`` of every stage hook of a class, by number.

    The hook that was defined last, along the method resolution order, counts.
    """
    hooks: dict[int, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        for attribute in vars(base):
            if match := HOOK.fullmatch(attribute):
                hooks[int(match[1])] = (attribute, match[2])
    return hooks


def code_hash(function: Callable[..., Any]) -> str:
    """Return a hash of a function's source, or of its byte code where there is no source."""
    try:
        text = inspect.getsource(function).encode()
    except (OSError, TypeError):
        text = function.__code__.co_code + repr(function.__code__.co_consts).encode()
    return hashlib.sha256(text).hexdigest()


def stages_of(
    cls: type, base: type, store: CheckpointStore, request: Request
) -> tuple[dict[int, Stage], dict[int, dict[str, str]]]:
    """Return the stages of a runner class by number, and the hashes of its own stage code.

    Parameters
    ----------
    cls : type
        The runner class.
    base : type
        Class whose hooks are the package's own, so that they count as no custom code.
    store : CheckpointStore
        The pair's checkpoints.
    request : Request
        Parameters of the run.
    """
    stages: dict[int, Stage] = {number: STAGES[number]() for number in sorted(STAGES)}
    code = {}
    for number, (method, name) in sorted(hooks_of(cls).items()):
        function = getattr(cls, method)
        if function is not getattr(base, method, None):
            code[number] = {method: code_hash(function)}
        if number not in stages:
            before = max((n for n in stages if n < number), default=None)
            names = stages[before].checkpoints(request.params) if before else ()
            reads = ((before, names[0][0]),) if before and names else ()
            stages[number] = MethodStage(number, name, reads, store, request)
    return dict(sorted(stages.items())), code
