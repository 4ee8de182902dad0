"""Writing synthetic pairs as raw files, by window."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.synthetic.pair import SyntheticPair, SyntheticRaster, make_pair
from exo2micro.synthetic.rock import TILE
from exo2micro.synthetic.spec import CHANNELS, PairSpec

Layout = Literal["tiled", "striped"]

_STRIP_ROWS = 64
_BIGTIFF_BYTES = 2**32 - 2**26
_UM_PER_CM = 1e4


def write_pair(
    spec: PairSpec,
    raw_dir: str | Path,
    sample: str,
    dye: str,
    *,
    layout: Layout = "tiled",
    compression: str | None = None,
) -> tuple[Path, Path, Path]:
    """Write a pair as raw TIFF files and its truth as JSON, without holding an image in memory.

    Parameters
    ----------
    spec : PairSpec
        The pair.
    raw_dir : path
        Folder that holds one folder per sample; made if missing.
    sample, dye : str
        Names; the files are ``<sample>_PostStain_<dye>.tif`` and ``<sample>_PreStain_<dye>.tif``.
    layout : {'tiled', 'striped'}
        Inner order of the files.
    compression : str or None
        A lossless compression that tifffile knows, such as ``'zlib'`` or ``'lzw'``.

    Returns
    -------
    tuple of pathlib.Path
        Post file, pre file, truth file.
    """
    pair = make_pair(spec)
    folder = Path(raw_dir) / sample
    folder.mkdir(parents=True, exist_ok=True)
    post = folder / f"{sample}_PostStain_{dye}.tif"
    pre = folder / f"{sample}_PreStain_{dye}.tif"
    truth = folder / f"{sample}_{dye}_truth.json"
    write_image(pair.pre, pre, spec, layout=layout, compression=compression)
    write_image(pair.post, post, spec, layout=layout, compression=compression)
    _write_whole(truth, json.dumps(describe(pair), indent=1) + "\n")
    return post, pre, truth


def write_image(
    raster: SyntheticRaster,
    path: Path,
    spec: PairSpec,
    *,
    layout: Layout = "tiled",
    compression: str | None = None,
) -> None:
    """Write one image of a pair; the file appears under its name only when it is whole."""
    ny, nx = raster.shape
    samples = 3 if spec.is_rgb else 1
    options: dict[str, Any] = {
        "shape": (ny, nx, 3) if spec.is_rgb else (ny, nx),
        "dtype": raster.dtype,
        "photometric": "rgb" if spec.is_rgb else "minisblack",
        "compression": compression,
        "metadata": None,
        "software": False,
    }
    if spec.pixel_size_um is not None:
        per_cm = _UM_PER_CM / spec.pixel_size_um
        options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    if layout == "tiled":
        options |= {"tile": (TILE, TILE)}
        blocks = _tiles(raster, spec)
    else:
        options |= {"rowsperstrip": _STRIP_ROWS}
        blocks = _strips(raster, spec)
    is_big = ny * nx * samples * raster.dtype.itemsize > _BIGTIFF_BYTES
    partial = path.with_name(path.name + ".part")
    with tifffile.TiffWriter(partial, bigtiff=is_big) as writer:
        writer.write(blocks, **options)
    partial.replace(path)


def describe(pair: SyntheticPair) -> dict[str, Any]:
    """Return the truth of a pair as plain numbers; the spec in it makes everything again."""
    truth, spec = pair.truth, pair.spec
    gain, read_noise = spec.noise
    microbes = truth.microbes
    columns = {name: microbes[name] for name in ("x", "y", "flux", "peak", "sigma", "length")}
    return {
        "spec": asdict(spec),
        "post_to_pre_matrix": truth.matrix.tolist(),
        "has_deformation": spec.deformation_px > 0,
        "scale": truth.scale,
        "offset": truth.offset,
        "gain": gain,
        "read_noise": read_noise,
        "n_microbes": int(microbes.size),
        "microbes": {name: np.round(values, 3).tolist() for name, values in columns.items()},
    }


def _tiles(raster: SyntheticRaster, spec: PairSpec) -> Iterator[Image]:
    """Yield the tiles of a TIFF in order, zero beyond the image."""
    ny, nx = raster.shape
    for row, column in product(range(-(-ny // TILE)), range(-(-nx // TILE))):
        tile = raster.tile(row, column)
        height, width = ny - row * TILE, nx - column * TILE
        if min(height, width) < TILE:
            tile = tile.copy()
            tile[max(height, 0) :] = 0
            tile[:, max(width, 0) :] = 0
        yield _colour(tile, spec)


def _strips(raster: SyntheticRaster, spec: PairSpec) -> Iterator[Image]:
    ny, nx = raster.shape
    for start in range(0, ny, _STRIP_ROWS):
        rows = slice(start, min(start + _STRIP_ROWS, ny))
        yield _colour(raster.read(rows, slice(0, nx)), spec)


def _colour(pixels: Image, spec: PairSpec) -> NDArray[Any]:
    """Return the pixels as they are stored: gray, or RGB with the signal in its channel."""
    if not spec.is_rgb:
        return pixels
    out = np.empty((*pixels.shape, 3), pixels.dtype)
    out[...] = np.rint(pixels * np.float32(spec.leakage)).astype(pixels.dtype)[:, :, None]
    out[:, :, CHANNELS.index(spec.channel)] = pixels
    return out


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
