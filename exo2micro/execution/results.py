"""From records to what people and programs read: results, status rows, views for diagnostics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exo2micro.alignment.transform import Transform
from exo2micro.custom.stage import FunctionStage
from exo2micro.execution.plan import PlannedStage, kept_record
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.base import PairView
from exo2micro.plotting.gallery import Gallery
from exo2micro.raster.base import Raster
from exo2micro.raster.fits_planes import open_fits_planes
from exo2micro.raster.paths import PairPaths, base_name
from exo2micro.raster.record import Record
from exo2micro.stages.borrowed import BORROWED
from exo2micro.stages.difference import estimate_from, scales_verdict
from exo2micro.stages.frames import CanvasValidity, post_window
from exo2micro.verdict import Verdict

_DIFFERENCE_STAGE = 4
_ALIGNMENT_STAGE = 3
_HISTOGRAM_KEYS = frozenset({"curve"})


def result_of(
    runner: StageRunner,
    rows: Sequence[PlannedStage],
    pictures: Mapping[str, Path],
) -> dict[str, Any]:
    """Return the result of a run as JSON-like values (paths are `Path`)."""
    records = shown_records(runner)
    verdict = verdict_of_run(runner)
    difference = records.get(_DIFFERENCE_STAGE)
    scales = [
        {k: v for k, v in scale.items() if k not in _HISTOGRAM_KEYS}
        for scale in (difference.metrics.get("scales", []) if difference else [])
    ]
    canonical = scales[0] if scales else {}
    alignment = records.get(_ALIGNMENT_STAGE)
    statistics = difference.metrics.get("statistics", {}) if difference else {}
    return {
        "sample": runner.store.paths.sample,
        "dye": runner.store.paths.dye,
        "status": verdict.status,
        "verdict": verdict.level.name,
        "reason": verdict.reason,
        "scale_estimate": canonical.get("scale"),
        "scale_interval": canonical.get("interval"),
        "scale_offset": canonical.get("offset"),
        "scale_percentile_value": next(
            (s["scale"] for s in scales if s["name"] == "percentile"), None
        ),
        "manual_scale": runner.request.params["manual_scale"],
        "scales": scales,
        "borrowed_from": _lender(alignment),
        "certificate": alignment.metrics.get("certificate") if alignment else None,
        "background_sigma": statistics.get("background_sigma"),
        "detections": detections_of(runner.store.paths, difference),
        "difference": _difference_files(runner, difference),
        "stages": [_stage_row(row, runner.record_of(row)) for row in rows],
        "custom_stages": [_custom_stage(runner, step) for step in runner.steps],
        "diagnostics": dict(pictures),
        "messages": [message for r in records.values() for message in r.messages],
        "peak_memory_bytes": max((r.peak_memory_bytes for r in records.values()), default=0),
    }


def verdict_of_run(runner: StageRunner) -> Verdict:
    """Return the trust in what a run has done so far."""
    records = shown_records(runner)
    last = [records[max(records)].verdict] if records else []
    difference = records.get(_DIFFERENCE_STAGE)
    scales = [scales_verdict(difference)] if difference else []
    return Verdict.worst([*last, *scales, *runner.doubts()])


def shown_records(runner: StageRunner) -> dict[int, Record]:
    """Return the main record of each stage, for people.

    Where a failed difference was written all the same, that is the one of the labelled files.
    """
    records = runner.main_records().items()
    return {n: kept_record(record, runner.store) or record for n, record in records}


def objects_path(paths: PairPaths, difference: Record) -> Path:
    """Return where the table of the objects in a difference belongs."""
    name = base_name(difference.stage, difference.stage_name, difference.name)
    rest = paths.stem(difference.base, difference.suffix).removeprefix(name)
    return paths.folder / f"detections{rest}.ecsv"


def detections_of(paths: PairPaths, difference: Record | None) -> int | None:
    """Return the number of objects found in a difference; None if nobody has searched it yet."""
    if difference is None or not difference.files:
        return None
    table = objects_path(paths, difference)
    image = paths.image("fits", difference.base, difference.suffix)
    try:
        if table.stat().st_mtime_ns < image.stat().st_mtime_ns:
            return None
        with table.open(encoding="utf-8") as lines:
            return sum(1 for line in lines if line.strip() and not line.startswith("#")) - 1
    except OSError:
        return None


def debug_results(runner: StageRunner) -> dict[str, Any]:
    """Return what scripts read from ``SampleDye._results``.

    ``warp_matrix`` is the homography between post canvas and pre canvas, shape ``(3, 3)``.
    """
    summary = result_of(runner, [], {})
    results = {key: summary[key] for key in ("scale_estimate", "scale_percentile_value")}
    results["debug_data"] = {key[0]: dict(r.metrics) for key, r in runner.records.items()}
    aligned = [r for n in (2, 3) if (r := runner.main_record(n)) and r.transform]
    if aligned:
        results["warp_matrix"] = canvas_transform(aligned[-1]).matrix.copy()
    return results


def canvas_transform(record: Record) -> Transform:
    """Return a record's transform between canvas coordinates."""
    row, col = record.facts["offset"]
    return Transform.from_dict(record.transform or {}).shifted(col, row)


def status_rows(
    planned: Sequence[PlannedStage], runner: StageRunner, gallery: Gallery
) -> list[dict[str, Any]]:
    """Return one row per stage and one for the diagnostics."""
    records = [runner.record_of(row) for row in planned]
    rows = [
        {
            "stage": row.number,
            "title": row.title,
            "state": "to run" if row.action == "run" else "valid",
            "reason": _with_lender(row, record),
            "verdict": record.verdict.level.name if record else None,
            "certificate": _certified(record),
            "files": ", ".join(path.name for path in row.files) or None,
            "verdict_reason": (record.verdict.reason or None) if record else None,
        }
        for row, record in zip(planned, records, strict=True)
    ]
    ready = all(row.action != "run" for row in planned)
    stale = [str(d.name) for d in gallery.stale()]
    rows.append(
        {
            "stage": None,
            "title": "diagnostics",
            "state": "valid" if ready and not stale else "to run",
            "reason": "cached" if not stale else "to draw: " + ", ".join(stale),
            "verdict": None,
            "certificate": None,
            "files": ", ".join(path.name for path in gallery.files().values()) or None,
            "verdict_reason": None,
        }
    )
    return rows


def pair_view(runner: StageRunner) -> PairView:
    """Return what diagnostics may look at; needs valid stages 1 to 3."""
    store, records, shown = runner.store, runner.records, shown_records(runner)
    alignment = records[(_ALIGNMENT_STAGE, "pre")]
    subtracted = {key: _as_subtracted(runner, key) for key in ((1, "post"), (3, "pre"))}
    difference = shown.get(_DIFFERENCE_STAGE)
    transform = Transform.from_dict(alignment.transform or {})
    scales = difference.metrics.get("scales", []) if difference else []
    planes = _planes_beside(runner, difference)
    return PairView(
        sample=store.paths.sample,
        dye=store.paths.dye,
        post=runner.open(subtracted[(1, "post")]),
        pre=runner.open(subtracted[(3, "pre")]),
        before=runner.open(records[(1, "pre")]),
        coarse=runner.open(records[(2, "pre")]),
        difference=runner.open(difference) if difference and difference.files else None,
        window=post_window(alignment.facts),
        valid=CanvasValidity(alignment.facts, transform),
        scales=tuple(estimate_from(scale) for scale in scales),
        records=shown,
        params=runner.request.params,
        snr=planes.get("SNR"),
        quality=planes.get("DQ"),
    )


def _planes_beside(runner: StageRunner, difference: Record | None) -> Mapping[str, Raster]:
    """Return the planes that were written beside a difference, by their names in its file."""
    if difference is None or "fits" not in difference.files:
        return {}
    path = runner.store.paths.image("fits", difference.base, difference.suffix)
    return open_fits_planes(path).extensions


def _as_subtracted(runner: StageRunner, key: tuple[int, str]) -> Record:
    """Return the record of what stage 4 reads as a checkpoint."""
    record = runner.source(runner.stages[_DIFFERENCE_STAGE], key)
    return record or runner.records[key]


def _custom_stage(runner: StageRunner, step: FunctionStage) -> dict[str, Any]:
    """Return what a result tells of an extra stage: what it was and where its images are."""
    told = {k: v for k, v in step.resolved.describe().items() if k != "code"}
    found = [runner.step_records.get((step.position, role)) for role in step.roles]
    records = [record for record in found if record is not None]
    files = [path for r in records for path in runner.store.files(r.base, r.suffix)]
    return told | {"files": files, "metrics": [dict(record.metrics) for record in records]}


def _lender(record: Record | None) -> str | None:
    """Return the dye from which a record's alignment was borrowed, None if from none."""
    loan = record.facts.get(BORROWED) if record else None
    return str(loan["dye"]) if loan else None


def _certified(record: Record | None) -> str | None:
    """Return a record's certificate in a few words, None if it has none."""
    certificate = record.metrics.get("certificate") if record else None
    if certificate is None:
        return None
    bound = certificate["bound_px"]
    return (
        f"bound {'unknown' if bound is None else f'{bound:.2f} px'}, {certificate['tiles']} tiles, "
        f"{100 * certificate['coverage']:.0f} %"
    )


def _with_lender(row: PlannedStage, record: Record | None) -> str:
    lender = _lender(record)
    return f"{row.reason}; alignment borrowed from {lender}" if lender else row.reason


def _stage_row(row: PlannedStage, record: Record | None) -> dict[str, Any]:
    return {
        "number": row.number,
        "title": row.title,
        "action": row.action,
        "reason": row.reason,
        "seconds": record.seconds if record and row.action == "run" else 0.0,
    }


def _difference_files(runner: StageRunner, record: Record | None) -> dict[str, Path] | None:
    if record is None or not record.files:
        return None
    return {
        kind: runner.store.paths.image(kind, record.base, record.suffix) for kind in record.files
    }
