"""Whether a raw file is there and may be read."""

from contextlib import nullcontext
from pathlib import Path

from exo2micro.errors import RawFileNotFoundError, RawReadError


def check_raw_path(path: Path) -> None:
    """Raise the error that fits a raw file which is missing, a folder, empty or locked away.

    Raises
    ------
    RawFileNotFoundError
        If nothing is there.
    RawReadError
        If it is a folder, has no bytes, or may not be read.
    """
    try:
        exists, is_folder = path.exists(), path.is_dir()
        with path.open("rb") if exists and not is_folder else nullcontext() as file:
            is_empty = file is not None and not file.read(1)
    except PermissionError as error:
        msg = f"{path} may not be read (permission denied); give yourself the right to read it"
        raise RawReadError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be opened: {error.strerror or error}; copy it again"
        raise RawReadError(msg) from error
    if not exists:
        msg = f"{path} does not exist; check the name and the folder"
        raise RawFileNotFoundError(msg)
    if is_folder:
        msg = f"{path} is a folder, not an image file; move or rename it"
        raise RawReadError(msg)
    if is_empty:
        msg = f"{path} is empty (0 bytes): copying it was interrupted; copy it again"
        raise RawReadError(msg)
