"""What a run would do, what it would need, and what is there: nothing here writes anything."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exo2micro.alignment.transform import Transform
from exo2micro.errors import CheckpointError
from exo2micro.execution.access import CheckpointAccess
from exo2micro.execution.extras import TakesStages, custom_bytes, under_held_code
from exo2micro.execution.pictures import gallery_of
from exo2micro.execution.plan import PlannedStage
from exo2micro.execution.preflight import PreflightReport, preflight_check, require
from exo2micro.execution.results import canvas_transform, status_rows
from exo2micro.execution.runner import StageRunner, forced_stages
from exo2micro.plotting.base import Diagnostic
from exo2micro.tables import Table

logger = logging.getLogger(__name__)


class LooksAhead(CheckpointAccess, TakesStages):
    """The part of `SampleDye` that tells its plan, its needs and its results."""

    output_dir: Path
    _pair: Any
    _diagnostics: list[Diagnostic]

    @abstractmethod
    def _pair_once(self) -> Any:  # noqa: ANN401
        """Return the raw pair, opened once."""

    @under_held_code
    def plan(
        self,
        from_stage: int | None = None,
        to_stage: int | None = None,
        *,
        force: bool = False,
        keep_failed: bool = False,
        deep: bool = False,
    ) -> list[PlannedStage]:
        """Return what `run` with these arguments would do; reads little and writes nothing."""
        self._pair = None
        runner = self._new_runner(keep_failed=keep_failed, deep=deep)
        numbers = runner.numbers(to_stage)
        return runner.plan_all(numbers, forced_stages(numbers, from_stage, force=force))

    @under_held_code
    def preflight(
        self,
        from_stage: int | None = None,
        to_stage: int | None = None,
        *,
        force: bool = False,
    ) -> PreflightReport | None:
        """Return what `run` with these arguments would need; None where there is nothing to run.

        Raises
        ------
        Exo2microError
            If the raw files cannot be found or read.
        """
        self._pair = None
        runner = self._new_runner()
        numbers = runner.numbers(to_stage)
        rows = runner.plan_all(numbers, forced_stages(numbers, from_stage, force=force))
        report = self._preflight(runner, rows)
        self._pair = None
        return report

    @under_held_code
    def status(self, *, deep: bool = False) -> Table:
        """Return a table: for each stage whether it is valid, and why not."""
        runner = self._new_runner(deep=deep)
        rows = runner.plan_all(runner.numbers(None), {})
        title = f"{self.sample} / {self.dye} in {self._store.paths.folder}"
        gallery = gallery_of(runner, self._diagnostics)
        return Table(status_rows(rows, runner, gallery), title)

    def transform(self) -> Transform:
        """Return the final mapping from post-canvas to pre-canvas points.

        Call it with an ``(n, 2)`` array of ``(x, y)``; ``.inverse`` goes back.

        Raises
        ------
        CheckpointError
            If the pair has not been aligned with these parameters.
        """
        runner = self._new_runner()
        runner.plan_all([1, 2, 3], {})
        record = runner.main_record(3)
        if record is None or record.transform is None:
            msg = (
                f"{self.sample}/{self.dye} has no valid alignment for these parameters in "
                f"{self._store.paths.folder}; call run() first"
            )
            raise CheckpointError(msg)
        return canvas_transform(record)

    def _look_before(
        self, runner: StageRunner, rows: Sequence[PlannedStage], *, force_run: bool
    ) -> None:
        """Find out what speaks against a run before anything is created on disk."""
        report = self._preflight(runner, rows)
        if report is None:
            return
        for warning in report.warnings:
            logger.warning("%s / %s: %s", self.sample, self.dye, warning)
        if not force_run:
            require(report)

    def _preflight(
        self, runner: StageRunner, rows: Sequence[PlannedStage]
    ) -> PreflightReport | None:
        to_run = [row for row in rows if row.action == "run"]
        if not to_run:
            return None
        if any(runner.stages[row.number].reads_raw for row in to_run if row.position is None):
            pair = self._pair_once()
            shapes = pair.post.shape, pair.pre.shape
            bits = 8 * max(pair.post.dtype.itemsize, pair.pre.dtype.itemsize)
        elif padded := runner.main_record(1):
            shapes = tuple(padded.facts["post_shape"]), tuple(padded.facts["pre_shape"])
            bits = 16 if padded.removed else 8 * self._store.open(padded).dtype.itemsize
        else:
            return None
        larger = max(shapes[0][0], shapes[1][0]), max(shapes[0][1], shapes[1][1])
        return preflight_check(
            *shapes,
            self._parameters.values(),
            self.output_dir,
            self.checkpoint_format,
            bits=bits,
            threads=self.threads,
            custom_bytes=custom_bytes(runner, rows, larger),
            stages={row.number for row in to_run},
        )
