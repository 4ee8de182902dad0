"""The family of raw readers and the choice among them."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from exo2micro.errors import RawReadError
from exo2micro.raw.access import check_raw_path
from exo2micro.raw.image import PageChoice, RawImage
from exo2micro.registry import AutoRegisterMeta


class RawReader(metaclass=AutoRegisterMeta):
    """Reads one family of file formats.

    A subclass registers itself on definition. Readers are asked in the order of falling
    `priority`, then by name, and the first that can read a file opens it; those of this package
    have negative priorities, so that a plugin's reader for the same suffix comes first.

    Attributes
    ----------
    name : str
        Unique name, the registry key.
    suffixes : tuple of str
        File name endings in lower case, with the dot.
    priority : int
        Rank among the readers that can read a file.
    """

    __registry_key__ = "name"
    __registry_name__ = "raw reader"
    __registry_policy__ = "error"

    name: ClassVar[str | None] = None
    suffixes: ClassVar[tuple[str, ...]] = ()
    priority: ClassVar[int] = 0

    def can_read(self, path: Path) -> bool:
        """Tell, from the name alone or a look at the file, whether this reader is for it."""
        return path.suffix.lower() in self.suffixes

    @abstractmethod
    def open(self, path: Path, page: PageChoice = None) -> RawImage:
        """Open one page of a file.

        Parameters
        ----------
        path : Path
            An existing, readable, non-empty file.
        page : int, str or None
            Index or name of the page; None where the choice is plain.

        Returns
        -------
        RawImage
            The image; no pixel has been read yet.

        Raises
        ------
        RawReadError
            If the file is damaged or its layout is not supported.
        RawPagesError
            If several pages compete and none was chosen.
        """


def raw_readers() -> list[RawReader]:
    """Return one instance of every reader, in the order in which they are asked."""
    classes = sorted(RawReader.__registry__.values(), key=lambda c: (-c.priority, c.name or ""))
    return [cls() for cls in classes]


def raw_suffixes() -> frozenset[str]:
    """Return the file name endings that some reader knows, in lower case."""
    return frozenset(s for cls in RawReader.__registry__.values() for s in cls.suffixes)


def open_raw(path: str | Path, page: PageChoice = None) -> RawImage:
    """Open a raw image file with the reader that fits.

    Parameters
    ----------
    path : str or Path
        The file.
    page : int, str or None
        Index or name of the page or channel to read, for files that hold several.

    Returns
    -------
    RawImage
        The image, read by window.

    Raises
    ------
    RawFileNotFoundError
        If the file does not exist.
    RawReadError
        If it is a folder, empty, unreadable, truncated, or of a format or layout that is not
        supported.
    RawPagesError
        If it holds several images and `page` does not choose one.
    """
    path = Path(path)
    check_raw_path(path)
    for reader in raw_readers():
        if reader.can_read(path):
            return reader.open(path, page)
    known = ", ".join(sorted(raw_suffixes()))
    msg = f"{path} is of no format that is known here ({known}); export it as TIFF"
    raise RawReadError(msg)
