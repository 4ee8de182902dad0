"""Which pairs of the raw folder a batch runs, and which of those asked for it cannot run."""

import fnmatch
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exo2micro.batch.journal import Pair
from exo2micro.errors import RawPairMissingError
from exo2micro.raw import discover_tasks, incomplete_pairs

logger = logging.getLogger(__name__)

Names = str | Sequence[str] | None
"""Names of samples or dyes; one alone may be given as it is, None means all."""


@dataclass(frozen=True)
class Selection:
    """The pairs of a batch.

    Attributes
    ----------
    pairs : list of (str, str)
        Sample and dye of what can run.
    left_out : dict
        Sample and dye of what lacks a file or has too many, and what to do.
    """

    pairs: list[Pair]
    left_out: dict[Pair, str] = field(default_factory=dict)


def select_pairs(
    raw_dir: Path, samples: Names, dyes: Names, only: str | Sequence[str], *, strict_dyes: bool
) -> Selection:
    """Return the pairs to run.

    Raises
    ------
    RawPairMissingError
        If there are none; where strict, also if a sample, a dye or a pattern has none.
    """
    samples, dyes, only = _listed(samples), _listed(dyes), _listed(only) or []
    pairs = discover_tasks(raw_dir, samples, dyes)
    left_out = incomplete_pairs(raw_dir, samples, dyes)
    lacking = [sample for sample in samples or () if all(sample != p[0] for p in pairs)]
    lacking += [dye for dye in dyes or () if not discover_tasks(raw_dir, samples, [dye])]
    lacking += [
        f"only {pattern} (patterns are SAMPLE/DYE or SAMPLE)"
        for pattern in only
        if not any(matches(pair, pattern) for pair in pairs)
    ]
    if only:
        pairs = [pair for pair in pairs if any(matches(pair, pattern) for pattern in only)]
        left_out = {p: why for p, why in left_out.items() if any(matches(p, o) for o in only)}
    if lacking or not pairs:
        named = ", ".join(lacking) or "any sample"
        found = "".join(f"; {'/'.join(pair)}: {why}" for pair, why in left_out.items())
        msg = (
            f"no complete pair for {named} in {raw_dir}{found}; `exo2micro survey` lists what is "
            "there"
        )
        if strict_dyes or not pairs:
            raise RawPairMissingError(msg)
        logger.warning("%s; the others are run", msg)
    return Selection(pairs, {p: why for p, why in left_out.items() if p not in pairs})


def matches(pair: Pair, pattern: str) -> bool:
    """Tell whether a pair is meant by ``SAMPLE/DYE`` or ``SAMPLE``, with ``*`` and ``?``."""
    name = "/".join(pair) if "/" in pattern else pair[0]
    return fnmatch.fnmatchcase(name, pattern)


def _listed(names: Names) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)
