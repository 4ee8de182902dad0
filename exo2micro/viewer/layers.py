"""The images of a finished pair, ready to be looked at at any magnification."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.colour_tables import DIVERGING, SEQUENTIAL
from exo2micro.plotting.difference_image import symmetric_limit
from exo2micro.plotting.overviews import matched_limits, robust_limits
from exo2micro.raster.base import Raster
from exo2micro.raster.checkpoint import open_image
from exo2micro.raster.fits_planes import open_fits_planes
from exo2micro.raster.record import Record
from exo2micro.raster.tiff_reader import TiffCheckpoint
from exo2micro.stages.frames import post_window
from exo2micro.verdict import Level
from exo2micro.viewer.overviews import KeptOverview, any_flag

Kind = Literal["counts", "signed", "error", "flags"]

CACHE_BYTES: Final = 12 * 2**20
"""Decoded tiles kept per image and level: those that neighbours on the screen share."""

SNR_LIMIT: Final = 8.0
"""Significance at which the colours end at first."""

_SPOTS: Final = 4
_SPOT_PX: Final = 192

_TITLES: Final = {
    "post": "post-stain",
    "before": "pre-stain before alignment",
    "coarse": "pre-stain after coarse alignment",
    "pre": "pre-stain, final alignment",
    "difference": "difference",
    "snr": "significance (SNR)",
    "err": "error (ERR)",
    "dq": "data quality (DQ)",
}

_CHECKPOINTS: Final = {
    "post": (1, "post"),
    "before": (1, "pre"),
    "coarse": (2, "pre"),
    "pre": (3, "pre"),
}


class Reducible(Protocol):
    """What gives windows of reduced images."""

    def read_reduced(self, rows: slice, cols: slice, factor: int) -> NDArray[Any]:
        """Return a window of the image reduced by `factor`, a power of two."""


@dataclass(frozen=True)
class Layer:
    """One image to look at.

    Attributes
    ----------
    name : str
        Short name, part of addresses.
    title : str
        What it is, in words.
    kind : str
        ``counts`` (square-root brightness), ``signed`` (around 0), ``error`` or ``flags``.
    unit : str
        Unit of the pixels.
    raster : Raster
        The pixels as they are in the file.
    overview : Reducible
        Where reduced windows come from.
    limits : tuple of float
        Values at the ends of the colours at first.
    extremes : tuple of float
        Values at the ends of the sliders.
    colours : tuple of str
        Colour tables to choose from.
    """

    name: str
    title: str
    kind: Kind
    unit: str
    raster: Raster
    overview: Reducible
    limits: tuple[float, float] = (0.0, 1.0)
    extremes: tuple[float, float] = (0.0, 1.0)
    colours: tuple[str, ...] = ()


def layers_of(
    runner: StageRunner, difference: Path | None, restoring: str
) -> tuple[list[Layer], list[str]]:
    """Return the layers of a finished pair, and what cannot be shown, in words.

    Parameters
    ----------
    runner : StageRunner
        Knows the valid records of the pair.
    difference : Path or None
        The difference in FITS; None where it was withheld.
    restoring : str
        Command that makes removed images again.
    """
    opened: dict[str, Raster] = {}
    missing = []
    for name, key in _CHECKPOINTS.items():
        stage = runner.stages[4]
        record = (runner.source(stage, key) if key in stage.reads else None) or runner.records[key]
        image = _open(runner, record)
        if image is None:
            missing.append(
                f"{_TITLES[name]}: its image was removed to save disk; `{restoring}` makes it again"
            )
        else:
            opened[name] = image
    if difference is not None:
        opened |= _difference_images(difference)
        if "snr" not in opened:
            missing.append("SNR and ERR: they were not written (planes = dq)")
    layers = _described(opened, runner.records[(1, "post")])
    if runner.records[(4, "difference")].verdict.level is Level.FAIL:
        layers = [_marked_failed(layer) for layer in layers]
    return layers, missing


def _marked_failed(layer: Layer) -> Layer:
    """Return a layer whose title says that it is no result; scans are what they are."""
    is_scan = layer.name in _CHECKPOINTS
    return layer if is_scan else replace(layer, title=f"{layer.title}, FAILED")


def _open(runner: StageRunner, record: Record) -> Raster | None:
    """Return a checkpoint as a raster; TIFF before FITS, for its overviews."""
    files = runner.store.files(record.base, record.suffix)
    return _open_file(files[0]) if files else None


def _open_file(path: Path) -> Raster:
    if path.suffix == ".tiff":
        return TiffCheckpoint(path, cache_bytes=CACHE_BYTES)
    return open_image(path)


def _difference_images(path: Path) -> dict[str, Raster]:
    """Return the difference and its planes; the difference as TIFF, which has overviews."""
    planes = open_fits_planes(path)
    tiff = path.parent.parent / "tiff" / f"{path.stem}.tiff"
    found: dict[str, Raster] = {"difference": _open_file(tiff) if tiff.exists() else planes.data}
    names = {"SNR": "snr", "ERR": "err", "DQ": "dq"}
    return found | {names[n]: r for n, r in planes.extensions.items() if n in names}


def _described(images: dict[str, Raster], post: Record) -> list[Layer]:
    """Return the layers in their order, with limits that show what there is."""
    seen = {name: _sample(image, post) for name, image in images.items() if name != "dq"}
    limits = {name: robust_limits(values) for name, values in seen.items()}
    if {"post", "pre"} <= seen.keys():
        limits["post"], limits["pre"] = matched_limits(seen["post"], seen["pre"])
        limits |= dict.fromkeys(("before", "coarse"), limits["pre"])
    return [
        _layer(name, images[name], seen.get(name), limits.get(name, (0.0, 1.0)), post)
        for name in _TITLES
        if name in images
    ]


def _layer(
    name: str,
    image: Raster,
    values: Image | None,
    limits: tuple[float, float],
    post: Record,
) -> Layer:
    """Return one layer."""
    title = _TITLES[name]
    overview: Reducible = image if isinstance(image, TiffCheckpoint) else KeptOverview(image)
    if values is None:
        return Layer(name, title, "flags", "", image, KeptOverview(image, any_flag))
    if name in ("difference", "snr"):
        limit = SNR_LIMIT if name == "snr" else symmetric_limit(values)
        most = max(4 * limit, float(np.abs(values).max(initial=0)))
        unit = "sigma" if name == "snr" else "counts"
        signed = (-limit, limit), (-most, most), DIVERGING
        return Layer(name, title, "signed", unit, image, overview, *signed)
    if name == "err":
        error = (0.0, limits[1]), (0.0, 4 * limits[1]), SEQUENTIAL[1:]
        return Layer(name, title, "error", "counts", image, overview, *error)
    role = "post" if name == "post" else "pre"
    saturation = (post.facts.get("saturation") or {}).get(role)
    most = min(saturation or np.inf, max(4 * limits[1], float(values.max(initial=1))))
    counts = limits, (0.0, float(most)), SEQUENTIAL
    return Layer(name, title, "counts", "counts", image, overview, *counts)


def _sample(image: Raster, post: Record) -> Image:
    """Return pixels at full resolution from places spread evenly over the post-stain image."""
    return np.concatenate([image.read(*spot).ravel() for spot in _spots(post)])


def _spots(post: Record) -> Iterator[tuple[slice, slice]]:
    rows, cols = post_window(post.facts)
    for top in _starts(rows):
        for left in _starts(cols):
            yield (
                slice(top, min(top + _SPOT_PX, rows.stop)),
                slice(left, min(left + _SPOT_PX, cols.stop)),
            )


def _starts(part: slice) -> list[int]:
    """Return where the spots begin, none beyond the image."""
    last = max(part.start, part.stop - _SPOT_PX)
    return sorted({round(start) for start in np.linspace(part.start, last, _SPOTS + 2)[1:-1]})
