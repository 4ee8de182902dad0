"""Companion planes of measurements: rounded by a stated step, read by astropy as float images."""

import numpy as np
import pytest
from astropy.io import fits

from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.fits import FitsWriter
from exo2micro.raster.fits_tiles import PlaneSpec, encode_quantised
from exo2micro.raster.stream import TILE, RasterSource, drain, feed, stream_bands


class Source(RasterSource):
    """An image with a plane that is encoded where it is computed."""

    def __init__(self, image, extent, step):
        super().__init__(ArrayRaster(image))
        self.extent = extent
        self.image, self.step = image, step

    def read_planes(self, rows, cols):
        tiles = tuple(
            encode_quantised(self.image[rows, x : min(x + TILE, cols.stop)], self.step)
            for x in range(cols.start, cols.stop, TILE)
        )
        return {"data": self.image[rows, cols], "SNR": tiles}


@pytest.fixture(params=[(700, 1300), (300, 90), (1100, 1024)])
def written(request, tmp_path):
    ny, nx = request.param
    image = np.zeros((ny, nx), np.float32)
    rows, cols = slice(ny // 3, ny), slice(nx // 2, nx)
    inner = (ny - rows.start, nx - cols.start)
    image[rows, cols] = np.random.default_rng(1).normal(0, 40, inner)
    path = tmp_path / "image.fits"
    spec = PlaneSpec("SNR", np.dtype(np.float32), 0, fits.Header())
    source = Source(image, (rows, cols), 1 / 16)
    with FitsWriter(path, (ny, nx), np.dtype(np.float32), fits.Header(), [spec]) as writer:
        drain(feed(stream_bands(source, threads=2, encode=False), [writer]))
    return path, image


def test_a_quantised_plane_is_rounded_to_its_step_and_zero_stays_zero(written):
    path, image = written
    with fits.open(path, checksum=True) as hdus:
        plane = hdus["SNR"].data
        np.testing.assert_array_equal(hdus[0].data, image)
    assert plane.dtype == np.float32
    np.testing.assert_array_equal(plane, np.rint(image * 16) / 16)
    assert (plane[image == 0] == 0).all()


def test_the_file_obeys_the_standard(written):
    with fits.open(written[0], disable_image_compression=True) as hdus:
        hdus.verify("exception")
        assert hdus["SNR"].header["ZCMPTYPE"] == "RICE_1"
        assert hdus["SNR"].header["ZQUANTIZ"] == "NO_DITHER"


def test_a_plane_beyond_two_gigabytes_of_file_is_read(tmp_path):
    """The primary image of a whole slide, all holes, lies before the plane."""
    shape = (20_000, 30_000)
    corner = np.full((TILE, TILE), 5.5, np.float32)

    class Slide:
        dtype = np.dtype(np.float32)
        extent = (slice(shape[0] // TILE * TILE, shape[0]), slice(0, TILE))

        def __init__(self):
            self.shape = shape

        def read_planes(self, rows, cols):
            tile = corner[: rows.stop - rows.start, : cols.stop - cols.start]
            return {"data": tile, "SNR": (encode_quantised(tile, 1 / 16),)}

    path = tmp_path / "slide.fits"
    spec = PlaneSpec("SNR", np.dtype(np.float32), 0, fits.Header())
    with FitsWriter(path, shape, Slide.dtype, fits.Header(), [spec]) as writer:
        drain(feed(stream_bands(Slide(), threads=1, encode=False), [writer]))
    assert path.stat().st_size > 2**31
    assert path.stat().st_blocks * 512 < 50_000_000
    with fits.open(path) as hdus:
        part = hdus["SNR"].section[-32:, :600]
    assert (part[:, :TILE] == 5.5).all()
    assert (part[:, TILE:] == 0).all()
