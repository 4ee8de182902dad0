"""On which line of a TOML text a key stands; the parser of the standard library does not tell."""

import re
from collections.abc import Sequence

_PART = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')"
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_STATEMENT = re.compile(
    rf"[ \t]*(?:\[\[[ \t]*(?P<item>{_DOTTED})[ \t]*\]\]|\[[ \t]*(?P<table>{_DOTTED})[ \t]*\]"
    rf"|(?P<key>{_DOTTED})[ \t]*=)"
)
_TOKEN = re.compile(
    r"\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'"
    r"|#[^\n]*|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)|.",
    re.DOTALL,
)

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of each table and key of a valid TOML text.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    dict
        Path of the key -> line, counted from 1. An item of an array of tables has its index in
        the path. Keys inside an inline value are left out.
    """
    text = text.replace("\r\n", "\n")
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    prefix: Path = ()
    position, line = 0, 1
    while position < len(text):
        match = _STATEMENT.match(text, position)
        if match and match["key"]:
            path = (*prefix, *_parts(match["key"]))
            lines.setdefault(path, line)
        elif match:
            prefix = _expanded(_parts(match["table"] or match["item"]), counts)
            if match["item"]:
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = (*prefix, str(counts[prefix]))
            lines.setdefault(prefix, line)
        stop = _end_of_statement(text, match.end() if match else position)
        line += text.count("\n", position, stop)
        position = stop
    return lines


def line_of(lines: dict[Path, int], path: Sequence[str]) -> int | None:
    """Return the line of a key, or that of the nearest part around it."""
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return lines[tuple(path[:length])]
    return None


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _expanded(path: Path, counts: dict[Path, int]) -> Path:
    """Return the path of a table with the index of each array of tables that it lies in."""
    full: Path = ()
    for number, part in enumerate(path):
        full = (*full, part)
        if full in counts and number < len(path) - 1:
            full = (*full, str(counts[full]))
    return full


def _end_of_statement(text: str, position: int) -> int:
    """Return where the next statement starts: after the line end outside strings and brackets."""
    depth = 0
    for match in _TOKEN.finditer(text, position):
        depth += bool(match["open"]) - bool(match["close"])
        if match["end"] and depth <= 0:
            return match.end()
    return len(text)
