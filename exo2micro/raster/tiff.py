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

from exo2micro._typing import Image
from exo2micro._version import __version__
from exo2micro.raster.stream import OVERVIEW_STEP, TILE, Band, encode_tile
from exo2micro.raster.windows import block_mean

_BIGTIFF_ABOVE = 3_800_000_000  # classic TIFF offsets end at 2**32; leave room for the tags
_SMALLEST_OVERVIEW = 256


def overview_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the shapes of the overviews of an image, largest first."""
    shapes = []
    ny, nx = shape
    while max(ny, nx) > _SMALLEST_OVERVIEW:
        ny, nx = -(-ny // OVERVIEW_STEP), -(-nx // OVERVIEW_STEP)
        shapes.append((ny, nx))
    return shapes


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
    overviews = overview_shapes(shape)
    first = np.zeros(overviews[0], dtype) if overviews else None
    options: dict[str, Any] = {
        "dtype": dtype,
        "tile": (TILE, TILE),
        "compression": "adobe_deflate",
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
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        writer.write(
            _tiles_of(bands, first),
            shape=shape,
            description=description,
            subifds=len(overviews),
            **options,
        )
        level = first
        for number, overview_shape in enumerate(overviews):
            if number and level is not None:
                level = _reduced(level)
            if level is not None:
                reduced_options = {k: v for k, v in options.items() if k != "software"}
                writer.write(
                    _tiles_in(level),
                    shape=overview_shape,
                    subfiletype=tifffile.FILETYPE.REDUCEDIMAGE,
                    **_coarser(reduced_options, OVERVIEW_STEP ** (number + 1)),
                )
    _share_empty_tiles(path, dtype)


def _share_empty_tiles(path: Path, dtype: np.dtype[Any]) -> None:
    """Point all tiles that were written without bytes to one encoded empty tile."""
    empty = encode_tile(np.zeros((TILE, TILE), dtype))
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


def _tiles_of(bands: Iterator[Band], overview: Image | None) -> Iterator[bytes]:
    """Yield the tiles of all bands and fill the first overview on the way."""
    for band in bands:
        if overview is not None and band.reduced is not None:
            row, col = band.rows.start // OVERVIEW_STEP, band.cols.start // OVERVIEW_STEP
            height, width = band.reduced.shape
            overview[row : row + height, col : col + width] = band.reduced
        yield from band.tiles


def _tiles_in(image: Image) -> Iterator[bytes]:
    for row in range(0, image.shape[0], TILE):
        for col in range(0, image.shape[1], TILE):
            tile = image[row : row + TILE, col : col + TILE]
            yield encode_tile(tile) if tile.any() else b""


def _reduced(image: Image) -> Image:
    mean = block_mean(image, OVERVIEW_STEP)
    return (
        mean.astype(image.dtype) if image.dtype.kind == "f" else np.rint(mean).astype(image.dtype)
    )


def _coarser(options: dict[str, Any], factor: int) -> dict[str, Any]:
    if "resolution" not in options:
        return options
    x, y = options["resolution"]
    return options | {"resolution": (x / factor, y / factor)}
