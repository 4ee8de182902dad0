"""Arrays of pyclesperanto on an OpenCL device."""

from typing import Any, ClassVar

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class PyclesperantoMemory(MemoryType):
    """Arrays of pyclesperanto; devices by a part of their name, as ``select_device`` takes it."""

    name = "pyclesperanto"
    module: ClassVar[str] = "pyclesperanto"
    array_modules: ClassVar[tuple[str, ...]] = ("pyclesperanto",)
    extra: ClassVar[str] = "pyclesperanto"
    template: ClassVar[str] = '''\
@pyclesperanto
def my_function(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Smooth every plane with a Gaussian of sigma pixels.

    image has the shape (C, Y, X) and arrives as a pyclesperanto array on the GPU; return an array
    of the same shape. Values are never rescaled; what you return is what is kept.
    """
    import pyclesperanto as cle

    return cle.gaussian_blur(image, sigma_x=sigma, sigma_y=sigma, sigma_z=0)
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Push to the device."""
        cle = self.framework()
        if device is None:
            return cle.push(array)
        try:
            return cle.push(array, device=cle.select_device(device))
        except (RuntimeError, ValueError) as error:
            self.refuse_device(device, error)

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Pull from the device."""
        return np.asarray(self.framework().pull(array))
