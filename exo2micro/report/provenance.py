"""How a result was made: plan, parameters, code, raw files, software, time and memory."""

from collections.abc import Iterator, Mapping
from typing import Any

from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES
from exo2micro.execution.results import shown_records
from exo2micro.execution.runner import StageRunner
from exo2micro.raster.record import Record
from exo2micro.report.words import bytes_text, value_text

_DEEPEST = 2


def provenance_of(runner: StageRunner, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables about the making of a result, as the template shows them."""
    records = shown_records(runner)
    last = records[max(records)]
    return {
        "stages": [_stage_row(row, records) for row in result["stages"]],
        "params": _param_rows(last),
        "raw": [
            {"role": role, "name": s.name, "bytes": bytes_text(s.size), "sha256": s.sha256}
            for role, s in last.raw.items()
        ],
        "software": dict(last.software),
        "measurements": [
            {"stage": f"{n} {record.stage_name}", "rows": list(_scalars(record.metrics))}
            for n, record in records.items()
        ],
        "peak": bytes_text(max(r.peak_memory_bytes for r in records.values())),
        "seconds": f"{sum(r.seconds for r in records.values()):.1f} s",
        "written": last.written,
    }


def _stage_row(row: Mapping[str, Any], records: Mapping[int, Record]) -> dict[str, Any]:
    record = records.get(row["number"])
    return {
        "number": row["number"],
        "title": row["title"],
        "action": row["action"],
        "reason": row["reason"],
        "verdict": record.verdict.level.name if record else "",
        "seconds": f"{record.seconds:.1f}" if record else "",
        "memory": bytes_text(record.peak_memory_bytes) if record else "",
        "written": record.written if record else "",
    }


def _param_rows(last: Record) -> list[dict[str, Any]]:
    """Return all parameters, those that something set first."""
    rows = [
        {
            "name": name,
            "value": value_text(entry["value"]),
            "default": value_text(PARAMETER_REGISTRY[name].default),
            "source": entry["source"],
            "stage": STAGE_NAMES.get(entry["stage"], entry["stage"]),
            "changed": entry["source"] != "default",
        }
        for name, entry in last.params.items()
        if name in PARAMETER_REGISTRY
    ]
    return sorted(rows, key=lambda row: not row["changed"])


def _scalars(
    metrics: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, str]]:
    """Yield the single values of nested figures with their names."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _scalars(value, f"{name}.", depth + 1)
        elif isinstance(value, bool | str):
            yield name, str(value)
        elif isinstance(value, int | float):
            yield name, f"{value:.6g}"
