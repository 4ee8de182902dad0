"""What the tables of objects and of the detection limit of a pair say."""

from pathlib import Path
from typing import Any

from exo2micro.execution.results import objects_path
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record


def census_files(paths: PairPaths, difference: Record) -> dict[str, Path]:
    """Return what belongs to a difference and exists: ``objects``, ``limit``, ``curve``."""
    places = {
        "objects": objects_path(paths, difference),
        "limit": paths.folder / f"{paths.stem('detection_limit', difference.suffix)}.ecsv",
        "curve": paths.picture("detection_limit", difference.suffix),
    }
    return {name: path for name, path in places.items() if path.is_file()}


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
