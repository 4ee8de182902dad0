"""What is asked of a batch, resolved once."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from exo2micro.batch.overrides import Overrides, read_overrides, unused_rows
from exo2micro.batch.task import Task
from exo2micro.config import PairLayer, Snapshot, read_config_files
from exo2micro.config.options import OPTIONS
from exo2micro.custom.run_code import CustomCode
from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import ParameterError, RawFileNotFoundError
from exo2micro.execution.extras import Extras, Step, configured_steps
from exo2micro.execution.machine import available_cores, available_memory_bytes
from exo2micro.execution.parameters import settings_from
from exo2micro.raw import diagnose_raw_layout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked of a batch, resolved once: a later change of files or store does not count.

    Attributes
    ----------
    output_dir, raw_dir, checkpoint_format
        Keywords of `SampleDye` for all pairs; the folders are absolute, because tasks may run, and
        a batch go on, in another current directory.
    settings : Snapshot
        Parameters and options of all pairs, resolved.
    steps : tuple of FunctionStep or ResolvedStep
        Extra stages of all pairs.
    custom : CustomCode
        The custom code that takes part; it travels with each task.
    pair_layers : tuple of PairLayer
        Parameters per sample, dye or pair from the configuration files.
    overrides : tuple of mapping
        The same from the table that this batch was given; they hide all others.
    call : mapping
        Keywords of `SampleDye.run`.
    parallel, n_workers, timeout_per_task, retries, on_error
        As for `run_batch`.
    """

    output_dir: str
    raw_dir: str
    checkpoint_format: str
    settings: Snapshot
    custom: CustomCode
    steps: tuple[Step, ...] = ()
    pair_layers: tuple[PairLayer, ...] = ()
    overrides: tuple[Mapping[str, Any], ...] = ()
    call: Mapping[str, Any] = field(default_factory=dict)
    parallel: bool | Literal["subprocess"] = False
    n_workers: int | None = None
    timeout_per_task: float | None = None
    retries: int = 1
    on_error: str = "continue"

    def __post_init__(self) -> None:
        for name, option in OPTIONS["batch"].items():
            # A whole number of seconds, say, becomes what the configuration files would hold.
            object.__setattr__(self, name, option.validated(getattr(self, name), name))
        if (keep := self.call.get("keep")) is not None:
            OPTIONS["output"]["keep"].validated(keep, "keep")
        _refuse_unknown_stages(self.call.get("from_stage"), self.call.get("to_stage"))
        if self.timeout_per_task is not None and self.parallel is False:
            logger.warning(
                "timeout_per_task = %g s has no effect: it needs a process per pair; set "
                "parallel=True or parallel='subprocess'",
                self.timeout_per_task,
            )

    def but(self, **changes: Any) -> "Request":  # noqa: ANN401
        """Return the same request with those of these options that are not None."""
        return replace(self, **{k: value for k, value in changes.items() if value is not None})

    def in_folder(self, output_dir: Path) -> "Request":
        """Return the same request where its output folder lies now.

        Raises
        ------
        RawFileNotFoundError
            If its raw folder is gone: every pair that is left would end with an error.
        """
        if not Path(self.raw_dir).is_dir():
            msg = (
                f"{self.raw_dir}, the raw folder of this batch, is not there; bring it back, or "
                "start a new batch with another raw_dir: what is valid is kept"
            )
            raise RawFileNotFoundError(msg)
        return replace(self, output_dir=str(output_dir))

    def workers(self, tasks: Sequence[Task]) -> int:
        """Return how many tasks run at once; -1: as many as the workers of a cluster take.

        Where nobody says, cores and memory of this machine decide.
        """
        if self.n_workers is not None:
            return min(self.n_workers, len(tasks))
        if leaves_this_process():
            return -1
        need = max(task.memory_bytes for task in tasks)
        fit = available_memory_bytes() // need if need else len(tasks)
        return max(1, min(available_cores(), len(tasks), fit))


def _refuse_unknown_stages(from_stage: int | None, to_stage: int | None) -> None:
    stages = list(STAGE_NAMES)
    if to_stage is not None and to_stage not in stages:
        msg = f"to_stage must be one of {stages}, got {to_stage!r}"
        raise ParameterError(msg)
    stages = [number for number in stages if to_stage is None or number <= to_stage]
    if from_stage is not None and from_stage not in stages:
        msg = f"from_stage must be one of {stages}, got {from_stage!r}"
        raise ParameterError(msg)


def leaves_this_process() -> bool:
    """Tell whether the caller has chosen a joblib backend of other processes, such as dask.

    Raises
    ------
    ParameterError
        If the backend cannot hand on results as they come.
    """
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    if not getattr(backend, "supports_return_generator", False):
        msg = (
            f"joblib's {type(backend).__name__} cannot hand on results as they come; choose "
            "another backend with joblib.parallel_config: loky, threading or dask"
        )
        raise ParameterError(msg)
    return not getattr(backend, "supports_sharedmem", False)


def make_request(
    output_dir: str | os.PathLike[str],
    raw_dir: str | os.PathLike[str],
    params: Mapping[str, Any] | None,
    *,
    overrides: Overrides,
    call: Mapping[str, Any],
    stages: Sequence[Step | str] = (),
    **options: Any,  # noqa: ANN401
) -> Request:
    """Return a request from the arguments of `run_batch`; None is what the configuration says.

    Raises
    ------
    ParameterError
        If an argument or a parameter is wrong, or overrides concern no pair of the raw folder.
    """
    settings = settings_from(raw_dir, params, "batch", "run_batch(params)")
    files = () if isinstance(params, Snapshot) else read_config_files(raw_dir)
    pair_layers = tuple(own for file in files for own in file.pair_layers)
    rows = tuple(read_overrides(overrides))
    _refuse_unused(Path(raw_dir), pair_layers, rows)
    extras = Extras([*configured_steps(raw_dir, params), *stages])
    if options.get("parallel", False) is None and leaves_this_process():
        options["parallel"] = True
    chosen = {
        name: settings.option(name) if value is None else value for name, value in options.items()
    }
    return Request(
        output_dir=str(Path(output_dir).absolute()),
        raw_dir=str(Path(raw_dir).absolute()),
        settings=settings,
        custom=extras.resolve(),
        steps=tuple(extras.steps),
        pair_layers=pair_layers,
        overrides=rows,
        call=call,
        **chosen,
    )


def _refuse_unused(
    raw_dir: Path, pair_layers: Sequence[PairLayer], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Raise if parameters are given for a pair that is not there: most likely a typing error."""
    if not (pair_layers or rows):
        return
    pairs = diagnose_raw_layout(raw_dir).tasks
    unused = [
        f"{own.source}: [[overrides]] of {'/'.join(filter(None, (own.sample, own.dye)))}"
        for own in pair_layers
        if not any(own.concerns(*pair) for pair in pairs)
    ]
    unused += [f"overrides for {dict(row)}" for row in unused_rows(rows, pairs)]
    if unused:
        msg = (
            f"{'; '.join(unused)} concern none of the {len(pairs)} complete pairs in {raw_dir}; "
            "`exo2micro survey` lists them"
        )
        raise ParameterError(msg)
