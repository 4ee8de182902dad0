"""A trial run on a small synthetic pair: what no look at the source can tell."""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.function import CustomFunction, snippet
from exo2micro.custom.memory import memory_type, memory_type_of, run_function
from exo2micro.errors import (
    CustomFunctionError,
    FrameworkMissingError,
    MemoryTypeError,
    ValidationError,
)

TRIAL_SHAPE: Final = (48, 64)
"""Rows and columns: not square, so that swapped axes are noticed."""

_RATIO: Final = 1.8
_FAR_OFF: Final = 0.2
"""An estimator that is wrong by more on a plain pair may have post and pre confused."""


class _TrialError(Exception):
    """A result breaks a rule; the message is for the user."""


def try_function(function: CustomFunction) -> list[str]:
    """Run a function on a small synthetic pair and return what is worth a warning.

    Parameters
    ----------
    function : CustomFunction
        The function; it is loaded, that is its source is executed.

    Raises
    ------
    ValidationError
        If it cannot be loaded or run, returns something else than its kind asks for, or changes
        the images it is given.
    """
    trial = _TRIALS.get(function.kind)
    missing = _missing_framework(function)
    with _explained(function), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = function.load()
        if missing:
            remarks = [f"{function.name} was not tried out: {missing} is not installed here"]
        else:
            remarks = [] if trial is None else trial(function, loaded)
    said = dict.fromkeys(f"{function.name}: {w.category.__name__}: {w.message}" for w in caught)
    return [*remarks, *said]


def _missing_framework(function: CustomFunction) -> str:
    """Return the module that a function's memory type needs and that is not installed."""
    if not function.memory_type:
        return ""
    module = memory_type(function.memory_type).module
    return module if module and importlib.util.find_spec(module) is None else ""


@contextmanager
def _explained(function: CustomFunction) -> Iterator[None]:
    """Turn whatever the user's code raises into an error with the line that raised it."""
    try:
        yield
    except _TrialError as error:
        raise _error(function, function.line_number, str(error)) from None
    except FrameworkMissingError as error:
        raise _error(function, function.line_number, str(error)) from error
    except (Exception, SystemExit) as error:
        cause = error.__cause__ if isinstance(error, CustomFunctionError) else error
        cause = cause or error
        line = function.line_of(cause) or function.line_number
        message = f"{function.name!r} fails when it is tried out: {type(cause).__name__}: {cause}"
        raise _error(function, line, message) from error


def _error(function: CustomFunction, line: int, message: str) -> ValidationError:
    return ValidationError(message, line, snippet(function.code, line))


def _try_image(function: CustomFunction, loaded: Callable[..., Any]) -> list[str]:
    """Try one image, or a pair where the function wants one, as floats and as whole numbers."""
    pair = trial_pair()
    try:
        images = pair[:1]
        remarks = _run_image(function, loaded, images)
    except (_TrialError, Exception) as first:  # noqa: BLE001 - whatever the user's code raises
        images = pair
        try:
            remarks = _run_image(function, loaded, images)
        except (_TrialError, Exception):  # noqa: BLE001
            raise first from None
    counts = np.rint(images).astype(np.uint16)
    try:
        remarks += _run_image(function, loaded, counts)
    except Exception as error:  # noqa: BLE001
        remarks.append(f"{function.name} fails with whole numbers (uint16): {error}")
    return list(dict.fromkeys(remarks))


def _run_image(function: CustomFunction, loaded: Callable[..., Any], image: Image) -> list[str]:
    """Run a function on one image and return what is worth a warning."""
    results = []
    for _ in range(2):
        given = image.copy()
        try:
            outcome = run_function(loaded, given)
        except MemoryTypeError as error:
            msg = f"{function.name!r} must return an image or (image, metadata): {error}"
            raise _TrialError(msg) from None
        if not np.array_equal(given, image):
            msg = f"{function.name!r} changes the image it is given; work on image.copy()"
            raise _TrialError(msg)
        results.append(_checked_image(function, outcome.image, image))
    remarks = list(_value_remarks(function, results[0], image))
    if not np.array_equal(results[0], results[1]):
        remarks.append(
            f"{function.name} gives another result each time; seed its random numbers: "
            "np.random.default_rng(0)"
        )
    return remarks


def _checked_image(function: CustomFunction, result: Any, image: Image) -> Image:  # noqa: ANN401
    array = np.asarray(memory_type_of(result).to_host(result))
    if array.shape != image.shape:
        msg = (
            f"{function.name!r} must return an image of the shape it is given, "
            f"{image.shape} (C, Y, X), got {array.shape}"
        )
        raise _TrialError(msg)
    if array.dtype.kind not in "buif":
        msg = f"{function.name!r} must return real numbers, got {array.dtype}"
        raise _TrialError(msg)
    n_bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if n_bad:
        msg = f"{function.name!r} returns {n_bad} pixels that are NaN or infinite; keep them finite"
        raise _TrialError(msg)
    return array


def _value_remarks(function: CustomFunction, result: Image, image: Image) -> Iterator[str]:
    name, given, got = function.name, image.dtype, result.dtype
    if got == np.bool_:
        yield f"{name} returns truth values (bool); they are taken as 0 and 1"
    elif got != given:
        yield f"{name} is given {given} and returns {got}; nothing is rescaled or cast unasked"
        if got.kind == "f" and given.kind == "u" and result.max() <= 1 < image.max():
            yield (
                f"{name} is given counts up to {image.max()} and returns values up to "
                f"{result.max():.3g}: a function that rescales images? give it floats, or "
                "preserve_range=True"
            )


def _try_diagnostic(function: CustomFunction, loaded: Callable[..., Any]) -> list[str]:
    post, pre = trial_pair()
    given = post.copy(), pre.copy()
    figure = loaded(*given, sample="trial", dye="trial")
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all" if figure is None else figure)
    if not any(c.__name__ == "Figure" for c in type(figure).__mro__):
        msg = (
            f"{function.name!r} must return a matplotlib Figure, got {type(figure).__name__}; "
            "end it with `return fig`"
        )
        raise _TrialError(msg)
    if not (np.array_equal(given[0], post) and np.array_equal(given[1], pre)):
        msg = f"{function.name!r} changes the images it is given; work on copies"
        raise _TrialError(msg)
    return []


def _try_scale_estimator(function: CustomFunction, loaded: Callable[..., Any]) -> list[str]:
    post, pre = (plane.reshape(-1, 16).mean(axis=1, dtype=np.float64) for plane in trial_pair())
    given = post.copy(), pre.copy()
    scale = loaded(*given)
    if isinstance(scale, bool) or not np.isscalar(scale) or not np.isreal(scale):
        msg = f"{function.name!r} must return one number, got {type(scale).__name__}"
        raise _TrialError(msg)
    if not 0 < float(scale) < np.inf:  # type: ignore[arg-type]
        msg = f"{function.name!r} must return a finite scale > 0, got {scale!r}"
        raise _TrialError(msg)
    if not (np.array_equal(given[0], post) and np.array_equal(given[1], pre)):
        msg = f"{function.name!r} changes the arrays it is given; work on copies"
        raise _TrialError(msg)
    if abs(float(scale) / _RATIO - 1) > _FAR_OFF:  # type: ignore[arg-type]
        return [
            f"{function.name} says {float(scale):.3g} for a pair of ratio {_RATIO}"  # type: ignore[arg-type]
        ]
    return []


@cache
def trial_pair() -> Image:
    """Return post and pre, float32, shape ``(2, ny, nx)``: a grainy rock with a few microbes."""
    random = np.random.default_rng(20)
    rock = 60 + 40 * random.random((TRIAL_SHAPE[0] // 4, TRIAL_SHAPE[1] // 4))
    pre = np.kron(rock, np.ones((4, 4)))
    post = _RATIO * pre
    for row, col in ((10, 12), (30, 50), (38, 20)):
        post[row : row + 3, col : col + 3] += 120
    pair = np.stack([post, pre]) + random.normal(0, 2, (2, *TRIAL_SHAPE))
    pair = pair.astype(np.float32)
    pair.flags.writeable = False
    return pair


_TRIALS: Final[dict[str, Callable[[CustomFunction, Callable[..., Any]], list[str]]]] = {
    "image": _try_image,
    "diagnostic": _try_diagnostic,
    "scale_estimator": _try_scale_estimator,
}
"""A reader needs a file of its own format: it is loaded, not run."""
