"""Every unusable file is a typed error that names the file, the cause and the next action."""

import os
import tempfile
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from exo2micro.errors import ImageContentError, RawFileNotFoundError, RawReadError
from exo2micro.raster import ArrayRaster
from exo2micro.raw import check_content, classify_raw_files, open_raw


def refuse(path, *words, error=RawReadError):
    with pytest.raises(error) as caught:
        open_raw(path)
    for word in (path.name, *words):
        assert word in str(caught.value)


def test_missing_file(tmp_path):
    refuse(tmp_path / "a.tif", "does not exist", error=RawFileNotFoundError)
    with pytest.raises(FileNotFoundError):
        open_raw(tmp_path / "a.tif")


def test_zero_byte_file(tmp_path):
    (tmp_path / "a.tif").touch()
    refuse(tmp_path / "a.tif", "0 bytes", "copy it again")


def test_text_file_renamed(tmp_path):
    (tmp_path / "a.tif").write_text("this is not an image")
    refuse(tmp_path / "a.tif", "not a TIFF", "this is", "export")


def test_folder_of_that_name(tmp_path):
    (tmp_path / "a.tif").mkdir()
    refuse(tmp_path / "a.tif", "is a folder")


def test_unknown_format(tmp_path):
    (tmp_path / "a.bmp").write_bytes(b"BM")
    refuse(tmp_path / "a.bmp", ".tif", "export it as TIFF")


@pytest.fixture
def foreign_folder():
    """A folder that anybody may enter, entered as a user who is not root."""
    if os.name == "nt":
        pytest.skip("rights work otherwise on Windows")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def ordinary_user():
    """Root may read everything: step down for a moment."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_file_without_permission(foreign_folder, gray8):
    path = foreign_folder / "a.tif"
    tifffile.imwrite(path, gray8)
    path.chmod(0)
    with ordinary_user():
        refuse(path, "permission denied", "right to read it")


def test_folder_without_permission(foreign_folder, gray8):
    folder = foreign_folder / "S"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", gray8)
    folder.chmod(0)
    with ordinary_user():
        refuse(folder / "a.tif", "permission denied")
        with pytest.raises(RawReadError, match="may not be listed"):
            classify_raw_files(folder)
    folder.chmod(0o755)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"tile": (64, 64)}, {"bigtiff": 1}]
)
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.1, 0.001])
def test_truncated_file_is_refused_on_opening(tmp_path, gray8, options, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray8, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refuse(path, "truncated" if kept > 0.2 else "copy it again", "copy it again")


def test_file_cut_short_while_in_use(tmp_path, gray8):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray8)
    image = open_raw(path)
    os.truncate(path, 2000)
    with pytest.raises(RawReadError, match="cut short while it was in use"):
        image.channel(0).read_all()


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw"])
def test_damaged_segment_is_an_error(tmp_path, gray8, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray8, compression=compression, rowsperstrip=203)
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    with pytest.raises(RawReadError, match=r"a\.tif cannot be decoded at segment 0"):
        open_raw(path).channel(0).read_all()


@pytest.mark.parametrize(
    ("dtype", "options", "words"),
    [
        ("uint8", {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, "palette"),
        ("uint8", {"photometric": "miniswhite"}, "brightness is inverted"),
        ("bool", {}, "1-bit"),
        ("int16", {}, "signed integers (16 bit)"),
        ("complex64", {}, "complex"),
    ],
)
def test_unsupported_pixels_are_refused_in_words(tmp_path, dtype, options, words):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((100, 100), dtype), **options)
    refuse(tmp_path / "a.tif", words, "export the scan again")


def test_cmyk_is_refused_in_words(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((100, 100, 4), np.uint8), photometric="separated")
    refuse(tmp_path / "a.tif", "CMYK")


def test_volume_in_one_page_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.ones((4, 96, 96), np.uint8), volumetric=True, tile=(4, 96, 96),
        photometric="minisblack",
    )  # fmt: skip
    refuse(tmp_path / "a.tif", "volume")


def test_reading_after_close_is_an_error(tmp_path, gray8):
    tifffile.imwrite(tmp_path / "a.tif", gray8)
    image = open_raw(tmp_path / "a.tif")
    image.close()
    with pytest.raises(RawReadError, match="was closed"):
        image.channel(0).read_all()


def refuse_content(array, *words):
    with pytest.raises(ImageContentError) as caught:
        check_content(ArrayRaster(array), "scan.tif")
    for word in ("scan.tif", *words):
        assert word in str(caught.value)


def test_tiny_image():
    refuse_content(np.arange(63 * 200, dtype=np.uint16).reshape(63, 200), "63 x 200 px", "64 px")
    check_content(ArrayRaster(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)), "scan.tif")


@pytest.mark.parametrize("value", [0, 7])
def test_blank_image(value):
    refuse_content(np.full((100, 100), value, np.uint8), "blank", f"every pixel is {value}")


def test_saturated_image():
    image = np.full((200, 200), 255, np.uint8)
    refuse_content(image, "saturated", "100 %", "shorter exposure")
    image[:1] = 3
    refuse_content(image, "saturated", "99.5 %")
    image[:10] = 3
    check_content(ArrayRaster(image), "scan.tif")


def test_one_pixel_that_the_windows_miss_is_found_before_calling_an_image_blank():
    image = np.zeros((4000, 6000), np.uint8)
    image[100, 300] = 1
    check_content(ArrayRaster(image), "scan.tif")


def test_not_finite_pixels_are_counted(tmp_path, make_scene):
    image = make_scene(100, 120).astype(np.float32)
    image[4, 5:8] = np.nan
    image[50, 60] = np.inf
    refuse_content(image, "4 pixels that are NaN or infinite")
    tifffile.imwrite(tmp_path / "a.tif", image)
    raster = open_raw(tmp_path / "a.tif").channel(0)
    with pytest.raises(ImageContentError, match=r"a\.tif holds 3 pixels that are NaN or infinite"):
        raster.read(slice(0, 20), slice(0, 20))
    assert np.isfinite(raster.read(slice(10, 40), slice(0, 20))).all()


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256), "compression": "zlib"}])
def test_windows_of_a_large_file_take_little_memory(tmp_path, options):
    path = tmp_path / "a.tif"
    data = np.random.default_rng(0).integers(0, 200, (6000, 5000), np.uint8)
    tifffile.imwrite(path, data, **options)
    raster = open_raw(path).channel(0)
    tracemalloc.start()
    for y in range(0, 6000, 500):
        np.testing.assert_array_equal(
            raster.read(slice(y, y + 256), slice(700, 1300)), data[y : y + 256, 700:1300]
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # the image has 30 MB
