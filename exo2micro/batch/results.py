"""The results of a batch: a list of mappings, a table, a list of problems."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exo2micro.batch.task import Result
from exo2micro.errors import ParameterError
from exo2micro.raster.atomic import write_text_atomically
from exo2micro.tables import Table

_SHOWN = (
    "sample",
    "dye",
    "status",
    "verdict",
    "scale",
    "scale_low",
    "scale_high",
    "residual_px",
    "seconds",
)
COLUMNS = (
    "sample",
    "dye",
    "status",
    "verdict",
    "reason",
    "residual_px",
    "residual_p95_px",
    "bound_px",
    "coverage",
    "scale",
    "scale_low",
    "scale_high",
    "offset",
    "detections",
    "seconds",
    "peak_memory_bytes",
    "difference_fits",
    "difference_tiff",
    "report",
    "error_type",
    "attempts",
)
"""Columns of the table that programs read, one row per pair."""

_GOOD = ("complete",)


class BatchResults(list[Result]):
    """The results of a batch in task order; ``str()`` is a table and the list of problems."""

    def to_table(self) -> Table:
        """Return one row per pair, with all columns."""
        return Table([row_of(result) for result in self], footer=self.problems())

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV or ECSV (by the ending of the name) and return the path.

        Raises
        ------
        ParameterError
            For another ending.
        """
        path = checked_table_name(path)
        write_text_atomically(path, self.csv_text() if path.suffix == ".csv" else self._ecsv())
        return path

    def problems(self) -> str:
        """Return the pairs that are not simply complete, each with its cause; empty if none."""
        lines = []
        for r in self:
            if r["status"] not in _GOOD:
                lines.append(f"  {r['sample']} / {r['dye']}: {r['status']}")
                if r.get("log"):
                    lines.append(f"    log: {r['log']}")
        return "\n".join(["", "PROBLEMS", *lines]) if lines else ""

    def __str__(self) -> str:
        rows = [
            {name: row_of(result)[name] for name in _SHOWN} | {"status": short_status(result)}
            for result in self
        ]
        return str(Table(rows, footer=self.problems()))

    def csv_text(self) -> str:
        """Return the table as CSV."""
        import io

        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for result in self:
            writer.writerow({k: "" if v is None else v for k, v in row_of(result).items()})
        return text.getvalue()

    def _ecsv(self) -> str:
        import io

        import numpy as np
        from astropy.table import MaskedColumn
        from astropy.table import Table as AstropyTable

        table = AstropyTable()
        rows = [row_of(result) for result in self]
        for name in COLUMNS:
            values = [row[name] for row in rows]
            missing = [value is None for value in values]
            fill: Any = "" if all(v is None or isinstance(v, str) for v in values) else 0
            filled = [fill if value is None else value for value in values]
            table[name] = MaskedColumn(np.array(filled), mask=missing)
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        return text.getvalue()


def checked_table_name(path: str | Path) -> Path:
    """Return the path of a table.

    Raises
    ------
    ParameterError
        If its name does not end in ``.csv`` or ``.ecsv``.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".ecsv"):
        msg = f"a batch's table is written as .csv or .ecsv, got {path.name!r}"
        raise ParameterError(msg)
    return path


def short_status(result: Mapping[str, Any]) -> str:
    """Return a status without its text: that of an error would push a table apart."""
    return str(result["status"]).partition(":")[0]


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as one flat row."""
    certificate = result.get("certificate") or {}
    low, high = result.get("scale_interval") or (None, None)
    files = result.get("difference") or {}
    derived = {
        "residual_px": certificate.get("median_px"),
        "residual_p95_px": certificate.get("p95_px"),
        "bound_px": certificate.get("bound_px"),
        "coverage": certificate.get("coverage"),
        "scale": result.get("scale_estimate"),
        "scale_low": low,
        "scale_high": high,
        "offset": result.get("scale_offset"),
        "difference_fits": str(files["fits"]) if "fits" in files else None,
        "difference_tiff": str(files["tiff"]) if "tiff" in files else None,
        "report": str(result["report"]) if result.get("report") else None,
    }
    return {name: derived.get(name, result.get(name)) for name in COLUMNS}


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON holds it: paths as text, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
