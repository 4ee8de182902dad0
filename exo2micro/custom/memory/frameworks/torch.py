"""Tensors of PyTorch."""

from typing import Any, ClassVar

from exo2micro._typing import Image
from exo2micro.custom.memory.base import MemoryType


class TorchMemory(MemoryType):
    """PyTorch tensors; devices as PyTorch calls them: ``cpu``, ``cuda:0``, ``mps``."""

    name = "torch"
    module: ClassVar[str] = "torch"
    array_modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"
    template: ClassVar[str] = '''\
@torch
def my_function(image: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Blend every plane with its mean over 3 x 3 pixels.

    image has the shape (C, Y, X) and arrives as a PyTorch tensor; return a tensor of the same
    shape. Values are never rescaled; what you return is what is kept.
    """
    from torch.nn.functional import avg_pool2d

    values = image.float()
    smooth = avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    return values + strength * (smooth - values)
'''

    def from_host(self, array: Image, device: str | None) -> Any:  # noqa: ANN401
        """Copy into a tensor."""
        try:
            return self.framework().tensor(array, device=device)
        except (RuntimeError, AssertionError) as error:
            if device is None:
                raise
            self.refuse_device(device, error)

    def to_host(self, array: Any) -> Image:  # noqa: ANN401
        """Copy to main memory, out of any gradient."""
        host: Image = array.detach().cpu().numpy()
        return host

    def from_dlpack(self, array: Any, device: str | None) -> Any:  # noqa: ANN401
        """Take over an array where it lies, and move it if asked."""
        tensor = self.framework().from_dlpack(array)
        return tensor if device is None else tensor.to(device)
