"""The report of one pair."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from exo2micro.batch.results import plain
from exo2micro.errors import CheckpointError
from exo2micro.execution.commands import command_about, values_set
from exo2micro.execution.plan import is_kept
from exo2micro.execution.results import pair_view, shown_records, verdict_of_run
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.gallery import Gallery, Picture
from exo2micro.raster.atomic import explain_os_errors, write_text_atomically
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import FileStamp, Record
from exo2micro.report.census import census_files, table_facts
from exo2micro.report.codes import codes_of
from exo2micro.report.facts import key_facts
from exo2micro.report.flicker import flicker_places
from exo2micro.report.images import FIDELITIES, Fidelity, embed_file
from exo2micro.report.methods import methods_text
from exo2micro.report.objects import OBJECTS, objects_figure
from exo2micro.report.page import page_text
from exo2micro.report.provenance import provenance_of
from exo2micro.report.repeat import command_line, python_code

REVISION: Final = 4
"""Raised when the report of the same results looks different."""

MOST_BYTES: Final = 10_000_000
"""Size of a report at most: it can be sent by mail, and opens at once."""

NAME: Final = "report"

_ORDER: Final = (
    "registration",
    "residual_map",
    "fine_alignment",
    "ratio_histogram",
    "scale_map",
    "snr_histogram",
    "difference_image",
    "excess_heatmap",
)
"""Figures that answer the first questions come first; the others follow by name."""


def report_path(paths: PairPaths, suffix: str) -> Path:
    """Return where the report of a pair with these parameters lies."""
    return paths.folder / f"{paths.stem(NAME, suffix)}.html"


def write_pair_report(
    runner: StageRunner,
    gallery: Gallery,
    result: Mapping[str, Any],
    raw_dir: Path,
    writing: Callable[[], AbstractContextManager[None]],
) -> Path:
    """Write the report of a finished pair, unless the one that is there still holds.

    Parameters
    ----------
    runner : StageRunner
        Knows the valid records of the pair.
    gallery : Gallery
        Its pictures.
    result : mapping
        As `SampleDye.run` returns it.
    raw_dir : Path
        For the commands that repeat the run.
    writing : callable
        Returns the context in which it is written.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    CheckpointError
        If the pair has no result of stages 3 and 4.
    """
    records, paths = shown_records(runner), runner.store.paths
    if 3 not in records or 4 not in records:
        msg = f"{paths.sample}/{paths.dye} has no valid result to report; run it first"
        raise CheckpointError(msg)
    suffix = runner.request.final_suffix()
    path, record = report_path(paths, suffix), paths.record(NAME, suffix)
    census = census_files(paths, records[4])
    identity = _identity(records, gallery, census)
    if _is_valid(path, record, identity):
        return path
    with writing():
        _write(runner, gallery, result, raw_dir, census, identity)
    return path


def _write(
    runner: StageRunner,
    gallery: Gallery,
    result: Mapping[str, Any],
    raw_dir: Path,
    census: Mapping[str, Path],
    identity: str,
) -> None:
    """Write the page, and a record of what it shows."""
    paths, suffix = runner.store.paths, runner.request.final_suffix()
    path, difference = report_path(paths, suffix), shown_records(runner)[4]
    text, thumbnails = _small_enough(runner, gallery, result, raw_dir, census)
    write_text_atomically(path, text)
    entry = {
        "drawn_from": identity,
        "command": report_command(runner, raw_dir),
        "difference": [
            paths.record(difference.base, difference.suffix).name,
            difference.fingerprint,
        ],
        "file": asdict(FileStamp.of(path)),
        "result": plain({**result, "certificate": _short(result.get("certificate"))}),
        "thumbnails": thumbnails,
    }
    write_text_atomically(paths.record(NAME, suffix), json.dumps(entry) + "\n")


def _small_enough(
    runner: StageRunner,
    gallery: Gallery,
    result: Mapping[str, Any],
    raw_dir: Path,
    census: Mapping[str, Path],
) -> tuple[str, dict[str, str]]:
    """Return the page with the best pictures that keep it below its limit, and the thumbnails."""
    fixed = _words(runner, gallery, result, raw_dir, census)
    for fidelity in FIDELITIES:
        pictures, thumbnails = _pictures(runner, gallery, census, fidelity)
        text = page_text("pair.html", {**fixed, **pictures})
        if len(text.encode()) <= MOST_BYTES:
            break
    return text, thumbnails


def report_command(runner: StageRunner, raw_dir: Path) -> str:
    """Return the command that makes a report anew."""
    request, paths = runner.request, runner.store.paths
    return command_about("report", paths, raw_dir, values_set(request), request.steps)


def note_failure(paths: PairPaths, suffix: str, error: str, command: str) -> None:
    """Record that a report could not be written, and remove the one of older results."""
    report_path(paths, suffix).unlink(missing_ok=True)
    text = json.dumps({"error": error, "command": command}) + "\n"
    with explain_os_errors(paths.records, "write"):
        write_text_atomically(paths.record(NAME, suffix), text)


def _identity(records: Mapping[int, Record], gallery: Gallery, census: Mapping[str, Path]) -> str:
    """Return a hash of everything that the report shows."""
    results = [
        [n, r.fingerprint, r.verdict.level.name, *r.verdict.reasons]
        for n, r in sorted(records.items())
    ]
    files = [p.path for p in gallery.pictures() if p.path] + list(census.values())
    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    errors = [p.error for p in gallery.pictures()]
    return hashlib.sha256(json.dumps([REVISION, results, stamps, errors]).encode()).hexdigest()


def _is_valid(path: Path, record: Path, identity: str) -> bool:
    try:
        entry = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if entry.get("drawn_from") != identity:
        return False
    return not FileStamp(**entry["file"]).problem(path)


def _words(
    runner: StageRunner,
    gallery: Gallery,
    result: Mapping[str, Any],
    raw_dir: Path,
    census: Mapping[str, Path],
) -> dict[str, Any]:
    """Return what the template says, pictures apart."""
    records, paths = shown_records(runner), runner.store.paths
    kept = is_kept(records[4])
    request = replace(runner.request, keep_failed=kept or runner.request.keep_failed)
    tables = {name: table_facts(p) for name, p in census.items() if p.suffix == ".ecsv"}
    about = partial(
        command_about,
        paths=paths,
        raw_dir=raw_dir,
        values=values_set(request),
        steps=request.steps,
    )
    verdict = verdict_of_run(runner)
    return {
        "title": f"{paths.sample} / {paths.dye}",
        "sample": paths.sample,
        "dye": paths.dye,
        "suffix": runner.request.final_suffix(),
        "verdict": verdict.level.name,
        "reasons": verdict.reasons,
        "withheld": not records[4].files,
        "kept": kept,
        "facts": key_facts(result, records, tables),
        "messages": [m for m in result.get("messages") or [] if m not in verdict.reasons],
        "limit_sentence": tables.get("limit", {}).get("sentence", ""),
        "has_objects": "objects" in tables,
        "methods": methods_text(result, records, tables),
        "python": python_code(paths, raw_dir, request, runner.formats),
        "command": command_line(paths, raw_dir, request, runner.formats),
        "keeping": about("run", options=["--keep-failed"]),
        "restoring": about("run", options=["--from-stage", "1"]),
        "detecting": about("detect", options=["--accept-failed"] if kept else []),
        "reporting": report_command(runner, raw_dir),
        "files": [str(path) for _, path in sorted((result.get("difference") or {}).items())],
        "home": "../../index.html",
        "codes": codes_of(runner, result, gallery),
        **provenance_of(runner, result),
    }


def _pictures(
    runner: StageRunner, gallery: Gallery, census: Mapping[str, Path], fidelity: Fidelity
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the pictures of the template, and a thumbnail of each figure."""
    view = None if any(r.removed for r in runner.records.values()) else pair_view(runner)
    figures, thumbnails = _figures(gallery, fidelity)
    if view is not None and view.difference is not None and "objects" in census:
        figure, thumbnails[OBJECTS] = objects_figure(view, census["objects"], fidelity)
        place = [f["name"] for f in figures].index("difference_image") + 1
        figures.insert(place, figure)
    pictures = {
        "smaller": fidelity.says,
        "places": [] if view is None else flicker_places(view, fidelity),
        "figures": figures,
        "curve": embed_file(census["curve"], fidelity)[0] if "curve" in census else None,
    }
    return pictures, thumbnails


def _figures(gallery: Gallery, fidelity: Fidelity) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the diagnostics with pictures and captions, and their thumbnails."""
    figures, thumbnails = [], {}
    for picture in sorted(gallery.pictures(), key=_place_of):
        d, image = picture.diagnostic, None
        name = str(d.name)
        if picture.path is not None:
            image, thumbnails[name] = embed_file(picture.path, fidelity)
        figures.append(
            {
                "name": name,
                "title": name.replace("_", " "),
                "image": image,
                "file": picture.path.name if picture.path else "",
                "error": picture.error,
                "shows": d.shows,
                "good": d.good,
                "bad": d.bad,
                "action": d.action,
            }
        )
    return figures, thumbnails


def _place_of(picture: Picture) -> tuple[int, str]:
    name = str(picture.diagnostic.name)
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name


def _short(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a certificate without the list of its tiles."""
    if certificate is None:
        return None
    return {k: v for k, v in certificate.items() if not isinstance(v, list) or k == "reasons"}
