"""The reader family, and vendor formats with stand-ins for the packages that read them."""

import struct
import sys
import types
from collections import namedtuple

import numpy as np
import pytest
import tifffile

from exo2micro.errors import RawPagesError, RawReadError
from exo2micro.raw import RawReader, discover_tasks, load_image_pair, open_raw
from exo2micro.raw.image import RawImage
from exo2micro.registry import unregister_class


def whole(image):
    rows, cols = (slice(0, n) for n in image.shape)
    return image.read(rows, cols, range(len(image.channel_names)))


def test_readers_are_found_by_themselves():
    assert {"tiff", "czi", "nd2"} <= set(RawReader.__registry__)


def test_a_registered_reader_comes_before_those_of_the_package(tmp_path, gray8):
    tifffile.imwrite(tmp_path / "a.tif", gray8)

    class InvertedImage(RawImage):
        def __init__(self, path):
            self.path, self.shape, self.dtype = path, gray8.shape, gray8.dtype
            self.channel_names = ("gray",)

        def read(self, rows, cols, channels):
            return 255 - tifffile.imread(self.path)[None, rows, cols]

    class InvertedReader(RawReader):
        name = "inverted"
        suffixes = (".tif", ".inv")

        def open(self, path, page=None):
            return InvertedImage(path)

    try:
        np.testing.assert_array_equal(whole(open_raw(tmp_path / "a.tif"))[0], 255 - gray8)
        folder = tmp_path / "raw" / "S"
        folder.mkdir(parents=True)
        for role in ("pre", "post"):
            tifffile.imwrite(folder / f"S_{role}_D.inv", gray8)
        assert discover_tasks(tmp_path / "raw") == [("S", "D")]
        post, _ = load_image_pair("S", "D", tmp_path / "raw")
        np.testing.assert_array_equal(post.read_all(), 255 - gray8)
    finally:
        unregister_class(InvertedReader)
    np.testing.assert_array_equal(whole(open_raw(tmp_path / "a.tif"))[0], gray8)


@pytest.mark.parametrize("suffix", [".czi", ".nd2"])
def test_missing_package_says_how_to_install_it(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    for package in ("czifile", "nd2"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RawReadError, match=r"pip install exo2micro\[vendor\]"):
        open_raw(path)


@pytest.mark.parametrize("suffix", [".svs", ".qptiff", ".btf"])
def test_vendor_formats_that_are_tiff(tmp_path, gray8, suffix):
    tifffile.imwrite(tmp_path / f"a{suffix}", gray8, tile=(64, 64))
    np.testing.assert_array_equal(whole(open_raw(tmp_path / f"a{suffix}"))[0], gray8)


def write_ndpi(path, pages):
    """Write uncompressed gray pages as NDPI: 32-bit TIFF with 64-bit offsets.

    `pages` holds (image, magnification); Hamamatsu marks the macro image with -1.
    """
    out = bytearray(struct.pack("<2sHQ", b"II", 42, 12))
    for k, (image, magnification) in enumerate(pages):
        ny, nx = image.shape
        tags = [
            (256, "I", nx), (257, "I", ny), (258, "H", 8), (259, "H", 1), (262, "H", 1),
            (271, "4s", b"Ham\0"), (273, "I", 0), (277, "H", 1), (278, "I", ny),
            (279, "I", image.size), (65420, "I", 1), (65421, "f", magnification),
        ]  # fmt: skip
        end = len(out) + 2 + 16 * len(tags) + 8
        tags[6] = (273, "I", end)
        out += struct.pack("<H", len(tags))
        for code, kind, value in tags:
            field = struct.pack(f"<{kind}", value).ljust(4, b"\0")
            number, count = {"H": (3, 1), "I": (4, 1), "f": (11, 1), "4s": (2, 4)}[kind]
            out += struct.pack("<HHI", code, number, count) + field
        out += struct.pack("<Q", end + image.size if k < len(pages) - 1 else 0)
        out += bytes(4 * len(tags)) + image.tobytes()
    path.write_bytes(out)


def test_ndpi_with_macro_image(tmp_path, gray8):
    path = tmp_path / "a.ndpi"
    write_ndpi(path, [(gray8, 20.0), (gray8[:150, :140].copy(), -1.0)])
    image = open_raw(path)
    np.testing.assert_array_equal(whole(image)[0], gray8)
    assert image.notes == ("not read: page 1: 150 x 140 uint8 'Macro' (thumbnail)",)


def test_svs_file_with_thumbnail_levels_label_and_pixel_size(tmp_path, rgb8):
    full = np.tile(rgb8, (3, 3, 1))[:512, :448]
    path = tmp_path / "a.svs"
    description = "Aperio Image Library v11\n448x512 [0,0 448x512]|AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(path) as tif:
        tif.write(full, tile=(128, 128), description=description, metadata=None, photometric="rgb")
        tif.write(full[::4, ::4], metadata=None, photometric="rgb", description="Aperio thumb")
        tif.write(full[::2, ::2], tile=(128, 128), metadata=None, photometric="rgb")
        tif.write(full[:90, :100], metadata=None, photometric="rgb", description="Aperio label")
    image = open_raw(path)
    assert image.shape == (512, 448)
    assert image.pixel_size_um == (0.499, 0.499)
    np.testing.assert_array_equal(whole(image), np.moveaxis(full, -1, 0))


def test_aperio_jpeg2000_in_ycbcr_is_refused(tmp_path, rgb8):
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, rgb8, photometric="rgb", compression=33005, tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(33003)
    with pytest.raises(RawReadError, match="stores YCbCr colour compressed as APERIO_JP2000_YCBC"):
        open_raw(path)


class FakeScene:
    """One scene of the stand-in for czifile 2026: an array with axes, and where it lies."""

    def __init__(self, data, axes, corner=(0, 0), starts=None):
        self.data, self.dims, self.corner = data, tuple(axes), corner
        self.dtype = data.dtype
        self.sizes = dict(zip(axes, data.shape, strict=True))
        self.start = tuple((starts or {}).get(a, 0) for a in axes)
        self.channels = {"DAPI": {}, "EGFP": {}}
        self.bbox = (*corner, self.sizes["X"], self.sizes["Y"])
        self.mpp = (0.5, 0.25)

    def __call__(self, *, roi, **position):
        x, y, width, height = roi
        data = self.data
        for axis in [a for a in self.dims if a in position]:
            data = data[position[axis] - self.start[self.dims.index(axis)]]
        x, y = x - self.corner[0], y - self.corner[1]
        if y >= self.sizes["Y"] - 10:
            msg = "roi matches no subblocks"
            raise ValueError(msg)
        window = data[y : y + height, x : x + width]
        return types.SimpleNamespace(asarray=lambda: np.squeeze(window))


@pytest.fixture
def fake_czifile(monkeypatch):
    """Install a stand-in for czifile and return the dict of scenes that its files hold."""
    scenes = {}

    class CziFile:
        def __init__(self, path):
            if path.read_bytes() != b"ZISRAWFILE":
                msg = "not a CZI file"
                raise ValueError(msg)
            self.scenes = scenes

        def close(self):
            pass

    module = types.SimpleNamespace(CziFile=CziFile, __version__="2026.1.1")
    monkeypatch.setitem(sys.modules, "czifile", module)
    return scenes


def czi(tmp_path):
    path = tmp_path / "a.czi"
    path.write_bytes(b"ZISRAWFILE")
    return path


def test_czi_channels_are_pages(tmp_path, fake_czifile, make_scene):
    data = np.stack([make_scene(100, 120, seed=k) for k in range(2)]).astype(np.uint16)
    fake_czifile[0] = FakeScene(data, "CYX", corner=(-40, 70), starts={"C": 3})
    with pytest.raises(RawPagesError, match="page 1: 100 x 120 uint16 'EGFP'"):
        open_raw(czi(tmp_path))
    image = open_raw(czi(tmp_path), "EGFP")
    assert (image.shape, image.dtype) == ((100, 120), np.uint16)
    assert image.pixel_size_um == (0.5, 0.25)
    np.testing.assert_array_equal(image.read(slice(5, 6), slice(7, 31), [0])[0], data[1, 5:6, 7:31])
    assert image.read(slice(95, 99), slice(0, 9), [0]).sum() == 0


def test_czi_colour_and_scenes(tmp_path, fake_czifile, rgb8):
    fake_czifile[0] = FakeScene(rgb8, "YXS")
    image = open_raw(czi(tmp_path))
    assert image.channel_names == ("red", "green", "blue")
    rows, cols = slice(0, 100), slice(20, 90)
    np.testing.assert_array_equal(
        image.read(rows, cols, [2, 0]), np.moveaxis(rgb8, -1, 0)[[2, 0], rows, cols]
    )
    fake_czifile[1] = FakeScene(rgb8, "YXS")
    with pytest.raises(RawPagesError, match="'scene 1'"):
        open_raw(czi(tmp_path))


def test_damaged_czi_and_old_package_are_said_in_words(tmp_path, fake_czifile, monkeypatch):
    path = tmp_path / "a.czi"
    path.write_bytes(b"garbage")
    with pytest.raises(RawReadError, match=r"a\.czi cannot be read \(not a CZI file\)"):
        open_raw(path)
    old = types.SimpleNamespace(close=lambda: None)
    monkeypatch.setitem(
        sys.modules,
        "czifile",
        types.SimpleNamespace(CziFile=lambda path: old, __version__="2019.7.2"),
    )
    with pytest.raises(RawReadError, match=r"czifile 2026 or newer .* installed is 2019\.7\.2"):
        open_raw(czi(tmp_path))


Voxel = namedtuple("Voxel", "x y z")


@pytest.fixture
def fake_nd2(monkeypatch, tmp_path):
    """Install a stand-in for nd2; returns a function that makes a file of given axes."""

    def make(data, axes):
        class ND2File:
            def __init__(self, path):
                self.sizes = {a: n for a, n in zip(axes, data.shape, strict=True) if n > 1}
                self.dtype = data.dtype
                names = [types.SimpleNamespace(name=n) for n in ("DAPI", "FITC")]
                channels = [types.SimpleNamespace(channel=n) for n in names]
                self.metadata = types.SimpleNamespace(channels=channels)

            def voxel_size(self):
                return Voxel(0.3, 0.3, 1.0)

            def read_frame(self, index):
                loops = [a for a in axes if a not in "CYXS"]
                frames = data.reshape(-1, *data.shape[len(loops) :])
                return np.squeeze(frames[index])

            def close(self):
                pass

        monkeypatch.setitem(sys.modules, "nd2", types.SimpleNamespace(ND2File=ND2File))
        path = tmp_path / "a.nd2"
        path.write_bytes(b"nd2")
        return path

    return make


def test_nd2_channels_and_loops_are_pages(fake_nd2, make_scene):
    data = np.stack([make_scene(100, 120, seed=k) for k in range(12)])
    data = data.astype(np.uint16).reshape(2, 3, 2, 100, 120)
    path = fake_nd2(data, "TZCYX")
    with pytest.raises(RawPagesError, match="page 11: 100 x 120 uint16 'T=1 Z=2 FITC'"):
        open_raw(path)
    for index, at in enumerate(np.ndindex(2, 3, 2)):
        image = open_raw(path, index)
        rows, cols = slice(3, 90), slice(4, 70)
        np.testing.assert_array_equal(image.read(rows, cols, [0])[0], data[at][rows, cols])
    assert image.pixel_size_um == (0.3, 0.3)


def test_nd2_single_image_and_colour(fake_nd2, make_scene, rgb8):
    gray = make_scene(100, 120).astype(np.uint16)
    np.testing.assert_array_equal(whole(open_raw(fake_nd2(gray, "YX")))[0], gray)
    image = open_raw(fake_nd2(rgb8, "YXS"))
    np.testing.assert_array_equal(whole(image), np.moveaxis(rgb8, -1, 0))
    assert "order of colours" in image.notes[0]


def test_nd2_of_signed_pixels_is_refused(fake_nd2):
    with pytest.raises(RawReadError, match="pixels of type int16"):
        open_raw(fake_nd2(np.ones((100, 120), np.int16), "YX"))
