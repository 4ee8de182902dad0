"""What the readers of vendor formats share: optional packages, planes, plain wording of errors."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from exo2micro.errors import RawReadError
from exo2micro.raw.image import COLOUR_NAMES

READ_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError)
"""What a damaged file makes the vendor packages raise."""


def import_optional(package: str, path: Path) -> ModuleType:
    """Import the package that reads a format, or raise RawReadError that says how to get it."""
    try:
        return import_module(package)
    except ImportError as error:
        msg = (
            f"{path} needs the package {package}, which is not installed ({error}): run "
            "pip install exo2micro[vendor], or export the scan as TIFF"
        )
        raise RawReadError(msg) from error


def unreadable(path: Path, error: Exception) -> RawReadError:
    """Return the error for a file that its package refuses."""
    msg = f"{path} cannot be read ({error}); the file is damaged or unusual: export it as TIFF"
    return RawReadError(msg)


def iter_planes(
    sizes: dict[str, int], channels: Sequence[str], skip: str = "YXS"
) -> Iterator[tuple[dict[str, int], str]]:
    """Yield positions along the axes that number planes, and a name for each, in file order.

    Parameters
    ----------
    sizes : dict
        Length of each axis by its letter.
    channels : sequence of str
        Names of the positions along ``C``; may be too short.
    skip : str
        Axes that lie within a plane.
    """
    axes = [a for a in sizes if a not in skip]
    for position in product(*(range(sizes[a]) for a in axes)):
        at = dict(zip(axes, position, strict=True))
        words = [
            channels[k] if axis == "C" and k < len(channels) else f"{axis}={k}"
            for axis, k in at.items()
        ]
        yield at, " ".join(words)


def supported_dtype(dtype: DTypeLike, path: Path) -> np.dtype[Any]:
    """Return the dtype in native order, or raise RawReadError if images here cannot have it."""
    result = np.dtype(dtype).newbyteorder("=")
    if result.kind not in "uf":
        msg = (
            f"{path} holds pixels of type {result}; supported are unsigned integers and floats: "
            "export it as 8- or 16-bit TIFF"
        )
        raise RawReadError(msg)
    return result


def colour_channels(n_samples: int, path: Path) -> tuple[str, ...]:
    """Return the names of the channels for a number of samples per pixel."""
    if n_samples == 1:
        return ("gray",)
    if n_samples in {3, 4}:
        return COLOUR_NAMES
    msg = f"{path} has {n_samples} samples per pixel; supported are 1, 3 and 4: export it as TIFF"
    raise RawReadError(msg)
