"""Giving disk back: images that can be made again, checkpoints that no plan would take."""

from collections.abc import Iterable
from pathlib import Path

from exo2micro.custom.step import FIRST_DIFFERENCE_STAGE
from exo2micro.execution.runner import StageRunner
from exo2micro.raster.record import Record
from exo2micro.verdict import Level


def intermediates(runner: StageRunner) -> list[Record]:
    """Return the checkpoints before the difference whose images may be removed.

    There are none unless the difference is valid and was not withheld: what failed must be looked
    at.
    """
    difference = runner.main_record(FIRST_DIFFERENCE_STAGE)
    if difference is None or not difference.files or difference.verdict.level is Level.FAIL:
        return []
    records = [*runner.records.values(), *runner.step_records.values()]
    return [r for r in records if r.stage < FIRST_DIFFERENCE_STAGE and not r.removed]


def remove_images(runner: StageRunner, records: Iterable[Record]) -> list[Path]:
    """Remove the images of checkpoints; the records stay valid. Needs the pair's lock."""
    return [path for record in records for path in runner.store.remove_images(record)]
