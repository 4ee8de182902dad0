"""The record of a checkpoint: what it is, how it was made, and how to tell that it is still so."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exo2micro.errors import CheckpointError
from exo2micro.raster.atomic import sha256_of, write_text_atomically
from exo2micro.raster.paths import base_name
from exo2micro.verdict import Verdict

FORMAT = 1
"""Version of the record's layout."""


@dataclass(frozen=True)
class FileStamp:
    """A file as it was when it was written or read.

    Attributes
    ----------
    name : str
        File name (outputs) or path (raw files).
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change, in ns.
    sha256 : str
        Hash of the content.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> "FileStamp":
        """Return the stamp of a file; reads it once."""
        before = path.stat()
        return cls(name or path.name, before.st_size, before.st_mtime_ns, sha256_of(path))

    def problem(self, path: Path, *, deep: bool = False) -> str:
        """Return why the file at `path` is no longer this one; empty if it is.

        Size and time come first; the content is hashed where the time differs, or always if `deep`.
        """
        try:
            status = path.stat()
        except FileNotFoundError:
            return f"{path.name} missing"
        if status.st_size != self.size:
            return f"{path.name} has {status.st_size} bytes instead of {self.size}"
        same_time = status.st_mtime_ns == self.mtime_ns
        if (deep or not same_time) and sha256_of(path) != self.sha256:
            return f"content of {path.name} changed"
        return ""


@dataclass(frozen=True)
class Record:
    """All that is known of one checkpoint.

    Attributes
    ----------
    sample, dye : str
        The pair.
    stage : int
        Stage number.
    stage_name : str
        Name of the stage in file names.
    name, label, suffix : str
        Parts of the file name.
    revision : int
        Revision of the stage that made it.
    params : dict
        Value and source of each parameter of this and all earlier stages.
    inputs : dict
        What the result was made from: fingerprint of each upstream checkpoint, hash of raw files.
    code : dict
        Hash of each piece of custom code that took part.
    custom_stages : sequence of mapping
        Extra stages on the way to this result, with their source and all values.
    raw : dict
        Stamps of raw files by role.
    transform : dict or None
        Post-to-pre mapping in raw pixels.
    facts : dict
        Figures that later stages use (shapes, offsets, saturation levels, pixel size ...).
    metrics : dict
        Figures for people.
    verdict : Verdict
        Trust in this stage's result.
    messages : tuple of str
        Remarks in words.
    files : dict
        Stamps of the checkpoint's files by format; empty if the result was withheld.
    removed : bool
        Whether the files were removed on purpose, to save disk; the record stays valid, and the
        files are made again where they are needed.
    software : dict
        Versions.
    written : str
        Clock time, ISO 8601.
    seconds, peak_memory_bytes : float, int
        Cost of the stage; the peak is that of the process during the stage.
    """

    sample: str
    dye: str
    stage: int
    stage_name: str
    name: str
    label: str
    suffix: str
    revision: int
    params: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, str]
    code: Mapping[str, str] = field(default_factory=dict)
    custom_stages: Sequence[Mapping[str, Any]] = ()
    raw: Mapping[str, FileStamp] = field(default_factory=dict)
    transform: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    messages: tuple[str, ...] = ()
    files: Mapping[str, FileStamp] = field(default_factory=dict)
    removed: bool = False
    software: Mapping[str, str] = field(default_factory=dict)
    written: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def base(self) -> str:
        """File stem without suffix."""
        return base_name(self.stage, self.stage_name, self.name, self.label)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides about the pixels and what later stages read from it."""
        identity = {
            "stage": [self.stage, self.name, self.label, self.revision],
            "params": self.own_params(),
            "inputs": dict(self.inputs),
            "code": dict(self.code),
            "transform": self.transform,
            "facts": dict(self.facts),
        }
        text = json.dumps(identity, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def own_params(self) -> dict[str, Any]:
        """Return the values of the parameters of this very stage."""
        return {n: p["value"] for n, p in self.params.items() if p["stage"] == self.stage}

    def to_json(self) -> str:
        """Return the record as JSON text."""
        content = {"format": FORMAT, "fingerprint": self.fingerprint} | asdict(self)
        content["verdict"] = {
            "level": self.verdict.level.name,
            "reasons": list(self.verdict.reasons),
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Return the record that `to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If the text is not such a record.
        """
        content = json.loads(text)
        if content.pop("format") != FORMAT:
            msg = "the record has an unknown layout"
            raise ValueError(msg)
        content.pop("fingerprint")
        verdict = content.pop("verdict")
        return cls(
            **content
            | {
                "verdict": Verdict.from_words(verdict["level"], verdict["reasons"]),
                "messages": tuple(content["messages"]),
                "files": {k: FileStamp(**v) for k, v in content["files"].items()},
                "raw": {k: FileStamp(**v) for k, v in content["raw"].items()},
            }
        )

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        write_text_atomically(path, self.to_json())


def read_record(path: Path) -> Record | None:
    """Return the record in a file, None if there is no file.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    try:
        return Record.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path} is damaged ({type(error).__name__}: {error}); "
            "the checkpoint will be made anew by the next run"
        )
        raise CheckpointError(msg) from error
