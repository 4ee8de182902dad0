"""What a source declares, read from its syntax tree: nothing is executed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from exo2micro.custom.function import (
    CustomFunction,
    FunctionParameter,
    decorators,
    hash_of,
    literal,
    snippet,
)
from exo2micro.custom.kinds import KINDS, Kind
from exo2micro.errors import ValidationError

_OWN_PACKAGE = "exo2micro.custom"
_OWN_DECORATORS = frozenset({"diagnostic", "scale_estimator", "reader"})


@dataclass(frozen=True)
class Source:
    """A source and its syntax tree.

    Attributes
    ----------
    code : str
        The text, its lines ended by a line feed.
    tree : ast.Module
        What was parsed from it.
    """

    code: str
    tree: ast.Module = field(compare=False, repr=False)

    def error(self, node: ast.AST | int, message: str) -> ValidationError:
        """Return an error with the line of a node, and that line's text."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return ValidationError(message, line, snippet(self.code, line))

    @cached_property
    def imported(self) -> dict[str, str]:
        """Names that top-level imports bind, with the dotted name of what they stand for."""
        names = {}
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    @cached_property
    def decorated(self) -> "dict[str, Declaration]":
        """Top-level functions that carry a decorator of this package, by name."""
        return {d.name: d for d in self._declarations()}

    def _declarations(self) -> "Iterator[Declaration]":
        known = decorators()
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = tuple(
                    (mark, expression)
                    for expression in node.decorator_list
                    if (mark := self._decorator(expression)) in known
                )
                if marks:
                    yield Declaration(self, node, marks)

    def _decorator(self, expression: ast.expr) -> str:
        """Return the name of a decorator of this package; empty for any other."""
        target = expression.func if isinstance(expression, ast.Call) else expression
        dotted = ast.unparse(target)
        first, dot, rest = dotted.partition(".")
        if first not in self.imported:
            return dotted
        full = f"{self.imported[first]}{dot}{rest}"
        return full.rpartition(".")[2] if full.startswith(f"{_OWN_PACKAGE}.") else ""


@dataclass(frozen=True)
class Declaration:
    """One decorated function of a source.

    Attributes
    ----------
    source : Source
        Where it stands.
    node : ast.FunctionDef or ast.AsyncFunctionDef
        Its definition.
    marks : tuple of (str, ast.expr)
        Its decorators that belong to this package: name and expression.
    """

    source: Source
    node: ast.FunctionDef | ast.AsyncFunctionDef = field(compare=False)
    marks: tuple[tuple[str, ast.expr], ...] = field(compare=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.node.name

    @property
    def kind(self) -> Kind:
        """What the function is for."""
        mark = self.marks[0][0]
        return KINDS[mark if mark in _OWN_DECORATORS else "image"]

    @property
    def memory_type(self) -> str:
        """Memory type of an image function, empty for other kinds."""
        mark = self.marks[0][0]
        return "" if mark in _OWN_DECORATORS else mark.removesuffix("_memory")

    @property
    def arguments(self) -> tuple[ast.arg, ...]:
        """All named parameters, in order."""
        spec = self.node.args
        return (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)

    @property
    def defaults(self) -> dict[str, ast.expr]:
        """Expressions of the defaults, by parameter."""
        spec = self.node.args
        positional = [*spec.posonlyargs, *spec.args]
        start = len(positional) - len(spec.defaults)
        pairs = [*zip(positional[start:], spec.defaults, strict=True)]
        pairs += [
            (argument, default)
            for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
            if default is not None
        ]
        return {argument.arg: default for argument, default in pairs}

    @property
    def parameters(self) -> tuple[FunctionParameter, ...]:
        """The user's own parameters; one whose default is no literal is left out."""
        found = []
        for argument in self.arguments:
            default = self.defaults.get(argument.arg)
            if default is None or argument.arg in self.kind.reserved:
                continue
            try:
                value = literal(default)
            except ValueError:
                continue
            annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
            found.append(FunctionParameter(argument.arg, value, annotation))
        return tuple(found)

    @property
    def options(self) -> dict[str, object]:
        """Literal keyword arguments of the decorator."""
        expression = self.marks[0][1]
        options: dict[str, object] = {}
        if isinstance(expression, ast.Call):
            for keyword in expression.keywords:
                try:
                    options[keyword.arg or ""] = literal(keyword.value)
                except ValueError:  # such as halo=lambda sigma: 4 * sigma: known once executed
                    continue
        return options

    def as_function(self) -> CustomFunction:
        """Return the function as data of its own, with what else of the source it may need."""
        code = self._own_code()
        return CustomFunction(
            name=self.name,
            kind=self.kind.name,
            code=code,
            sha256=hash_of(code),
            doc=ast.get_docstring(self.node) or "",
            parameters=self.parameters,
            memory_type=self.memory_type,
            options=self.options,
            line_number=self.node.lineno,
        )

    def _own_code(self) -> str:
        """Return the source with the decorated functions that this one does not use blanked out.

        Blank lines keep the line numbers of the rest.
        """
        decorated = self.source.decorated
        needed = _reachable(self.name, self.source)
        lines = self.source.code.splitlines()
        for name, other in decorated.items():
            if name not in needed:
                first = other.node.decorator_list[0].lineno
                for number in range(first - 1, other.node.end_lineno or first):
                    lines[number] = ""
        return "\n".join(lines).rstrip() + "\n"


def read_source(code: str) -> Source:
    """Parse a source.

    Raises
    ------
    ValidationError
        If it is no Python.
    """
    text = code.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        return Source(text, ast.parse(text))
    except SyntaxError as error:
        line = error.lineno or 1
        message = f"not valid Python: {error.msg}"
        raise ValidationError(message, line, snippet(text, line)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        message = f"not valid Python: {error or type(error).__name__}"
        raise ValidationError(message, 1, snippet(text, 1)) from error


def _reachable(name: str, source: Source) -> set[str]:
    """Return the decorated functions that one needs, itself included, by the names it uses."""
    uses = {}
    common: set[str] = set()
    for node in source.tree.body:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name in source.decorated
        ):
            uses[node.name] = names
        else:
            common |= names  # helpers and constants stay, and so does what they use
    needed, new = set(), {name} | (common & uses.keys())
    while new:
        needed |= new
        new = {used for one in new for used in uses[one] & uses.keys()} - needed
    return needed
