"""The files of a census: tables as ECSV, label images as TIFF."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tifffile

from exo2micro._typing import Image
from exo2micro.raster.atomic import write_atomically
from exo2micro.raster.base import Raster
from exo2micro.raster.stream import TILE
from exo2micro.raster.windows import row_bands

if TYPE_CHECKING:
    from astropy.table import Table

_BIGTIFF_BYTES = 2**32 - 2**26


def write_table(table: "Table", path: Path) -> None:
    """Write a table as ECSV, which astropy reads with units and metadata and any program as CSV."""
    write_atomically(path, lambda temporary: table.write(temporary, format="ascii.ecsv"))


def write_labels(labels: Raster, path: Path) -> None:
    """Write a label image as tiled, compressed TIFF without overviews: labels have no average."""
    write_atomically(path, lambda temporary: _write_tiff(labels, temporary))


def _write_tiff(labels: Raster, path: Path) -> None:
    ny, nx = labels.shape
    is_big = ny * nx * labels.dtype.itemsize > _BIGTIFF_BYTES
    with tifffile.TiffWriter(path, bigtiff=is_big) as writer:
        writer.write(
            _tiles(labels),
            shape=labels.shape,
            dtype=labels.dtype,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            software=False,
        )


def _tiles(labels: Raster) -> Iterator[Image]:
    ny, nx = labels.shape
    for rows in row_bands(ny, TILE):
        for cols in row_bands(nx, TILE):
            yield labels.read(rows, cols)
