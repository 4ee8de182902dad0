"""Detected objects as the plot functions take them: a table, or the file that holds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from exo2micro.detection.flags import NOT_COUNTED
from exo2micro.errors import ParameterError

ObjectTable: TypeAlias = Any
"""A table of `detect` (``found.table()``), or the path of its ECSV file."""


def object_centres(objects: ObjectTable, numbers: Sequence[int]) -> list[tuple[float, float]]:
    """Return the centres of objects on the canvas.

    Parameters
    ----------
    objects : Table or path
        Table of objects with columns ``id``, ``x`` and ``y``.
    numbers : sequence of int
        Values of ``id``.

    Raises
    ------
    ParameterError
        If the table has no object of a number.
    """
    table = _read(objects)
    places = {int(row["id"]): (float(row["x"]), float(row["y"])) for row in table}
    for number in numbers:
        if number not in places:
            msg = (
                f"the table has no object {number!r}; it holds {len(places)} objects, numbered in "
                "the column id"
            )
            raise ParameterError(msg)
    return [places[number] for number in numbers]


def marked_places(objects: ObjectTable) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the centres on the canvas, shape ``(n, 2)``, and which objects are counted."""
    table = _read(objects)
    centres = np.column_stack([np.asarray(table[name], float) for name in ("x", "y")])
    return centres, (np.asarray(table["flags"], int) & int(NOT_COUNTED)) == 0


def _read(objects: ObjectTable) -> Any:  # noqa: ANN401 - an astropy table
    if not isinstance(objects, str | Path):
        return objects
    from astropy.table import Table

    return Table.read(objects, format="ascii.ecsv")
