"""One writer at a time for each pair's folder."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from exo2micro.errors import OutputLockedError
from exo2micro.raster.atomic import explain_os_errors, make_folder

_LOCK = ".lock"
_OWNER = ".lock-owner.json"


class FolderLock:
    """A lock on a folder; the operating system releases it even if the owner is killed.

    Parameters
    ----------
    folder : Path
        Folder to lock; created on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / _LOCK, timeout=0)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; may be nested.

        Raises
        ------
        OutputLockedError
            If another process holds it.
        """
        make_folder(self._folder)
        with explain_os_errors(self._folder / _LOCK, "lock"):
            try:
                self._lock.acquire()
            except Timeout:
                msg = (
                    f"{self._folder} is in use by {_owner(self._folder)}: wait for it to end, "
                    "or choose another output_dir"
                )
                raise OutputLockedError(msg) from None
        try:
            if self._lock.lock_counter == 1:
                self._sign()
            yield
        finally:
            self._lock.release()

    def is_held_elsewhere(self) -> bool:
        """Tell whether somebody else holds the lock now."""
        if not (self._folder / _LOCK).exists():
            return False
        try:
            self._lock.acquire()
        except Timeout:
            return True
        except OSError:  # whoever may only read there asks without writing
            return self._is_held_as_a_reader_sees_it()
        self._lock.release()
        return False

    def _is_held_as_a_reader_sees_it(self) -> bool:
        descriptor = os.open(self._folder / _LOCK, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _sign(self) -> None:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with explain_os_errors(self._folder / _OWNER, "write"):
            (self._folder / _OWNER).write_text(json.dumps(owner), encoding="utf-8")


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
        minutes = max(0.0, time.time() - owner["since"]) / 60
    except (OSError, ValueError, KeyError):
        return "another process"
    return f"process {owner['pid']} on {owner['host']} (since {minutes:.0f} min)"
