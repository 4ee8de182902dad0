"""What every diagnostic shows, as a table for the documentation."""

from typing import NamedTuple

from exo2micro.plotting import DIAGNOSTICS


class CaptionRow(NamedTuple):
    """One diagnostic: the name of its file and its caption."""

    name: str
    caption: str


def describe_diagnostics() -> list[CaptionRow]:
    """Return name and caption of every registered diagnostic, by name."""
    return [CaptionRow(name, DIAGNOSTICS[name]().caption) for name in sorted(DIAGNOSTICS)]
