"""Files that appear complete or not at all."""

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from exo2micro.errors import Exo2microError, OutputError

_HASH_BLOCK = 1 << 22
TEMPORARY_PREFIX = ".writing-"


def temporary_beside(path: Path) -> Path:
    """Return the name under which `path` is written before it is complete."""
    return path.with_name(
        f"{TEMPORARY_PREFIX}{socket.gethostname()[:16]}-{os.getpid()}-{path.name}"[:255]
    )


@contextlib.contextmanager
def explain_os_errors(path: Path, action: str) -> Iterator[None]:
    """Turn an OSError of the operating system into an `OutputError` with cause and next action."""
    try:
        yield
    except Exo2microError:
        raise
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full; free space or choose another output_dir",
            errno.EDQUOT: "your disk quota is used up; free space or choose another output_dir",
            errno.EFBIG: "the file would be larger than allowed here; choose another output_dir",
            errno.EROFS: "the file system is read-only; choose another output_dir",
            errno.EACCES: "no permission; change it or choose another output_dir",
            errno.EPERM: "no permission; change it or choose another output_dir",
            errno.ENAMETOOLONG: "the file system refuses so long a name; use a shorter sample name",
            errno.ENOTDIR: "a file stands where a folder is needed; move it away",
            errno.EEXIST: "a file stands where a folder is needed; move it away",
        }.get(error.errno or 0, "check the disk and try again")
        msg = f"cannot {action} {path}: {error.strerror or error}; {advice}"
        raise OutputError(error.errno, msg) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises
    ------
    OutputError
        If that is impossible, naming the folder, the cause and the next action.
    """
    with explain_os_errors(path, "create the folder"):
        path.mkdir(parents=True, exist_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Flush a complete temporary file to disk and give it its final name in one step."""
    with explain_os_errors(path, "write"):
        flush_to_disk(temporary)
        temporary.replace(path)
        sync_folder(path.parent)


def flush_to_disk(path: Path) -> None:
    """Wait until what was written to a file is on disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk where the platform can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call ``write(temporary)`` and publish the result as `path`; on failure nothing is left."""
    make_folder(path.parent)
    temporary = temporary_beside(path)
    try:
        with explain_os_errors(path, "write"):
            write(temporary)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file that appears complete or not at all."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left; the caller holds the folder's lock."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink(missing_ok=True)


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into `folder` under a name that is free there and return that name."""
    make_folder(folder)
    number = 1
    while (target := folder / f"{path.stem}.{number}{path.suffix}").exists():
        number += 1
    with explain_os_errors(target, "move a file to"):
        path.replace(target)
    return target


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
