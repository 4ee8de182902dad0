"""The reports that runs and batches make by themselves."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from exo2micro.execution.pictures import gallery_of
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.base import Diagnostic
from exo2micro.report.index import index_path, write_index
from exo2micro.report.pair import note_failure, write_pair_report


def report_run(
    runner: StageRunner,
    own: Sequence[Diagnostic],
    result: Mapping[str, Any],
    raw_dir: Path,
    writing: Callable[[], AbstractContextManager[None]],
) -> Path:
    """Write the report of a pair, and an index to which it can point; return its path.

    It is written inside of `writing`, unless the one that is there still holds. A failure is
    recorded before it is raised.
    """
    try:
        path = write_pair_report(runner, gallery_of(runner, own), result, raw_dir, writing)
    except Exception as error:
        with contextlib.suppress(OSError):
            suffix = runner.request.final_suffix()
            note_failure(runner.store.paths, suffix, f"{type(error).__name__}: {error}")
        raise
    output_dir = runner.store.paths.output_dir
    if not index_path(output_dir).exists():
        write_index(output_dir)
    return path


def report_batch(output_dir: Path) -> Path:
    """Write the index of all pairs and return its path."""
    return write_index(output_dir)
