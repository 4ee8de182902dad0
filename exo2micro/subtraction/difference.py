"""The difference ``post - scale * pre - offset``, its error and its data quality, by window."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image, Mask
from exo2micro.errors import ScaleError
from exo2micro.raster.base import Raster
from exo2micro.subtraction.noise import HALO_PX, DifferenceNoise
from exo2micro.subtraction.quality import DQ

if TYPE_CHECKING:
    from exo2micro.subtraction.correction import FieldCorrection

QualityImage = NDArray[np.uint8]
Window = tuple[slice, slice]
WindowFactor = Callable[[slice, slice], FloatImage]
WindowMask = Raster | Callable[[slice, slice], Mask] | None
"""A bool mask by window: a raster, a function ``(rows, cols) -> mask``, or None."""

DEBRIS_BOX_PX: Final = 21
DEBRIS_PIXELS: Final = 100
"""A disc of 11 px; the largest microbes of the synthetic pairs saturate over 60 px each."""

EXPECTED_LIGHT: Final = 0.7
"""Fraction of a saturated pixel's light that the other image shows if rock made it: noise,
interpolation at steep edges and a ratio that varies leave that much."""

DEBRIS_HALO_PX: Final = 12
"""Reaches to where stray light of debris, four times the full scale at its centre, ends."""

MARGIN_PX: Final = DEBRIS_BOX_PX // 2 + DEBRIS_HALO_PX
"""Pixels read around a window, so that flags and errors never depend on the windowing."""


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
    noise : DifferenceNoise, optional
        Gives the planes ``ERR`` and ``SNR``.
    resampling : callable, optional
        ``(rows, cols) -> factor`` by which the interpolation changed the variance of pre; None: 1.
    correction : FieldCorrection, optional
        How the scale varies over the canvas; None: not at all.

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
        noise: DifferenceNoise | None = None,
        resampling: WindowFactor | None = None,
        correction: "FieldCorrection | None" = None,
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
        self.noise = noise
        self.resampling = resampling
        self.correction = correction
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
        planes = self._compute(self._load(rows, cols), rows, cols, with_noise=False)
        return planes["data"], planes["DQ"]

    def read_planes(self, rows: slice, cols: slice) -> dict[str, Image]:
        """Return ``data`` and ``DQ`` and, where the noise is known, ``ERR`` and ``SNR``."""
        return self._compute(self._load(rows, cols), rows, cols, with_noise=True)

    def read_tiles(
        self, rows: slice, cols: slice, width: int
    ) -> Iterator[tuple[slice, dict[str, Image]]]:
        """Yield columns and planes of the window in tiles of some width, read only once."""
        loaded = self._load(rows, cols)
        for start in range(cols.start, cols.stop, width):
            part = slice(start, min(start + width, cols.stop))
            yield part, self._compute(loaded, rows, part, with_noise=True)

    def quality_raster(self) -> "QualityRaster":
        """Return the DQ plane as a raster of uint8."""
        return QualityRaster(self)

    def _load(self, rows: slice, cols: slice) -> "_Loaded | None":
        """Read the window with a margin; None where the post image does not reach it."""
        limits = self.quality.post_window or (slice(0, self.shape[0]), slice(0, self.shape[1]))
        if any(_common(a, b) is None for a, b in zip((rows, cols), limits, strict=True)):
            return None
        window = _widened((rows, cols), MARGIN_PX, limits)
        post, pre = self.post.read(*window), self.pre.read(*window)
        finite = np.isfinite(pre) & np.isfinite(post) if pre.dtype.kind == "f" else None
        has_data = _both(read_mask(self.quality.valid, *window), finite)
        return _Loaded(window, limits, post, pre, has_data)

    def _compute(
        self, loaded: "_Loaded | None", rows: slice, cols: slice, *, with_noise: bool
    ) -> dict[str, Image]:
        """Return the planes of a window from what was loaded; background where there is none."""
        y, x = (None, None) if loaded is None else loaded.reached(rows, cols)
        if loaded is None or y is None or x is None:
            return self._nothing((rows, cols), with_noise=with_noise)
        scaled, near = self._scaled_pre(loaded, (y, x))
        core = _within((y, x), near)
        has_data = loaded.data_mask((y, x))
        data = loaded.post[loaded.place((y, x))] - scaled[core]
        if self.offset:
            data -= np.float32(self.offset)
        if has_data is not None:
            data[~has_data] = 0.0
        found: dict[str, Image] = {"data": data, "DQ": self._flags(loaded, (y, x), has_data)}
        if with_noise and self.noise is not None:
            error = self._error(self.noise, scaled, loaded, near)[core]
            found["SNR"] = data / error
            if has_data is not None:
                error[~has_data] = 0.0
            found["ERR"] = error
        if (y, x) == (rows, cols):
            return found
        planes = self._nothing((rows, cols), with_noise=with_noise)
        for name, plane in found.items():
            planes[name][_within((y, x), (rows, cols))] = plane
        return planes

    def _nothing(self, window: Window, *, with_noise: bool) -> dict[str, Image]:
        """Return the planes of a window that the post image does not reach."""
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        names = ("data", "ERR", "SNR") if with_noise and self.noise is not None else ("data",)
        planes: dict[str, Image] = {name: np.zeros(shape, np.float32) for name in names}
        return planes | {"DQ": np.full(shape, DQ.BORDER, np.uint8)}

    def _scaled_pre(self, loaded: "_Loaded", window: Window) -> tuple[FloatImage, Window]:
        """Return ``scale * pre`` a little beyond the window, and how far it reaches."""
        near = _widened(window, HALO_PX, loaded.limits)
        pre = loaded.pre[loaded.place(near)].astype(np.float32, copy=False)
        if self.correction is not None:
            pre = self.correction.apply(pre, *near)
        return pre * np.float32(self.scale), near

    def _error(
        self, noise: DifferenceNoise, scaled: FloatImage, loaded: "_Loaded", near: Window
    ) -> FloatImage:
        """Return the error of the difference in the window of the scaled pre."""
        has_data = loaded.data_mask(near)
        factor = 1.0 if self.resampling is None else self.resampling(*near)
        background = scaled + np.float32(self.offset)
        return noise.error(background, self.scale, self.offset, factor, has_data)

    def _is_unexpected(self, loaded: "_Loaded", window: Window) -> Mask:
        """Return where the images differ by more than saturation alone lets them.

        Of an image that is saturated, only a lower limit is known: bright rock saturates where the
        other image lets expect it.
        """
        post, pre = (image[loaded.place(window)] for image in (loaded.post, loaded.pre))
        light = pre.astype(np.float32, copy=False)
        if self.correction is not None:
            light = self.correction.apply(light, *window)
        expected = light * np.float32(self.scale) + np.float32(self.offset)
        limits = (np.inf if level is None else level for level in self._levels)
        post_full, pre_full = (
            image >= limit for image, limit in zip((post, pre), limits, strict=True)
        )
        least = np.float32(EXPECTED_LIGHT)
        too_bright = ~pre_full & (expected < least * post)
        too_dim = ~post_full & (post < least * expected)
        return np.asarray(too_bright | too_dim, np.bool_)

    def _flags(self, loaded: "_Loaded", window: Window, has_data: Mask | None) -> QualityImage:
        """Return the DQ flags of a window inside the post image."""
        core = loaded.place(window)
        flags = np.zeros(loaded.post[core].shape, np.uint8)
        wide = _widened(window, MARGIN_PX, loaded.limits)
        part, inner = loaded.place(wide), _within(window, wide)
        known = loaded.data_mask(wide)
        saturated = saturated_mask(loaded.post[part], loaded.pre[part], self._levels, known)
        if saturated is not None:
            margin = self.quality.saturation_margin_px
            _set(flags, dilate(saturated, margin)[inner], DQ.SATURATED)
            debris = debris_mask(saturated & self._is_unexpected(loaded, wide))
            if debris is not None:
                _set(flags, debris[inner], DQ.DEBRIS)
        for mask, bit in (
            (self.quality.debris, DQ.DEBRIS),
            (self.quality.low_confidence, DQ.LOW_CONFIDENCE),
        ):
            found = read_mask(mask, *window)
            if found is not None and found.any():
                _set(flags, found, bit)
        if has_data is not None:
            flags[~has_data] = np.uint8(DQ.NO_OVERLAP)
        return flags


@dataclass(frozen=True)
class _Loaded:
    """Pixels of a window, a margin included."""

    window: Window
    limits: Window
    post: Image
    pre: Image
    has_data: Mask | None

    def place(self, window: Window) -> Window:
        """Return where a window lies in the arrays."""
        return _within(window, self.window)

    def reached(self, rows: slice, cols: slice) -> tuple[slice | None, slice | None]:
        """Return the part of a window that lies inside the post image."""
        return _common(rows, self.limits[0]), _common(cols, self.limits[1])

    def data_mask(self, window: Window) -> Mask | None:
        """Return where both images have data in a window; None stands for everywhere."""
        mask = None if self.has_data is None else self.has_data[self.place(window)]
        return None if mask is None or mask.all() else mask


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
        if level is None or not image.size or image.max() < level:
            continue
        reached = np.asarray(image >= level)
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


def debris_mask(saturated: Mask) -> Mask | None:
    """Return what saturates over a larger area than a microbe has, with its halo; None: nothing.

    `saturated` are the pixels that only one image shows so bright. One counts as debris where at
    least `DEBRIS_PIXELS` in the box of side `DEBRIS_BOX_PX` about it are.
    """
    if np.count_nonzero(saturated) < DEBRIS_PIXELS:
        return None
    box = (DEBRIS_BOX_PX, DEBRIS_BOX_PX)
    near = cv2.boxFilter(saturated.view(np.uint8), cv2.CV_32S, box, normalize=False)
    core: Mask = saturated & (near >= DEBRIS_PIXELS)
    if not core.any():
        return None
    size = 2 * DEBRIS_HALO_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown: Image = cv2.dilate(core.view(np.uint8), kernel)
    return grown.view(np.bool_)


def read_mask(mask: WindowMask, rows: slice, cols: slice) -> Mask | None:
    """Return a mask in a window; None stands for a mask that was not given."""
    if mask is None:
        return None
    values = mask.read(rows, cols) if isinstance(mask, Raster) else mask(rows, cols)
    return np.asarray(values, dtype=np.bool_)


def _set(flags: QualityImage, mask: Mask, bit: DQ) -> None:
    flags |= mask.view(np.uint8) * np.uint8(bit)


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _common(first: slice, second: slice) -> slice | None:
    """Return what two slices share, None if that is nothing."""
    start, stop = max(first.start, second.start), min(first.stop, second.stop)
    return slice(start, stop) if start < stop else None


def _widened(window: Window, margin: int, limits: Window) -> Window:
    """Return a window grown by a margin within limits, cut to them."""
    rows, cols = (
        slice(max(part.start - margin, limit.start), min(part.stop + margin, limit.stop))
        for part, limit in zip(window, limits, strict=True)
    )
    return rows, cols


def _within(window: Window, outer: Window) -> Window:
    """Return a window in the coordinates of an outer one."""
    rows, cols = (
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(window, outer, strict=True)
    )
    return rows, cols
