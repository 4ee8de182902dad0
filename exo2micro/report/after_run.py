"""The reports that runs and batches make by themselves."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from exo2micro.execution.pictures import gallery_of
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.base import Diagnostic
from exo2micro.report.index import is_up_to_date, write_index
from exo2micro.report.pair import NAME, note_failure, report_command, write_pair_report

logger = logging.getLogger(__name__)


def report_run(
    runner: StageRunner,
    own: Sequence[Diagnostic],
    result: Mapping[str, Any],
    raw_dir: Path,
    writing: Callable[[], AbstractContextManager[None]],
) -> Path:
    """Write the report of a pair, and tell the index of all pairs of it; return its path.

    It is written inside of `writing`, unless the one that is there still holds. A failure is
    recorded before it is raised.
    """
    paths, suffix = runner.store.paths, runner.request.final_suffix()
    try:
        path = write_pair_report(runner, gallery_of(runner, own), result, raw_dir, writing)
    except Exception as error:
        with contextlib.suppress(OSError):
            command = report_command(runner, raw_dir)
            note_failure(paths, suffix, f"{type(error).__name__}: {error}", command)
            write_index(paths.output_dir)
        raise
    if not is_up_to_date(paths.output_dir, paths.record(NAME, suffix)):
        try:
            write_index(paths.output_dir)
        except OSError as error:
            logger.warning("the index of all pairs could not be written: %s", error)
    return path


def report_batch(output_dir: Path) -> Path:
    """Write the index of all pairs and return its path."""
    return write_index(output_dir)
