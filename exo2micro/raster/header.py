"""What image files say about themselves: FITS cards and the TIFF description."""

import json
from collections.abc import Mapping
from typing import Any

from astropy.io import fits

from exo2micro._version import __version__
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.raster.record import Record

Card = tuple[Any, str]
"""Value and comment."""


def fits_header(record: Record, cards: Mapping[str, Card]) -> fits.Header:
    """Return the cards of a checkpoint's primary header.

    Parameters
    ----------
    record : Record
        The checkpoint's record, complete but for its files.
    cards : mapping
        Further cards of the stage, keyword -> (value, comment).
    """
    header = fits.Header()
    header["SAMPLE"] = (_ascii(record.sample), "sample")
    header["DYE"] = (_ascii(record.dye), "dye")
    header["STAGE"] = (record.stage, "pipeline stage")
    header["VERDICT"] = (record.verdict.level.name, "PASS, CHECK or FAIL")
    if record.verdict.reasons:
        header["REASON"] = _ascii(record.verdict.reason)
    if lender := record.facts.get("borrowed_from"):
        header["BORROWED"] = (_ascii(lender["dye"]), "dye whose alignment is used")
    header["BUNIT"] = ("count", "unit of the pixels")
    for keyword, (value, comment) in cards.items():
        header[keyword] = (_ascii(value) if isinstance(value, str) else value, _ascii(comment))
    for name, entry in record.params.items():
        row = PARAMETER_REGISTRY[name]
        if entry["value"] != row.default:
            value = "none" if entry["value"] is None else entry["value"]
            header[row.abbreviation.upper()] = (value, name)
    for number, stage in enumerate(record.custom_stages, 1):
        header[f"CUST{number}"] = f"{stage['name']}-{stage['hash'][:8]}"
        header[f"CSHA{number}"] = stage["sha256"]
    if any(stage["alters_noise"] for stage in record.custom_stages):
        header["SNRCAL"] = (False, "extra stages altered the noise")
    _add_geometry(header, record)
    for role, stamp in record.raw.items():
        header[f"RAW{role.upper()}"[:8]] = (_ascii(stamp.name.replace("\\", "/")), f"raw {role}")
        header[f"SHA{role.upper()}"[:8]] = stamp.sha256
    header["CREATOR"] = (f"exo2micro {__version__}", "program that wrote this file")
    for line in _history(record):
        header["HISTORY"] = _ascii(line)
    return header


def tiff_description(record: Record, cards: Mapping[str, Card]) -> str:
    """Return the ImageDescription of a checkpoint: JSON, ASCII."""
    content = {
        "exo2micro": __version__,
        "sample": record.sample,
        "dye": record.dye,
        "stage": record.stage,
        "checkpoint": record.base,
        "suffix": record.suffix,
        "verdict": record.verdict.level.name,
        "reason": record.verdict.reason,
        "borrowed_from": record.facts.get("borrowed_from", {}).get("dye"),
        "custom_stages": [f"{s['name']}-{s['hash'][:8]}" for s in record.custom_stages],
        "cards": {keyword: value for keyword, (value, _) in cards.items()},
    }
    return json.dumps(content)


def _add_geometry(header: fits.Header, record: Record) -> None:
    """Add the linear WCS in raw post-stain coordinates and the transform."""
    offset = record.facts.get("offset")
    if offset is not None:
        pixel_size = record.facts.get("pixel_size_um")
        header["WCSNAME"] = ("POST-STAIN", "coordinates of the raw post-stain image")
        for axis, name in enumerate("XY"):
            number = axis + 1
            start = offset[1 - axis]
            header[f"CTYPE{number}"] = (f"{name}POST", "linear")
            header[f"CUNIT{number}"] = "um" if pixel_size else "pixel"
            header[f"CRPIX{number}"] = (float(start + 1), "first post-stain pixel")
            header[f"CRVAL{number}"] = 0.0
            header[f"CDELT{number}"] = pixel_size[axis] if pixel_size else 1.0
    if record.transform is not None:
        for row, values in enumerate(record.transform["matrix"], 1):
            for column, value in enumerate(values, 1):
                header[f"TRF{row}_{column}"] = (value, "post-to-pre homography, raw pixels")


def _history(record: Record) -> list[str]:
    lines = [f"stage revision {record.revision}"]
    lines += [_parameter_line(name, p["value"]) for name, p in record.params.items()]
    lines += [f"input {name} {digest}" for name, digest in record.inputs.items()]
    lines += [f"custom code {name} {digest}" for name, digest in record.code.items()]
    lines += [_custom_line(stage) for stage in record.custom_stages]
    lines += [f"{name} {version}" for name, version in record.software.items()]
    return lines + list(record.messages)


def _custom_line(stage: Mapping[str, Any]) -> str:
    """Return an extra stage in words."""
    values = ", ".join(f"{name} = {value}" for name, value in stage["parameters"].items())
    place = f"after stage {stage['after']} on {stage['applies_to']}"
    return f"extra stage {stage['name']} {stage['hash']} {place}: {values}"


def _parameter_line(name: str, value: object) -> str:
    """Return a parameter in words; who set it stands in the record only, as it makes no pixels."""
    row = PARAMETER_REGISTRY.get(name)
    return f"{name} = {value} (default)" if row and row.default == value else f"{name} = {value}"


def _ascii(text: str) -> str:
    """Return text as FITS allows it: printable ASCII."""
    safe = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if 32 <= ord(c) < 127 else " " for c in safe)
