"""Post and pre in turn, as a picture that blinks by itself."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Picture

from exo2micro.errors import ParameterError
from exo2micro.plotting.figure import (
    DPI,
    WIDTH_IN,
    PlotFigure,
    figure_pixels,
    finish,
    style,
    titled,
)
from exo2micro.plotting.overviews import display_factor, matched_limits, overview, stretch
from exo2micro.plotting.pair import ImageLike, ImagePair, Window, image_pair
from exo2micro.plotting.places import window_around
from exo2micro.plotting.scale_bar import scale_bar
from exo2micro.raster.atomic import write_atomically

SIZE_PX: Final = 512
MAX_PX: Final = 600_000
"""Pixels of the whole slide's picture: about those that the figure has."""

SECONDS: Final = 0.5
"""How long each image stays: slow enough to look, fast enough for the eye to see a jump."""

EXTENSIONS: Final = (".gif", ".png")


class BlinkingFigure(PlotFigure):
    """A figure that shows several images in turn; a file of it is an animated GIF or PNG.

    Attributes
    ----------
    frames : list of tuple
        Title and image of each state, brightness 0 to 1, shape ``(ny, nx)``.
    seconds : float
        How long each stays.
    """

    frames: Sequence[tuple[str, NDArray[np.float32]]] = ()
    seconds: float = SECONDS

    def frame_pixels(self) -> list[NDArray[np.uint8]]:
        """Return every state of the figure as grey levels."""
        axes = self.axes[0]
        states = []
        for title, image in [*self.frames[1:], self.frames[0]]:  # ends with the first one shown
            with style():
                axes.set_title(title, loc="left")
            axes.images[0].set_data(image)
            states.append(figure_pixels(self)[..., 1])
        return [states[-1], *states[:-1]]

    def animated_bytes(self, extension: str) -> bytes:
        """Return the animation as the bytes of a ``.gif`` or ``.png``."""
        first, *others = (Picture.fromarray(np.ascontiguousarray(p)) for p in self.frame_pixels())
        options: dict[str, Any] = {"optimize": False}
        if extension == ".png":
            options = {"dpi": (DPI, DPI), "default_image": False}
        stream = io.BytesIO()
        first.save(
            stream,
            format=extension[1:],
            save_all=True,
            append_images=others,
            duration=round(1000 * self.seconds),
            loop=0,
            **options,
        )
        return stream.getvalue()

    def _repr_png_(self) -> bytes:
        return self.animated_bytes(".png")


def plot_flicker(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    centre: tuple[float, float] | None = None,
    size: int = SIZE_PX,
    seconds: float = SECONDS,
    pixel_size_um: float | None = None,
    window: Window | None = None,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Blink post and pre: what jumps or lights up is different in the two scans.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Post-stain and aligned pre-stain image, shape ``(ny, nx)``, counts of any type.
    centre : tuple of float, optional
        ``(x, y)`` in pixels of the images, the middle of a detail at full resolution; None: the
        whole window.
    size : int
        Side of the detail in pixels; moved and cut at the images' border.
    seconds : float
        How long each image stays.
    pixel_size_um : float, optional
        Width of a pixel, for the scale bar.
    window : tuple of slice, optional
        Rows and columns to look at; None: all.
    sample, dye : str
        For the title.
    save_path : str or Path, optional
        Where to save the animation (GIF, or PNG that is animated in browsers).

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it blinks in Jupyter. Both images share one display range, so that their
        common background looks the same.

    Raises
    ------
    ParameterError
        If the images, a number or the file type cannot be used.
    """
    if size < 1 or not seconds > 0:
        msg = f"size must be >= 1 px and seconds > 0, got {size!r} and {seconds!r}"
        raise ParameterError(msg)
    extension = "" if save_path is None else Path(save_path).suffix.lower()
    if save_path is not None and extension not in EXTENSIONS:
        msg = (
            f"an animation is saved as one of {', '.join(EXTENSIONS)}, got {str(save_path)!r}; "
            "give another file name"
        )
        raise ParameterError(msg)
    pair = image_pair(post_im, pre_im, window=window)
    post, pre, extent = _images(pair, centre, size)
    limits = matched_limits(post, pre)
    height, width = post.shape
    with style():
        height_in = min(9.0, WIDTH_IN * height / width) + 0.5
        figure = titled(
            BlinkingFigure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained"),
            "post and pre in turn",
            sample=sample,
            dye=dye,
        )
        figure.frames = [
            ("post-stain", stretch(post, limits[0])),
            ("pre-stain, aligned", stretch(pre, limits[1])),
        ]
        figure.seconds = seconds
        axes = figure.subplots()
        axes.imshow(figure.frames[0][1], cmap="gray", vmin=0, vmax=1, extent=extent)
        axes.set_title(figure.frames[0][0], loc="left")
        axes.set(xlabel="x (px)", ylabel="y (px)")
        scale_bar(axes, pixel_size_um)
        finish(figure, None)
    if save_path is not None:
        content = figure.animated_bytes(extension)
        write_atomically(Path(save_path), lambda path: _write(path, content))
    return figure


def _images(
    pair: ImagePair, centre: tuple[float, float] | None, size: int
) -> tuple[Any, Any, tuple[float, float, float, float]]:
    """Return post and pre of the place, and its extent in pixels of the images."""
    if centre is None:
        factor = display_factor(pair.shape, MAX_PX)
        post, pre = (overview(image, pair.window, factor) for image in (pair.post, pair.pre))
        return post.values, pre.values, post.extent
    rows, cols = window_around(centre, size, pair.post.shape)
    extent = cols.start - 0.5, cols.stop - 0.5, rows.stop - 0.5, rows.start - 0.5
    return pair.post.read(rows, cols), pair.pre.read(rows, cols), extent


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
