"""Drawing the diagnostics of a pair into its folder, each only when something changed."""

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.figure import figure_pixels, mark_failed, png_bytes
from exo2micro.raster.atomic import write_atomically, write_text_atomically
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import FileStamp, Record

logger = logging.getLogger(__name__)

_RECORD = "diagnostics"


@dataclass(frozen=True)
class Picture:
    """A diagnostic of a pair.

    Attributes
    ----------
    diagnostic : Diagnostic
        What it shows, with its caption.
    path : Path or None
        The picture, if it is valid now.
    error : str
        Why the last drawing failed; empty if it did not.
    """

    diagnostic: Diagnostic
    path: Path | None
    error: str


class Gallery:
    """The diagnostics of one pair and one set of parameters.

    Parameters
    ----------
    paths : PairPaths
        Where they lie.
    suffix : str
        Suffix of their names.
    diagnostics : sequence of Diagnostic
        What to draw.
    records : mapping
        Main record of each stage.
    """

    def __init__(
        self,
        paths: PairPaths,
        suffix: str,
        diagnostics: Sequence[Diagnostic],
        records: Mapping[int, Record],
    ) -> None:
        self._paths = paths
        self._suffix = suffix
        self._diagnostics = [
            d for d in diagnostics if not (d.needs_difference and not _has_difference(records))
        ]
        self._state = {n: _state_of(record) for n, record in sorted(records.items())}
        self._known = self._read()

    def stale(self) -> list[Diagnostic]:
        """Return the diagnostics that are missing, changed or drawn from older results."""
        return [d for d in self._diagnostics if not self._is_valid(d)]

    def files(self) -> dict[str, Path]:
        """Return the pictures that are valid now, by name."""
        return {
            str(d.name): self._paths.picture(str(d.name), self._suffix)
            for d in self._diagnostics
            if self._is_valid(d)
        }

    def pictures(self) -> list["Picture"]:
        """Return every diagnostic with its picture, or with the reason why there is none."""
        files = self.files()
        return [
            Picture(d, files.get(str(d.name)), self._known.get(str(d.name), {}).get("error", ""))
            for d in self._diagnostics
        ]

    def draw(self, diagnostics: Sequence[Diagnostic], view: PairView) -> list[str]:
        """Draw and save pictures; return the errors in words.

        A picture that cannot be drawn never costs a scientific result. While one is compressed and
        flushed to disk, the next one is drawn.
        """
        errors = []
        with ThreadPoolExecutor(1) as writer:
            waiting: list[tuple[Diagnostic, Future[None]]] = []
            for diagnostic in diagnostics:
                try:
                    figure = diagnostic.draw(view)
                    if view.has_failed and diagnostic.needs_difference:
                        mark_failed(figure)
                    pixels = _pixels_of(figure)
                except Exception as error:  # noqa: BLE001 - user code may raise anything
                    errors.append(self._note_error(diagnostic, error))
                else:
                    waiting.append((diagnostic, writer.submit(self._save, diagnostic, pixels)))
            for diagnostic, written in waiting:
                failure = written.exception()
                if failure is not None:
                    errors.append(self._note_error(diagnostic, failure))
        text = json.dumps({"pictures": self._known}, indent=1) + "\n"
        write_text_atomically(self._paths.record(_RECORD, self._suffix), text)
        return errors

    def _save(self, diagnostic: Diagnostic, pixels: NDArray[np.uint8]) -> None:
        path = self._paths.picture(str(diagnostic.name), self._suffix)
        content = png_bytes(pixels)
        write_atomically(path, lambda temporary: _write(temporary, content))
        self._known[str(diagnostic.name)] = {
            "drawn_from": self._identity(diagnostic),
            "file": asdict(FileStamp.of(path)),
        }

    def _note_error(self, diagnostic: Diagnostic, error: BaseException) -> str:
        """Remember why a picture could not be drawn, and remove the one of older results."""
        name, text = str(diagnostic.name), f"{type(error).__name__}: {error}"
        self._known[name] = {"drawn_from": self._identity(diagnostic), "error": text}
        self._paths.picture(name, self._suffix).unlink(missing_ok=True)
        logger.warning("diagnostic %s could not be drawn: %s", name, text)
        return text

    def _is_valid(self, diagnostic: Diagnostic) -> bool:
        name = str(diagnostic.name)
        entry = self._known.get(name, {})
        if "file" not in entry or entry.get("drawn_from") != self._identity(diagnostic):
            return False
        path = self._paths.picture(name, self._suffix)
        return not FileStamp(**entry["file"]).problem(path)

    def _identity(self, diagnostic: Diagnostic) -> str:
        content = [diagnostic.name, diagnostic.revision, diagnostic.code_hash, self._state]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _read(self) -> dict[str, Any]:
        path = self._paths.record(_RECORD, self._suffix)
        try:
            pictures = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        except (FileNotFoundError, ValueError, KeyError):
            return {}
        return dict(pictures)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _pixels_of(figure: Figure) -> NDArray[np.uint8]:
    try:
        return figure_pixels(figure)
    finally:
        _release(figure)


def _release(figure: object) -> None:
    """Let go of a figure that a user made with pyplot, which would keep it for ever."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


def _has_difference(records: Mapping[int, Record]) -> bool:
    return 4 in records and bool(records[4].files)


def _state_of(record: Record) -> list[str]:
    return [record.fingerprint, record.verdict.level.name, *record.verdict.reasons]
