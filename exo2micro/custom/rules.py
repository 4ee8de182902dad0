"""Rules for the source of custom functions: imports and ways around the language's own limits."""

import ast
from collections.abc import Iterator
from typing import Final

from exo2micro.custom.declaration import Source
from exo2micro.errors import ValidationError

_SYSTEM = """
os sys subprocess socket shutil ctypes importlib builtins pickle multiprocessing
"""
_FILES_AND_PROCESSES = """
urllib requests http pathlib tempfile io glob fileinput signal pty fcntl mmap resource concurrent
threading _thread asyncio selectors ssl ftplib smtplib poplib imaplib telnetlib xmlrpc socketserver
webbrowser aiohttp httpx urllib3 paramiko psutil joblib sqlite3 dbm shelve posix nt
"""
_PYTHON_ITSELF = """
marshal dill cloudpickle code codeop runpy pkgutil zipimport imp cffi gc inspect faulthandler atexit
site distutils setuptools pip venv ensurepip platform getpass
"""

FORBIDDEN_MODULES: Final = frozenset(f"{_SYSTEM}{_FILES_AND_PROCESSES}{_PYTHON_ITSELF}".split())
"""First parts of the modules that a function on images has no need for."""

FORBIDDEN_NAMES: Final = {
    "__import__": "write an import statement",
    "eval": "write the expression itself",
    "exec": "write the statements themselves",
    "compile": "write the code itself",
    "open": "a function gets its images handed over; only a @reader opens files, to read them",
    "globals": "use parameters",
    "locals": "use parameters",
    "vars": "use parameters",
    "input": "use parameters with defaults",
    "breakpoint": "remove it",
    "exit": "raise an error",
    "quit": "raise an error",
}
"""Built-in functions that are refused, and what to do instead."""

_HARMLESS_DUNDERS = frozenset({"__name__", "__doc__", "__version__", "__init__", "__post_init__"})
_HIDDEN_MODULES = frozenset(_SYSTEM.split())
"""Modules that others carry as attributes, as in ``np.os``."""

_ATTRIBUTE_FUNCTIONS = ("getattr", "setattr", "delattr", "hasattr")


def broken_rules(source: Source) -> Iterator[ValidationError]:
    """Yield an error for every forbidden import and every dynamic access."""
    bound = _bound_names(source.tree)
    readable = _opened_in_readers(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(source, node)
        elif isinstance(node, ast.Name) and node.id not in bound and id(node) not in readable:
            yield from _names(source, node)
        elif isinstance(node, ast.Attribute):
            yield from _attributes(source, node)
        elif isinstance(node, ast.Call):
            yield from _attribute_functions(source, node)


def _imports(source: Source, node: ast.Import | ast.ImportFrom) -> Iterator[ValidationError]:
    if isinstance(node, ast.ImportFrom) and node.level:
        yield source.error(
            node, "a relative import has no meaning here: a function stands alone; name the package"
        )
        return
    modules = (
        [node.module or ""]
        if isinstance(node, ast.ImportFrom)
        else [alias.name for alias in node.names]
    )
    if isinstance(node, ast.ImportFrom):  # `from scipy import os` and the like
        modules += [a.name for a in node.names if a.name in _HIDDEN_MODULES]
        modules += [a.name for a in node.names if _is_dunder(a.name)]
    for module in modules:
        first = module.partition(".")[0]
        if first in FORBIDDEN_MODULES or _is_dunder(first):
            yield source.error(
                node,
                f"the import of {module!r} is refused: a custom function works on the arrays it "
                "is given; leave files, processes and the network to exo2micro",
            )


def _names(source: Source, node: ast.Name) -> Iterator[ValidationError]:
    if node.id in FORBIDDEN_NAMES:
        yield source.error(node, f"{node.id!r} is refused: {FORBIDDEN_NAMES[node.id]}")
    elif _is_dunder(node.id):
        yield source.error(node, f"{node.id!r} is refused: it leads out of the function")


def _attributes(source: Source, node: ast.Attribute) -> Iterator[ValidationError]:
    if _is_dunder(node.attr):
        yield source.error(node, f"the attribute {node.attr!r} is refused: use public attributes")
    elif node.attr in _HIDDEN_MODULES:
        yield source.error(
            node, f"the attribute {node.attr!r} is refused: it is a module of the system"
        )


def _attribute_functions(source: Source, node: ast.Call) -> Iterator[ValidationError]:
    if not isinstance(node.func, ast.Name) or node.func.id not in _ATTRIBUTE_FUNCTIONS:
        return
    name = node.args[1] if len(node.args) > 1 else None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        yield source.error(
            node, f"{node.func.id} with a computed name is refused: write the attribute itself"
        )
    elif _is_dunder(name.value) or name.value in _HIDDEN_MODULES:
        yield source.error(node, f"the attribute {name.value!r} is refused: use public attributes")


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in _HARMLESS_DUNDERS


def _bound_names(tree: ast.Module) -> frozenset[str]:
    """Return the names that the source gives a meaning of its own."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return frozenset(found)


def _opened_in_readers(source: Source) -> set[int]:
    """Return the nodes of ``open`` where a reader opens a file to read it."""
    allowed = set()
    for declaration in source.decorated.values():
        if declaration.kind.name != "reader":
            continue
        for node in ast.walk(declaration.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
                if all(isinstance(m, ast.Constant) and m.value in ("r", "rb") for m in modes):
                    allowed.add(id(node.func))
    return allowed
