"""Which files of a sample's folder form a pre/post pair for which dye."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from exo2micro.errors import RawFileNotFoundError, RawPairingError, RawReadError
from exo2micro.raw.naming import RawName, Role, name_ends_with_dye, parse_raw_name
from exo2micro.raw.readers import raw_suffixes

_ROLES: tuple[Role, Role] = ("post", "pre")


@dataclass(frozen=True)
class RawFile:
    """A raw image file and what its name says."""

    path: Path
    name: RawName


@dataclass(frozen=True)
class DyeFiles:
    """The raw files of one dye.

    Attributes
    ----------
    dye : str
        As the post-stain file spells it, or the pre-stain file where there is no other.
    post, pre : tuple of Path
        Files of each role, sorted by name. A usable pair has exactly one of each.
    """

    dye: str
    post: tuple[Path, ...]
    pre: tuple[Path, ...]

    @property
    def is_pair(self) -> bool:
        """Whether there is exactly one file of each role."""
        return len(self.post) == 1 and len(self.pre) == 1

    @property
    def problem(self) -> str:
        """What is wrong, with the file names and the next action; empty for a pair."""
        texts = []
        for role in _ROLES:
            paths: tuple[Path, ...] = getattr(self, role)
            if len(paths) > 1:
                names = ", ".join(p.name for p in paths)
                texts.append(
                    f"dye {self.dye} has {len(paths)} {role} files ({names}); "
                    "keep one and move the others out of the folder"
                )
            elif not paths:
                other = ", ".join(p.name for p in (*self.post, *self.pre))
                texts.append(
                    f"dye {self.dye} has no {role} file beside {other}; add the file whose name "
                    f"holds '{role}' and ends with '_{self.dye}'"
                )
        return "; ".join(texts)


@dataclass(frozen=True)
class RawFolder:
    """What a sample's folder holds.

    Attributes
    ----------
    path : Path
        The folder; its name is the sample's name.
    dyes : tuple of DyeFiles
        One entry per dye, sorted without regard to case, complete or not.
    unmarked : tuple of (Path, str)
        Image files whose name tells no role, and why.
    wrong_suffix : tuple of Path
        Files whose name carries a marker, in a format that no reader knows.
    """

    path: Path
    dyes: tuple[DyeFiles, ...]
    unmarked: tuple[tuple[Path, str], ...] = ()
    wrong_suffix: tuple[Path, ...] = ()

    @property
    def sample(self) -> str:
        """The sample's name."""
        return self.path.name

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files that have a role."""
        return tuple(p for entry in self.dyes for p in (*entry.post, *entry.pre))

    @property
    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """Complete pairs: dye -> (post, pre)."""
        return {e.dye: (e.post[0], e.pre[0]) for e in self.dyes if e.is_pair}


def classify_raw_files(folder: str | Path) -> RawFolder:
    """Sort the files of a sample's folder by dye and role.

    Hidden files (``._CD070_pre_DAPI.tif`` and the like) are ignored. Dyes that differ only in
    case are one dye. Where names begin with the marker (``pre_20240101_DAPI``), words of digits
    that differ between the pre and the post file are left out of the dye.

    Parameters
    ----------
    folder : str or Path
        ``raw/<sample>``.

    Returns
    -------
    RawFolder
        Dyes with their files, and the files that could not be placed.

    Raises
    ------
    RawFileNotFoundError
        If the folder does not exist.
    RawReadError
        If it may not be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        msg = f"{folder} is not a folder; a sample's scans belong in raw/<sample>/"
        raise RawFileNotFoundError(msg)
    files: list[RawFile] = []
    unmarked: list[tuple[Path, str]] = []
    wrong_suffix: list[Path] = []
    for path in list_visible(folder):
        try:
            name = parse_raw_name(path.name, folder.resolve().name)
        except RawPairingError as error:
            if has_raw_suffix(path):
                unmarked.append((path, str(error)))
            continue
        if has_raw_suffix(path):
            files.append(RawFile(path, name))
        elif path.is_file():
            wrong_suffix.append(path)
    dyes = _group_by_dye(_strip_differing_numbers(files))
    return RawFolder(folder, dyes, tuple(unmarked), tuple(wrong_suffix))


def find_pair(folder: str | Path, dye: str) -> DyeFiles:
    """Return the pre and post file of one dye.

    A dye matches without regard to case: first the dyes that `classify_raw_files` finds, then
    any name with a marker that ends with the dye as whole words (``pre_CD070_DAPI`` for
    ``DAPI``).

    Parameters
    ----------
    folder : str or Path
        ``raw/<sample>``.
    dye : str
        Name of the dye; underscores are part of it.

    Returns
    -------
    DyeFiles
        Exactly one file of each role.

    Raises
    ------
    RawFileNotFoundError
        If the folder does not exist or no file in it is of this dye.
    RawPairingError
        If a role is missing or held by several files; the message names them.
    """
    raw_folder = classify_raw_files(folder)
    exact = [e for e in raw_folder.dyes if e.dye.casefold() == dye.casefold()]
    if exact and exact[0].is_pair:
        return exact[0]
    ending = [
        DyeFiles(
            dye,
            tuple(p for e in raw_folder.dyes for p in e.post if name_ends_with_dye(p.name, dye)),
            tuple(p for e in raw_folder.dyes for p in e.pre if name_ends_with_dye(p.name, dye)),
        )
    ]
    if ending[0].is_pair:
        return ending[0]
    entry = (exact or ending)[0]
    if not entry.post and not entry.pre:
        known = ", ".join(e.dye for e in raw_folder.dyes) or "none"
        msg = (
            f"no raw file of dye {dye!r} in {raw_folder.path}; dyes found there: {known}. "
            f"File names must hold 'pre' or 'post' and end with '_{dye}'"
        )
        raise RawFileNotFoundError(msg)
    msg = f"{raw_folder.path}: {entry.problem}"
    raise RawPairingError(msg)


def list_visible(folder: Path) -> list[Path]:
    """Return the entries of a folder, hidden ones left out, sorted by name."""
    try:
        return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=_by_name)
    except PermissionError as error:
        msg = f"{folder} may not be listed (permission denied); give yourself the right to read it"
        raise RawReadError(msg) from error


def has_raw_suffix(path: Path) -> bool:
    """Tell whether the name ends like a raw image that some reader knows."""
    return path.suffix.lower() in raw_suffixes()


def _by_name(path: Path) -> tuple[str, str]:
    """Sort key: without regard to case, then exactly."""
    return path.name.casefold(), path.name


def _group_by_dye(files: list[RawFile]) -> tuple[DyeFiles, ...]:
    """Collect files by dye, without regard to case."""
    groups: dict[str, list[RawFile]] = {}
    for file in files:
        groups.setdefault(file.name.dye.casefold(), []).append(file)
    entries = []
    for _, members in sorted(groups.items()):
        by_role = {r: [m for m in members if m.name.role == r] for r in _ROLES}
        spelling = (by_role["post"] or by_role["pre"])[0].name.dye
        entries.append(
            DyeFiles(
                spelling,
                tuple(m.path for m in by_role["post"]),
                tuple(m.path for m in by_role["pre"]),
            )
        )
    return tuple(entries)


def _strip_differing_numbers(files: list[RawFile]) -> list[RawFile]:
    """Leave leading numbers out of marker-first dyes where the partner differs only in them.

    Only words of digits (dates, running numbers) are left out: words with letters may be the
    dye itself (``pre_Cy3_cells`` and ``post_Cy5_cells`` are no pair).
    """
    present = {(f.name.dye.casefold(), f.name.role) for f in files}
    bare = [(f, re.sub(r"^(?:\d+[_. -]+)+", "", f.name.dye)) for f in files]
    result = []
    for file, short in bare:
        other: Role = "pre" if file.name.role == "post" else "post"
        has_partner = (file.name.dye.casefold(), other) in present
        partner_differs = any(
            f.name.is_marker_first and f.name.role == other and s.casefold() == short.casefold()
            for f, s in bare
        )
        if file.name.is_marker_first and not has_partner and partner_differs:
            result.append(replace(file, name=replace(file.name, dye=short)))
        else:
            result.append(file)
    return result
