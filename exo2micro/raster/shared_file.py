"""Reading bytes at given places of one file from several threads."""

import os
import threading
import weakref
from pathlib import Path

from exo2micro.errors import RawReadError


class SharedFile:
    """A file open for reading, safe to read from several threads at once.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, or raise RawReadError if the file is shorter."""
        if not self._finalizer.alive:
            msg = f"{self.path} was closed; open the image again"
            raise RawReadError(msg)
        try:
            data = self._read(offset, size)
        except OSError as error:
            msg = f"{self.path} cannot be read at byte {offset}: {error.strerror or error}"
            raise RawReadError(msg) from error
        if len(data) != size:
            msg = (
                f"{self.path} ends at byte {offset + len(data)}, but {offset + size} bytes are "
                "needed: the file was cut short while it was in use; copy it again"
            )
            raise RawReadError(msg)
        return data

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        self._finalizer()

    def _read(self, offset: int, size: int) -> bytes:
        """Read, repeating short reads until the end of the file."""
        parts = []
        while size > 0:
            if hasattr(os, "pread"):
                part = os.pread(self._descriptor, size, offset)
            else:
                with self._lock:
                    os.lseek(self._descriptor, offset, os.SEEK_SET)
                    part = os.read(self._descriptor, size)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
