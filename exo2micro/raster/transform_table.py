"""The alignment in FITS: all that another program needs to compute the same mapping."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from exo2micro.raster.fits_table import TableSpec

EXTENSION = "TRANSFORM"

_WORDS = (
    "Points are (x, y), counted from 0 at the centre of the first pixel.",
    "A raw post-stain point p lies at H(p + d(p)) in the raw pre-stain image.",
    "H(x, y) = (a / c, b / c) with (a, b, c) = TRFi_j . (x, y, 1).",
    "On the canvas both images lie (OFFSETX, OFFSETY) further:",
    "pre = H(q + d(q)) + (OFFSETX, OFFSETY) with q = post - (OFFSETX, OFFSETY).",
    "d(p) is the sum over the rows of this table of",
    "(DX, DY) * B((px - X) / GRIDDX) * B((py - Y) / GRIDDY),",
    "where B is the cubic B-spline on knots -2, -1, 0, 1, 2. No rows: d = 0.",
)


def transform_table(transform: Mapping[str, Any], facts: Mapping[str, Any]) -> TableSpec:
    """Return a transform as a table: the matrix in its header, the nodes of the field as rows.

    Parameters
    ----------
    transform : mapping
        Post to pre in raw pixels, as a record holds it.
    facts : mapping
        The pair's ``offset`` on the canvas.
    """
    header = fits.Header()
    header["TRFKIND"] = (transform["type"], "kind of mapping")
    header["TRFFROM"] = ("post-stain", "maps points of this image")
    header["TRFTO"] = ("pre-stain", "to points of this image")
    for row, values in enumerate(transform["matrix"], 1):
        for column, value in enumerate(values, 1):
            header[f"TRF{row}_{column}"] = (value, "homography H, raw pixels")
    row, col = facts["offset"]
    header["OFFSETX"] = (col, "canvas x minus raw x, both images")
    header["OFFSETY"] = (row, "canvas y minus raw y, both images")
    field = transform.get("field")
    nodes = np.zeros((0, 4)) if field is None else _nodes(field)
    if field is not None:
        ny, nx, _ = np.shape(field["coefficients"])
        for axis, count in zip("XY", (nx, ny), strict=True):
            index = "XY".index(axis)
            header[f"GRIDN{axis}"] = (count, f"nodes along {axis.lower()}")
            header[f"GRIDD{axis}"] = (field["spacing"][index], "distance of nodes, px")
    for line in _WORDS:
        header["COMMENT"] = line
    columns = dict(zip(("X", "Y", "DX", "DY"), nodes.T, strict=True))
    return TableSpec(EXTENSION, columns, "pixel", header)


def _nodes(field: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return x, y and both coefficients of every node, row by row of the grid."""
    coefficients = np.asarray(field["coefficients"], np.float64)
    ny, nx, _ = coefficients.shape
    x = field["origin"][0] + field["spacing"][0] * np.arange(nx)
    y = field["origin"][1] + field["spacing"][1] * np.arange(ny)
    places = np.stack(np.meshgrid(x, y), axis=-1)
    return np.concatenate([places, coefficients], axis=-1).reshape(-1, 4)
