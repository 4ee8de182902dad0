"""File-name suffixes: the non-default parameters as text, and back."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from exo2micro.defaults import PARAMETER_REGISTRY, unknown_name_message
from exo2micro.errors import ParameterError, SuffixError

CUSTOM_STAGES = "custom_stages"
_CUSTOM_TOKEN = re.compile(r"_\+([A-Za-z_][A-Za-z0-9_]*)-([0-9a-f]{8})(?=_|$)")
_PARAMETER_TOKEN = re.compile(r"_([a-z][^_]*)(?=_|$)")


def build_suffix(params: Mapping[str, Any], stage: int | None = None) -> str:
    """Return the suffix of a file name for these parameters.

    Parameters
    ----------
    params : mapping
        Values by parameter name; missing ones count as default. ``custom_stages`` may hold
        ``(name, hash8)`` pairs of the active custom stages.
    stage : int, optional
        Leave out parameters of later stages than this one.

    Returns
    -------
    str
        One token ``_<abbreviation><value>`` for each non-default parameter in registry order, then
        one token ``_+<name>-<hash8>`` for each custom stage. Empty if all is default.

    Raises
    ------
    ParameterError
        For an unknown name or a value that is not allowed.
    """
    for name in params:
        if name not in PARAMETER_REGISTRY and name != CUSTOM_STAGES:
            raise ParameterError(unknown_name_message(name, PARAMETER_REGISTRY))
    tokens = []
    for name, row in PARAMETER_REGISTRY.items():
        if name not in params or (stage is not None and row.stage > stage):
            continue
        value = row.validated(params[name], name)
        if value != row.default:
            tokens.append(f"_{row.abbreviation}{row.format(value)}")
    custom: Sequence[tuple[str, str]] = params.get(CUSTOM_STAGES, ())
    for name, digest in custom:
        token = f"_+{name}-{digest}"
        if not _CUSTOM_TOKEN.fullmatch(token):
            msg = f"a custom stage is (identifier, 8 hexadecimal digits), got {(name, digest)!r}"
            raise ParameterError(msg)
        tokens.append(token)
    return "".join(tokens)


def params_from_suffix(suffix: str) -> dict[str, Any]:
    """Return the non-default parameters that a suffix tells; the inverse of `build_suffix`.

    Parameters
    ----------
    suffix : str
        As `build_suffix` returns it.

    Returns
    -------
    dict
        Values by parameter name, in registry order, and ``custom_stages`` as a list of
        ``(name, hash8)`` if there are any.

    Raises
    ------
    SuffixError
        If the suffix holds an unknown token or is not what `build_suffix` would write.
    """
    params: dict[str, Any] = {}
    custom: list[tuple[str, str]] = []
    position = 0
    while position < len(suffix):
        if match := _CUSTOM_TOKEN.match(suffix, position):
            custom.append((match[1], match[2]))
        elif match := _PARAMETER_TOKEN.match(suffix, position):
            name, value = _decode(match[1], suffix)
            params[name] = value
        else:
            msg = f"cannot read {suffix[position:]!r} in suffix {suffix!r}"
            raise SuffixError(msg)
        position = match.end()
    if custom:
        params[CUSTOM_STAGES] = custom
    canonical = build_suffix(params)
    if canonical != suffix:
        msg = f"suffix {suffix!r} is not in its one valid form, which would be {canonical!r}"
        raise SuffixError(msg)
    return {n: params[n] for n in (*PARAMETER_REGISTRY, CUSTOM_STAGES) if n in params}


def _decode(token: str, suffix: str) -> tuple[str, Any]:
    """Return name and value of one parameter token."""
    for name, row in PARAMETER_REGISTRY.items():
        if not token.startswith(row.abbreviation):
            continue
        text = token[len(row.abbreviation) :]
        try:
            value = row.parse(text)
        except ParameterError:
            continue
        if row.format(value) == text:
            return name, value
    msg = (
        f"unknown token {token!r} in suffix {suffix!r}: no parameter of this installation writes "
        "it (`exo2micro params` lists them); it may come from another version or from a plugin"
    )
    raise SuffixError(msg)
