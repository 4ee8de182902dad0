"""From the canvas to raw frames and back: what stages 2 to 4 share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from exo2micro._typing import FloatImage, Image, Mask
from exo2micro.alignment.moved import MOVED
from exo2micro.alignment.preview import PreviewRaster
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster.base import OffsetRaster, Raster, window_overlap
from exo2micro.raster.checkpoint import Product
from exo2micro.raster.header import Card
from exo2micro.raster.record import Record
from exo2micro.raster.stream import RasterSource
from exo2micro.stages.base import StageInputs
from exo2micro.subtraction.confidence import LowConfidence

QUANTUM = 1 / 16
"""Step of resampled integer images in counts: it adds 1/256 of the variance of the raw rounding."""


def raw_frames(inputs: StageInputs) -> tuple[Raster, Raster]:
    """Return post-stain and pre-stain image without the border of the canvas."""
    row, col = inputs.facts["offset"]
    post, pre = (
        OffsetRaster(inputs.rasters[(1, name)], tuple(inputs.facts[f"{name}_shape"]), (-row, -col))
        for name in ("post", "pre")
    )
    post.saturation, pre.saturation = (inputs.facts["saturation"][r] for r in ("post", "pre"))
    return post, pre


def aligned_product(
    inputs: StageInputs, transform: Transform, certificate: Mapping[str, Any]
) -> Product:
    """Return the pre-stain image seen through a transform, on the canvas, where post lies."""
    _, pre = raw_frames(inputs)
    grid = _canvas_grid(inputs.facts)
    warped: Raster = WarpedRaster(pre, transform, tuple(inputs.facts["post_shape"]), grid=grid)
    cards = certificate_cards(certificate)
    if pre.dtype.kind in "ui":
        warped = QuantisedRaster(warped)
        cards["QUANTUM"] = (QUANTUM, "step of the pixel values in counts")
    source = RasterSource(_on_canvas(warped, inputs.facts))
    return Product("pre", source, cards=cards)


def preview_product(inputs: StageInputs, transform: Transform, name: str = "pre") -> Product:
    """Return the same for looking at, where the transform is right to about a pixel."""
    _, pre = raw_frames(inputs)
    grid = _canvas_grid(inputs.facts)
    seen = PreviewRaster(pre, transform, tuple(inputs.facts["post_shape"]), grid=grid)
    return Product(name, RasterSource(_on_canvas(seen, inputs.facts)))


def _canvas_grid(facts: Mapping[str, Any]) -> tuple[int, int]:
    """Return the canvas corner in raw pixels: files are written by windows that start there."""
    row, col = facts["offset"]
    return -row, -col


def _on_canvas(raster: Raster, facts: Mapping[str, Any]) -> Raster:
    return OffsetRaster(raster, tuple(facts["canvas_shape"]), tuple(facts["offset"]))


def certificate_cards(certificate: Mapping[str, Any] | None) -> dict[str, Card]:
    """Return what tiles held out of the fit say about an alignment; nothing if none was judged."""
    if certificate is None:
        return {}
    cards: dict[str, Card] = {
        "CERTLEV": (certificate["level"], "verdict of the alignment's certificate"),
        "CERTN": (certificate["tiles"], "held-out tiles that match"),
        "CERTCOV": (certificate["coverage"], "part of the sample near these tiles"),
    }
    figures = {
        "CERTMED": ("median_px", "median alignment error, px"),
        "CERT95": ("p95_px", "95 % of the sample are below this, px"),
        "CERTBND": ("bound_px", "95 % confidence limit of CERT95, px"),
        "CERTFB": ("forward_backward_px", "forward-backward distance, median, px"),
    }
    for keyword, (name, text) in figures.items():
        if certificate[name] is not None:
            cards[keyword] = (certificate[name], text)
    return cards


def post_window(facts: Mapping[str, Any]) -> tuple[slice, slice]:
    """Return the rows and columns of the canvas that the post-stain image covers."""
    row, col = facts["offset"]
    ny, nx = facts["post_shape"]
    return slice(row, row + ny), slice(col, col + nx)


def low_confidence(alignment: Record) -> LowConfidence | None:
    """Return where on the canvas an alignment is not certified; None if nothing is known."""
    certificate = alignment.metrics.get("certificate")
    if certificate is None:
        return None
    row, col = alignment.facts["offset"]
    moved = alignment.metrics.get(MOVED, {"positions": [], "shifts": [], "precisions": []})
    positions, residuals = (
        np.asarray([*certificate[name], *moved[other]], np.float64).reshape(-1, 2)
        for name, other in (("positions", "positions"), ("residuals", "shifts"))
    )
    precisions = np.asarray([*certificate["precisions"], *moved["precisions"]], np.float64)
    shape = tuple(alignment.facts["canvas_shape"])
    is_deformed = Transform.from_dict(alignment.transform or {}).field is not None
    return LowConfidence(
        positions + np.array([col, row]), residuals, precisions, shape, is_deformed=is_deformed
    )


class QuantisedRaster(Raster):
    """Another raster rounded to multiples of `QUANTUM`, which makes it compress well."""

    def __init__(self, source: Raster) -> None:
        self._source = source
        self.shape = source.shape
        self.dtype = source.dtype

    def read(self, rows: slice, cols: slice) -> FloatImage:
        """Return the rounded window."""
        values = self._source.read(rows, cols) * np.float32(1 / QUANTUM)
        np.rint(values, out=values)
        values *= np.float32(QUANTUM)
        return values


class CanvasValidity:
    """Where the canvas holds both images, computed from the transform alone.

    Parameters
    ----------
    facts : mapping
        Facts of the pair: shapes and offset.
    transform : Transform
        Post to pre, raw pixels.
    """

    def __init__(self, facts: Mapping[str, Any], transform: Transform) -> None:
        self._window = post_window(facts)
        empty = _Extent(tuple(facts["pre_shape"]))
        shape = tuple(facts["post_shape"])
        self._warped = WarpedRaster(empty, transform, shape, grid=_canvas_grid(facts))

    def __call__(self, rows: slice, cols: slice) -> Mask:
        """Return the mask in a canvas window."""
        mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.bool_)
        (into_y, from_y), (into_x, from_x) = self._overlap(rows, cols)
        if into_y.stop > into_y.start and into_x.stop > into_x.start:
            mask[into_y, into_x] = self._warped.read_validity(from_y, from_x)
        return mask

    def noise_factor(
        self, rows: slice, cols: slice, lags: tuple[float, ...] = (1.0,)
    ) -> FloatImage:
        """Return how resampling changed the variance of pre's noise, in a canvas window.

        `lags` is the autocorrelation of a filter that follows, see `WarpedRaster`.
        """
        factor = np.ones((rows.stop - rows.start, cols.stop - cols.start), np.float32)
        (into_y, from_y), (into_x, from_x) = self._overlap(rows, cols)
        if into_y.stop > into_y.start and into_x.stop > into_x.start:
            factor[into_y, into_x] = self._warped.read_noise_factor(from_y, from_x, lags)
        return factor

    def _overlap(self, rows: slice, cols: slice) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where a canvas window meets the post image: in the window and in the image."""
        y, x = (
            window_overlap(part, full.start, full.stop - full.start)
            for part, full in zip((rows, cols), self._window, strict=True)
        )
        return y, x


class _Extent(Raster):
    """A raster of which only the shape matters."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint8)

    def read(self, rows: slice, cols: slice) -> Image:
        return np.zeros((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
