"""Ordinary arrays in main memory."""

from typing import Any, ClassVar

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class NumpyMemory(MemoryType):
    """NumPy arrays; always there."""

    name = "numpy"
    module: ClassVar[str] = "numpy"
    array_modules: ClassVar[tuple[str, ...]] = ("numpy",)
    template: ClassVar[str] = '''\
from scipy.ndimage import gaussian_filter


@numpy
def my_function(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Smooth every plane with a Gaussian of sigma pixels.

    image has the shape (C, Y, X): one plane for a stage, post and pre for a pair. Return an
    array of the same shape. Values are never rescaled; what you return is what is kept.
    """
    smooth = gaussian_filter(image.astype(np.float32), sigma=(0, sigma, sigma))
    return smooth
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Return the array itself."""
        if device not in (None, "cpu"):
            self.refuse_device(device or "", "it works in main memory only, 'cpu'")
        return array

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Return the array itself."""
        return np.asarray(array)
