"""Names that a source uses and nobody defines."""

import ast
import builtins
import symtable
from collections.abc import Iterator

from exo2micro.custom.declaration import Source
from exo2micro.custom.function import decorators

_MODULE_NAMES = frozenset({"np", "__name__", "__doc__", "__builtins__"})


def undefined_names(source: Source) -> Iterator[tuple[str, int]]:
    """Yield name and line, once for each name that is defined nowhere."""
    if any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        for node in ast.walk(source.tree)
    ):
        return  # what a star brings is not known
    module = symtable.symtable(source.code, "<custom function>", "exec")
    known = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {
        symbol.get_name()
        for table in _tables(module)
        for symbol in table.get_symbols()
        if symbol.is_declared_global() and symbol.is_assigned()
    }
    known |= set(dir(builtins)) | _MODULE_NAMES | decorators().keys()
    missing = {
        symbol.get_name()
        for table in _tables(module)
        for symbol in table.get_symbols()
        if symbol.is_referenced()
        and (symbol.is_global() or table is module)
        and symbol.get_name() not in known
    }
    yield from sorted(_first_lines(source.tree, missing).items(), key=lambda item: item[::-1])


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _first_lines(tree: ast.Module, names: set[str]) -> dict[str, int]:
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return lines
