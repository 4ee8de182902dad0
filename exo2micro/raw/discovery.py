"""Which samples and dyes there are, and what is wrong with the raw folder."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exo2micro.errors import RawFileNotFoundError, RawPairingError
from exo2micro.raw.naming import raw_stem
from exo2micro.raw.pairing import (
    RawFolder,
    classify_raw_files,
    find_pair,
    has_raw_suffix,
    list_visible,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayoutProblem:
    """One thing that is wrong with the raw folder.

    Attributes
    ----------
    kind : str
        ``missing folder``, ``no samples``, ``empty sample``, ``half pair``, ``duplicate``,
        ``no marker``, ``wrong extension``, ``outside sample`` or ``case clash``.
    sample : str
        The sample; empty where the problem is of the whole folder.
    text : str
        What is wrong and what to do.
    files : tuple of str
        The files or folders concerned.
    """

    kind: str
    sample: str
    text: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutReport:
    """What the raw folder holds and what is wrong with it.

    Attributes
    ----------
    raw_dir : str
        The folder.
    tasks : tuple of (str, str)
        Complete pairs as (sample, dye), sorted.
    problems : tuple of LayoutProblem
        Everything that keeps a file from being used.
    """

    raw_dir: str
    tasks: tuple[tuple[str, str], ...] = ()
    problems: tuple[LayoutProblem, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing wrong."""
        return not self.problems

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        n_samples = len({sample for sample, _ in self.tasks})
        result = [f"{self.raw_dir}: {len(self.tasks)} complete pairs in {n_samples} samples"]
        result += [f"  {sample}: {dye}" for sample, dye in self.tasks]
        if self.problems:
            result.append(f"{len(self.problems)} problems:")
        for problem in self.problems:
            where = f"{problem.sample}: " if problem.sample else ""
            result.append(f"  [{problem.kind}] {where}{problem.text}")
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain lists and dicts, for JSON."""
        return {
            "raw_dir": self.raw_dir,
            "is_clean": self.is_clean,
            "tasks": [{"sample": s, "dye": d} for s, d in self.tasks],
            "problems": [asdict(p) | {"files": list(p.files)} for p in self.problems],
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())


def discover_tasks(
    raw_dir: str | os.PathLike[str] = "raw",
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
) -> list[tuple[str, str]]:
    """Return every (sample, dye) that has exactly one pre and one post file.

    Parameters
    ----------
    raw_dir : str or Path
        Folder of the raw files, one folder per sample.
    samples, dyes : sequence of str, optional
        Only these; dyes match without regard to case, and as the end of a longer name
        (``DAPI`` for ``pre_CD070_DAPI``).

    Returns
    -------
    list of (str, str)
        Sorted by sample and dye. What is incomplete is logged at level WARNING.

    Raises
    ------
    RawFileNotFoundError
        If `raw_dir` does not exist.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        msg = (
            f"{raw_dir} is not a folder; make it, with one folder per sample in it, or say where "
            "the scans are with raw_dir="
        )
        raise RawFileNotFoundError(msg)
    tasks = []
    for folder in _sample_folders(raw_dir):
        if samples is None or folder.name in samples:
            classified = classify_raw_files(folder)
            tasks += [(folder.name, dye) for dye in _dyes_of(classified, dyes)]
            for entry in classified.dyes:
                if not entry.is_pair and dyes is None:
                    logger.warning("%s: %s", folder, entry.problem)
    return sorted(tasks)


def incomplete_pairs(
    raw_dir: str | os.PathLike[str] = "raw",
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
) -> dict[tuple[str, str], str]:
    """Return what is no pair although it is there or was asked for, and why.

    Parameters
    ----------
    raw_dir, samples, dyes
        As for `discover_tasks`.

    Returns
    -------
    dict
        ``(sample, dye)`` -> what is wrong and what to do. A dye of which a sample has no file at
        all counts only where both were asked for.
    """
    incomplete: dict[tuple[str, str], str] = {}
    for folder in _sample_folders(Path(raw_dir)):
        if samples is not None and folder.name not in samples:
            continue
        classified = classify_raw_files(folder)
        if dyes is None:
            problems = {e.dye: e.problem for e in classified.dyes if not e.is_pair}
            incomplete |= {(folder.name, dye): text for dye, text in problems.items()}
            continue
        for dye in dyes:
            try:
                find_pair(folder, dye)
            except RawFileNotFoundError as error:
                if samples is not None:
                    incomplete[folder.name, dye] = str(error)
            except RawPairingError as error:
                incomplete[folder.name, dye] = str(error)
    return incomplete


def diagnose_raw_layout(raw_dir: str | os.PathLike[str] = "raw") -> LayoutReport:
    """Look for everything that keeps raw files from being found.

    Parameters
    ----------
    raw_dir : str or Path
        Folder of the raw files.

    Returns
    -------
    LayoutReport
        The complete pairs and the problems: a missing folder, empty sample folders, half pairs,
        duplicates, files without marker or with an unknown extension, image files outside a
        sample's folder, names that differ only in case. Nothing is raised.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        text = (
            f"{raw_dir} is not a folder; make it, with one folder per sample in it: "
            f"{raw_dir}/<sample>/<anything with pre or post>_<dye>.tif"
        )
        return LayoutReport(str(raw_dir), (), (LayoutProblem("missing folder", "", text),))
    folders = _sample_folders(raw_dir)
    problems = _outside_samples(raw_dir)
    if not folders:
        text = f"{raw_dir} holds no sample folders; make one per sample and put its scans there"
        problems.append(LayoutProblem("no samples", "", text))
    problems += _case_clashes(folders)
    tasks = []
    for folder in folders:
        classified = classify_raw_files(folder)
        tasks += [(folder.name, dye) for dye in classified.pairs]
        problems += _sample_problems(classified)
    return LayoutReport(str(raw_dir), tuple(sorted(tasks)), tuple(problems))


def _sample_folders(raw_dir: Path) -> list[Path]:
    """Return the sample folders, hidden ones left out."""
    return [p for p in list_visible(raw_dir) if p.is_dir() and not has_raw_suffix(p)]


def _dyes_of(classified: RawFolder, dyes: Sequence[str] | None) -> list[str]:
    """Return the complete dyes of a sample, or those asked for that can be found."""
    if dyes is None:
        return list(classified.pairs)
    found: dict[str, None] = {}
    for dye in dyes:
        try:
            found[find_pair(classified.path, dye).dye] = None
        except (FileNotFoundError, ValueError) as error:
            logger.warning("%s", error)
    return list(found)


def _outside_samples(raw_dir: Path) -> list[LayoutProblem]:
    """Return image files that lie beside the sample folders."""
    files = [p.name for p in list_visible(raw_dir) if has_raw_suffix(p)]
    if not files:
        return []
    text = (
        f"{', '.join(files)} lie directly in {raw_dir}, where they are not looked for; move them "
        f"into a folder per sample, such as {raw_dir}/{raw_stem(files[0]).split('_')[0]}/"
    )
    return [LayoutProblem("outside sample", "", text, tuple(files))]


def _case_clashes(folders: list[Path]) -> list[LayoutProblem]:
    """Return sample folders whose names differ only in case."""
    groups: dict[str, list[str]] = {}
    for folder in folders:
        groups.setdefault(folder.name.casefold(), []).append(folder.name)
    return [
        LayoutProblem(
            "case clash",
            names[0],
            f"the folders {' and '.join(names)} differ only in case, which some systems cannot "
            "tell apart; rename one",
            tuple(names),
        )
        for names in groups.values()
        if len(names) > 1
    ]


def _sample_problems(classified: RawFolder) -> list[LayoutProblem]:
    """Return what is wrong in one sample's folder."""
    sample = classified.sample
    problems = []
    if not (classified.dyes or classified.unmarked or classified.wrong_suffix):
        text = f"{classified.path} holds no image files{_hint_at_subfolders(classified.path)}"
        problems.append(LayoutProblem("empty sample", sample, text))
    for entry in classified.dyes:
        files = tuple(p.name for p in (*entry.post, *entry.pre))
        if not entry.is_pair:
            kind = "duplicate" if max(len(entry.post), len(entry.pre)) > 1 else "half pair"
            problems.append(LayoutProblem(kind, sample, entry.problem, files))
    for path, reason in classified.unmarked:
        problems.append(LayoutProblem("no marker", sample, reason, (path.name,)))
    for path in classified.wrong_suffix:
        text = f"{path.name} is in a format that is not read; export it as TIFF"
        problems.append(LayoutProblem("wrong extension", sample, text, (path.name,)))
    return problems


def _hint_at_subfolders(folder: Path) -> str:
    """Return where images are that lie one folder too deep."""
    for sub in list_visible(folder):
        if sub.is_dir() and any(has_raw_suffix(p) for p in list_visible(sub)):
            return f"; those in {sub.name}/ lie one folder too deep: move them up"
    return "; put the sample's pre and post scans there, or remove the folder"
