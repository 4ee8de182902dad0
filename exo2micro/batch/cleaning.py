"""Cleaning the output folder: what can be made again, and what no plan would take any more."""

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exo2micro.config import Layer, resolve_layers
from exo2micro.errors import CheckpointError, Exo2microError, SuffixError
from exo2micro.execution.cleaning import intermediates, remove_images
from exo2micro.execution.plan import FAILED_LABEL
from exo2micro.execution.preflight import format_bytes
from exo2micro.pipeline import SampleDye
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record, read_record
from exo2micro.suffix import CUSTOM_STAGES, params_from_suffix
from exo2micro.tables import Table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pair:
    """The records of one pair's folder, by suffix."""

    paths: PairPaths
    by_suffix: Mapping[str, Sequence[Record]]


def clean(
    output_dir: str | os.PathLike[str] = "processed",
    raw_dir: str | os.PathLike[str] = "raw",
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    *,
    stale: bool = False,
    images: bool = False,
    dry_run: bool = False,
) -> Table:
    """Remove files that are not needed, and return a table of them.

    Parameters
    ----------
    output_dir, raw_dir : path
        Results and raw files.
    samples, dyes : sequence of str, optional
        Only these.
    stale : bool
        Remove checkpoints that no run would take any more: their input, parameters or method
        have changed. Files that have no record, and results with extra stages, are left alone.
    images : bool
        Remove the images before the difference where the difference is valid. The records stay,
        so nothing is computed again until something needs the images.
    dry_run : bool
        Remove nothing.
    """
    rows: list[dict[str, Any]] = []
    for pair in _pairs(Path(output_dir), samples, dyes):
        for suffix in pair.by_suffix:
            try:
                params = params_from_suffix(suffix)
            except SuffixError as error:
                logger.warning("%s is left alone: %s", pair.paths.folder, error)
                continue
            if CUSTOM_STAGES not in params:
                rows += _clean_variant(
                    pair, suffix, params, Path(raw_dir), stale=stale, images=images, dry=dry_run
                )
    total = format_bytes(sum(row["bytes"] for row in rows))
    verb = "would be" if dry_run else "were"
    return Table(rows, footer=f"{len(rows)} files, {total}, {verb} removed")


def _clean_variant(
    pair: _Pair,
    suffix: str,
    params: Mapping[str, Any],
    raw_dir: Path,
    *,
    stale: bool,
    images: bool,
    dry: bool,
) -> list[dict[str, Any]]:
    """Clean what was made with one set of parameters."""
    run = SampleDye(
        pair.paths.sample,
        pair.paths.dye,
        pair.paths.folder.parent.parent,
        raw_dir,
        params=resolve_layers([Layer.of("run", params, f"suffix {suffix!r}")]),
        stages=(),
    )
    rows: list[dict[str, Any]] = []
    try:
        with run.planned(writing=not dry) as (runner, planned):
            if stale:
                valid = {record.base for row in planned for record in row.records}
                old = [r for r in pair.by_suffix[suffix] if _is_stale(r, valid)]
                rows += _told(pair.paths, old, "stale")
                if not dry:
                    for record in old:
                        runner.store.remove(record)
            if images:
                found = intermediates(runner)
                rows += _told(pair.paths, found, "can be made again")
                if not dry:
                    remove_images(runner, found)
    except Exo2microError as error:
        logger.warning("%s is left alone: %s", pair.paths.folder, error)
    return rows


def _is_stale(record: Record, valid: Collection[str]) -> bool:
    """Tell whether a checkpoint is none of the valid ones, nor a failed one kept on purpose."""
    return record.base not in valid and not record.label.endswith(FAILED_LABEL)


def _told(paths: PairPaths, records: Sequence[Record], why: str) -> list[dict[str, Any]]:
    """Return a row for each image file of the records."""
    return [
        {
            "sample": paths.sample,
            "dye": paths.dye,
            "file": path.name,
            "bytes": path.stat().st_blocks * 512,
            "why": why,
        }
        for record in records
        for path in (paths.image(kind, record.base, record.suffix) for kind in record.files)
        if path.exists()
    ]


def _pairs(
    output_dir: Path, samples: Sequence[str] | None, dyes: Sequence[str] | None
) -> Iterator[_Pair]:
    """Yield the pairs that have results."""
    for folder in sorted(output_dir.glob("*/*/records")):
        sample, dye = folder.parent.parent.name, folder.parent.name
        if (samples and sample not in samples) or (dyes and dye not in dyes):
            continue
        by_suffix: dict[str, list[Record]] = {}
        for path in sorted(folder.glob("[0-9]*.json")):  # others describe pictures and reports
            try:
                record = read_record(path)
            except CheckpointError as error:
                logger.warning("%s", error)
                continue
            if record is not None:
                by_suffix.setdefault(record.suffix, []).append(record)
        yield _Pair(PairPaths(output_dir, sample, dye), by_suffix)
