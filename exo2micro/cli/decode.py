"""What a file is and how it was made, from its record, its header or its name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exo2micro.cli.facts import (
    explain_census,
    fits_rows,
    full_name,
    record_sections,
    size_text,
    tiff_description,
    value_text,
    what_is,
)
from exo2micro.cli.names import FileName, pair_of, parse_stem, split_suffix
from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import RawFileNotFoundError, RawPairingError, RawReadError
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record, read_record

_TIFF = (".tif", ".tiff")
_FITS = (".fits", ".fit", ".fits.gz")


@dataclass(frozen=True)
class Explanation:
    """What is known of one file.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        ``checkpoint``, ``diagnostic``, ``record``, ``raw``, ``report`` or ``truth``.
    what : str
        What it is, in words.
    source : str
        Where this is known from.
    sections : mapping
        How it was made: title -> name -> value.
    remarks : tuple of str
        What the user should know.
    """

    path: Path
    kind: str
    what: str
    source: str
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the explanation as lines of text."""
        lines = [str(self.path), f"  {self.what}", f"  (known from the {self.source})"]
        for title, rows in self.sections.items():
            lines.append(f"{title}:")
            width = max(map(len, rows), default=0)
            lines += [f"  {name:<{width}}  {value_text(value)}" for name, value in rows.items()]
        return lines + [f"note: {remark}" for remark in self.remarks]


def explain_file(path: Path) -> Explanation:
    """Return what a file is and how it was made.

    Parameters
    ----------
    path : Path
        An output or raw file. If it does not exist, its name alone is read.

    Raises
    ------
    RawFileNotFoundError
        If it does not exist and its name says nothing.
    RawReadError
        If it is of no known kind.
    """
    if path.is_dir():
        msg = f"{path} is a folder; give a file in it, or use `exo2micro status SAMPLE DYE`"
        raise RawReadError(msg)
    pair = pair_of(path)
    kind = path.suffix.lower()
    if kind == ".json":
        return _explain_record(path, pair)
    if path.exists() and (found := explain_census(path)):
        return Explanation(path, *found)
    if kind == ".png":
        return _explain_diagnostic(path, pair)
    if kind == ".html" and path.exists():
        return Explanation(path, "report", "a report for the browser", "file name")
    name = parse_stem(path.stem)
    if name is None and pair and pair_folder(path) == "set_aside":
        name = parse_stem(path.stem.rpartition(".")[0])
    record = _record_of(path, pair)
    if record is not None:
        return _explain_checkpoint(path, record)
    if path.exists():
        return _explain_without_record(path, kind, name)
    if name is None:
        msg = f"{path} does not exist, and its name is not one that exo2micro gives to files"
        raise RawFileNotFoundError(msg)
    remark = "the file does not exist; this is what its name says"
    return Explanation(path, "checkpoint", name.text, "file name", _name_sections(name), (remark,))


def pair_folder(path: Path) -> str:
    """Return the name of the folder that a file lies in."""
    return path.absolute().parent.name


def _record_of(path: Path, pair: PairPaths | None) -> Record | None:
    if pair is None or pair_folder(path) not in ("tiff", "fits"):
        return None
    return read_record(pair.records / f"{path.stem}.json")


def _explain_checkpoint(path: Path, record: Record) -> Explanation:
    stamp = next((s for s in record.files.values() if s.name == path.name), None)
    if stamp is None:
        remark = "the record does not know this file: it was withheld or made by another program"
    else:
        problem = stamp.problem(path)
        remark = f"no longer as it was written: {problem}" if problem else ""
    what = what_is(record.stage, record.stage_name, full_name(record))
    remarks = tuple(filter(None, (remark, *record.messages)))
    return Explanation(path, "checkpoint", what, "record", record_sections(record), remarks)


def _explain_without_record(path: Path, kind: str, name: FileName | None) -> Explanation:
    remark = "no record beside it, so that it cannot be verified"
    if kind in _FITS:
        sections = {"Header": fits_rows(path)}
        base = name or _name_in(sections["Header"])
        if base is None:
            return Explanation(path, "raw", "a FITS file of another program", "header", sections)
        return Explanation(path, "checkpoint", base.text, "FITS header", sections, (remark,))
    if kind in _TIFF:
        description = tiff_description(path)
        if description is not None:
            what = what_is(
                description["stage"],
                STAGE_NAMES.get(description["stage"], ""),
                name.name if name else str(description.get("checkpoint", "")),
            )
            cards = description.pop("cards", {})
            sections = {"Description": description, "Values": cards}
            return Explanation(path, "checkpoint", what, "TIFF description", sections, (remark,))
        if name is not None and pair_of(path) is not None:
            sections = _name_sections(name)
            return Explanation(path, "checkpoint", name.text, "file name", sections, (remark,))
    return _explain_raw(path)


def _name_in(header: Mapping[str, Any]) -> FileName | None:
    """Return what a FITS header says in place of a file name that was changed."""
    stage = str(header.get("STAGE", "")).split(" ")[0]
    if not stage.isdecimal() or int(stage) not in STAGE_NAMES:
        return None
    return FileName(
        int(stage), STAGE_NAMES[int(stage)], "difference" if "SCALE" in header else "image"
    )


def _explain_raw(path: Path) -> Explanation:
    """Return what the raw reader sees, and what the name says."""
    from exo2micro.raw import open_raw, parse_raw_name

    image = open_raw(path)
    try:
        ny, nx = image.shape
        rows = {
            "size": f"{nx} x {ny} px",
            "pixels": str(image.dtype),
            "channels": ", ".join(image.channel_names),
            "saturates at": image.saturation_level,
            "pixel size": size_text(image.pixel_size_um),
            "page": str(image.page),
        }
    finally:
        image.close()
    sections: dict[str, dict[str, Any]] = {"Image": rows}
    sample = pair_folder(path)
    try:
        name = parse_raw_name(path.name, sample)
    except RawPairingError as error:
        remarks = (*image.notes, str(error))
        return Explanation(path, "raw", "an image", "file content", sections, remarks)
    sections["Name"] = {"sample": sample, "dye": name.dye or "none"}
    what = f"a {name.role}-stain image"
    return Explanation(path, "raw", what, "file content and name", sections, image.notes)


def _explain_diagnostic(path: Path, pair: PairPaths | None) -> Explanation:
    """Return the caption of a picture."""
    from exo2micro.custom.run_code import enrol_stored
    from exo2micro.execution.comparison import PICTURE
    from exo2micro.plotting import DIAGNOSTICS

    enrol_stored()
    stem = path.stem
    if stem.startswith(f"{PICTURE}_"):
        what = "the contact sheet of a comparison: the difference of each variant"
        return Explanation(path, "diagnostic", what, "file name")
    names = [n for n in DIAGNOSTICS if stem == n or stem.startswith((f"{n}_", f"{n}~"))]
    if not names:
        known = ", ".join(sorted(DIAGNOSTICS))
        msg = f"{path} is not a picture of this installation, which draws {known}"
        raise RawReadError(msg)
    name = max(names, key=len)
    rest = stem.removeprefix(name)
    params = {} if rest.startswith("~") else split_suffix(f"x{rest}")[1]
    sections: dict[str, dict[str, Any]] = {}
    if pair is not None:
        sections["Result"] = {"sample": pair.sample, "dye": pair.dye}
    sections["Parameters"] = params or {"all": "at their defaults"}
    if rest.startswith("~"):
        sections["Parameters"] = {"hashed": "they stand in the records of the same hash"}
    diagnostic = DIAGNOSTICS[name]
    caption = {
        "shows": diagnostic.shows,
        "good": diagnostic.good,
        "bad": diagnostic.bad,
        "what to do": diagnostic.action,
    }
    sections["Caption"] = {key: text for key, text in caption.items() if text}
    return Explanation(path, "diagnostic", f"the diagnostic {name}", "file name", sections)


def _explain_record(path: Path, pair: PairPaths | None) -> Explanation:
    """Return what a record describes."""
    if not path.exists():
        msg = f"{path} does not exist"
        raise RawFileNotFoundError(msg)
    if path.stem.endswith("_truth"):
        return Explanation(path, "truth", "the exact truth of a synthetic pair", "file name")
    if pair is None or pair_folder(path) != "records":
        msg = f"{path} is no record; records lie in processed/<sample>/<dye>/records"
        raise RawReadError(msg)
    if path.stem.startswith("diagnostics"):
        pictures = json.loads(path.read_text(encoding="utf-8")).get("pictures", {})
        rows = {n: entry.get("error") or "drawn" for n, entry in pictures.items()}
        what = "the record of the diagnostics: which were drawn from which results"
        return Explanation(path, "record", what, "file itself", {"Pictures": rows})
    record = read_record(path)
    if record is None:
        msg = f"{path} does not exist"
        raise RawFileNotFoundError(msg)
    what = f"the record of {what_is(record.stage, record.stage_name, full_name(record))}"
    sections = record_sections(record)
    sections["Files"] = {k: s.name for k, s in record.files.items()} or {"none": "withheld"}
    return Explanation(path, "record", what, "file itself", sections, record.messages)


def _name_sections(name: FileName) -> dict[str, dict[str, Any]]:
    rows: dict[str, Any] = {"stage": f"{name.stage} ({name.stage_name})", "image": name.name}
    params = name.params or {"all": "at their defaults"}
    if name.is_hashed:
        params = {"hashed": "the name was too long; the record of the same name tells them"}
    return {"Name": rows, "Parameters": params}
