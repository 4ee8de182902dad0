"""The alignment of a sibling dye: which dye is meant, and whether it can be lent."""

from collections.abc import Mapping
from pathlib import Path

from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import CheckpointError, ParameterError, RegistrationError
from exo2micro.execution.commands import command_about
from exo2micro.execution.runner import StageRunner
from exo2micro.parameter import Value, plain_word
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record
from exo2micro.raw import classify_raw_files
from exo2micro.verdict import Level

PARAMETER = "borrow_from"
_ALIGNMENT_STAGE = 3


def sibling_dye(word: str, pair: PairPaths, raw_dir: Path) -> str:
    """Return the dye of the same sample that a value of ``borrow_from`` names.

    Parameters
    ----------
    word : str
        The dye's name in lower case, letters and digits only.
    pair : PairPaths
        The pair that borrows.
    raw_dir : Path
        Folder of the raw files.

    Raises
    ------
    ParameterError
        If no other dye of the sample, or more than one, is called so.
    """
    done = _dyes_with_records(pair)
    known = sorted(done | _dyes_with_raw_files(pair.sample, raw_dir))
    named = [dye for dye in known if plain_word(dye) == word]
    if len(named) > 1 and len(done.intersection(named)) == 1:
        named = sorted(done.intersection(named))
    others = ", ".join(dye for dye in known if dye != pair.dye) or "none"
    if word == plain_word(pair.dye) or named == [pair.dye]:
        reason = (
            f"names {pair.dye} itself, which has no alignment to borrow from itself: leave it off "
            f"for {pair.dye}, in a batch by a row of overrides with the columns "
            f"sample,dye,{PARAMETER} and the values {pair.sample},{pair.dye},off"
        )
    elif not named:
        reason = f"must name a dye of {pair.sample}, got {word!r}"
    elif len(named) > 1:
        reason = f"is ambiguous: {word!r} may be {' or '.join(named)}; rename one of them"
    else:
        return named[0]
    msg = f"{PARAMETER} {reason}; other dyes of {pair.sample}: {others}"
    raise ParameterError(msg)


def lent_alignment(lender: StageRunner, raw_dir: Path) -> Record:
    """Return the record of the alignment that a sibling dye lends, its own and valid.

    Parameters
    ----------
    lender : StageRunner
        Runner of the sibling, with the borrower's parameters but for ``borrow_from``.
    raw_dir : Path
        Folder of the raw files, for the message.

    Raises
    ------
    CheckpointError
        If the sibling has no valid alignment of its own; says which command makes it.
    RegistrationError
        If its alignment failed.
    """
    paths = lender.store.paths
    rows = lender.plan_all([n for n in lender.stages if n <= _ALIGNMENT_STAGE], {})
    record = lender.main_record(_ALIGNMENT_STAGE)
    if record is None:
        row = next(row for row in rows if row.action == "run")
        msg = (
            f"{PARAMETER}: {paths.dye} of {paths.sample} has no valid alignment of its own for "
            f"these parameters (stage {row.number}, {row.title}: {row.reason}); make it first "
            f"with: {_command(paths, raw_dir, lender.request.params)}"
        )
        raise CheckpointError(msg)
    if record.verdict.level is Level.FAIL:
        msg = (
            f"{PARAMETER}: the alignment of {paths.dye} of {paths.sample} failed and cannot be "
            f"lent: {record.verdict.reason}; choose another dye or align this pair by itself"
        )
        raise RegistrationError(msg)
    return record


def _dyes_with_records(pair: PairPaths) -> set[str]:
    sample = pair.folder.parent
    if not sample.is_dir():
        return set()
    return {folder.name for folder in sample.iterdir() if (folder / pair.records.name).is_dir()}


def _dyes_with_raw_files(sample: str, raw_dir: Path) -> set[str]:
    if not (raw_dir / sample).is_dir():
        return set()
    return set(classify_raw_files(raw_dir / sample).pairs)


def _command(paths: PairPaths, raw_dir: Path, params: Mapping[str, Value]) -> str:
    values = {
        name: params[name]
        for name, row in PARAMETER_REGISTRY.items()
        if row.stage <= _ALIGNMENT_STAGE and params[name] != row.default
    }
    options = ["--to-stage", str(_ALIGNMENT_STAGE)]
    return command_about("run", paths, raw_dir, values, options=options)
