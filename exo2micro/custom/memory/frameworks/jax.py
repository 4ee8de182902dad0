"""Arrays of JAX."""

from typing import Any, ClassVar

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class JaxMemory(MemoryType):
    """JAX arrays; devices are ``cpu``, ``cpu:1``, ``gpu:0`` ..."""

    name = "jax"
    module: ClassVar[str] = "jax"
    array_modules: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")
    extra: ClassVar[str] = "jax"
    template: ClassVar[str] = '''\
@jax
def my_function(image: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Blend every plane with its mean over 3 x 3 pixels.

    image has the shape (C, Y, X) and arrives as a JAX array; return an array of the same shape.
    Values are never rescaled; what you return is what is kept.
    """
    import jax.numpy as jnp

    values = image.astype(jnp.float32)
    ny, nx = values.shape[-2:]
    wide = jnp.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = sum(wide[:, y : y + ny, x : x + nx] for y in range(3) for x in range(3)) / 9
    return values + strength * (smooth - values)
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Copy into a JAX array."""
        return self.framework().device_put(array.copy(), self._device(device))

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Copy to main memory."""
        return np.asarray(array)

    def from_dlpack(self, array: Any, device: str | None) -> Any:  # noqa: ANN401
        """Take over an array where it lies, and move it if asked."""
        jax = self.framework()
        taken = jax.numpy.from_dlpack(array)
        return taken if device is None else jax.device_put(taken, self._device(device))

    def _device(self, device: str | None) -> Any:  # noqa: ANN401
        if device is None:
            return None
        platform, _, number = device.partition(":")
        try:
            return self.framework().devices(platform)[int(number or 0)]
        except (RuntimeError, IndexError, ValueError) as error:
            self.refuse_device(device, error)
