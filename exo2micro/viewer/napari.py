"""Handing a slide over to napari, if that is installed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import MissingPackageError
from exo2micro.plotting.colour_tables import colour_table
from exo2micro.viewer.layers import Layer
from exo2micro.viewer.objects import read_objects

if TYPE_CHECKING:
    from exo2micro.viewer.slide import Slide

_STEP: Final = 4
_SMALLEST_PX: Final = 512
_SHOWN: Final = ("post", "difference")


@dataclass(frozen=True)
class Level:
    """One resolution of a layer, as an array that is read where it is looked at.

    Attributes
    ----------
    layer : Layer
        The image.
    factor : int
        Reduction.
    """

    layer: Layer
    factor: int
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Size in pixels of this resolution, ``(ny, nx)``."""
        ny, nx = self.layer.raster.shape
        return -(-ny // self.factor), -(-nx // self.factor)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(np.uint8 if self.layer.kind == "flags" else np.float32)

    def __getitem__(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - as NumPy takes it
        parts = key if isinstance(key, tuple) else (key, slice(None))
        spans = [_span(part, size) for part, size in zip(parts, self.shape, strict=True)]
        rows, cols = (span for span, _ in spans)
        window = self.layer.overview.read_reduced(rows, cols, self.factor)
        cut: NDArray[Any] = window.astype(self.dtype)[tuple(rest for _, rest in spans)]
        return cut

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401
        return np.asarray(self[:, :], dtype)


def open_in_napari(slide: "Slide") -> None:
    """Open all layers of a slide in napari, with their scale, and return when it is closed.

    Raises
    ------
    MissingPackageError
        If napari is not installed.
    """
    try:
        import napari
    except ImportError:
        msg = (
            "napari is not installed; install it with: pip install 'exo2micro[napari]', or leave "
            "--napari out to look in the browser"
        )
        raise MissingPackageError(msg) from None
    size = slide.pixel_size_um
    scale = (1.0, 1.0) if size is None else (size[1], size[0])
    viewer = napari.Viewer(title=f"{slide.sample} / {slide.dye}: {slide.verdict.status}")
    for layer in slide.layers.values():
        _add(viewer, napari, layer, scale)
    if slide.objects is not None:
        table = read_objects(slide.objects)
        viewer.add_points(
            np.column_stack([table["y"], table["x"]]),
            features={name: np.asarray(table[name]) for name in ("id", "flux", "snr", "flags")},
            name="objects",
            scale=scale,
            size=8,
            face_color="transparent",
            border_color="#E69F00",
        )
    viewer.scale_bar.visible = True
    viewer.scale_bar.unit = "px" if size is None else "um"
    napari.run()


def _add(viewer: Any, napari: Any, layer: Layer, scale: tuple[float, float]) -> None:  # noqa: ANN401
    """Add one layer; the flags as labels."""
    levels = [Level(layer, 1)]
    while max(levels[-1].shape) > _SMALLEST_PX:
        levels.append(Level(layer, levels[-1].factor * _STEP))
    common = {
        "name": layer.title,
        "scale": scale,
        "multiscale": True,
        "visible": layer.name in _SHOWN,
    }
    if layer.kind == "flags":
        viewer.add_labels(levels, **common)
        return
    colours = colour_table(layer.colours[0]) / 255
    colormap = napari.utils.Colormap(colours, name=layer.colours[0])
    viewer.add_image(levels, contrast_limits=layer.limits, colormap=colormap, **common)


def _span(part: Any, size: int) -> tuple[slice, Any]:  # noqa: ANN401 - a number or a slice
    """Return the window to read for one axis, and what is to be cut from it."""
    if not isinstance(part, slice):
        place = int(part) % size
        return slice(place, place + 1), 0
    start, stop, step = part.indices(size)
    return slice(start, max(start, stop)), slice(None, None, step)
