"""How a file was made, as rows for people: from its record, FITS header or TIFF description."""

import json
from pathlib import Path
from typing import Any

from exo2micro.cli.names import describe_image
from exo2micro.errors import RawReadError
from exo2micro.raster.record import Record

_HEADER_NOISE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "HISTORY", "COMMENT")


def record_sections(record: Record) -> dict[str, dict[str, Any]]:
    """Return how a checkpoint was made, as its record tells it."""
    verdict = {"verdict": record.verdict.level.name}
    if record.verdict.reasons:
        verdict["reason"] = record.verdict.reason
    sections: dict[str, dict[str, Any]] = {
        "Result": {"sample": record.sample, "dye": record.dye} | verdict | _scale_rows(record),
        "Parameters": _param_rows(record),
        "Extra stages": {
            f"{s['name']} {s['hash'][:8]}": f"after stage {s['after']} on {s['applies_to']}, "
            + ", ".join(f"{name} {value_text(v)}" for name, v in s["parameters"].items())
            for s in record.custom_stages
        },
        "Made from": {
            **{role: f"{s.name} ({s.sha256[:12]})" for role, s in record.raw.items()},
            **{name: str(digest)[:12] for name, digest in record.inputs.items()},
            **{f"custom code {name}": digest for name, digest in record.code.items()},
        },
        "Made by": {"stage revision": record.revision, **record.software},
        "Made when": {"written": record.written, "seconds": round(record.seconds, 2)},
    }
    if record.transform is not None:
        rows = record.transform["matrix"]
        sections["Post-to-pre mapping, raw pixels"] = {f"row {i}": r for i, r in enumerate(rows, 1)}
    return {title: rows for title, rows in sections.items() if rows}


def _param_rows(record: Record) -> dict[str, Any]:
    rows = {
        name: f"{value_text(entry['value'])} (from {entry['source']})"
        for name, entry in record.params.items()
        if entry["source"] != "default"
    }
    return rows or {"all": "at their defaults"}


def _scale_rows(record: Record) -> dict[str, Any]:
    rows = {}
    for scale in record.metrics.get("scales", ()):
        low, high = scale["interval"]
        rows[f"scale ({scale['name']})"] = f"{scale['scale']:.5g} (95 %: {low:.5g} to {high:.5g})"
    certificate = record.metrics.get("certificate") or {}
    for key in ("median_px", "p95_px", "bound_px"):
        if certificate.get(key) is not None:
            rows[f"alignment {key}"] = f"{certificate[key]:.3f}"
    return rows


def fits_rows(path: Path) -> dict[str, Any]:
    """Return the cards of a FITS file's primary header, without those of its structure.

    Raises
    ------
    RawReadError
        If the file is no FITS file.
    """
    from astropy.io import fits

    try:
        header = fits.getheader(path)
    except OSError as error:
        msg = f"{path} cannot be read as FITS: {error}"
        raise RawReadError(msg) from error
    return {
        card.keyword: f"{card.value} ({card.comment})" if card.comment else card.value
        for card in header.cards
        if card.keyword and not card.keyword.startswith(_HEADER_NOISE)
    }


def tiff_description(path: Path) -> dict[str, Any] | None:
    """Return the description that exo2micro writes into its TIFF files, None if it is another."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            content = json.loads(file.pages.first.description)
    except (ValueError, OSError, tifffile.TiffFileError):
        return None
    return content if isinstance(content, dict) and "exo2micro" in content else None


def what_is(stage: int, stage_name: str, name: str) -> str:
    """Return what an image is and which stage made it, in words."""
    return f"{describe_image(stage, name)}; stage {stage} ({stage_name})"


def full_name(record: Record) -> str:
    """Return the name of a checkpoint's image with its label."""
    return f"{record.name}_{record.label}" if record.label else record.name


def size_text(size: tuple[float, float] | None) -> str:
    """Return a pixel size in um as text."""
    return "unknown" if size is None else f"{size[0]:.4g} x {size[1]:.4g} um"


def value_text(value: object) -> str:
    """Return a value for people; None is ``off``."""
    if value is None:
        return "off"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    return str(value)


def explain_census(path: Path) -> tuple[str, str, str, dict[str, dict[str, Any]]] | None:
    """Return kind, what it is, source and sections of a table, label image or figure of a census.

    None if the file is none of these.

    Raises
    ------
    RawReadError
        If a table is damaged.
    """
    if path.suffix == ".png" and path.stem.startswith("detection_limit"):
        text = "part of the injected microbes that is found, against their flux"
        return "figure", text, "file name", {}
    if path.suffix == ".tiff" and "detections_labels" in path.stem:
        text = "label image: 0, or the id of the object in the table of detections"
        return "label image", text, "file name", {}
    if path.suffix != ".ecsv":
        return None
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
    except (ValueError, OSError) as error:
        msg = f"{path} cannot be read as a table ({error}); make it again"
        raise RawReadError(msg) from error
    is_limit = path.stem.startswith("detection_limit")
    what = "completeness against flux" if is_limit else f"table of {len(table)} objects"
    columns = {name: table[name].description or "" for name in table.colnames}
    return "table", what, "metadata", {"Made": dict(table.meta), "Columns": columns}
