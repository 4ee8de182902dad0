"""Writing tiled, losslessly compressed TIFF with overviews, by bands and without clock times.

The files follow TIFF 6.0 with Deflate (Adobe Technical Note 3) and keep their overviews as SubIFDs
of the first page, which tifffile, Bio-Formats (Fiji) and QuPath read as resolution levels. All
empty tiles share one encoded tile at the end of the file: it costs a kilobyte, and programs based
on libtiff, which refuse tiles of no bytes, can read the file too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from exo2micro._version import __version__
from exo2micro.raster.stream import OVERVIEW_STEP, TILE, Band, Predictor, encode_tile
from exo2micro.raster.tiff_overviews import Overviews

_BIGTIFF_ABOVE = 3_800_000_000  # classic TIFF offsets end at 2**32; leave room for the tags


def write_tiff(
    path: Path,
    bands: Iterator[Band],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    *,
    description: str,
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Write one image from its bands.

    Parameters
    ----------
    path : Path
        File to write, not atomically; the caller renames it.
    bands : iterator of Band
        All bands in order, encoded.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    dtype : numpy.dtype
        Pixel type.
    description : str
        ImageDescription; ASCII.
    pixel_size_um : tuple of float, optional
        Pixel size ``(x, y)`` in um.
    """
    predictor = Predictor.of(dtype)
    options: dict[str, Any] = {
        "dtype": dtype,
        "tile": (TILE, TILE),
        "compression": "adobe_deflate",
        "predictor": int(predictor),
        "photometric": "minisblack",
        "metadata": None,
        "maxworkers": 1,
        "software": f"exo2micro {__version__}",
    }
    if pixel_size_um is not None:
        options |= {
            "resolution": (1e4 / pixel_size_um[0], 1e4 / pixel_size_um[1]),
            "resolutionunit": "CENTIMETER",
        }
    big = shape[0] * shape[1] * dtype.itemsize > _BIGTIFF_ABOVE
    overviews = Overviews(path.with_name(f"{path.name}.overview"), shape, dtype, predictor)
    with overviews, tifffile.TiffWriter(path, bigtiff=big) as writer:
        writer.write(
            _tiles_of(bands, overviews),
            shape=shape,
            description=description,
            subifds=len(overviews.shapes),
            **options,
        )
        for number, (overview_shape, tiles) in enumerate(overviews.levels()):
            reduced_options = {k: v for k, v in options.items() if k != "software"}
            writer.write(
                tiles,
                shape=overview_shape,
                subfiletype=tifffile.FILETYPE.REDUCEDIMAGE,
                **_coarser(reduced_options, OVERVIEW_STEP ** (number + 1)),
            )
    _share_empty_tiles(path, encode_tile(np.zeros((TILE, TILE), dtype), predictor))


def _share_empty_tiles(path: Path, empty: bytes) -> None:
    """Point all tiles that were written without bytes to one encoded empty tile."""
    with path.open("ab") as file:
        offset = file.tell()
        file.write(empty)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for level in tiff.series[0].levels:
            tags = level.keyframe.tags
            counts = level.keyframe.databytecounts
            for name, value in (("TileOffsets", offset), ("TileByteCounts", len(empty))):
                old = tags[name].value
                tags[name].overwrite(
                    tuple(v if n else value for v, n in zip(old, counts, strict=True))
                )


def _tiles_of(bands: Iterator[Band], overviews: Overviews) -> Iterator[bytes]:
    """Yield the tiles of all bands and gather the overviews on the way."""
    for band in bands:
        overviews.add(band)
        yield from band.tiles
        del band  # or it would stay in memory beside the next one


def _coarser(options: dict[str, Any], factor: int) -> dict[str, Any]:
    if "resolution" not in options:
        return options
    x, y = options["resolution"]
    return options | {"resolution": (x / factor, y / factor)}
