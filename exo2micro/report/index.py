"""The index of all pairs of an output folder, and their contact sheets."""

import base64
import csv
import datetime
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from exo2micro.batch.journal import Journal, Pair
from exo2micro.batch.results import COLUMNS, row_of
from exo2micro.errors import CheckpointError
from exo2micro.execution.commands import command_about
from exo2micro.raster.paths import PairPaths
from exo2micro.report.page import write_page
from exo2micro.report.pair import NAME, report_path

SEVERITY: Final = ("ERROR", "FAIL", "CHECK", "UNKNOWN", "PASS")
"""From grave to harmless: the order of the table. UNKNOWN: there is no report that holds."""

THUMBNAIL: Final = "difference_image"
_WITHHELD_THUMBNAIL: Final = "registration"

Row = dict[str, Any]


def index_path(output_dir: Path) -> Path:
    """Return where the index of an output folder lies."""
    return output_dir / "index.html"


def write_index(output_dir: Path) -> Path:
    """Write the index: a table of all pairs, the worst first, their problems and contact sheets.

    Parameters
    ----------
    output_dir : Path
        Usually ``processed``.

    Returns
    -------
    Path
        The HTML file.
    """
    entries = sorted(_entries(output_dir), key=_severity)
    sheets: dict[str, list[Row]] = {}
    for entry in entries:
        for name in entry["thumbnails"]:
            sheets.setdefault(name, []).append(entry)
    path = index_path(output_dir)
    counts = {word: sum(e["verdict"] == word for e in entries) for word in SEVERITY}
    write_page(
        path,
        "index.html",
        {
            "title": "all pairs",
            "severity": SEVERITY,
            "rows": entries,
            "counts": {word: count for word, count in counts.items() if count},
            "problems": [entry for entry in entries if entry["verdict"] != "PASS"],
            "sheets": sorted(sheets),
            "csv": "data:text/csv;base64," + base64.b64encode(_csv_of(entries).encode()).decode(),
            "written": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        },
    )
    return path


def is_up_to_date(output_dir: Path, report: Path) -> bool:
    """Tell whether there is an index that was written after the record of a report."""
    try:
        return index_path(output_dir).stat().st_mtime_ns >= report.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _csv_of(entries: Sequence[Row]) -> str:
    """Return the table as CSV: a pair has a row for each of its settings."""
    names = list(COLUMNS)
    names.insert(names.index("dye") + 1, "settings")
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow({n: "" if entry[n] is None else entry[n] for n in names})
    return text.getvalue()


def _entries(output_dir: Path) -> Iterator[Row]:
    """Yield one row per report, and one per pair of the latest batch that has no newer one."""
    journal = _journal(output_dir)
    reported: set[Pair] = set()
    for file in sorted(output_dir.glob(f"*/*/records/{NAME}*.json")):
        pair = file.parts[-4], file.parts[-3]
        paths = PairPaths(output_dir, *pair)
        entry = _read(file)
        result = entry.get("result")
        if result is None or not _still_holds(file.parent, entry):
            error = entry.get("error", "the results are newer than the last one")
            result = _without_report(paths, error, entry.get("command", ""))
        suffix = file.stem.removeprefix(NAME)
        page = report_path(paths, suffix)
        yield _entry(result, suffix, page if page.exists() else None, output_dir, entry)
        if journal is None or _is_newer(file, journal):
            reported.add(pair)
    for pair, result in (journal.results if journal else {}).items():
        if pair not in reported and result.get("verdict") is None:
            yield _entry(result, "", None, output_dir, {})
    for folder in sorted(output_dir.glob("*/*/records")):
        pair = folder.parts[-3], folder.parts[-2]
        if not any(folder.glob(f"{NAME}*.json")) and not (journal and pair in journal.results):
            missing = _without_report(PairPaths(output_dir, *pair), "none was made yet", "")
            yield _entry(missing, "", None, output_dir, {})


def _entry(
    result: Mapping[str, Any],
    suffix: str,
    page: Path | None,
    output_dir: Path,
    entry: Mapping[str, Any],
) -> Row:
    """Return what the page shows of one result."""
    row = row_of(result)
    has_error = str(row["status"]).startswith("error")
    thumbnails = entry.get("thumbnails", {})
    link = quote(page.relative_to(output_dir).as_posix()) if page else ""
    return {
        **row,
        "verdict": row["verdict"] or ("ERROR" if has_error else "UNKNOWN"),
        "settings": suffix,
        "link": link,
        "thumbnails": thumbnails,
        "thumbnail": thumbnails.get(THUMBNAIL) or thumbnails.get(_WITHHELD_THUMBNAIL, ""),
    }


def _severity(entry: Row) -> tuple[int, float, str, str, str]:
    bound = entry["bound_px"]
    place = SEVERITY.index(entry["verdict"])
    names = entry["sample"], entry["dye"], entry["settings"]
    return place, -(float("inf") if bound is None else bound), *names


def _read(record: Path) -> dict[str, Any]:
    """Return the record of a report; a damaged one is none."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        return {"error": f"{record.name} cannot be read ({error})"}


def _without_report(paths: PairPaths, error: str, command: str) -> Row:
    """Return the row of a pair that has no report, and the command that makes one."""
    command = command or command_about("report", paths, Path("raw"), {})
    reason = f"no report: {error}; run `{command}`"
    names = {"sample": paths.sample, "dye": paths.dye}
    return names | {"status": reason, "verdict": None, "reason": reason}


def _still_holds(records: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether a report was made from the difference that there is now."""
    name, fingerprint = entry["difference"]
    try:
        now = json.loads((records / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(now.get("fingerprint") == fingerprint)


def _journal(output_dir: Path) -> Journal | None:
    try:
        return Journal.latest(output_dir)
    except CheckpointError:
        return None


def _is_newer(file: Path, journal: Journal) -> bool:
    """Tell whether a report was written since the latest batch started."""
    began = datetime.datetime.fromisoformat(str(journal.owner["time"])).timestamp()
    return file.stat().st_mtime >= began
