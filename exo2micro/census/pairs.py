"""Detection in the difference of a finished pair, or in any FITS file, with its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exo2micro.census.files import write_labels, write_table
from exo2micro.census.sample import SampleRegion
from exo2micro.detection import Detections, Difference, detect, open_difference
from exo2micro.detection.detect import THRESHOLD, WIDTH_PX
from exo2micro.detection.difference import refuse_failed
from exo2micro.errors import CheckpointError, FailedVerdictError
from exo2micro.execution.commands import command_about, values_set
from exo2micro.execution.plan import kept_record
from exo2micro.execution.runner import StageRunner
from exo2micro.pipeline import SampleDye
from exo2micro.raster.base import Raster
from exo2micro.raster.record import Record
from exo2micro.stages.frames import post_window
from exo2micro.verdict import Level

_DIFFERENCE, _ALIGNMENT = 4, 3
_DIFFERENCE_STEM = "04_difference_difference"


@dataclass(frozen=True)
class DetectionResult:
    """Objects and where they were written.

    Attributes
    ----------
    found : Detections
        The objects.
    table, labels : Path
        ECSV table and TIFF label image.
    """

    found: Detections
    table: Path
    labels: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the summary and the paths as JSON values."""
        names = {k: self.found.difference.provenance.get(k) for k in ("sample", "dye", "file")}
        return names | self.found.summary() | {"table": self.table, "labels": self.labels}


def detect_pair(
    run: SampleDye,
    *,
    threshold: float | None = None,
    width_px: float | None = None,
    accept_failed: bool = False,
) -> DetectionResult:
    """Find the objects in the difference of a finished pair and write table and label image.

    The files lie in the pair's folder: ``detections<suffix>.ecsv`` and
    ``detections_labels<suffix>.tiff``.

    Parameters
    ----------
    run : SampleDye
        A pair that has been run with the parameters that it has now.
    threshold, width_px : float, optional
        As for `exo2micro.detect`; by default as the configuration of the run says.
    accept_failed : bool, optional
        Search a difference whose verdict is FAIL; it must have been kept with ``keep_failed``.

    Raises
    ------
    CheckpointError
        If the pair has no valid difference.
    FailedVerdictError
        If the verdict is FAIL and that is not accepted.
    """
    runner = finished_runner(run)
    path = difference_path(run, runner, accept_failed=accept_failed)
    difference = open_difference(path, accept_failed=accept_failed)
    with run._lock.held():
        return _detect_and_write(
            difference,
            _pair_targets(path),
            **detection_options(run, threshold, width_px),
            background=runner.open(valid_record(runner, _ALIGNMENT)),
            region=sample_region(runner),
            threads=run.threads,
        )


def detection_options(
    run: SampleDye, threshold: float | None, width_px: float | None
) -> dict[str, Any]:
    """Return what steers the detection: as given, else as the configuration of the run says."""
    option = run._parameters.snapshot().option
    return {
        "threshold": option("threshold") if threshold is None else threshold,
        "width_px": option("width_px") if width_px is None else width_px,
    }


def detect_file(
    path: Path,
    *,
    threshold: float = THRESHOLD,
    width_px: float = WIDTH_PX,
    accept_failed: bool = False,
    threads: int = 1,
) -> DetectionResult:
    """Find the objects in a FITS file and write table and label image beside it.

    They are called ``<name>_detections.ecsv`` and ``<name>_detections_labels.tiff``. A file alone
    does not tell where the sample ends and where its minerals are bright: everything with data is
    searched, and ``bright_overlap`` is unknown. `detect_pair` knows both.
    """
    difference = open_difference(path, accept_failed=accept_failed)
    return _detect_and_write(
        difference, _file_targets(path), threshold=threshold, width_px=width_px, threads=threads
    )


def finished_pairs(
    output_dir: Path, samples: tuple[str, ...] = (), dyes: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    """Return ``(sample, dye)`` of all pairs that have results, or of those of a selection.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    found = sorted(
        (folder.parent.parent.name, folder.parent.name) for folder in output_dir.glob("*/*/records")
    )
    chosen = [
        (sample, dye)
        for sample, dye in found
        if (not samples or sample in samples) and (not dyes or dye in dyes)
    ]
    if not chosen:
        known = ", ".join(f"{sample}/{dye}" for sample, dye in found) or "none"
        msg = f"no finished pair in {output_dir} fits; pairs there: {known}; run `exo2micro run`"
        raise CheckpointError(msg)
    return chosen


def finished_runner(run: SampleDye) -> StageRunner:
    """Return a runner that knows the valid records of all stages up to the difference.

    Raises
    ------
    CheckpointError
        If a stage is not valid.
    """
    runner = run._new_runner()
    for row in runner.plan_all(runner.numbers(_DIFFERENCE), {}):
        if row.action == "run":
            msg = (
                f"{run.sample}/{run.dye} has no valid difference for these parameters: stage "
                f"{row.number} ({row.title}) {row.reason}; run it first: "
                f"{command_of(run, 'run')}"
            )
            raise CheckpointError(msg)
    return runner


def command_of(run: SampleDye, verb: str, *options: str) -> str:
    """Return the command that does something with a pair and its settings."""
    request = run._new_request()
    paths = run._store.paths
    values, steps = values_set(request), request.steps
    return command_about(verb, paths, run.raw_dir, values, steps, options)


def sample_region(runner: StageRunner) -> SampleRegion:
    """Return where the sample of a finished pair lies."""
    post = runner.open(runner.records[(1, "post")])
    return SampleRegion(post, post_window(valid_record(runner, _ALIGNMENT).facts))


def valid_record(runner: StageRunner, stage: int) -> Record:
    """Return the main record of a stage that `finished_runner` found valid."""
    record = runner.main_record(stage)
    if record is None:
        msg = f"stage {stage} of {runner.store.paths.folder} has no record; run it again"
        raise CheckpointError(msg)
    return record


def difference_path(run: SampleDye, runner: StageRunner, *, accept_failed: bool) -> Path:
    """Return the difference in FITS; one whose verdict is FAIL only if that is accepted."""
    record, paths = valid_record(runner, _DIFFERENCE), runner.store.paths
    if record.verdict.level is not Level.FAIL:
        return paths.image("fits", record.base, record.suffix)
    name = f"{record.sample}/{record.dye}"
    refuse_failed("FAIL", record.verdict.reason, name, accept_failed=accept_failed)
    kept = kept_record(record, runner.store)
    if kept is None:
        msg = (
            f"{name} failed and its difference was not written; write it all the same first: "
            f"{command_of(run, 'run', '--keep-failed')}"
        )
        raise FailedVerdictError(msg)
    return paths.image("fits", kept.base, kept.suffix)


def _pair_targets(path: Path) -> tuple[Path, Path]:
    """Return where table and label image of a pair's difference belong."""
    rest = path.stem.removeprefix(_DIFFERENCE_STEM)
    folder = path.parent.parent
    return folder / f"detections{rest}.ecsv", folder / f"detections_labels{rest}.tiff"


def _file_targets(path: Path) -> tuple[Path, Path]:
    """Return where table and label image of any file belong: beside it."""
    stem = path.stem.removesuffix(".fits")
    names = f"{stem}_detections.ecsv", f"{stem}_detections_labels.tiff"
    return path.with_name(names[0]), path.with_name(names[1])


def _detect_and_write(
    difference: Difference,
    targets: tuple[Path, Path],
    *,
    threshold: float,
    width_px: float,
    background: Raster | None = None,
    region: Raster | None = None,
    threads: int = 1,
) -> DetectionResult:
    found = detect(
        difference,
        threshold=threshold,
        width_px=width_px,
        background=background,
        region=region,
        threads=threads,
        scratch=targets[1].parent,
    )
    write_table(found.table(), targets[0])
    if found.labels is not None:
        write_labels(found.labels, targets[1])
    return DetectionResult(found, *targets)
