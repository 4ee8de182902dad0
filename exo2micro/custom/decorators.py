"""Decorators that say what a custom function is for; each attaches attributes and no more.

Functions on images are marked by their memory type instead, see `exo2micro.custom.memory`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def diagnostic(function: Function) -> Function: ...


@overload
def diagnostic(
    *, caption: str = "", full_resolution: bool = False
) -> Callable[[Function], Function]: ...


def diagnostic(
    function: Function | None = None, *, caption: str = "", full_resolution: bool = False
) -> Function | Callable[[Function], Function]:
    """Mark ``f(post_im, pre_im, *, sample, dye, save_path=None) -> Figure`` as a diagnostic plot.

    Parameters
    ----------
    function : callable, optional
        The function, where the decorator stands without parentheses.
    caption : str
        What the picture shows; empty: the first line of the function's docstring.
    full_resolution : bool
        Whether it gets the images as they are, not overviews of at most 4 Mpx.
    """
    return _apply(function, "diagnostic", {"caption": caption, "full_resolution": full_resolution})


@overload
def scale_estimator(function: Function) -> Function: ...


@overload
def scale_estimator() -> Callable[[Function], Function]: ...


def scale_estimator(
    function: Function | None = None,
) -> Function | Callable[[Function], Function]:
    """Mark ``f(post, pre) -> float`` as a scale estimator.

    It gets the brightness of the same background blocks in both images, two arrays of float64 of
    shape ``(n,)`` in counts above the camera's pedestal, and returns by how much post is brighter,
    a number > 0.

    Parameters
    ----------
    function : callable, optional
        The function, where the decorator stands without parentheses.
    """
    return _apply(function, "scale_estimator", {})


def reader(*, suffixes: Sequence[str], priority: int = 0) -> Callable[[Function], Function]:
    """Mark ``f(path, page=None) -> array`` as a reader of raw files.

    It returns the whole image, ``(ny, nx)`` or ``(ny, nx, 3)``, as stored.

    Parameters
    ----------
    suffixes : sequence of str
        File name endings that it reads, in lower case with the dot: ``(".dat",)``.
    priority : int
        Rank among the readers for the same suffix; those of the package are below 0.
    """
    return _marker("reader", {"suffixes": tuple(suffixes), "priority": priority})


def _apply(
    function: Function | None, kind: str, options: dict[str, object]
) -> Function | Callable[[Function], Function]:
    mark = _marker(kind, options)
    return mark if function is None else mark(function)


def _marker(kind: str, options: dict[str, object]) -> Callable[[Function], Function]:
    def mark(target: Function) -> Function:
        vars(target).update(custom_kind=kind, **options)
        return target

    return mark
