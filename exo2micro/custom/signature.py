"""Decorator and signature of custom functions, checked by kind."""

import ast
from collections.abc import Iterator
from typing import Final

from exo2micro.custom.declaration import Declaration, Source
from exo2micro.custom.function import literal
from exo2micro.custom.names import check_name
from exo2micro.errors import CustomFunctionError, ValidationError

_ARRAY_ANNOTATIONS: Final = ("np.ndarray", "numpy.ndarray", "ndarray", "NDArray")

Errors = Iterator[ValidationError]


def broken_declarations(source: Source, *, strict: bool = False) -> Errors:
    """Yield an error for whatever is wrong with the decorated functions of a source.

    Parameters
    ----------
    source : Source
        The source.
    strict : bool
        Ask for annotations too.
    """
    if not source.decorated:
        yield _nothing_found(source)
        return
    yield from _defined_twice(source)
    for declaration in source.decorated.values():
        yield from _name(declaration)
        yield from _decorators(declaration)
        yield from _parameters(declaration)
        yield from _defaults(declaration)
        if strict and declaration.kind.name == "image":
            yield from _annotations(declaration)


def _nothing_found(source: Source) -> ValidationError:
    functions = [n for n in source.tree.body if isinstance(n, ast.FunctionDef)]
    for function in functions:
        for expression in function.decorator_list:
            name = ast.unparse(expression).partition("(")[0]
            if source.imported.get(name, "").partition(".")[0] == name:
                return source.error(
                    expression,
                    f"{name!r} is the imported module here, not the decorator; write "
                    f"@{name}_memory, or leave the import out: np is there without it",
                )
    where: ast.AST | int = functions[0] if functions else 1
    return source.error(
        where,
        "no function of this source has a decorator that says what it is for; put one above its "
        "def: @numpy (or another memory type) for images, @diagnostic, @scale_estimator or "
        "@reader(suffixes=...)",
    )


def _defined_twice(source: Source) -> Errors:
    seen: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name in seen and node.name in source.decorated:
                yield source.error(node, f"{node.name!r} is defined twice; give one another name")
            seen.add(node.name)


def _name(declaration: Declaration) -> Errors:
    try:
        check_name(declaration.name, declaration.kind.name)
    except CustomFunctionError as error:
        yield declaration.source.error(declaration.node, str(error))


def _decorators(declaration: Declaration) -> Errors:
    source, name = declaration.source, declaration.name
    if isinstance(declaration.node, ast.AsyncFunctionDef):
        yield source.error(declaration.node, f"{name!r} is asynchronous; write a plain def")
    if len(declaration.marks) > 1:
        marks = ", ".join(f"@{mark}" for mark, _ in declaration.marks)
        yield source.error(
            declaration.marks[1][1], f"{name!r} has the decorators {marks}; keep one of them"
        )
    expression = declaration.marks[0][1]
    options = declaration.options
    if declaration.kind.name == "reader":
        suffixes = options.get("suffixes", ())
        if not isinstance(suffixes, tuple) or not suffixes or not all(map(_is_suffix, suffixes)):
            yield source.error(
                expression,
                "a reader says which files it reads: "
                '@reader(suffixes=(".dat",)), in lower case with the dot',
            )
    caption = options.get("caption") or ast.get_docstring(declaration.node)
    if declaration.kind.name == "diagnostic" and not caption:
        yield source.error(
            expression,
            'a diagnostic says what its picture shows: @diagnostic(caption="..."), or a docstring',
        )


def _is_suffix(text: object) -> bool:
    return isinstance(text, str) and text.startswith(".") and len(text) > 1 and text.islower()


def _parameters(declaration: Declaration) -> Errors:
    source, node, kind = declaration.source, declaration.node, declaration.kind
    how = f"define it as {kind.signature.replace('NAME', declaration.name)}"
    positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    if tuple(positional[: len(kind.leading)]) != kind.leading:
        wanted = ", ".join(kind.leading)
        yield source.error(
            node, f"the first parameters of {declaration.name!r} must be {wanted}; {how}"
        )
    if node.args.vararg is not None:
        yield source.error(
            node, f"*{node.args.vararg.arg} is refused: every parameter has a name; {how}"
        )
    takes_all = node.args.kwarg is not None
    if node.args.kwarg is not None and kind.name != "diagnostic":
        yield source.error(
            node, f"**{node.args.kwarg.arg} is refused: every parameter has a name; {how}"
        )
    by_name = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
    for keyword in kind.keywords:
        if keyword not in by_name and not takes_all:
            yield source.error(node, f"{declaration.name!r} must take {keyword}; {how}")


def _defaults(declaration: Declaration) -> Errors:
    source, kind = declaration.source, declaration.kind
    for place, argument in enumerate(declaration.arguments):
        name = argument.arg
        default = declaration.defaults.get(name)
        if default is None:
            if place >= len(kind.leading) and name not in kind.leading + kind.keywords:
                yield source.error(
                    argument, f"the parameter {name!r} needs a default, such as {name}=1.0"
                )
            continue
        try:
            literal(default)
        except (ValueError, TypeError, SyntaxError):
            yield source.error(
                default,
                f"the default of {name!r} must be written out as a number, text, truth value, "
                f"None or tuple of these, got {ast.unparse(default)}",
            )


def _annotations(declaration: Declaration) -> Errors:
    source, node = declaration.source, declaration.node
    image = next((a for a in declaration.arguments if a.arg == "image"), None)
    if image is not None:
        given = "" if image.annotation is None else ast.unparse(image.annotation)
        if not given or (
            declaration.memory_type == "numpy"
            and not given.strip("'\"").startswith(_ARRAY_ANNOTATIONS)
        ):
            wanted = "np.ndarray" if declaration.memory_type == "numpy" else "the array's type"
            got = f", got {given}" if given else ""
            yield source.error(image, f"annotate image with {wanted}: image: np.ndarray{got}")
    if node.returns is None:
        yield source.error(node, "annotate what the function returns: -> np.ndarray")
