"""Binary tables of numbers as FITS extensions, with checksums."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from exo2micro.raster.fits_checksum import (
    NO_CHECKSUM,
    NO_DATASUM,
    sum_words,
    with_checksums,
)

_BLOCK = 2880


@dataclass(frozen=True)
class TableSpec:
    """A table of float64 columns of one length.

    Attributes
    ----------
    name : str
        Its EXTNAME.
    columns : mapping
        Values by column name.
    unit : str
        Unit of all columns.
    header : astropy.io.fits.Header
        Further cards.
    """

    name: str
    columns: Mapping[str, NDArray[np.float64]]
    unit: str
    header: fits.Header


def encode_table(table: TableSpec) -> bytes:
    """Return a table as the bytes of one FITS extension."""
    rows = np.stack(list(table.columns.values()), axis=1).astype(">f8")
    data = rows.tobytes()
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = (rows.shape[1] * rows.itemsize, "bytes per table row")
    header["NAXIS2"] = (rows.shape[0], "number of rows")
    header["PCOUNT"] = (0, "no heap")
    header["GCOUNT"] = (1, "number of groups")
    header["TFIELDS"] = (rows.shape[1], "number of table fields")
    for number, name in enumerate(table.columns, 1):
        header[f"TTYPE{number}"] = name
        header[f"TFORM{number}"] = "1D"
        header[f"TUNIT{number}"] = table.unit
    header["EXTNAME"] = (table.name, "name of this table")
    header.extend(table.header, end=True)
    header["CHECKSUM"] = (NO_CHECKSUM, "HDU checksum")
    header["DATASUM"] = (NO_DATASUM, "data unit checksum")
    return with_checksums(header, sum_words(data)) + data + bytes(-len(data) % _BLOCK)
