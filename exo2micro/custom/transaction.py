"""Several files of one folder changed together: all of them or none, whenever a process ends."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from exo2micro.raster.atomic import (
    explain_os_errors,
    make_folder,
    remove_leftovers,
    sync_folder,
    write_text_atomically,
)

JOURNAL: Final = ".journal.json"
STAGING: Final = ".staging"

Steps = list[dict[str, str | None]]
"""Path in the folder, and the staged file to be moved there; None removes the path."""


def change_files(folder: Path, changes: Mapping[str, str | None]) -> None:
    """Write and remove files together; the caller holds the folder's lock.

    The new files are written and flushed under other names first; then a journal is published
    that says which goes where: from that moment on the change counts, and `recover` completes it
    if this process ends before the last file has its name.

    Parameters
    ----------
    folder : Path
        The folder.
    changes : mapping
        Text by path relative to the folder; None removes a file. UTF-8, LF.

    Raises
    ------
    OutputError
        If it fails; then the files are as they were.
    """
    recover(folder)
    before = {path: _text_of(folder / path) for path in changes}
    try:
        steps = _stage(folder, "new", changes)
        _publish(folder, steps)
        _finish(folder, steps)
    except BaseException:
        if (folder / JOURNAL).exists():
            # The way back is a change of its own, so that it cannot stop half-way either.
            undo = _stage(folder, "old", before)
            _publish(folder, undo)
            _finish(folder, undo)
        else:
            shutil.rmtree(folder / STAGING, ignore_errors=True)
        raise


def recover(folder: Path) -> None:
    """Complete a change that was published, drop one that was not; the lock is held."""
    remove_leftovers(folder)
    journal = folder / JOURNAL
    if journal.exists():
        with explain_os_errors(journal, "read"):
            steps = json.loads(journal.read_text(encoding="utf-8"))
        _finish(folder, steps)
    elif (folder / STAGING).exists():
        shutil.rmtree(folder / STAGING, ignore_errors=True)


def _stage(folder: Path, prefix: str, changes: Mapping[str, str | None]) -> Steps:
    staging = folder / STAGING
    make_folder(staging)
    steps: Steps = []
    for number, (path, text) in enumerate(changes.items()):
        staged = None if text is None else f"{prefix}-{number}"
        if staged is not None and text is not None:
            _write(staging / staged, text)
        steps.append({"path": path, "staged": staged})
    with explain_os_errors(staging, "write"):
        sync_folder(staging)
    return steps


def _write(path: Path, text: str) -> None:
    with explain_os_errors(path, "write"), path.open("wb") as file:
        file.write(text.encode(errors="surrogateescape"))
        file.flush()
        os.fsync(file.fileno())


def _publish(folder: Path, steps: Steps) -> None:
    write_text_atomically(folder / JOURNAL, json.dumps(steps))


def _finish(folder: Path, steps: Iterable[Mapping[str, str | None]]) -> None:
    """Give the staged files their names; may be repeated from any point."""
    parents = {folder}
    for step in steps:
        target = folder / str(step["path"])
        with explain_os_errors(target, "write"):
            if step["staged"] is None:
                target.unlink(missing_ok=True)
            else:
                staged = folder / STAGING / step["staged"]
                if staged.exists():  # else it has its name already
                    target.parent.mkdir(parents=True, exist_ok=True)
                    staged.replace(target)
        parents |= {target.parent} if target.parent.exists() else set()
    with explain_os_errors(folder, "write"):
        for parent in parents:
            sync_folder(parent)
        (folder / JOURNAL).unlink()
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
