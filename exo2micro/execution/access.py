"""Reading and writing a pair's checkpoints by stage and name, for subclasses and scripts."""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exo2micro._typing import Image
from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import CheckpointError
from exo2micro.execution.parameters import ParameterSet
from exo2micro.execution.plan import PlannedStage, Request
from exo2micro.execution.runner import StageRunner
from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.checkpoint import CheckpointStore, Product
from exo2micro.raster.lock import FolderLock
from exo2micro.raster.paths import EXTENSIONS, base_name
from exo2micro.raster.record import Record
from exo2micro.raster.stream import RasterSource
from exo2micro.stages.base import StageOutput
from exo2micro.stages.padding import canvas_facts
from exo2micro.verdict import Verdict

logger = logging.getLogger(__name__)


class CheckpointAccess(ABC):
    """The part of `SampleDye` that gives its checkpoints by stage and name."""

    sample: str
    dye: str
    checkpoint_format: str
    threads: int
    _store: CheckpointStore
    _lock: FolderLock
    _parameters: ParameterSet
    _active: StageRunner | None
    _told_of_formats = False

    @abstractmethod
    def _new_runner(self, *, keep_failed: bool = False, deep: bool = False) -> StageRunner:
        """Return a runner that knows nothing yet."""

    @abstractmethod
    def _new_request(self, *, keep_failed: bool = False, deep: bool = False) -> Request:
        """Return what is asked for now."""

    @contextlib.contextmanager
    def planned(self, *, writing: bool = False) -> Iterator[tuple[StageRunner, list[PlannedStage]]]:
        """Give the runner and its plan; with `writing`, the pair's folder is locked meanwhile."""
        with self._lock.held() if writing else contextlib.nullcontext():
            runner = self._new_runner()
            yield runner, runner.plan_all(list(runner.stages), {})

    @contextlib.contextmanager
    def _session(self) -> Iterator[StageRunner]:
        """Give the runner of the run under way, or a new one with the lock held."""
        if self._active is not None:
            yield self._active
            return
        with self._lock.held():
            self._store.prepare()
            runner = self._new_runner()
            runner.plan_all(list(runner.stages), {})
            self._active = runner
            try:
                yield runner
            finally:
                self._active = None

    def _load_image(self, stage: int, name: str) -> Image | None:
        """Return a whole checkpoint image as an array, None if it is absent."""
        record = self._record(stage, name)
        if record is None or not self._store.files(record.base, record.suffix):
            return None
        return self._store.open(record).read_all()

    def _save_image(
        self,
        image: Image,
        stage: int,
        name: str,
        extra_headers: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write an image as a checkpoint of a stage and return its path.

        Written during a run, it takes over the record that the run made for this checkpoint.
        """
        with self._session() as runner:
            stage_object = runner.stages[stage]
            record = runner.records.get((stage, name))
            if record is None:
                upstream = {n: r for n in range(1, stage) if (r := runner.main_record(n))}
                latest = upstream[max(upstream)] if upstream else None
                output = StageOutput(
                    (),
                    latest.transform if latest else None,
                    facts={} if latest else self._facts_of(image),
                    verdict=latest.verdict if latest else Verdict(),
                )
                record = runner.describe(stage_object, output, upstream, name, "")
            cards = {key.upper(): (value, "") for key, value in (extra_headers or {}).items()}
            product = Product(name, RasterSource(ArrayRaster(np.asarray(image))), cards=cards)
            formats = tuple(EXTENSIONS) if stage_object.both_formats else self._formats()
            written = self._store.write(record, product, formats, threads=self.threads)
            runner.records[(stage, name)] = written
            return self._store.files(written.base, written.suffix)[0]

    def _facts_of(self, image: Image) -> dict[str, Any]:
        """Return the facts of images that a subclass padded itself, by the parameter ``pad``."""
        pad = int(self._parameters.values()["pad"] or 0)
        canvas = (image.shape[0], image.shape[1])
        raw = ArrayRaster(image[pad : canvas[0] - pad, pad : canvas[1] - pad])
        return canvas_facts(canvas, pad, {"post": raw, "pre": raw})

    def _has_checkpoint(self, stage: int, name: str) -> bool:
        """Tell whether a checkpoint exists with these parameters and its files are unharmed."""
        record = self._record(stage, name)
        if record is None or not record.files:
            return False
        paths = self._store.paths
        return not any(
            stamp.problem(paths.image(kind, record.base, record.suffix))
            for kind, stamp in record.files.items()
        )

    def _tiff_path(self, stage: int, name: str) -> Path:
        return self._image_path("tiff", stage, name)

    def _fits_path(self, stage: int, name: str) -> Path:
        return self._image_path("fits", stage, name)

    def _check_path(self, name: str) -> Path:
        """Return the path of a diagnostic picture."""
        return self._store.paths.picture(name, self._new_request().final_suffix())

    def _check_upstream(self, stage: int) -> None:
        """Raise CheckpointError unless all stages before this one are valid."""
        runner = self._new_runner()
        for row in runner.plan_all([n for n in runner.stages if n < stage], {}):
            if row.action == "run":
                msg = (
                    f"stage {stage} of {self.sample}/{self.dye} needs stage {row.number} "
                    f"({row.title}), which is not valid: {row.reason}; run it first"
                )
                raise CheckpointError(msg)

    def _tell_of_mixed_formats(self, runner: StageRunner, rows: Sequence[PlannedStage]) -> None:
        """Warn once where valid intermediate images are in another format than asked for."""
        others = {
            path.suffix[1:]
            for row in rows
            if row.action == "cached" and not runner.stages[row.number].both_formats
            for path in row.files
        } - set(self._formats())
        if others and not self._told_of_formats:
            logger.warning(
                "%s/%s has valid checkpoints as %s; they are used as they are, new ones are "
                "written as %s",
                self.sample,
                self.dye,
                " and ".join(sorted(others)),
                self.checkpoint_format,
            )
            self._told_of_formats = True

    def _formats(self) -> tuple[str, ...]:
        both = self.checkpoint_format == "both"
        return tuple(EXTENSIONS) if both else (self.checkpoint_format,)

    def _suffix(self, stage: int) -> str:
        return self._new_request().suffix_at(stage)

    def _record(self, stage: int, name: str) -> Record | None:
        return self._store.record(base_name(stage, STAGE_NAMES[stage], name), self._suffix(stage))

    def _image_path(self, kind: str, stage: int, name: str) -> Path:
        base = base_name(stage, STAGE_NAMES[stage], name)
        return self._store.paths.image(kind, base, self._suffix(stage))
