"""The alignment from a FITS file alone, by astropy, numpy and scipy."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.interpolate import BSpline
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye
from exo2micro.alignment.field import DisplacementField
from exo2micro.alignment.transform import Transform
from exo2micro.raster.fits import FitsWriter
from exo2micro.raster.stream import Band
from exo2micro.raster.transform_table import transform_table


def mapping_of(path):
    """Return post-to-pre canvas mapping as the table's comments describe it."""
    with fits.open(path, checksum=True) as hdus:
        table = hdus["TRANSFORM"]
        header, rows = table.header, np.array(table.data)
    matrix = np.array([[header[f"TRF{i}_{j}"] for j in (1, 2, 3)] for i in (1, 2, 3)])
    offset = np.array([header["OFFSETX"], header["OFFSETY"]])
    spline = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)

    def mapping(points):
        raw = points - offset
        moved = raw.copy()
        for x, y, dx, dy in rows:
            weight = np.nan_to_num(spline((raw[:, 0] - x) / header["GRIDDX"]))
            weight *= np.nan_to_num(spline((raw[:, 1] - y) / header["GRIDDY"]))
            moved += weight[:, None] * (dx, dy)
        mapped = np.column_stack([moved, np.ones(len(moved))]) @ matrix.T
        return mapped[:, :2] / mapped[:, 2:] + offset

    return mapping


@pytest.mark.filterwarnings("error")
def test_the_difference_tells_its_alignment(finished):
    run = SampleDye(SAMPLE, DYE, **finished.dirs())
    path = finished.folder / "fits" / "04_difference_difference.fits"
    points = np.random.default_rng(2).uniform(0, 4000, (200, 2))
    assert np.abs(mapping_of(path)(points) - run.transform()(points)).max() < 1e-6
    header = fits.getheader(path)
    certificate = run.run()["certificate"]
    assert header["CERTLEV"] == certificate["level"]
    assert header["CERTN"] == certificate["tiles"]
    assert header["CERTBND"] == pytest.approx(certificate["bound_px"])
    assert header["CERTMED"] <= header["CERT95"] <= header["CERTBND"]


@pytest.mark.filterwarnings("error")
def test_a_deformation_is_told_node_by_node(tmp_path):
    generator = np.random.default_rng(7)
    field = DisplacementField((-40.5, 13.25), (91.0, 77.5), generator.normal(0, 5, (6, 8, 2)))
    matrix = np.array([[1.01, 0.04, 12.5], [-0.03, 0.98, -7.25], [1e-6, -2e-6, 1.0]])
    transform = Transform(matrix, field)
    table = transform_table(transform.to_dict(), {"offset": [300, 200]})
    path = tmp_path / "deformed.fits"
    pixels = np.ones((40, 50), np.float32)
    with FitsWriter(path, (40, 50), pixels.dtype, fits.Header(), tables=(table,)) as write:
        write(Band(slice(0, 40), slice(0, 50), {"data": pixels}, (), None))
    points = generator.uniform(-200, 1200, (300, 2))
    canvas = transform.shifted(200, 300)
    assert np.abs(mapping_of(path)(points) - canvas(points)).max() < 1e-6
    with fits.open(path) as hdus:
        assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
        assert len(hdus["TRANSFORM"].data) == 48
        hdus.verify("exception")
