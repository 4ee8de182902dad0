"""How far a result can be trusted: PASS, CHECK or FAIL, with the reasons in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """Trust in a result, in order of severity."""

    PASS = 0
    CHECK = 1
    FAIL = 2


@dataclass(frozen=True)
class Verdict:
    """A level and, unless it is PASS, the reasons for it in plain words."""

    level: Level = Level.PASS
    reasons: tuple[str, ...] = ()

    @classmethod
    def check(cls, reason: str) -> "Verdict":
        """Return a CHECK verdict: usable, but a person should look."""
        return cls(Level.CHECK, (reason,))

    @classmethod
    def fail(cls, reason: str) -> "Verdict":
        """Return a FAIL verdict: not to be used."""
        return cls(Level.FAIL, (reason,))

    @classmethod
    def worst(cls, verdicts: Iterable["Verdict"]) -> "Verdict":
        """Return the most severe level with all reasons, the most severe first."""
        ordered = sorted(verdicts, key=lambda v: v.level, reverse=True)
        reasons = tuple(dict.fromkeys(r for v in ordered for r in v.reasons))
        return cls(ordered[0].level if ordered else Level.PASS, reasons)

    @classmethod
    def from_words(cls, level: str, reasons: Iterable[str]) -> "Verdict":
        """Return the verdict that a record tells in words."""
        return cls(Level[level], tuple(reasons))

    @property
    def reason(self) -> str:
        """All reasons as one line; empty for PASS."""
        return "; ".join(self.reasons)

    @property
    def status(self) -> str:
        """The status line of a result: ``complete``, ``complete, check: ...``, ``failed: ...``."""
        if self.level is Level.PASS:
            return "complete"
        prefix = "complete, check" if self.level is Level.CHECK else "failed"
        return f"{prefix}: {self.reason}"
