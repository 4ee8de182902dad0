"""Where the files of a pair lie and what they are called."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from exo2micro.errors import ParameterError

LONGEST_NAME_BYTES = 215
"""File systems allow 255; temporary names need the rest."""

EXTENSIONS = {"tiff": ".tiff", "fits": ".fits"}
_HASHED = re.compile(r"~[0-9a-f]{12}$")


@dataclass(frozen=True)
class PairPaths:
    """Folders and file names of one sample and dye.

    Parameters
    ----------
    output_dir : Path
        Usually ``processed``.
    sample, dye : str
        The pair; each is one path component.

    Raises
    ------
    ParameterError
        If a name cannot be a folder name.
    """

    output_dir: Path
    sample: str
    dye: str

    def __post_init__(self) -> None:
        for kind, name in (("sample", self.sample), ("dye", self.dye)):
            if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
                msg = f"{kind} must be a plain folder name without slashes, got {name!r}"
                raise ParameterError(msg)

    @property
    def folder(self) -> Path:
        """Folder of the pair."""
        return self.output_dir / self.sample / self.dye

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.folder / "records"

    @property
    def pictures(self) -> Path:
        """Folder of the diagnostics."""
        return self.folder / "pipeline_output"

    @property
    def aside(self) -> Path:
        """Folder for files that were set aside."""
        return self.folder / "set_aside"

    def stem(self, base: str, suffix: str) -> str:
        """Return the file stem; a suffix too long for a file name becomes one hash token."""
        stem = base + suffix
        if len(stem.encode()) <= LONGEST_NAME_BYTES:
            return stem
        return f"{base}~{hashlib.sha256(suffix.encode()).hexdigest()[:12]}"

    def image(self, kind: str, base: str, suffix: str) -> Path:
        """Return the path of an image file; `kind` is ``tiff`` or ``fits``."""
        return self.folder / kind / (self.stem(base, suffix) + EXTENSIONS[kind])

    def record(self, base: str, suffix: str) -> Path:
        """Return the path of a checkpoint's record."""
        return self.records / f"{self.stem(base, suffix)}.json"

    def picture(self, name: str, suffix: str) -> Path:
        """Return the path of a diagnostic."""
        return self.pictures / f"{self.stem(name, suffix)}.png"


def is_hashed(stem: str) -> bool:
    """Tell whether a file stem ends in a hash token that only its record can resolve."""
    return bool(_HASHED.search(stem))


def base_name(stage: int, stage_name: str, name: str, label: str = "") -> str:
    """Return a checkpoint's stem without suffix, e.g. ``02_icp_aligned_pre``."""
    return f"{stage:02d}_{stage_name}_{name}" + (f"_{label}" if label else "")
