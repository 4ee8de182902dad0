"""Small result tables that read well in a terminal, a notebook and a program."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Table(Sequence[Mapping[str, Any]]):
    """Rows of equal columns; ``str()`` is aligned text.

    Parameters
    ----------
    rows : sequence of mapping
        The rows, all with the same keys.
    title : str, optional
        Line above the table.
    footer : str, optional
        Text below it.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], title: str = "", footer: str = ""
    ) -> None:
        self.rows = [dict(row) for row in rows]
        self.title = title
        self.footer = footer

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.rows[0]) if self.rows else []

    def __str__(self) -> str:
        cells = [self.columns] + [[_cell(v) for v in row.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells
        ]
        parts = [self.title, *lines, self.footer]
        return "\n".join(part for part in parts if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(v))}</td>" for v in row.values()) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return " .. ".join(map(_cell, value))
    return str(value)
