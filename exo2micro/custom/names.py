"""Which names a custom function may have."""

import builtins
import difflib
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Final

from exo2micro.custom.function import MODULE_PREFIX, decorators
from exo2micro.errors import CustomFunctionError, UnknownFunctionError

LONGEST: Final = 64
"""Longest name: with a hash and further parameters it still fits into a file name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LOWER = re.compile(r"[a-z0-9_]+")
_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
"""Names that Windows keeps for devices: no file can have them."""


def check_form(name: str) -> None:
    """Refuse what is no plain name, such as a path.

    Raises
    ------
    CustomFunctionError
        Naming the rule.
    """
    if (
        isinstance(name, str)
        and _NAME.fullmatch(name)
        and len(name) <= LONGEST
        and not keyword.iskeyword(name)
        and not _DEVICE.fullmatch(name)
    ):
        return
    msg = (
        f"a custom function's name consists of letters a-z, digits and _, begins with a letter, "
        f"has at most {LONGEST} characters and is no keyword or device name, got {name!r}"
    )
    raise CustomFunctionError(msg)


def check_name(name: str, kind: str, known: Iterable[str] = ()) -> None:
    """Refuse a name that cannot be given to a new function.

    Parameters
    ----------
    name : str
        The name.
    kind : str
        What the function is for.
    known : iterable of str
        Names of the functions that there are.

    Raises
    ------
    CustomFunctionError
        If it is no plain name, is taken by Python or by this package, or differs from a known
        one in capitals only.
    """
    check_form(name)
    if hasattr(builtins, name) or name == "np" or name in decorators():
        msg = f"the name {name!r} is taken by Python or by exo2micro; choose another one"
        raise CustomFunctionError(msg)
    if kind == "diagnostic" and not _LOWER.fullmatch(name):
        msg = (
            f"a diagnostic's name is the name of its picture's file and has no capitals, got "
            f"{name!r}; call it {name.lower()!r}"
        )
        raise CustomFunctionError(msg)
    if name in _built_in(kind):
        msg = f"the package has a {kind.replace('_', ' ')} {name!r} of its own; choose another name"
        raise CustomFunctionError(msg)
    clash = [other for other in known if other != name and other.casefold() == name.casefold()]
    if clash:
        msg = (
            f"{name!r} differs from the function {clash[0]!r} in capitals only, which some file "
            "systems do not tell apart; choose another name"
        )
        raise CustomFunctionError(msg)


def unknown(name: str, known: Iterable[str]) -> UnknownFunctionError:
    """Return the error for a name that no function has, with near names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(near) + "?"
    elif names:
        hint = "there are " + ", ".join(names[:20])
    else:
        hint = "there is none yet; `exo2micro custom add FILE` registers one"
    return UnknownFunctionError(f"no custom function {name!r}: {hint}")


def _built_in(kind: str) -> frozenset[str]:
    """Return the names of the package's own classes of a kind, and those of plugins."""
    family: Mapping[str, type] = {}
    if kind == "diagnostic":
        from exo2micro.plotting import DIAGNOSTICS as family  # noqa: N811
    elif kind == "scale_estimator":
        from exo2micro.subtraction.scale import SCALE_ESTIMATORS as family  # noqa: N811
    elif kind == "reader":
        from exo2micro.raw.readers import RawReader

        family = RawReader.__registry__
    # Functions of the store join their families while they are in use.
    return frozenset(n for n, cls in family.items() if not cls.__module__.startswith(MODULE_PREFIX))
