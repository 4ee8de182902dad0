"""A function that lives in a script or a notebook, as plain data that can travel."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from exo2micro.custom.declaration import read_source
from exo2micro.custom.function import CustomFunction
from exo2micro.errors import CustomFunctionError


def function_of(function: Callable[..., Any]) -> CustomFunction:
    """Return a function by its source; it can use nothing that stands outside of it.

    A function without a memory type's decorator works on NumPy arrays.

    Raises
    ------
    CustomFunctionError
        If it has no source or uses names of its surroundings.
    """
    name = getattr(function, "__name__", repr(function))
    plain = inspect.unwrap(function)
    try:
        source = textwrap.dedent(inspect.getsource(plain))
    except (OSError, TypeError) as error:
        msg = (
            f"the source of {name} cannot be found ({error}); keep it in the store with "
            "CustomFunctionManager().register_from_code(...) and add it by its name"
        )
        raise CustomFunctionError(msg) from error
    is_marked = name in read_source(source).decorated
    if hasattr(function, "memory_contract") and not is_marked:
        msg = (
            f"the decorator of {name} is not understood from its source; write it plainly, such "
            "as @torch or @numpy(halo=2), after `from exo2micro.custom.memory import torch`"
        )
        raise CustomFunctionError(msg)
    code = _without_foreign(source) if is_marked else f"@numpy\n{_without_foreign(source)}"
    declared = read_source(code).decorated
    if name not in declared:
        msg = f"{name} is not defined by `def` at the top of its source; give a plain function"
        raise CustomFunctionError(msg)
    found = declared[name].as_function()
    _refuse_surroundings(plain, found)
    return found


def _without_foreign(source: str) -> str:
    """Return a source without decorators such as ``@run.add_stage(after=3)``."""
    tree = ast.parse(source)
    known = {node for d in read_source(source).decorated.values() for node in d.marks}
    kept = {ast.unparse(expression) for _, expression in known}
    lines = source.splitlines()
    for node in tree.body:
        for expression in getattr(node, "decorator_list", ()):
            if ast.unparse(expression) not in kept:
                for number in range(expression.lineno - 1, expression.end_lineno):
                    lines[number] = ""
    return "\n".join(lines).strip("\n") + "\n"


def _refuse_surroundings(plain: Callable[..., Any], found: CustomFunction) -> None:
    """Raise where a function needs what only its own script or notebook has."""
    from exo2micro.custom.function import namespace

    known = {*namespace(), found.name}
    outside = inspect.getclosurevars(plain)
    names = sorted({*outside.nonlocals, *outside.globals} - known)
    if names:
        msg = (
            f"{found.name} uses {', '.join(names)} from outside of itself, which no other process "
            "has; import or define it inside the function"
        )
        raise CustomFunctionError(msg)
