"""What the tables of objects and of the detection limit of a pair say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exo2micro.execution.plan import is_kept
from exo2micro.execution.results import objects_path
from exo2micro.raster.fits_planes import open_fits_planes
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record


def census_files(paths: PairPaths, difference: Record) -> dict[str, Path]:
    """Return what was made from a difference and exists: ``objects``, ``limit``, ``curve``.

    Tables made from an older difference of that name are none.
    """
    if not difference.files:
        return {}
    objects = objects_path(paths, difference)
    limit = paths.folder / f"{paths.stem('detection_limit', difference.suffix)}.ecsv"
    curve = paths.picture("detection_limit", difference.suffix)
    header = open_fits_planes(paths.image("fits", difference.base, difference.suffix)).header
    found = {}
    if objects.is_file() and belongs_to(objects, header):
        found["objects"] = objects
    if limit.is_file() and belongs_to(limit, header) and not is_kept(difference):
        found["limit"] = limit
        if curve.is_file():
            found["curve"] = curve
    return found


def belongs_to(table: Path, header: Mapping[str, Any]) -> bool:
    """Tell whether a table was made from a difference with this header."""
    facts = table_facts(table)
    keys = ("SCALE", "OFFSET", "SHAPOST", "SHAPRE")
    return all(facts.get(key.lower()) == header.get(key) for key in keys)


def table_facts(path: Path) -> dict[str, Any]:
    """Return the metadata of an ECSV table without reading its rows."""
    from astropy.table.meta import get_header_from_yaml

    lines = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            lines.append(line[2:].rstrip("\n"))
    return dict(get_header_from_yaml(lines[1:]).get("meta", {}))
