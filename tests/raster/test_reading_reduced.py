"""Windows of overviews and of compressed planes are what the whole images say."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.errors import CheckpointError
from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.fits import FitsWriter
from exo2micro.raster.fits_planes import open_fits_planes
from exo2micro.raster.fits_tile_reader import TiledPlane
from exo2micro.raster.fits_tiles import PlaneSpec, encode_quantised
from exo2micro.raster.stream import TILE, RasterSource, drain, feed, stream_bands
from exo2micro.raster.tiff import write_tiff
from exo2micro.raster.tiff_reader import TiffCheckpoint

SHAPE = (1100, 1337)


class Planes(RasterSource):
    """A slide with an exact and a rounded plane."""

    def __init__(self, image, flags):
        super().__init__(ArrayRaster(image))
        self.image, self.flags = image, flags

    def read_planes(self, rows, cols):
        snr = tuple(
            encode_quantised(self.image[rows, x : min(x + TILE, cols.stop)], 1 / 16)
            for x in range(cols.start, cols.stop, TILE)
        )
        return {"data": self.image[rows, cols], "SNR": snr, "DQ": self.flags[rows, cols]}


@pytest.fixture(scope="module")
def image():
    image = np.random.default_rng(4).normal(10, 30, SHAPE).astype(np.float32)
    image[:600, :500] = 0
    return image


@pytest.fixture(scope="module")
def flags(image):
    return (np.abs(image) > 60).astype(np.uint8) * 4 + (image == 0)


@pytest.fixture(scope="module")
def planes(image, flags, tmp_path_factory):
    path = tmp_path_factory.mktemp("planes") / "slide.fits"
    specs = [
        PlaneSpec("SNR", np.dtype(np.float32), 0, fits.Header()),
        PlaneSpec("DQ", np.dtype(np.uint8), 2, fits.Header()),
    ]
    with FitsWriter(path, SHAPE, np.dtype(np.float32), fits.Header(), specs) as writer:
        drain(feed(stream_bands(Planes(image, flags), threads=2, encode=False), [writer]))
    return path


@pytest.fixture(scope="module")
def tiff(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiff") / "slide.tiff"
    bands = stream_bands(RasterSource(ArrayRaster(image)), threads=1, encode=True)
    write_tiff(path, bands, SHAPE, image.dtype, description="test")
    return TiffCheckpoint(path, cache_bytes=4_000_000)


windows = st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 20), st.integers(1, 9))


@settings(max_examples=30)
@given(window=windows, factor=st.sampled_from([1, 2, 4, 8, 16, 3]))
def test_a_window_of_an_overview_is_cut_from_the_overview(window, factor, tiff, image):
    whole = tiff.overview(factor)
    rows, cols = (
        slice(min(start, size - 1), min(start + length, size))
        for start, length, size in zip(window[::2], window[1::2], whole.shape, strict=True)
    )
    part = tiff.read_reduced(rows, cols, factor)
    np.testing.assert_allclose(part, whole[rows, cols], rtol=0, atol=1e-4)
    plain = ArrayRaster(image).read_reduced(rows, cols, factor)
    np.testing.assert_allclose(part, plain, rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(
    y=st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, 600)),
    x=st.tuples(st.integers(0, SHAPE[1] - 1), st.integers(0, 600)),
)
def test_windows_of_compressed_planes_are_those_that_astropy_reads(y, x, planes):
    opened = open_fits_planes(planes).extensions
    rows = slice(y[0], min(sum(y), SHAPE[0]))
    cols = slice(x[0], min(sum(x), SHAPE[1]))
    with fits.open(planes) as hdus:
        for name in ("SNR", "DQ"):
            assert isinstance(opened[name], TiledPlane)
            found = opened[name].read(rows, cols)
            assert found.dtype == hdus[name].data.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found, hdus[name].data[rows, cols])


def test_planes_compressed_by_others_are_read_by_astropy(tmp_path, image):
    path = tmp_path / "other.fits"
    hdus = [fits.PrimaryHDU(image), fits.CompImageHDU(image.astype(np.int16), name="DQ")]
    fits.HDUList(hdus).writeto(path)
    plane = open_fits_planes(path).extensions["DQ"]
    assert not isinstance(plane, TiledPlane)
    window = slice(500, 530), slice(490, 540)
    np.testing.assert_array_equal(plane.read(*window), image.astype(np.int16)[window])


def test_a_damaged_tile_is_named(tmp_path, planes):
    copy = tmp_path / "damaged.fits"
    content = bytearray(planes.read_bytes())
    plane = TiledPlane(planes, 2)
    start = plane._heap + int(plane._places[-1]["start"])
    content[start : start + 30] = bytes(30)
    copy.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: tile 8 "):
        TiledPlane(copy, 2).read(*(slice(0, size) for size in SHAPE))
