"""Files written by bands: read back exactly, sparse, valid, the same bytes at any thread count."""

import hashlib
import weakref
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exo2micro.raster import ArrayRaster, OffsetRaster
from exo2micro.raster.fits import FitsRaster, FitsWriter
from exo2micro.raster.fits_checksum import add_words, checksum_text, sum_words
from exo2micro.raster.fits_tiles import PlaneSpec
from exo2micro.raster.stream import OVERVIEW_STEP, TILE, RasterSource, drain, feed, stream_bands
from exo2micro.raster.tiff import write_tiff
from exo2micro.raster.tiff_reader import TiffCheckpoint
from exo2micro.raster.windows import block_mean

CASES = [
    ((700, 901), 300, np.uint8),
    ((700, 900), 1000, np.float32),
    ((100, 91), 0, np.uint16),
    ((1024, 512), 512, np.float32),
    ((65, 2000), 7, np.uint16),
]


class QualitySource(RasterSource):
    """An image with a plane that marks its zeros."""

    def read_planes(self, rows, cols):
        data = super().read_planes(rows, cols)["data"]
        return {"data": data, "DQ": (data == 0).astype(np.uint8) * 2}


def padded(shape, pad, dtype, seed=0):
    rng = np.random.default_rng(seed)
    pixels = (rng.random(shape) * 200).astype(dtype)
    canvas = (shape[0] + 2 * pad, shape[1] + 2 * pad)
    return OffsetRaster(ArrayRaster(pixels), canvas, (pad, pad))


def save_tiff(path, raster, threads=2, **options):
    bands = stream_bands(RasterSource(raster), threads=threads, encode=True)
    write_tiff(path, bands, raster.shape, raster.dtype, description="{}", **options)


def save_fits(path, raster, threads=2, header=None):
    source = QualitySource(raster)
    plane = PlaneSpec("DQ", np.dtype(np.uint8), 2, fits.Header())
    cards = header or fits.Header({"SCALE": 1.5})
    with FitsWriter(path, source.shape, source.dtype, cards, [plane]) as writer:
        drain(feed(stream_bands(source, threads=threads, encode=False), [writer]))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("shape", "pad", "dtype"), CASES)
def test_tiff_reads_back_exactly(tmp_path, shape, pad, dtype):
    raster = padded(shape, pad, dtype)
    path = tmp_path / "image.tiff"
    save_tiff(path, raster, pixel_size_um=(0.5, 0.25))
    whole = raster.read_all()
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert np.array_equal(file.asarray(), whole)
        assert page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert "DateTime" not in page.tags
        x, y = (page.tags[f"{axis}Resolution"].value for axis in "XY")
        assert x[0] / x[1] == pytest.approx(20_000)
        assert y[0] / y[1] == pytest.approx(40_000)
        shapes = [level.shape for level in file.series[0].levels]
        for level in file.series[0].levels[1:2]:
            expected = raster.overview(OVERVIEW_STEP)
            assert np.abs(level.asarray() - expected).max() <= (0.5 if dtype != np.float32 else 0)
    assert max(shapes[-1]) <= 256
    read = TiffCheckpoint(path)
    assert (read.shape, read.dtype) == (raster.shape, np.dtype(dtype))
    rows, cols = slice(10, shape[0] // 2 + pad), slice(5, shape[1] + pad)
    assert np.array_equal(read.read(rows, cols), whole[rows, cols])


@pytest.mark.parametrize(("shape", "pad", "dtype"), CASES)
def test_tiff_opens_in_programs_based_on_libtiff(tmp_path, shape, pad, dtype):
    raster = padded(shape, pad, dtype)
    path = tmp_path / "image.tiff"
    save_tiff(path, raster)
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), raster.read_all())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pillow_reads_every_kind_of_pixel(tmp_path, dtype):
    raster = padded((700, 901), 100, dtype)
    save_tiff(tmp_path / "image.tiff", raster)
    with Image.open(tmp_path / "image.tiff") as image:
        assert np.array_equal(np.asarray(image), raster.read_all())


def test_every_overview_is_the_reduced_one_before(tmp_path):
    raster = padded((4300, 2100), 50, np.float32)
    save_tiff(tmp_path / "image.tiff", raster)
    with tifffile.TiffFile(tmp_path / "image.tiff") as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert len(levels) == 4
    for finer, coarser in pairwise(levels):
        np.testing.assert_array_equal(coarser, block_mean(finer, OVERVIEW_STEP))
    assert [path.name for path in tmp_path.iterdir()] == ["image.tiff"]


def test_only_one_band_is_in_memory(tmp_path):
    alive = []

    class Watched(RasterSource):
        def read_planes(self, rows, cols):
            planes = super().read_planes(rows, cols)
            alive.append(weakref.ref(planes["data"]))
            return planes

    seen = []
    source = Watched(ArrayRaster(np.ones((5 * TILE, TILE), np.float32)))
    bands = stream_bands(source, threads=1, encode=True)
    counted = feed(bands, [lambda _: seen.append(sum(ref() is not None for ref in alive))])
    write_tiff(tmp_path / "image.tiff", counted, source.shape, source.dtype, description="{}")
    assert seen == [1] * 5


@pytest.mark.parametrize(("shape", "pad", "dtype"), CASES)
def test_fits_reads_back_exactly_with_valid_checksums(tmp_path, shape, pad, dtype):
    raster = padded(shape, pad, dtype)
    path = tmp_path / "image.fits"
    save_fits(path, raster)
    whole = raster.read_all()
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus[0].data, whole)
        assert hdus[0].header["SCALE"] == 1.5
        assert np.array_equal(hdus["DQ"].data, (whole == 0) * 2)
    with fits.open(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
        comments = "".join(hdu.header.comments["CHECKSUM"] for hdu in hdus)
        assert not any(character.isdigit() for character in comments)
    rows, cols = slice(3, 60), slice(0, 50)
    assert np.array_equal(FitsRaster(path).read(rows, cols), whole[rows, cols])


def test_border_costs_nothing(tmp_path):
    small, large = padded((600, 600), 0, np.float32), padded((600, 600), 3000, np.float32)
    for name, raster in (("small", small), ("large", large)):
        save_tiff(tmp_path / f"{name}.tiff", raster)
        save_fits(tmp_path / f"{name}.fits", raster)

    def on_disk(name):
        return (tmp_path / name).stat().st_blocks * 512

    assert on_disk("large.tiff") < 1.3 * on_disk("small.tiff") + 100_000
    assert on_disk("large.fits") < 0.1 * large.shape[0] * large.shape[1] * 4


@pytest.mark.parametrize("save", [save_tiff, save_fits])
def test_same_bytes_at_any_thread_count(tmp_path, save):
    raster = padded((1300, 700), 100, np.float32)
    digests = set()
    for threads in (1, 2, 5):
        path = tmp_path / f"{threads}.image"
        save(path, raster, threads)
        digests.add(digest(path))
    assert len(digests) == 1


def test_overview_from_stored_levels_equals_the_real_one(tmp_path):
    raster = padded((1024, 2048), 0, np.float32)
    path = tmp_path / "image.tiff"
    save_tiff(path, raster)
    assert np.allclose(TiffCheckpoint(path).overview(8), raster.overview(8), atol=1e-3)
    assert np.allclose(TiffCheckpoint(path).overview(3), raster.overview(3), atol=1e-3)


def test_a_failing_write_leaves_no_spool_file(tmp_path):
    raster = padded((600, 600), 0, np.float32)
    source = QualitySource(raster)
    plane = PlaneSpec("DQ", np.dtype(np.uint8), 2, fits.Header())
    path = tmp_path / "image.fits"

    def fail(band):
        raise OSError(28, "No space left on device")

    writer = FitsWriter(path, source.shape, source.dtype, fits.Header(), [plane])
    with pytest.raises(OSError, match="No space"), writer:
        drain(feed(stream_bands(source, threads=2, encode=False), [writer, fail]))
    assert [p.name for p in tmp_path.iterdir()] == ["image.fits"]


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_sum_of_parts_is_sum_of_whole(data, cut):
    cut = min(cut, len(data))
    parts = add_words(sum_words(data[:cut]), sum_words(data[cut:], cut % 4))
    assert parts % 0xFFFFFFFF == sum_words(data) % 0xFFFFFFFF


@settings(max_examples=60)
@given(st.integers(0, 0xFFFFFFFF))
def test_checksum_text_is_printable_and_complements(total):
    text = checksum_text(total)
    assert len(text) == 16
    assert text.isalnum()
    rotated = text[1:] + text[:1]
    encoded = sum_words(rotated.encode()) - sum_words(b"0" * 16)
    assert (encoded + total) % 0xFFFFFFFF == 0
