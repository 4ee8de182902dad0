"""The decorators by which a function says where it wants its image: ``@numpy``, ``@torch`` ..."""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from exo2micro.custom.memory.contract import (
    Halo,
    MemoryContract,
    Outcome,
    call,
    contract_of,
    options_for,
)

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


@dataclass(frozen=True)
class MemoryDecorator:
    """Decorator for functions that work on arrays of one memory type.

    Use it plain, ``@torch``, or with options, ``@torch(device="cuda:0", halo=16)``; see
    `MemoryContract` for their meaning. A call converts the image that it is given and returns the
    result in `output_type`; ``device``, ``slice_by_slice`` and ``dtype`` may also be given in
    the call. The values are never rescaled.

    Attributes
    ----------
    name : str
        Memory type.
    """

    name: str

    @overload
    def __call__(self, function: Function) -> Function: ...

    @overload
    def __call__(
        self,
        *,
        output_type: str | None = None,
        device: str | None = None,
        slice_by_slice: bool = False,
        dtype: str | None = None,
        halo: Halo = None,
    ) -> Callable[[Function], Function]: ...

    def __call__(
        self,
        function: Function | None = None,
        *,
        output_type: str | None = None,
        device: str | None = None,
        slice_by_slice: bool = False,
        dtype: str | None = None,
        halo: Halo = None,
    ) -> Function | Callable[[Function], Function]:
        """Decorate a function, or return the decorator with these options."""
        contract = MemoryContract(
            self.name, output_type or self.name, device, slice_by_slice, dtype, halo
        )
        decorate = functools.partial(_decorated, contract=contract)
        return decorate if function is None else decorate(function)


def _decorated(function: Function, contract: MemoryContract) -> Function:
    @functools.wraps(function)
    def converted(image: Any, *positional: Any, **keywords: Any) -> Any:  # noqa: ANN401
        now = options_for(function, contract, keywords)
        outcome = call(function, image, now, *positional, **keywords)
        for remark in outcome.remarks:
            logger.warning("%s: %s", function.__name__, remark)
        return (outcome.image, outcome.metadata) if outcome.metadata else outcome.image

    vars(converted).update(
        input_memory_type=contract.input_memory_type,
        output_memory_type=contract.output_memory_type,
        backend=contract.input_memory_type,
        memory_contract=contract,
    )
    return converted


def run_function(
    function: Function,
    image: Any,  # noqa: ANN401
    **keywords: Any,  # noqa: ANN401
) -> Outcome:
    """Call a decorated or plain function and return its image with metadata and remarks.

    Parameters
    ----------
    function : callable
        A function of an image ``(C, Y, X)``.
    image : array
        Of any memory type.
    **keywords
        Parameters of the function; ``device``, ``slice_by_slice`` and ``dtype`` for this call.
    """
    plain = getattr(function, "__wrapped__", function)
    contract = options_for(plain, contract_of(function), keywords)
    return call(plain, image, contract, **keywords)


numpy = numpy_memory = MemoryDecorator("numpy")
cupy = cupy_memory = MemoryDecorator("cupy")
torch = torch_memory = MemoryDecorator("torch")
tensorflow = tensorflow_memory = MemoryDecorator("tensorflow")
jax = jax_memory = MemoryDecorator("jax")
pyclesperanto = pyclesperanto_memory = MemoryDecorator("pyclesperanto")
