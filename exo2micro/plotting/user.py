"""A user's own plot function as a diagnostic."""

import hashlib
import inspect
import re
from abc import ABC
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from exo2micro._typing import FloatImage
from exo2micro.errors import ParameterError
from exo2micro.plotting import DIAGNOSTICS
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.overviews import display_factor, overview

PlotFunction = Callable[..., object]
"""``(post_im, pre_im, *, sample, dye, save_path=None)`` that returns a figure."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class FunctionDiagnostic(Diagnostic, ABC):
    """A diagnostic that calls a plain function; ABC keeps it out of the registry.

    Parameters
    ----------
    function : callable
        Takes post and finally aligned pre as arrays of float32 of at most 4 Mpx, cut to the post
        image, and the keywords ``sample`` and ``dye``; returns a figure.
    name : str
        Name of the picture's file.
    caption : str
        What it shows.
    """

    def __init__(self, function: PlotFunction, name: str, caption: str) -> None:
        self.function = function
        # On the instance: the class serves many functions.
        vars(self).update(name=name, shows=caption)
        self.code_hash = _hash_of(function)

    def draw(self, view: PairView) -> Figure:
        """Return what the function draws.

        Raises
        ------
        ParameterError
            If it returns something else than a figure.
        """
        return drawn_by(self.function, str(self.name), view)


def drawn_by(
    function: PlotFunction, name: str, view: PairView, *, full_resolution: bool = False
) -> Figure:
    """Return the figure that a user's function draws.

    Parameters
    ----------
    function : callable
        Takes post and pre as arrays, and the keywords ``sample`` and ``dye``.
    name : str
        Its name, for the message.
    view : PairView
        The pair.
    full_resolution : bool
        Hand over the images as they are instead of overviews.

    Raises
    ------
    ParameterError
        If it returns something else than a figure.
    """
    post, pre = whole_images(view) if full_resolution else user_overviews(view)
    figure = function(post, pre, sample=view.sample, dye=view.dye)
    if not isinstance(figure, Figure):
        msg = (
            f"the diagnostic function {name} must return a matplotlib Figure, got "
            f"{type(figure).__name__}; end it with `return fig`"
        )
        raise ParameterError(msg)
    return figure


def user_overviews(view: PairView) -> tuple[FloatImage, FloatImage]:
    """Return post and finally aligned pre, reduced to at most 4 Mpx and cut to the post image."""
    rows, cols = view.window
    factor = display_factor((rows.stop - rows.start, cols.stop - cols.start))
    return (
        overview(view.post, view.window, factor).values,
        overview(view.pre, view.window, factor).values,
    )


def whole_images(view: PairView) -> tuple[FloatImage, FloatImage]:
    """Return post and finally aligned pre at full resolution, cut to the post image."""
    return (
        view.post.read(*view.window).astype(np.float32),
        view.pre.read(*view.window).astype(np.float32),
    )


def full_resolution_bytes(shape: tuple[int, int]) -> int:
    """Return the memory that a diagnostic at full resolution needs for images of a shape."""
    return 3 * 2 * 4 * shape[0] * shape[1]  # both images, float32, and as much twice for the plot


def diagnostic_from_function(
    func: PlotFunction, name: str | None = None, *, caption: str = ""
) -> Diagnostic:
    """Make a diagnostic of a plain function.

    Parameters
    ----------
    func : callable
        ``func(post_im, pre_im, *, sample, dye, save_path=None)`` returning a
        `matplotlib.figure.Figure`. It gets arrays of float32, shape ``(ny, nx)``, of at most
        4 Mpx: the post-stain image and the finally aligned pre-stain image beside it, averaged
        over blocks of pixels where the slide is larger.
    name : str, optional
        Name of the picture's file, lower-case letters, digits and ``_``; None: the function's.
    caption : str
        What the picture shows; empty: the first line of the function's docstring.

    Returns
    -------
    Diagnostic
        An instance to hand to `SampleDye`; it is not entered in the registry.

    Raises
    ------
    ParameterError
        If the function cannot be called that way, or the name is not usable or is taken.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> def brightness(post_im, pre_im, *, sample, dye, save_path=None):
    ...     fig = Figure()
    ...     fig.subplots().hist(post_im.ravel())
    ...     return fig
    >>> diagnostic_from_function(brightness).name
    'brightness'
    """
    chosen = name if name is not None else getattr(func, "__name__", "")
    if not _NAME.fullmatch(chosen):
        msg = (
            f"a diagnostic's name consists of a-z, 0-9 and _, got {chosen!r}; "
            "give one: diagnostic_from_function(func, name='my_plot')"
        )
        raise ParameterError(msg)
    if chosen in DIAGNOSTICS:
        msg = f"the diagnostic name {chosen!r} is taken by the package; give another name"
        raise ParameterError(msg)
    _check_signature(func, chosen)
    return FunctionDiagnostic(func, chosen, caption or _first_line(func))


def _check_signature(func: PlotFunction, name: str) -> None:
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # some built-in callables cannot be looked into
        return
    try:
        signature.bind(None, None, sample="", dye="")
    except TypeError as error:
        msg = (
            f"the diagnostic function {name}{signature} cannot be called as (post_im, pre_im, "
            f"sample=..., dye=...): {error}; define it as "
            f"def {name}(post_im, pre_im, *, sample, dye, save_path=None)"
        )
        raise ParameterError(msg) from error


def _first_line(func: PlotFunction) -> str:
    return (inspect.getdoc(func) or "").partition("\n")[0]


def _hash_of(func: PlotFunction) -> str:
    """Return a hash that changes with the function's text, or with its code if there is none."""
    try:
        content = inspect.getsource(func).encode()
    except (OSError, TypeError):
        code = getattr(func, "__code__", None)
        content = (
            repr(func).encode() if code is None else code.co_code + repr(code.co_names).encode()
        )
    return hashlib.sha256(content).hexdigest()
