"""The difference image ``post - scale * pre - offset`` and its data quality, by window."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask
from exo2micro.errors import ScaleError
from exo2micro.raster.base import Raster
from exo2micro.subtraction.quality import DQ

QualityImage = NDArray[np.uint8]
WindowMask = Raster | Callable[[slice, slice], Mask] | None
"""A bool mask by window: a raster, a function ``(rows, cols) -> mask``, or None."""


@dataclass(frozen=True)
class QualitySources:
    """Where the bits of the data quality plane come from.

    Attributes
    ----------
    valid : Raster, callable or None
        True where both images have data; None: everywhere inside the post window.
    post_window : tuple of slice, optional
        Rows and columns of the canvas that the post image covers; None: all of it.
    saturation_post, saturation_pre : float, optional
        Level at and above which a pixel is saturated; None: integer types saturate at their
        largest value, floats never.
    saturation_margin_px : int
        Pixels around a saturated one that are flagged as well (blooming, interpolation).
    debris, low_confidence : Raster, callable or None
        Bool masks; None: nowhere.
    """

    valid: WindowMask = None
    post_window: tuple[slice, slice] | None = None
    saturation_post: float | None = None
    saturation_pre: float | None = None
    saturation_margin_px: int = 2
    debris: WindowMask = None
    low_confidence: WindowMask = None


class DifferenceRaster(Raster):
    """``post - scale * pre - offset`` as a raster of float32; exactly 0.0 where there is no data.

    Parameters
    ----------
    post, pre : Raster
        The same canvas; raw counts, pre aligned to post.
    scale, offset : float
        Finite; scale > 0.
    quality : QualitySources
        What decides about missing and doubtful pixels.

    Raises
    ------
    ScaleError
        Scale or offset out of range, or canvases that differ.
    """

    def __init__(
        self,
        post: Raster,
        pre: Raster,
        *,
        scale: float,
        offset: float = 0.0,
        quality: QualitySources | None = None,
    ) -> None:
        if post.shape != pre.shape:
            msg = f"post and aligned pre must share one canvas, got {post.shape} and {pre.shape}"
            raise ScaleError(msg)
        if not (np.isfinite(scale) and scale > 0):
            msg = f"scale must be a finite number > 0, got {scale}"
            raise ScaleError(msg)
        if not np.isfinite(offset):
            msg = f"offset must be a finite number of counts, got {offset}"
            raise ScaleError(msg)
        self.post = post
        self.pre = pre
        self.scale = float(scale)
        self.offset = float(offset)
        self.quality = quality or QualitySources()
        self.shape = post.shape
        self.dtype = np.dtype(np.float32)
        self._levels = (
            saturation_level(post.dtype, self.quality.saturation_post),
            saturation_level(pre.dtype, self.quality.saturation_pre),
        )

    def read(self, rows: slice, cols: slice) -> FloatImage:
        """Return the difference in the window, in counts of post."""
        return self.read_with_quality(rows, cols)[0]

    def read_with_quality(self, rows: slice, cols: slice) -> tuple[FloatImage, QualityImage]:
        """Return the difference and its DQ flags in the window, each ``(n_rows, n_cols)``."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        difference = np.zeros(shape, np.float32)
        flags = np.full(shape, DQ.BORDER, np.uint8)
        inner = self._inner(rows, cols)
        if inner is None:
            return difference, flags
        inner_rows, inner_cols = inner
        place = (
            slice(inner_rows.start - rows.start, inner_rows.stop - rows.start),
            slice(inner_cols.start - cols.start, inner_cols.stop - cols.start),
        )
        difference[place], flags[place] = self._compute(inner_rows, inner_cols)
        return difference, flags

    def quality_raster(self) -> "QualityRaster":
        """Return the DQ plane as a raster of uint8."""
        return QualityRaster(self)

    def _inner(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Return the part of the window that the post image covers, None if there is none."""
        window = self.quality.post_window
        if window is None:
            return rows, cols
        inner = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip((rows, cols), window, strict=True)
        )
        if any(part.start >= part.stop for part in inner):
            return None
        return inner[0], inner[1]

    def _compute(self, rows: slice, cols: slice) -> tuple[FloatImage, QualityImage]:
        """Return difference and flags of a window inside the post image."""
        margin = self.quality.saturation_margin_px
        limits = self._inner(slice(0, self.shape[0]), slice(0, self.shape[1]))
        assert limits is not None
        wide = tuple(
            slice(max(part.start - margin, limit.start), min(part.stop + margin, limit.stop))
            for part, limit in zip((rows, cols), limits, strict=True)
        )
        core = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip((rows, cols), wide, strict=True)
        )
        post = self.post.read(*wide)
        pre = self.pre.read(*wide)
        valid = read_mask(self.quality.valid, wide[0], wide[1])
        finite = np.isfinite(pre) & np.isfinite(post) if pre.dtype.kind == "f" else None
        has_data = _both(valid, finite)
        flags = self._flags(post, pre, has_data, core, (rows, cols))
        result = post[core].astype(np.float32)
        result -= np.float32(self.scale) * pre[core].astype(np.float32, copy=False)
        if self.offset:
            result -= np.float32(self.offset)
        if has_data is not None:
            result[~has_data[core]] = 0.0
        return result, flags

    def _flags(
        self,
        post: Image,
        pre: Image,
        has_data: Mask | None,
        core: tuple[slice, ...],
        window: tuple[slice, slice],
    ) -> QualityImage:
        """Return the DQ flags of a window; `post`, `pre`, `has_data` extend beyond it."""
        flags = np.zeros(post[core].shape, np.uint8)
        saturated = saturated_mask(post, pre, self._levels, has_data)
        if saturated is not None:
            margin = self.quality.saturation_margin_px
            flags[dilate(saturated, margin)[core]] |= np.uint8(DQ.SATURATED)
        for mask, bit in (
            (self.quality.debris, DQ.DEBRIS),
            (self.quality.low_confidence, DQ.LOW_CONFIDENCE),
        ):
            found = read_mask(mask, *window)
            if found is not None:
                flags[found] |= np.uint8(bit)
        if has_data is not None:
            flags[~has_data[core]] = np.uint8(DQ.NO_OVERLAP)
        return flags


class QualityRaster(Raster):
    """The DQ plane of a difference, uint8 flags of `DQ`."""

    def __init__(self, difference: DifferenceRaster) -> None:
        self.difference = difference
        self.shape = difference.shape
        self.dtype = np.dtype(np.uint8)

    def read(self, rows: slice, cols: slice) -> QualityImage:
        """Return the flags in the window."""
        return self.difference.read_with_quality(rows, cols)[1]


def saturation_level(dtype: np.dtype[Any], level: float | None) -> float | None:
    """Return the level given, else the largest value of an integer type, else None."""
    if level is not None:
        return float(level)
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else None


def saturated_mask(
    post: Image,
    pre: Image,
    levels: tuple[float | None, float | None],
    has_data: Mask | None,
) -> Mask | None:
    """Return where post or pre reaches its saturation level; None if that is nowhere."""
    result: Mask | None = None
    for image, level in zip((post, pre), levels, strict=True):
        if level is None:
            continue
        reached = np.asarray(image >= level)
        if reached.any():
            result = reached if result is None else result | reached
    if result is not None and has_data is not None:
        result = result & has_data
    return result


def dilate(mask: Mask, radius: int) -> Mask:
    """Return the mask grown by `radius` pixels in a square neighbourhood."""
    if radius <= 0:
        return mask
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    grown: Image = cv2.dilate(mask.view(np.uint8), kernel)
    return grown.view(np.bool_)


def read_mask(mask: WindowMask, rows: slice, cols: slice) -> Mask | None:
    """Return a mask in a window; None stands for a mask that was not given."""
    if mask is None:
        return None
    values = mask.read(rows, cols) if isinstance(mask, Raster) else mask(rows, cols)
    return np.asarray(values, dtype=np.bool_)


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second
