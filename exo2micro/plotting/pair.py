"""The two images that a plot compares, given as arrays or rasters, with window and validity."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from exo2micro._typing import Image, Mask
from exo2micro.errors import ParameterError
from exo2micro.raster.base import Raster, as_raster

ImageLike: TypeAlias = Raster | Image
"""An image of shape ``(ny, nx)``: an array, or a raster that is read by window."""

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image, start and stop in pixels."""

Validity: TypeAlias = Raster | Mask | Callable[[slice, slice], Mask] | None
"""Where both images have data; None: where both are finite and not exactly 0."""


@dataclass(frozen=True)
class ImagePair:
    """Post-stain and aligned pre-stain image on one canvas.

    Attributes
    ----------
    post, pre : Raster
        Images of one shape.
    window : tuple of slice
        The part of the canvas to look at.
    valid : callable or None
        ``valid(rows, cols)`` tells where both images have data; None: where both are finite and
        not exactly 0.
    """

    post: Raster
    pre: Raster
    window: Window
    valid: Callable[[slice, slice], Mask] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the window, ``(ny, nx)``."""
        rows, cols = self.window
        return rows.stop - rows.start, cols.stop - cols.start

    def read(self, rows: slice, cols: slice) -> tuple[Image, Image, Mask]:
        """Return post, pre and where both have data, in a window of the canvas."""
        post, pre = self.post.read(rows, cols), self.pre.read(rows, cols)
        if self.valid is None:
            return post, pre, _has_data(post) & _has_data(pre)
        mask = np.asarray(self.valid(rows, cols), np.bool_)
        for image in (post, pre):
            if image.dtype.kind == "f":
                mask = mask & np.isfinite(image)
        return post, pre, mask


def image_pair(
    post_im: ImageLike,
    pre_im: ImageLike,
    *,
    window: Window | None = None,
    valid: Validity = None,
) -> ImagePair:
    """Return the pair that a plot function was given.

    Parameters
    ----------
    post_im, pre_im : Raster or numpy.ndarray
        Shape ``(ny, nx)``, any numeric type.
    window : tuple of slice, optional
        Rows and columns to look at; None: all.
    valid : Raster, numpy.ndarray of bool, callable, optional
        Where both images have data.

    Raises
    ------
    ParameterError
        If the images are not two 2-D images of one shape, or the window lies outside.
    """
    post = image_raster(post_im, "post_im")
    pre = image_raster(pre_im, "pre_im", post.shape)
    if window is None:
        window = slice(0, post.shape[0]), slice(0, post.shape[1])
    inside = all(
        0 <= part.start < part.stop <= size for part, size in zip(window, post.shape, strict=True)
    )
    if not inside:
        msg = f"window must be (rows, cols) slices inside an image of {post.shape}, got {window}"
        raise ParameterError(msg)
    if valid is None or (callable(valid) and not isinstance(valid, Raster)):
        return ImagePair(post, pre, window, valid)
    mask = image_raster(valid, "valid", post.shape)
    return ImagePair(post, pre, window, lambda rows, cols: mask.read(rows, cols) != 0)


def image_raster(image: ImageLike, name: str, shape: tuple[int, int] | None = None) -> Raster:
    """Return an image as a raster.

    Raises
    ------
    ParameterError
        If it is not a 2-D numeric image, is empty, or does not have the shape wanted.
    """
    array = image if isinstance(image, Raster) else np.asarray(image)
    if len(array.shape) != 2 or 0 in array.shape or array.dtype.kind not in "buif":
        msg = (
            f"{name} must be a 2-D image (ny, nx) of numbers, got shape {array.shape} of "
            f"{array.dtype}; choose one channel, for example {name}[..., 1]"
        )
        raise ParameterError(msg)
    if shape is not None and tuple(array.shape) != shape:
        msg = (
            f"{name} must have the shape of post_im, {shape}, got {tuple(array.shape)}; "
            "give the pre image after alignment to post"
        )
        raise ParameterError(msg)
    if not isinstance(array, Raster) and array.dtype.kind == "b":
        array = array.view(np.uint8)
    return as_raster(array)


def _has_data(image: Image) -> Mask:
    data: Mask = image != 0
    if image.dtype.kind == "f":
        data &= np.isfinite(image)
    return data
