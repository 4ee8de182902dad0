"""Gathering pairs of post and pre brightness for the scale estimators, in one streaming pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.raster.base import Raster

Validity = Raster | Callable[[slice, slice], Mask] | None
"""Where both images have data: a bool raster, a function of a window, or None for everywhere."""


@dataclass(frozen=True)
class PairSample:
    """Block averages of post and pre over the sample, and the background outside it.

    Attributes
    ----------
    post, pre : numpy.ndarray of float32
        Shape ``(n,)``: raw counts averaged over one small block each.
    tile : numpy.ndarray of int32
        Shape ``(n,)``: tile that the block lies in, 0 .. `n_tiles` - 1.
    x, y : numpy.ndarray of float32
        Shape ``(n,)``: block centres on the canvas in pixels.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    """

    post: NDArray[np.float32]
    pre: NDArray[np.float32]
    tile: NDArray[np.int32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    shape: tuple[int, int]


def sample_pairs(
    post: Raster,
    pre: Raster,
    valid: Validity,
    *,
    saturation_post: float | None = None,
    saturation_pre: float | None = None,
    threads: int = 1,
) -> PairSample:
    """Gather a bounded, deterministic sample of post and pre brightness in one pass.

    Parameters
    ----------
    post, pre : Raster
        The same canvas; raw counts, pre aligned to post.
    valid : Raster, callable or None
        Overlap of both images.
    saturation_post, saturation_pre : float, optional
        Level at and above which a pixel is saturated; None: unsigned integers saturate at the
        largest value of their type, floats never.
    threads : int
        Threads to use; the result does not depend on it.

    Raises
    ------
    ScaleError
        No usable overlap.
    """
    raise NotImplementedError
