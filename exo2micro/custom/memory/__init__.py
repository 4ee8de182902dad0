"""Memory types of custom functions: NumPy, CuPy, PyTorch, TensorFlow, JAX, pyclesperanto.

A decorator says where a function wants its image: ``@torch def f(image, sigma=1.0): ...``. The
image is converted with each call; a framework is imported only then.
"""

from typing import TYPE_CHECKING, Any

from exo2micro.custom.memory.base import (
    HOST,
    MEMORY_TYPES,
    MemoryType,
    convert,
    memory_type,
    memory_type_of,
)
from exo2micro.custom.memory.casting import CastReport, cast
from exo2micro.custom.memory.contract import MemoryContract, Outcome, contract_of
from exo2micro.custom.memory.decorators import (
    MemoryDecorator,
    cupy,
    cupy_memory,
    jax,
    jax_memory,
    numpy,
    numpy_memory,
    pyclesperanto,
    pyclesperanto_memory,
    run_function,
    tensorflow,
    tensorflow_memory,
    torch,
    torch_memory,
)

if TYPE_CHECKING:
    AVAILABLE_MEMORY_TYPES: tuple[str, ...]

__all__ = [
    "AVAILABLE_MEMORY_TYPES",
    "HOST",
    "MEMORY_TYPES",
    "CastReport",
    "MemoryContract",
    "MemoryDecorator",
    "MemoryType",
    "Outcome",
    "cast",
    "contract_of",
    "convert",
    "cupy",
    "cupy_memory",
    "get_default_template",
    "get_template_for_memory_type",
    "jax",
    "jax_memory",
    "memory_decorators",
    "memory_type",
    "memory_type_of",
    "numpy",
    "numpy_memory",
    "pyclesperanto",
    "pyclesperanto_memory",
    "run_function",
    "tensorflow",
    "tensorflow_memory",
    "torch",
    "torch_memory",
]


def get_default_template() -> str:
    """Return the source of a function on NumPy arrays, for a user to begin with."""
    return get_template_for_memory_type(HOST)


def get_template_for_memory_type(name: str) -> str:
    """Return the source of a function for a memory type, for a user to begin with.

    Raises
    ------
    MemoryTypeError
        If there is no such type.
    """
    return memory_type(name).template


def memory_decorators() -> dict[str, MemoryDecorator]:
    """Return every decorator by the names under which a function's source may use it."""
    found = {name: MemoryDecorator(name) for name in MEMORY_TYPES}
    return found | {f"{name}_memory": decorator for name, decorator in found.items()}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the types of plugins join on first use
    if name == "AVAILABLE_MEMORY_TYPES":
        return tuple(sorted(MEMORY_TYPES))
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
