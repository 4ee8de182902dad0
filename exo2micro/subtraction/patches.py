"""Square patches of post and pre, spread over the canvas and read in one streaming pass."""

from dataclasses import dataclass
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.errors import ScaleError
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import map_ordered
from exo2micro.subtraction.difference import (
    QualitySources,
    dilate,
    read_mask,
    saturated_mask,
    saturation_level,
)

PATCH_PX: Final = 64
"""Side of a patch: many blocks of 8 px, and still dozens of patches on an image of 600 px."""

HALO_PX: Final = 8
"""Pixels read around a patch, so that smoothing and growing masks never meet its edge."""

MAX_PATCHES: Final = 600
"""2.5 million pixels: the scale's noise is then far below 0.1 %."""

PROBED_ROWS: Final = 256
"""Rows of the overlap that are looked at to find its extent."""

EDGE_PX: Final = 5
"""Pixels left out along the edge of the overlap, where resampling mixes in the outside."""

SATURATION_MARGIN_PX: Final = 4
"""Pixels left out around saturated ones: blooming and the resampling kernel."""

SPARSE_PX: Final = 512
"""Distance between patches from which each is read by itself: then whole tiles lie between them."""

_SIDE: Final = PATCH_PX + 2 * HALO_PX


@dataclass(frozen=True)
class PatchStack:
    """Patches with their halo, stacked into one tall image so that filters run once.

    Attributes
    ----------
    post, pre : numpy.ndarray of float32
        Shape ``(n * side, side)``, raw counts, 0 where not usable.
    usable : numpy.ndarray of bool
        Same shape: both images have data, away from edges and saturated pixels.
    core : numpy.ndarray of bool
        Same shape: inside a patch, not in its halo.
    origin : numpy.ndarray of int64
        Shape ``(n, 2)``: ``(y, x)`` of the first core pixel of each patch on the canvas.
    n_saturated : int
        Saturated core pixels.
    n_overlap : int
        Core pixels with data in both images.
    """

    post: NDArray[np.float32]
    pre: NDArray[np.float32]
    usable: Mask
    core: Mask
    origin: NDArray[np.int64]
    n_saturated: int
    n_overlap: int

    @property
    def side(self) -> int:
        """Side of a patch with its halo, px."""
        return _SIDE


@dataclass(frozen=True)
class _Band:
    """What some patches side by side give."""

    post: NDArray[np.float32]
    pre: NDArray[np.float32]
    usable: Mask
    origin: NDArray[np.int64]
    n_saturated: int
    n_overlap: int


def patch_grid(
    shape: tuple[int, int], window: tuple[slice, slice] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first rows and first columns of the patches: at most `MAX_PATCHES`, spread evenly.

    Parameters
    ----------
    shape : tuple of int
        Canvas ``(ny, nx)``.
    window : tuple of slice, optional
        Rows and columns of the canvas to stay in.
    """
    rows, cols = window or (slice(0, shape[0]), slice(0, shape[1]))
    ny, nx = rows.stop - rows.start, cols.stop - cols.start
    step = PATCH_PX
    while -(-ny // step) * -(-nx // step) > MAX_PATCHES:
        step += 8
    return (
        np.arange(rows.start, rows.stop, step, dtype=np.int64),
        np.arange(cols.start, cols.stop, step, dtype=np.int64),
    )


def read_patches(
    post: Raster, pre: Raster, quality: QualitySources, *, threads: int = 1
) -> PatchStack:
    """Read the patches that have usable pixels.

    Raises
    ------
    ScaleError
        The canvases differ, or no patch has a usable pixel.
    """
    if post.shape != pre.shape:
        msg = f"post and aligned pre must share one canvas, got {post.shape} and {pre.shape}"
        raise ScaleError(msg)
    starts_y, starts_x = patch_grid(post.shape, _extent(post.shape, quality))
    is_sparse = len(starts_x) > 1 and starts_x[1] - starts_x[0] >= SPARSE_PX
    groups = np.split(starts_x, len(starts_x)) if is_sparse else [starts_x]

    def read(job: tuple[np.int64, NDArray[np.int64]]) -> _Band:
        return _read_band(post, pre, quality, int(job[0]), job[1])

    bands = list(map_ordered(read, product(starts_y, groups), threads))
    n_overlap = sum(band.n_overlap for band in bands)
    n_saturated = sum(band.n_saturated for band in bands)
    stacks = [np.concatenate([getattr(b, n) for b in bands]) for n in ("post", "pre", "usable")]
    if not len(stacks[0]):
        cause = (
            f"{n_saturated} of {n_overlap} overlapping pixels are saturated"
            if n_overlap
            else "post and aligned pre do not overlap where both have data"
        )
        msg = f"no pixel can be used for the scale: {cause}; check the registration and exposure"
        raise ScaleError(msg)
    n = len(stacks[0])
    core = np.zeros((n, _SIDE, _SIDE), np.bool_)
    core[:, HALO_PX:-HALO_PX, HALO_PX:-HALO_PX] = True
    tall = [stack.reshape(n * _SIDE, _SIDE) for stack in (*stacks, core)]
    origin = np.concatenate([band.origin for band in bands])
    return PatchStack(tall[0], tall[1], tall[2], tall[3], origin, n_saturated, n_overlap)


def _extent(shape: tuple[int, int], quality: QualitySources) -> tuple[slice, slice]:
    """Return the part of the canvas where patches can lie, so that padding takes none of them."""
    rows, cols = quality.post_window or (slice(0, shape[0]), slice(0, shape[1]))
    step = max(1, (rows.stop - rows.start) // PROBED_ROWS)
    found: list[int] = []
    seen = np.zeros(cols.stop - cols.start, np.bool_)
    for y in range(rows.start, rows.stop, step):
        mask = read_mask(quality.valid, slice(y, y + 1), cols)
        if mask is None:
            return rows, cols
        if mask.any():
            found.append(y)
            seen |= mask[0]
    if not found:
        return rows, cols
    columns = np.nonzero(seen)[0]
    return (
        slice(max(rows.start, found[0] - step), min(rows.stop, found[-1] + step + 1)),
        slice(
            max(cols.start, cols.start + int(columns[0]) - step),
            min(cols.stop, cols.start + int(columns[-1]) + 1 + step),
        ),
    )


def _read_band(
    post: Raster, pre: Raster, quality: QualitySources, start: int, starts_x: NDArray[np.int64]
) -> _Band:
    """Read some patches side by side; what lies outside the canvas is not usable."""
    ny, nx = post.shape
    rows = slice(max(0, start - HALO_PX), min(ny, start + PATCH_PX + HALO_PX))
    margin = HALO_PX + max(EDGE_PX, SATURATION_MARGIN_PX)
    cols = slice(max(0, int(starts_x[0]) - margin), min(nx, int(starts_x[-1]) + PATCH_PX + margin))
    post_px, pre_px = post.read(rows, cols), pre.read(rows, cols)
    has_data = _has_data(post_px, pre_px, quality, rows, cols)
    levels = (
        saturation_level(post.dtype, quality.saturation_post),
        saturation_level(pre.dtype, quality.saturation_pre),
    )
    saturated = saturated_mask(post_px, pre_px, levels, has_data)
    usable = _erode(has_data, EDGE_PX, rows, cols, (ny, nx))
    if saturated is not None:
        usable &= ~dilate(saturated, SATURATION_MARGIN_PX)
    debris = read_mask(quality.debris, rows, cols)
    if debris is not None:
        usable &= ~debris

    def cut(image: NDArray[np.generic], dtype: type) -> NDArray[np.generic]:
        out: NDArray[np.generic] = np.zeros((_SIDE, len(starts_x), _SIDE), dtype)
        top = rows.start - (start - HALO_PX)
        for index, x in enumerate(starts_x):
            left = max(cols.start, int(x) - HALO_PX)
            right = min(cols.stop, int(x) + PATCH_PX + HALO_PX)
            at = left - (int(x) - HALO_PX)
            part = image[:, left - cols.start : right - cols.start]
            out[top : top + len(image), index, at : at + right - left] = part
        return out.transpose(1, 0, 2)

    inner = (slice(None), slice(HALO_PX, -HALO_PX), slice(HALO_PX, -HALO_PX))
    mask = cut(usable, np.bool_)
    used = mask[inner].any(axis=(1, 2))
    origin = np.stack([np.full(len(starts_x), start, np.int64), starts_x], axis=1)
    zeroed = [np.where(has_data, image, 0) for image in (post_px, pre_px)]
    return _Band(
        cut(zeroed[0], np.float32)[used].astype(np.float32, copy=False),
        cut(zeroed[1], np.float32)[used].astype(np.float32, copy=False),
        mask[used].astype(np.bool_, copy=False),
        origin[used],
        0 if saturated is None else int(cut(saturated, np.bool_)[inner].sum()),
        int(cut(has_data, np.bool_)[inner].sum()),
    )


def _has_data(
    post: NDArray[np.generic],
    pre: NDArray[np.generic],
    quality: QualitySources,
    rows: slice,
    cols: slice,
) -> Mask:
    """Return where both images have finite data, inside the post image."""
    valid = read_mask(quality.valid, rows, cols)
    result = np.ones(post.shape, np.bool_) if valid is None else valid.copy()
    if quality.post_window is not None:
        keep = np.zeros(post.shape, np.bool_)
        inner = [
            slice(max(part.start - span.start, 0), max(part.stop - span.start, 0))
            for part, span in zip(quality.post_window, (rows, cols), strict=True)
        ]
        keep[inner[0], inner[1]] = True
        result &= keep
    for image in (post, pre):
        if image.dtype.kind == "f":
            result &= np.isfinite(image)
    return result


def _erode(mask: Mask, radius: int, rows: slice, cols: slice, shape: tuple[int, int]) -> Mask:
    """Shrink a mask; the canvas edge counts as outside, the window edge does not."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    shrunk = cv2.erode(mask.view(np.uint8), kernel).view(np.bool_)
    result: Mask = np.array(shrunk)
    if rows.start == 0:
        result[:radius] = False
    if rows.stop == shape[0]:
        result[-radius:] = False
    if cols.start == 0:
        result[:, :radius] = False
    if cols.stop == shape[1]:
        result[:, -radius:] = False
    return result
