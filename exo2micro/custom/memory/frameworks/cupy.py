"""Arrays of CuPy on a CUDA device."""

from typing import Any, ClassVar

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class CupyMemory(MemoryType):
    """CuPy arrays; devices are numbers, ``cuda:0``."""

    name = "cupy"
    module: ClassVar[str] = "cupy"
    array_modules: ClassVar[tuple[str, ...]] = ("cupy",)
    extra: ClassVar[str] = "cupy"
    template: ClassVar[str] = '''\
@cupy
def my_function(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Smooth every plane with a Gaussian of sigma pixels.

    image has the shape (C, Y, X) and arrives as a CuPy array on the GPU; return an array of the
    same shape. Values are never rescaled; what you return is what is kept.
    """
    from cupyx.scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype("float32"), sigma=(0, sigma, sigma))
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Copy to the GPU."""
        cupy = self.framework()
        with cupy.cuda.Device(self._number(device)):
            return cupy.asarray(array)

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Copy from the GPU."""
        host: Image = self.framework().asnumpy(array)
        return host

    def from_dlpack(self, array: Any, device: str | None) -> Any:  # noqa: ANN401
        """Take over an array on the same GPU."""
        return self.framework().from_dlpack(array) if device is None else None

    def _number(self, device: str | None) -> int:
        text = (device or "cuda:0").removeprefix("cuda").removeprefix(":") or "0"
        if not text.isdigit():
            self.refuse_device(str(device), "devices are called cuda:0, cuda:1, ...")
        return int(text)
