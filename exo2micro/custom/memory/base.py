"""The family of array-memory types: where an image lives and how it gets there."""

import contextlib
import importlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np

from exo2micro._typing import Image
from exo2micro.errors import FrameworkMissingError, MemoryTypeError
from exo2micro.registry import AutoRegisterMeta

HOST = "numpy"
"""The type of ordinary arrays, through which every other type can be reached."""


class MemoryType(metaclass=AutoRegisterMeta):
    """One array framework. It is imported only when an array is to be converted.

    Attributes
    ----------
    name : str
        Key of the family, and name of the decorator.
    module : str
        Module to import.
    array_modules : tuple of str
        First part of the module names of its array classes.
    extra : str
        Extra of this package that installs it; empty if it is always there.
    template : str
        Source of a function for this type, for a user to begin with.
    """

    __registry_key__ = "name"
    __registry_name__ = "memory type"
    __registry_policy__ = "error"
    __discovery_package__ = "exo2micro.custom.memory.frameworks"

    name: ClassVar[str | None] = None
    module: ClassVar[str] = ""
    array_modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    template: ClassVar[str] = ""

    @abstractmethod
    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Return a copy of a NumPy array in this framework, on a device or on its default one."""

    @abstractmethod
    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Return an array of this framework as a NumPy array."""

    def from_dlpack(self, array: Any, device: str | None) -> Any:  # noqa: ANN401, ARG002
        """Return an array of another framework without a detour, None where that cannot be."""
        return None

    def owns(self, array: Any) -> bool:  # noqa: ANN401
        """Tell whether an array is of this framework, which need not be imported for that."""
        return type(array).__module__.partition(".")[0] in self.array_modules

    def framework(self) -> Any:  # noqa: ANN401
        """Import the framework.

        Raises
        ------
        FrameworkMissingError
            If it is not installed.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            how = f"pip install 'exo2micro[{self.extra}]'" if self.extra else self.module
            msg = (
                f"a function for {self.name} arrays needs {self.module}, which cannot be imported "
                f"({error}); install it with: {how}"
            )
            raise FrameworkMissingError(msg) from error

    def refuse_device(self, device: str, error: object = "there is no such device") -> None:
        """Raise the error for a device that cannot be used."""
        msg = f"{self.name} cannot use the device {device!r}: {error}; leave it out or name another"
        raise MemoryTypeError(msg)


MEMORY_TYPES = cast("Mapping[str, type[MemoryType]]", MemoryType.__registry__)
"""Every known memory type by name, those of plugins included; found on first use."""


def memory_type(name: str) -> MemoryType:
    """Return a memory type.

    Raises
    ------
    MemoryTypeError
        If there is none of that name.
    """
    if name not in MEMORY_TYPES:
        msg = f"memory type must be one of {', '.join(sorted(MEMORY_TYPES))}, got {name!r}"
        raise MemoryTypeError(msg)
    return MEMORY_TYPES[name]()


def memory_type_of(array: Any) -> MemoryType:  # noqa: ANN401
    """Return the type of an array.

    Raises
    ------
    MemoryTypeError
        If it is an array of no known framework.
    """
    for cls in MEMORY_TYPES.values():
        found = cls()
        if found.owns(array):
            return found
    msg = (
        f"an image must be an array of {', '.join(sorted(MEMORY_TYPES))}, got "
        f"{type(array).__module__}.{type(array).__qualname__}"
    )
    raise MemoryTypeError(msg)


def convert(array: Any, target: str, device: str | None = None) -> Any:  # noqa: ANN401
    """Return an array in another memory type; its values are never changed.

    Between two accelerated frameworks it goes by DLPack where both can, else through NumPy.

    Parameters
    ----------
    array : array
        Of any known type.
    target : str
        Name of the memory type.
    device : str, optional
        Where it shall lie, in the framework's own words, such as ``cuda:0``.

    Raises
    ------
    MemoryTypeError
        For an unknown type or device.
    FrameworkMissingError
        If the framework is not installed.
    """
    source, wanted = memory_type_of(array), memory_type(target)
    if source.name == wanted.name and device is None:
        return array
    if HOST not in (source.name, wanted.name) and hasattr(array, "__dlpack__"):
        wanted.framework()
        with contextlib.suppress(BufferError, RuntimeError, TypeError, ValueError):
            direct = wanted.from_dlpack(array, device)
            if direct is not None:
                return direct
    return wanted.from_host(np.ascontiguousarray(source.to_host(array)), device)
