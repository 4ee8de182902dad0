"""The objects that were found in a difference, for the page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS: Final = (
    *("id", "x", "y", "x_post", "y_post", "flux", "flux_err", "snr"),
    *("semi_major_px", "semi_minor_px", "theta_deg", "flags"),
)

_SIGNIFICANT_DIGITS: Final = 7


def read_objects(path: Path) -> "Table":
    """Return a table of detections as `exo2micro detect` writes it."""
    from astropy.table import Table

    return Table.read(path, format="ascii.ecsv")


def objects_document(path: Path) -> bytes:
    """Return the objects as JSON: one list per column, and what the flags mean."""
    table = read_objects(path)
    columns = {name: _values(table[name]) for name in COLUMNS if name in table.colnames}
    bits = {str(bit): text for bit, text in dict(table.meta.get("flag_bits", {})).items()}
    return json.dumps({"columns": columns, "flag_bits": bits}, allow_nan=False).encode()


def _values(column: Any) -> list[Any]:  # noqa: ANN401 - an astropy column
    """Return a column as JSON values; null where it is not a number."""
    values = np.asarray(column)
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [
        float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if np.isfinite(value) else None
        for value in values.tolist()
    ]
