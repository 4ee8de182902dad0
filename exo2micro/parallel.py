"""Batches: many pairs, one after the other or in joblib workers."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exo2micro.custom.step import FunctionStep, ResolvedStep
from exo2micro.errors import RawPairingError
from exo2micro.execution.extras import Extras, configured_steps
from exo2micro.execution.machine import available_cores
from exo2micro.execution.parameters import settings_from
from exo2micro.pipeline import SampleDye
from exo2micro.raw import discover_tasks
from exo2micro.tables import Table

logger = logging.getLogger(__name__)

_COLUMNS = (
    "sample",
    "dye",
    "status",
    "verdict",
    "scale_estimate",
    "scale_interval",
    "residual_px",
    "seconds",
)


class BatchResults(list[dict[str, Any]]):
    """The results of a batch in task order; ``str()`` is a table and the list of problems."""

    def to_table(self) -> Table:
        """Return one row per pair."""
        rows = [{name: _figure(result, name) for name in _COLUMNS} for result in self]
        return Table(rows, footer=self._problems())

    def __str__(self) -> str:
        return str(self.to_table())

    def _problems(self) -> str:
        lines = [
            f"  {r['sample']} / {r['dye']}: {r['status']}"
            for r in self
            if r["status"] != "complete"
        ]
        return "\n".join(["", "PROBLEMS", *lines]) if lines else ""


def run_batch(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    parallel: bool | None = None,
    n_workers: int | None = None,
    params: Mapping[str, Any] | None = None,
    output_dir: str | os.PathLike[str] = "processed",
    raw_dir: str | os.PathLike[str] = "raw",
    from_stage: int | None = None,
    to_stage: int | None = None,
    force: bool = False,
    checkpoint_format: str | None = None,
    force_run: bool = False,
    *,
    keep_failed: bool = False,
    stages: Sequence[FunctionStep | ResolvedStep | str] = (),
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> BatchResults:
    """Run many pairs.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        What to run; by default every complete pair in `raw_dir`.
    parallel : bool, optional
        Run pairs in joblib worker processes; by default what the configuration files say, else no.
    n_workers : int, optional
        Number of workers, by default what the configuration files say, else one per core; the
        threads of each are divided accordingly.
    params : mapping, optional
        Parameters for all pairs, above the configuration files; see `SampleDye`.
    output_dir, raw_dir, from_stage, to_stage, force, checkpoint_format, force_run, keep_failed
        As for `SampleDye` and `SampleDye.run`.
    stages : sequence of FunctionStep or str, optional
        Extra stages of all pairs, as for `SampleDye`. Their code, and that of the custom plots,
        estimators and readers of the store, travels with the work.
    progress : callable, optional
        Called with each result as it comes.

    Returns
    -------
    BatchResults
        One result mapping per pair, in task order. An error of one pair ends that pair only; its
        status is ``error: <text>``.

    Raises
    ------
    RawPairingError
        If there is nothing to run.
    ParameterError
        If a parameter is wrong; nothing is run then.
    """
    extras = Extras([*configured_steps(raw_dir, params), *stages])
    code = extras.resolve()
    tasks = discover_tasks(raw_dir, samples, dyes)
    if not tasks:
        wanted = f"samples {samples or 'all'}, dyes {dyes or 'all'}"
        msg = f"no complete pair for {wanted} in {raw_dir}; `exo2micro survey` lists what is there"
        raise RawPairingError(msg)
    settings = settings_from(raw_dir, params, "batch", "run_batch(params)")
    parallel = settings.option("parallel") if parallel is None else parallel
    cores = available_cores()
    most = n_workers or settings.option("n_workers") or cores
    workers = max(1, min(most, len(tasks))) if parallel else 1
    options: dict[str, Any] = {
        "output_dir": Path(output_dir),
        "raw_dir": Path(raw_dir),
        "checkpoint_format": checkpoint_format,
        "threads": settings.option("threads") or max(1, cores // workers),
        "params": settings,
        "stages": extras.steps,
        "custom": code,
    }
    SampleDye(*tasks[0], **options)
    call = {
        "from_stage": from_stage,
        "to_stage": to_stage,
        "force": force,
        "force_run": force_run,
        "keep_failed": keep_failed,
    }
    results = BatchResults()
    for result in _run_tasks(tasks, options, call, workers):
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _run_tasks(
    tasks: Sequence[tuple[str, str]],
    options: Mapping[str, Any],
    call: Mapping[str, Any],
    workers: int,
) -> Any:  # noqa: ANN401
    """Return an iterator over the results in task order."""
    if workers == 1:
        return (run_task(sample, dye, options, call) for sample, dye in tasks)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=workers, return_as="generator")(
        delayed(run_task)(sample, dye, options, call) for sample, dye in tasks
    )


def run_task(
    sample: str, dye: str, options: Mapping[str, Any], call: Mapping[str, Any]
) -> dict[str, Any]:
    """Run one pair of a batch; an error becomes a result."""
    try:
        return SampleDye(sample, dye, **options).run(**call)
    except Exception as error:
        logger.exception("%s / %s failed", sample, dye)
        return {
            "sample": sample,
            "dye": dye,
            "status": f"error: {error}",
            "verdict": None,
            "reason": str(error),
            "error_type": type(error).__name__,
            "scale_estimate": None,
            "scale_percentile_value": None,
            "manual_scale": options["params"].get("manual_scale"),
        }


def _figure(result: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    if name == "residual_px":
        return (result.get("certificate") or {}).get("median_px")
    return result.get(name)
