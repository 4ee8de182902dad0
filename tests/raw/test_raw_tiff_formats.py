"""Every layout of TIFF gives back exactly the pixels that were written."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.raw import open_raw

SHAPE = (203, 157)
LAYOUTS = {
    "plain": {},
    "one strip": {"rowsperstrip": SHAPE[0]},
    "strips": {"rowsperstrip": 7},
    "tiled": {"tile": (64, 48)},
    "lzw": {"compression": "lzw"},
    "lzw predictor tiled": {"compression": "lzw", "predictor": True, "tile": (32, 64)},
    "deflate": {"compression": "zlib", "rowsperstrip": 50},
    "deflate one strip": {"compression": "zlib", "rowsperstrip": SHAPE[0]},
    "zstd": {"compression": "zstd", "tile": (64, 64)},
    "packbits": {"compression": "packbits"},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian deflate": {"byteorder": ">", "compression": "zlib", "predictor": True},
    "big-endian tiled": {"byteorder": ">", "tile": (64, 64)},
}


def pixels(dtype, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(100, 30, shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def read_whole(image):
    rows, cols = (slice(0, n) for n in image.shape)
    return image.read(rows, cols, range(len(image.channel_names)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gray_is_read_exactly(tmp_path, dtype, layout):
    truth = pixels(dtype)
    tifffile.imwrite(tmp_path / "a.tif", truth, photometric="minisblack", **LAYOUTS[layout])
    image = open_raw(tmp_path / "a.tif")
    assert (image.shape, image.dtype, image.channel_names) == (SHAPE, np.dtype(dtype), ("gray",))
    assert image.dtype.isnative
    got = image.channel(0).read_all()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, truth)
    np.testing.assert_array_equal(
        image.channel(0).read(slice(37, 150), slice(90, 101)), truth[37:150, 90:101]
    )


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_colour_is_read_exactly(tmp_path, dtype, layout, planar):
    truth = pixels(dtype, (3, *SHAPE))
    data = truth if planar == "separate" else np.moveaxis(truth, 0, -1)
    tifffile.imwrite(
        tmp_path / "a.tif", data, photometric="rgb", planarconfig=planar, **LAYOUTS[layout]
    )
    image = open_raw(tmp_path / "a.tif")
    assert image.shape == SHAPE
    assert image.channel_names == ("red", "green", "blue")
    np.testing.assert_array_equal(read_whole(image), truth)
    for index in range(3):
        np.testing.assert_array_equal(
            image.channel(index).read(slice(1, 99), slice(3, 157)), truth[index, 1:99, 3:]
        )


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_alpha_is_no_signal(tmp_path, planar, extra):
    truth = pixels("uint8", (4, *SHAPE))
    data = truth if planar == "separate" else np.moveaxis(truth, 0, -1)
    tifffile.imwrite(
        tmp_path / "a.tif", data, photometric="rgb", planarconfig=planar, extrasamples=[extra]
    )
    image = open_raw(tmp_path / "a.tif")
    assert image.channel_names == ("red", "green", "blue")
    np.testing.assert_array_equal(read_whole(image), truth[:3])
    assert image.notes == ("an alpha channel is not used",)


def test_alpha_of_a_gray_image_is_no_signal(tmp_path):
    truth = pixels("uint16", (*SHAPE, 2))
    tifffile.imwrite(
        tmp_path / "a.tif", truth, photometric="minisblack", planarconfig="contig",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    image = open_raw(tmp_path / "a.tif")
    assert image.channel_names == ("gray",)
    np.testing.assert_array_equal(image.channel(0).read_all(), truth[..., 0])


@pytest.mark.parametrize("tile", [None, (64, 64)])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb", "ycbcr"])
def test_jpeg_is_what_its_decoder_gives(tmp_path, rgb8, tile, photometric):
    path = tmp_path / "a.tif"
    data = rgb8[..., 1] if photometric == "minisblack" else rgb8
    written = "minisblack" if photometric == "minisblack" else "rgb"
    args = {"outcolorspace": photometric} if written == "rgb" else None
    tifffile.imwrite(
        path, data, photometric=written, compression="jpeg", compressionargs=args, tile=tile
    )
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].photometric.name.lower() == photometric
    got = np.squeeze(np.moveaxis(read_whole(open_raw(path)), 0, -1))
    np.testing.assert_array_equal(got, tifffile.imread(path))
    assert abs(got.astype(float) - data).mean() < 4  # RGB, not brightness and colour difference


def test_sixteen_bit_colour_stays_sixteen_bit(tmp_path):
    truth = np.zeros((*SHAPE, 3), np.uint16)
    truth[..., 1] = np.arange(SHAPE[1]) * 400
    tifffile.imwrite(tmp_path / "a.tif", truth, photometric="rgb")
    raster = open_raw(tmp_path / "a.tif").channel(1)
    assert raster.dtype == np.uint16
    assert raster.read_all().max() == 156 * 400


def test_twelve_bit_packed_keeps_its_saturation_level(tmp_path):
    truth = pixels("uint16") & 0x0FFF
    tifffile.imwrite(tmp_path / "a.tif", truth[:, :156], bitspersample=12)
    image = open_raw(tmp_path / "a.tif")
    assert image.dtype == np.uint16
    assert image.saturation_level == 4095
    np.testing.assert_array_equal(image.channel(0).read_all(), truth[:, :156])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_of_any_layout(tmp_path_factory, data):
    truth = np.moveaxis(pixels("uint16", (*SHAPE, 3)), -1, 0)
    layout = data.draw(st.sampled_from(sorted(LAYOUTS)))
    path = tmp_path_factory.mktemp("w") / "a.tif"
    tifffile.imwrite(path, np.moveaxis(truth, 0, -1), photometric="rgb", **LAYOUTS[layout])
    image = open_raw(path)
    for _ in range(4):
        y0, y1 = sorted(data.draw(st.lists(st.integers(0, SHAPE[0]), min_size=2, max_size=2)))
        x0, x1 = sorted(data.draw(st.lists(st.integers(0, SHAPE[1]), min_size=2, max_size=2)))
        channels = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
        got = image.read(slice(y0, y1), slice(x0, x1), channels)
        np.testing.assert_array_equal(got, truth[channels][:, y0:y1, x0:x1])
    image.close()
