"""Sources to begin with, one for each kind of custom function."""

import re
from typing import Final

from exo2micro.custom.memory import get_default_template, get_template_for_memory_type
from exo2micro.errors import CustomFunctionError

_TEMPLATES: Final = {
    "diagnostic": '''from matplotlib.figure import Figure


@diagnostic(caption="How often each brightness occurs in the post-stain and pre-stain image.")
def my_plot(post_im, pre_im, *, sample, dye, save_path=None, bins=50):
    """Draw the histograms of both images, arrays (ny, nx) of at most 4 Mpx."""
    figure = Figure()
    axes = figure.subplots()
    axes.hist([post_im.ravel(), pre_im.ravel()], bins=bins, label=["post", "pre"])
    axes.set(title=f"{sample} {dye}", xlabel="counts", ylabel="pixels")
    axes.legend()
    return figure
''',
    "scale_estimator": '''@scale_estimator
def my_scale(post, pre):
    """Return by how much post is brighter than pre.

    Both are arrays of shape (n,): the counts of the same background blocks.
    """
    usable = pre > 0
    return float(np.median(post[usable] / pre[usable]))
''',
    "reader": '''@reader(suffixes=(".dat",))
def my_reader(path, page=None):
    """Return the image of a file of 16-bit numbers that begins with its rows and columns."""
    rows, columns = (int(n) for n in np.fromfile(path, np.uint16, count=2))
    return np.fromfile(path, np.uint16, offset=4).reshape(rows, columns)
''',
}

_DEF = re.compile(r"^def (\w+)\(", re.MULTILINE)


def get_template_for_kind(kind: str, name: str | None = None, memory_type: str = "") -> str:
    """Return the source of a function of a kind, for a user to begin with.

    Parameters
    ----------
    kind : str
        ``image``, ``diagnostic``, ``scale_estimator`` or ``reader``.
    name : str, optional
        Name that the function shall have.
    memory_type : str
        Memory type of a function on images; empty: NumPy.

    Raises
    ------
    CustomFunctionError
        If there is no such kind.
    """
    if kind == "image":
        default = not memory_type
        template = get_default_template() if default else get_template_for_memory_type(memory_type)
    elif kind in _TEMPLATES:
        template = _TEMPLATES[kind]
    else:
        kinds = ", ".join(("image", *_TEMPLATES))
        msg = f"the kinds of custom functions are {kinds}, got {kind!r}"
        raise CustomFunctionError(msg)
    return template if name is None else _DEF.sub(f"def {name}(", template, count=1)
