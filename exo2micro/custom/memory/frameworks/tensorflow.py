"""Tensors of TensorFlow."""

from typing import Any, ClassVar

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class TensorflowMemory(MemoryType):
    """TensorFlow tensors; devices as TensorFlow calls them: ``cpu:0``, ``gpu:0``."""

    name = "tensorflow"
    module: ClassVar[str] = "tensorflow"
    array_modules: ClassVar[tuple[str, ...]] = ("tensorflow",)
    extra: ClassVar[str] = "tensorflow"
    template: ClassVar[str] = '''\
@tensorflow
def my_function(image: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Blend every plane with its mean over 3 x 3 pixels.

    image has the shape (C, Y, X) and arrives as a TensorFlow tensor; return a tensor of the same
    shape. Values are never rescaled; what you return is what is kept.
    """
    import tensorflow as tf

    values = tf.cast(image, tf.float32)
    smooth = tf.nn.avg_pool2d(values[..., None], 3, 1, "SAME")[..., 0]
    return values + strength * (smooth - values)
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Copy into a tensor."""
        framework = self.framework()
        if device is None:
            return framework.convert_to_tensor(array)
        try:
            with framework.device(device):
                return framework.convert_to_tensor(array)
        except (RuntimeError, ValueError) as error:
            self.refuse_device(device, error)

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Copy to main memory."""
        return np.asarray(array.numpy())

    def from_dlpack(self, array: Any, device: str | None) -> Any:  # noqa: ANN401
        """Take over an array where it lies."""
        if device is not None:
            return None
        return self.framework().experimental.dlpack.from_dlpack(array.__dlpack__())
