"""The journal of a batch: what was asked for and how each pair ended, as JSON lines on the disk."""

import contextlib
import datetime
import json
import logging
import os
import pickle
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from exo2micro.batch.events import append_line, read_lines
from exo2micro.batch.task import Result
from exo2micro.errors import CheckpointError, RawFileNotFoundError
from exo2micro.raster.atomic import explain_os_errors
from exo2micro.raster.lock import FolderLock

logger = logging.getLogger(__name__)

FOLDER = "_batches"
"""Folder of all journals, below the output folder; no sample's name starts with an underscore."""

_JOURNAL = "journal.jsonl"
_REQUEST = "request.pickle"
_NAMED_BATCHES = 5

Pair = tuple[str, str]


@dataclass
class Journal:
    """What is known of one batch.

    Attributes
    ----------
    folder : Path
        Folder of the batch: ``journal.jsonl``, ``request.pickle``, ``logs/``, ``tasks/``.
    pairs : list of (str, str)
        All its pairs in order.
    results : dict
        The latest result of each pair that has one.
    owner : dict
        Process, machine and start of the latest run of this batch.
    ended : str
        How the latest run ended; empty while it goes on, or where it was killed.
    running : set of (str, str)
        Pairs of the latest run that it has not settled yet.
    started : float
        When the latest run started, seconds since the epoch; what was told before is history.
    """

    folder: Path
    pairs: list[Pair] = field(default_factory=list)
    results: dict[Pair, Result] = field(default_factory=dict)
    owner: Mapping[str, Any] = field(default_factory=dict)
    ended: str = ""
    running: set[Pair] = field(default_factory=set)
    started: float = 0.0

    @classmethod
    def create(cls, output_dir: Path, pairs: Sequence[Pair], request: object) -> "Journal":
        """Make the journal of a new batch and keep its request, custom code included."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
        folder = output_dir.absolute() / FOLDER / f"{stamp}-{secrets.token_hex(3)}"
        journal = cls(folder, list(pairs))
        with explain_os_errors(folder, "write"):
            folder.mkdir(parents=True)
            (folder / _REQUEST).write_bytes(pickle.dumps(request))
        return journal

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """Return a journal from the disk; a line that a kill cut short is left out.

        Raises
        ------
        CheckpointError
            If the folder holds no journal.
        """
        journal = cls(folder)
        for entry in read_lines(folder / _JOURNAL):
            journal._take(entry)
        if not journal.pairs:
            msg = f"{folder} holds no journal of a batch; start a new one with `exo2micro batch`"
            raise CheckpointError(msg)
        return journal

    @classmethod
    def latest(cls, output_dir: Path) -> "Journal":
        """Return the journal of the batch that started last.

        Raises
        ------
        CheckpointError
            If there was no batch in this output folder.
        """
        return cls.find(output_dir, None)

    @classmethod
    def find(cls, output_dir: Path, name: str | None) -> "Journal":
        """Return the journal of a batch, by default of the one that started last.

        Raises
        ------
        CheckpointError
            If there was no such batch in this output folder.
        """
        names = []
        for journal in cls._latest_first(output_dir):
            if name in (None, journal.folder.name):
                return journal
            names.append(journal.folder.name)
        if not names:
            msg = f"no batch was run in {output_dir} yet; start one with `exo2micro batch`"
            raise CheckpointError(msg)
        latest = ", ".join(names[:_NAMED_BATCHES])
        msg = f"there is no batch {name} in {output_dir}; the latest ones are {latest}"
        raise CheckpointError(msg)

    @classmethod
    def _latest_first(cls, output_dir: Path) -> Iterator["Journal"]:
        """Yield all batches; one that was killed before its first line was whole never started."""
        files = (output_dir.absolute() / FOLDER).glob(f"*/{_JOURNAL}")
        for file in sorted(files, reverse=True):
            with contextlib.suppress(CheckpointError):
                yield cls.read(file.parent)

    def unfinished_others(self) -> list["Journal"]:
        """Return the latest other batches of this folder that have pairs without a result."""
        journals = self._latest_first(self.output_dir)
        others = (j for j in journals if j.folder != self.folder and j.unfinished)
        return list(islice(others, _NAMED_BATCHES))

    def why_nothing_is_left(self) -> str:
        """Return in words that a batch is finished, and what else could be gone on with."""
        text = f"{self.folder}: each pair has a result already"
        if self.failed:
            text += f"; {len(self.failed)} ended with an error: --retry-failed runs them again"
        others = ", ".join(
            f"{other.folder.name} ({len(other.unfinished)} pairs left)"
            for other in self.unfinished_others()
        )
        return text + (f"; not finished: {others}; go on with --batch NAME" if others else "")

    def request(self) -> Any:  # noqa: ANN401
        """Return what was asked of the batch, exactly as it was then.

        Raises
        ------
        CheckpointError
            If another version of the package wrote it.
        RawFileNotFoundError
            If its raw folder is not there any more.
        """
        path = self.folder / _REQUEST
        try:
            return pickle.loads(path.read_bytes()).in_folder(self.output_dir)
        except RawFileNotFoundError:
            raise
        except Exception as error:  # a pickle that was cut short, or of another version, raises any
            msg = f"{path} cannot be read ({error}); start a new batch, what is valid is kept"
            raise CheckpointError(msg) from error

    def start(self, pairs: Sequence[Pair]) -> None:
        """Note that a run of these pairs starts now."""
        self._append(
            {
                "event": "start",
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "time": _now(),
                "seconds": time.time(),
                "pairs": [list(pair) for pair in self.pairs],
                "running": [list(pair) for pair in pairs],
            }
        )

    def record(self, result: Result, attempt: int) -> None:
        """Note how one pair ended."""
        from exo2micro.batch.results import plain

        self._note({"event": "result", "attempt": attempt, "time": _now(), "result": plain(result)})

    def end(self, reason: str) -> None:
        """Note that the batch ended."""
        self._note({"event": "end", "time": _now(), "reason": reason})

    @property
    def output_dir(self) -> Path:
        """The output folder, where it lies now."""
        return self.folder.parent.parent

    @property
    def lock(self) -> FolderLock:
        """The lock that whoever runs this batch holds."""
        return FolderLock(self.folder)

    @property
    def unfinished(self) -> list[Pair]:
        """Pairs that have no result, or that a cancel left out."""
        failed = set(self.failed)
        return [
            p
            for p in self.pairs
            if p not in self.results
            or (self.results[p]["status"].startswith("skipped") and p not in failed)
        ]

    @property
    def failed(self) -> list[Pair]:
        """Pairs that ended with an error, or lacked a file and could not start."""
        return [p for p in self.pairs if _is_failed(self.results.get(p, {}))]

    def left(self, *, retry_failed: bool) -> list[Pair]:
        """Return the pairs to go on with: the unfinished ones, if asked also the failed ones."""
        wanted = {*self.unfinished, *(self.failed if retry_failed else ())}
        return [pair for pair in self.pairs if pair in wanted]

    @property
    def is_running(self) -> bool:
        """Whether its process goes on, on whatever machine."""
        return not self.ended and self.lock.is_held_elsewhere()

    def _note(self, entry: dict[str, Any]) -> None:
        """Append an entry; on a full disk the batch goes on without, and a resume runs the pair."""
        try:
            self._append(entry)
        except OSError as error:
            logger.warning("the journal lacks an entry: %s", error)
            self._take(json.loads(json.dumps(entry)))

    def _append(self, entry: dict[str, Any]) -> None:
        with explain_os_errors(self.folder / _JOURNAL, "write"):
            append_line(self.folder / _JOURNAL, entry)
        self._take(json.loads(json.dumps(entry)))

    def _take(self, entry: Mapping[str, Any]) -> None:
        """Follow one entry."""
        match entry.get("event"):
            case "start":
                self.pairs = [(sample, dye) for sample, dye in entry["pairs"]]
                self.owner = {key: entry[key] for key in ("pid", "host", "time")}
                self.ended = ""
                self.running = {(sample, dye) for sample, dye in entry.get("running", ())}
                self.started = float(entry.get("seconds", 0.0))
            case "result":
                result = dict(entry["result"])
                pair = result["sample"], result["dye"]
                self.results[pair] = result
                self.running.discard(pair)
            case "end":
                self.ended = entry["reason"]
                self.running = set()


def _is_failed(result: Result) -> bool:
    status = str(result.get("status"))
    return status.startswith("error") or (
        status.startswith("skipped") and result.get("error_type") is not None
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
