"""Suggesting the name that was probably meant."""

from collections.abc import Sequence
from difflib import get_close_matches


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ``, did you mean 'x'?`` for the closest known name, or nothing."""
    by_folded = {k.casefold(): k for k in known}
    matches = get_close_matches(name.casefold(), by_folded, n=1)
    return f", did you mean {by_folded[matches[0]]!r}?" if matches else ""
