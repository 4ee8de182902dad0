"""Files with several pages: a plain choice is made, others are listed and refused."""

import numpy as np
import pytest
import tifffile

from exo2micro.errors import RawPagesError
from exo2micro.raster.windows import block_mean
from exo2micro.raw import open_raw
from exo2micro.raw.readers.tiff import TiffImage

SHAPE = (256, 320)


@pytest.fixture
def stack(make_scene):
    return np.stack([make_scene(*SHAPE, seed=k) for k in range(3)]).astype(np.uint16)


def half(image):
    """Exact block averages, rounded to the nearest even integer."""
    return np.rint(block_mean(image, 2)).astype(image.dtype)


def assert_lists_three_pages_and_reads_each(path, stack, names=("", "", "")):
    with pytest.raises(RawPagesError) as caught:
        open_raw(path)
    for index, name in enumerate(names):
        assert f"page {index}: 256 x 320 uint16" in str(caught.value)
        assert name in str(caught.value)
        np.testing.assert_array_equal(open_raw(path, index).channel(0).read_all(), stack[index])
    assert "page=" in str(caught.value)
    with pytest.raises(RawPagesError, match="has no page 3"):
        open_raw(path, 3)


def test_multi_page_stack(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert_lists_three_pages_and_reads_each(tmp_path / "a.tif", stack)


def test_compressed_multi_page_stack(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", compression="zlib")
    assert_lists_three_pages_and_reads_each(tmp_path / "a.tif", stack)


def test_multi_channel_ome_by_index_and_name(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    names = ("DAPI", "GFP", "Cy5")
    tifffile.imwrite(
        path, stack, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": names}}
    )
    assert_lists_three_pages_and_reads_each(path, stack, names)
    np.testing.assert_array_equal(open_raw(path, "gfp").channel(0).read_all(), stack[1])
    with pytest.raises(RawPagesError, match="holds 0 pages of the name 'Texas'"):
        open_raw(path, "Texas")


@pytest.mark.parametrize("truncate", [False, True])
def test_stack_that_shares_one_directory_entry(tmp_path, stack, truncate):
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", truncate=truncate)
    assert_lists_three_pages_and_reads_each(tmp_path / "a.tif", stack)


def test_imagej_stack(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    assert_lists_three_pages_and_reads_each(tmp_path / "a.tif", stack, ("Z=0", "Z=1", "Z=2"))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_within_one_gray_page(tmp_path, stack, planar):
    data = stack if planar == "separate" else np.moveaxis(stack, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", planarconfig=planar)
    assert_lists_three_pages_and_reads_each(tmp_path / "a.tif", stack)


def test_subifd_pyramid_is_one_image(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    levels = [stack[0], half(stack[0]), half(half(stack[0]))]
    with tifffile.TiffWriter(path) as tif:
        tif.write(levels[0], subifds=2, tile=(64, 64), metadata={"axes": "YX"})
        for level in levels[1:]:
            tif.write(level, subfiletype=1, tile=(64, 64))
    image = open_raw(path)
    assert image.notes == ()
    np.testing.assert_array_equal(image.channel(0).read_all(), stack[0])


@pytest.mark.parametrize("flagged", [True, False])
def test_multi_page_pyramid_is_one_image(tmp_path, stack, flagged):
    path = tmp_path / "a.tif"
    levels = [stack[0], half(stack[0]), half(half(stack[0]))]
    with tifffile.TiffWriter(path) as tif:
        for k, level in enumerate(levels):
            tif.write(level, subfiletype=int(flagged and k > 0), tile=(64, 64), metadata=None)
    image = open_raw(path)
    assert image.shape == SHAPE
    np.testing.assert_array_equal(image.channel(0).read_all(), stack[0])
    np.testing.assert_array_equal(open_raw(path, 2).channel(0).read_all(), levels[2])


def test_pyramid_of_several_channels_is_no_plain_choice(tmp_path, stack):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for k in range(2):
            tif.write(stack[k], tile=(64, 64), metadata=None)
        for k in range(2):
            tif.write(half(stack[k]), tile=(64, 64), metadata=None, subfiletype=1)
    with pytest.raises(RawPagesError, match="holds 2 images") as caught:
        open_raw(path)
    assert "page 2: 128 x 160 uint16 (reduced)" in str(caught.value)


def test_thumbnail_label_and_mask_do_not_compete_but_are_noted(tmp_path, stack, rgb8):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(stack[0], metadata=None)
        tif.write(rgb8[:60, :64], photometric="rgb", metadata=None)
        tif.write(rgb8[:150, :200], photometric="rgb", metadata=None, description="label image")
        tif.write(stack[0] > 50, photometric="minisblack", subfiletype=4, metadata=None)
    image = open_raw(path)
    np.testing.assert_array_equal(image.channel(0).read_all(), stack[0])
    assert "page 1: 60 x 64 x 3 uint8 (thumbnail)" in image.notes[0]
    assert "(mask)" in image.notes[0]


def test_second_image_of_another_size_is_no_plain_choice(tmp_path, stack):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(stack[0], metadata=None)
        tif.write(stack[1, :200, :300], metadata=None)
    with pytest.raises(RawPagesError, match="holds 2 images"):
        open_raw(path)


def pyramid_file(path, full, level):
    with tifffile.TiffWriter(path) as tif:
        tif.write(full, subifds=1, tile=(64, 64), metadata=None)
        tif.write(level, subfiletype=1, tile=(64, 64), metadata=None)
    return TiffImage(path, None)


@pytest.mark.parametrize("shape", [(256, 320), (255, 321)])
def test_exact_level_serves_as_overview(tmp_path, make_scene, shape):
    full = make_scene(*shape, scale=2000).astype(np.uint16)
    image = pyramid_file(tmp_path / "a.tif", full, half(full))
    stored = image.stored_overview(2, 0)
    np.testing.assert_array_equal(stored, half(full))
    assert abs(image.channel(0).overview(2) - block_mean(full, 2)).max() <= 0.5
    if shape == (256, 320):
        np.testing.assert_array_equal(image.stored_overview(4, 0), block_mean(half(full), 2))
    else:
        assert image.stored_overview(4, 0) is None
    assert image.stored_overview(3, 0) is None


@pytest.mark.parametrize("reduce", ["nearest", "floor", "shifted", "wrong size"])
def test_inexact_level_is_not_used(tmp_path, make_scene, reduce):
    full = make_scene(*SHAPE, scale=2000).astype(np.uint16)
    level = {
        "nearest": full[::2, ::2],
        "floor": np.floor(block_mean(full, 2)).astype(np.uint16),
        "shifted": np.roll(half(full), 1, axis=1),
        "wrong size": half(full)[:-1],
    }[reduce]
    image = pyramid_file(tmp_path / "a.tif", full, level)
    assert image.stored_overview(2, 0) is None
    np.testing.assert_allclose(image.channel(0).overview(2), block_mean(full, 2), rtol=1e-6)


def test_colour_level_serves_channel_by_channel(tmp_path, make_scene):
    full = np.stack([make_scene(*SHAPE, seed=k, scale=90) for k in range(3)], -1).astype(np.uint8)
    level = np.stack([half(full[..., c]) for c in range(3)], -1)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(full, subifds=1, photometric="rgb", metadata=None)
        tif.write(level, subfiletype=1, photometric="rgb", metadata=None)
    image = TiffImage(path, None)
    for c in range(3):
        np.testing.assert_array_equal(image.stored_overview(2, c), level[..., c])
