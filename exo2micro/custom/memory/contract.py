"""What a decorated function declares, and how it is called by that."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from exo2micro.custom.memory.base import HOST, convert, memory_type_of
from exo2micro.custom.memory.casting import SAME, cast
from exo2micro.errors import MemoryTypeError

OPTIONS = ("device", "slice_by_slice", "dtype")
"""Keywords of a call that change the contract for that call."""

Halo = int | Callable[..., float] | None


@dataclass(frozen=True)
class MemoryContract:
    """What a function wants and gives.

    Attributes
    ----------
    input_memory_type, output_memory_type : str
        Memory type of the image that it takes, and of the one that a call returns.
    device : str, optional
        Where the image shall lie; None: the framework's default.
    slice_by_slice : bool
        Call it with one plane ``(Y, X)`` after the other instead of ``(C, Y, X)``.
    dtype : str, optional
        Type that the result is cast to: rounded, clipped and reported. ``input`` is the type of
        the image given; None: whatever the function returns.
    halo : int or callable, optional
        How many pixels around a window its result depends on; a callable gets the parameters as
        keywords. None: the function must see the whole image.
    """

    input_memory_type: str
    output_memory_type: str
    device: str | None = None
    slice_by_slice: bool = False
    dtype: str | None = None
    halo: Halo = None

    def halo_px(self, parameters: Mapping[str, Any]) -> int | None:
        """Return the halo for these parameter values, None where the whole image is needed.

        Raises
        ------
        MemoryTypeError
            If it is no number of pixels.
        """
        halo = self.halo(**parameters) if callable(self.halo) else self.halo
        if halo is None:
            return None
        if isinstance(halo, bool) or not np.isreal(halo) or not 0 <= halo < np.inf:
            msg = f"halo must be a number of pixels >= 0, got {halo!r}; omit it for whole images"
            raise MemoryTypeError(msg)
        return int(np.ceil(halo))


@dataclass(frozen=True)
class Outcome:
    """What a call gave.

    Attributes
    ----------
    image : array
        The result, in the output memory type.
    metadata : mapping
        What the function returned beside it; empty if nothing.
    remarks : tuple of str
        What happened to the values on the way, in words.
    """

    image: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def contract_of(function: Callable[..., Any]) -> MemoryContract:
    """Return a decorated function's contract; a plain function works on NumPy arrays."""
    contract = getattr(function, "memory_contract", None)
    return contract if isinstance(contract, MemoryContract) else MemoryContract(HOST, HOST)


def call(
    function: Callable[..., Any],
    image: Any,  # noqa: ANN401
    contract: MemoryContract,
    *positional: Any,  # noqa: ANN401
    **parameters: Any,  # noqa: ANN401
) -> Outcome:
    """Call a function by a contract: convert the image, call, convert and cast the result.

    Parameters
    ----------
    function : callable
        The user's own function, not decorated.
    image : array
        Of any memory type; ``(C, Y, X)``, or ``(Y, X)`` with `slice_by_slice`.
    contract : MemoryContract
        What it wants.
    *positional, **parameters
        Further arguments of the function.
    """
    moved = convert(image, contract.input_memory_type, contract.device)
    remarks = _changes(image, moved)
    if contract.slice_by_slice and len(image.shape) > 2:
        result, metadata = _by_slices(function, moved, positional, parameters)
    else:
        result, metadata = _split(function(moved, *positional, **parameters))
    if contract.dtype is not None:
        host = memory_type_of(result).to_host(result)
        wanted = _dtype_name(image) if contract.dtype == SAME else contract.dtype
        result, report = cast(host, wanted)
        if report.rounded or report.clipped:
            remarks.append(str(report))
    return Outcome(convert(result, contract.output_memory_type), metadata, tuple(remarks))


def options_for(
    function: Callable[..., Any], contract: MemoryContract, keywords: dict[str, Any]
) -> MemoryContract:
    """Take those keywords of a call that are not the function's own, and return the contract."""
    own = inspect.signature(function).parameters
    changes = {name: keywords.pop(name) for name in OPTIONS if name in keywords and name not in own}
    return replace(contract, **changes) if changes else contract


def _by_slices(
    function: Callable[..., Any],
    image: Any,  # noqa: ANN401
    positional: tuple[Any, ...],
    parameters: Mapping[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Return the planes' results as one NumPy stack, and their metadata by plane."""
    planes, metadata = [], {}
    for index in range(image.shape[0]):
        plane, found = _split(function(image[index], *positional, **parameters))
        planes.append(memory_type_of(plane).to_host(plane))
        if found:
            metadata[f"plane {index}"] = found
    return np.stack(planes), metadata


def _split(result: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
    """Return image and metadata of ``image`` or ``(image, metadata)``."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return result[0], dict(result[1])
    return result, {}


def _changes(before: Any, after: Any) -> list[str]:  # noqa: ANN401
    """Return in words what a framework did to the type of the pixels."""
    old, new = _dtype_name(before), _dtype_name(after)
    return [] if old == new else [f"{memory_type_of(after).name} holds {old} pixels as {new}"]


def _dtype_name(array: Any) -> str:  # noqa: ANN401
    """Return ``float32`` and the like, however the framework calls it."""
    dtype = array.dtype
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return str(name or dtype).rpartition(".")[2]
