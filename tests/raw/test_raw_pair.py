"""One channel for the pair, and the pair itself."""

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

import exo2micro.raw
from exo2micro.errors import (
    ImageContentError,
    ParameterError,
    RawFileNotFoundError,
    RawPagesError,
    RawPairingError,
)
from exo2micro.raw import load_image_pair, survey_raw_channels

SHAPE = (300, 400)


@pytest.fixture
def write(tmp_path, make_scene):
    """Write the images of a pair from channel strengths; returns the raw folder."""
    root = tmp_path / "raw"

    def colour(strengths, seed, dtype, scale):
        planes = [
            make_scene(*SHAPE, seed=seed + k, scale=scale * s, noise=1.0 if s else 0.0)
            for k, s in enumerate(strengths)
        ]
        return np.stack(planes, -1).astype(dtype)

    def make(post, pre, sample="S", dye="DAPI", dtype="uint8", scale=1.0):
        folder = root / sample
        folder.mkdir(parents=True, exist_ok=True)
        for role, content, seed in (("post", post, 0), ("pre", pre, 10)):
            path = folder / f"{sample}_{role}_{dye}.tif"
            data = (
                colour(content, seed, dtype, scale)
                if isinstance(content, tuple)
                else np.asarray(content)
            )
            tifffile.imwrite(path, data, photometric="rgb" if data.ndim == 3 else "minisblack")
        return root

    return make


def gray(make_scene, dtype="uint8", seed=0):
    return make_scene(*SHAPE, seed=seed).astype(dtype)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_one_channel_with_signal_is_used(write, index):
    strengths = tuple(100 if k == index else 0 for k in range(3))
    root = write(strengths, strengths)
    pair = load_image_pair("S", "DAPI", root)
    assert (pair.channel.index, pair.channel.name) == (index, ("red", "green", "blue")[index])
    assert pair.warnings == ()
    assert "signal in both images" in pair.channel.reason
    truth = tifffile.imread(root / "S" / "S_post_DAPI.tif")[..., index]
    np.testing.assert_array_equal(pair.post.read_all(), truth)


def test_one_choice_for_both_images(write):
    # The strongest channel of each image alone would be green in one and blue in the other.
    root = write((90, 100, 0), (80, 0, 100))
    pair = load_image_pair("S", "DAPI", root)
    assert pair.channel.name == "red"
    assert pair.post.index == pair.pre.index == 0
    assert any("post image also carries signal in green (100 %)" in w for w in pair.warnings)
    assert any("pre image also carries signal in blue (100 %)" in w for w in pair.warnings)


def test_choice_does_not_follow_absolute_brightness(write):
    # Blue is bright but flat: no signal. Red is noise around a high level.
    rng = np.random.default_rng(3)
    root = write((0, 60, 0), (0, 60, 0))
    for path in (root / "S").iterdir():
        data = tifffile.imread(path)
        data[..., 2] = 200
        data[..., 0] = rng.normal(150, 12, SHAPE).astype(np.uint8)
        tifffile.imwrite(path, data, photometric="rgb")
    pair = load_image_pair("S", "DAPI", root)
    assert pair.channel.name == "green"
    assert [f.has_signal for f in pair.channel.post] == [False, True, False]


def test_dim_signal_is_found(write):
    root = write((0, 3, 0), (0, 2, 0))
    assert load_image_pair("S", "DAPI", root).channel.name == "green"


def test_no_common_channel_is_an_error_with_figures(write):
    root = write((0, 100, 0), (0, 0, 100))
    with pytest.raises(ImageContentError) as caught:
        load_image_pair("S", "DAPI", root)
    for text in ("S_post_DAPI.tif", "S_pre_DAPI.tif", "green 100 %", "blue 100 %", "channel="):
        assert text in str(caught.value)


def test_copies_of_one_channel_are_no_reason_to_warn(write, make_scene):
    same = np.repeat(gray(make_scene)[..., None], 3, axis=2)
    pair = load_image_pair("S", "DAPI", write(same, same))
    assert pair.channel.index == 0
    assert pair.channel.reason == "all channels of both images are alike"
    assert pair.warnings == ()


@pytest.mark.parametrize("asked", [2, "blue", "Blue"])
def test_override(write, asked):
    root = write((0, 100, 20), (0, 100, 20))
    pair = load_image_pair("S", "DAPI", root, channel=asked)
    assert (pair.channel.index, pair.channel.name) == (2, "blue")
    assert "asked for" in pair.channel.reason


@pytest.mark.parametrize("asked", [3, -1, "cyan", True, 1.5])
def test_unknown_override_is_refused(write, asked):
    root = write((0, 100, 0), (0, 100, 0))
    with pytest.raises(ParameterError, match="channel must be 0, 1, 2, 'red'"):
        load_image_pair("S", "DAPI", root, channel=asked)


def test_override_without_signal_is_warned_of(write):
    root = write((0, 100, 0), (0, 100, 40))
    path = root / "S" / "S_post_DAPI.tif"
    data = tifffile.imread(path)
    data[..., 2] = np.random.default_rng(0).normal(20, 3, SHAPE).astype(np.uint8)
    tifffile.imwrite(path, data, photometric="rgb")
    pair = load_image_pair("S", "DAPI", root, channel="blue")
    assert "the blue channel of the post image shows no signal beyond noise" in pair.warnings


def test_override_to_a_blank_channel_is_refused(write):
    root = write((0, 100, 0), (0, 100, 0))
    with pytest.raises(ImageContentError, match=r"the blue channel of .*post_DAPI\.tif is blank"):
        load_image_pair("S", "DAPI", root, channel="blue")


def test_gray_beside_colour_is_said_in_words(write, make_scene):
    root = write((0, 100, 0), gray(make_scene))
    pair = load_image_pair("S", "DAPI", root)
    assert pair.channel.name == "green"
    assert (pair.post.index, pair.pre.index) == (1, 0)
    assert any("pre image is grayscale, the post image is colour" in w for w in pair.warnings)


def test_override_of_gray_images_is_said_to_have_no_effect(write, make_scene):
    image = gray(make_scene)
    pair = load_image_pair("S", "DAPI", write(image, image), channel="green")
    assert pair.channel.name == "gray"
    assert "no effect" in pair.warnings[0]
    assert load_image_pair("S", "DAPI", write(image, image), channel=0).warnings == ()


def test_pair_unpacks_and_keeps_its_paths(write, make_scene):
    root = write(gray(make_scene, "uint16"), gray(make_scene, "uint16", 4))
    post, pre = pair = load_image_pair("S", "dapi", root)
    assert (post.shape, pre.shape) == (SHAPE, SHAPE)
    assert post.dtype == pre.dtype == np.uint16
    assert (pair.post_path, pair.pre_path) == (
        root / "S" / "S_post_DAPI.tif",
        root / "S" / "S_pre_DAPI.tif",
    )
    np.testing.assert_array_equal(pre.read_all(), gray(make_scene, "uint16", 4))


def test_different_depth_is_warned_of(write, make_scene, caplog):
    root = write(gray(make_scene, "uint16"), gray(make_scene))
    with caplog.at_level(logging.WARNING):
        pair = load_image_pair("S", "DAPI", root)
    assert any("post is uint16, pre is uint8" in w for w in pair.warnings)
    assert "S DAPI: post is uint16" in caplog.text


def test_saturation_is_warned_of(write, make_scene):
    image = gray(make_scene)
    image[:20, :20] = 255
    pair = load_image_pair("S", "DAPI", write(image, gray(make_scene)))
    assert pair.channel.post[0].saturated_fraction == pytest.approx(400 / image.size)
    assert any("0.33 % of the post image's pixels are saturated at 255" in w for w in pair.warnings)


def test_saturation_of_a_twelve_bit_camera_is_seen(write, make_scene):
    image = gray(make_scene, "uint16")
    image[:20, :20] = 4095
    pair = load_image_pair("S", "DAPI", write(image, gray(make_scene, "uint16")))
    assert pair.channel.post[0].saturated_fraction == pytest.approx(400 / image.size)
    assert pair.channel.pre[0].saturated_fraction == 0
    assert [raster.saturation for raster in pair] == [4095, 4095], "one camera took both"
    image[image == 4095] = 4094
    pair = load_image_pair("S", "GFP", write(image, gray(make_scene, "uint16"), dye="GFP"))
    assert [raster.saturation for raster in pair] == [65535, 65535]


def test_all_saturated_twelve_bit_image_is_refused(write, make_scene):
    image = np.full(SHAPE, 4095, np.uint16)
    image[:2] = 100
    with pytest.raises(ImageContentError, match=r"S_post_DAPI\.tif is saturated: 99.33 %"):
        load_image_pair("S", "DAPI", write(image, gray(make_scene, "uint16")))


@pytest.mark.parametrize("ndim", [2, 3])
def test_blank_image_is_named(write, make_scene, ndim):
    blank = np.zeros((*SHAPE, 3)[:ndim], np.uint8)
    good = (0, 100, 0) if ndim == 3 else gray(make_scene)
    with pytest.raises(ImageContentError, match=r"S_pre_DAPI\.tif is blank: every pixel is 0"):
        load_image_pair("S", "DAPI", write(good, blank))


def test_tiny_image_is_named(write, make_scene):
    with pytest.raises(ImageContentError, match=r"S_post_DAPI\.tif is 60 x 400 px"):
        load_image_pair("S", "DAPI", write(gray(make_scene)[:60], gray(make_scene)))


def test_page_of_multi_page_files(write, make_scene):
    stack = np.stack([gray(make_scene, seed=k) for k in range(4)])
    root = write(gray(make_scene), gray(make_scene))
    for path in (root / "S").iterdir():
        tifffile.imwrite(path, stack, photometric="minisblack")
    with pytest.raises(RawPagesError, match=r"S_post_DAPI\.tif holds 4 images"):
        load_image_pair("S", "DAPI", root)
    post, _ = load_image_pair("S", "DAPI", root, page=2)
    np.testing.assert_array_equal(post.read_all(), stack[2])


def test_sample_names_are_suggested(write, make_scene):
    root = write(gray(make_scene), gray(make_scene), sample="CD070")
    with pytest.raises(RawFileNotFoundError, match="did you mean 'CD070'"):
        load_image_pair("cd070", "DAPI", root)
    with pytest.raises(RawFileNotFoundError, match="is not a folder"):
        load_image_pair("CD070", "DAPI", root / "nothing")
    (root / "CD070" / "CD070_pre_DAPI.tif").unlink()
    with pytest.raises(RawPairingError, match="no pre file"):
        load_image_pair("CD070", "DAPI", root)


def test_threads_read_the_same_pixels(write, make_scene):
    image = gray(make_scene, "uint16")
    root = write(image, image)
    path = root / "S" / "S_post_DAPI.tif"
    tifffile.imwrite(path, image, tile=(32, 32), compression="zlib")
    post, _ = load_image_pair("S", "DAPI", root)
    windows = [(slice(y, y + 50), slice(x, x + 90)) for y in range(250) for x in (0, 150, 310)]
    with ThreadPoolExecutor(2) as pool:
        for (rows, cols), got in zip(
            windows, pool.map(lambda w: post.read(*w), windows), strict=True
        ):
            np.testing.assert_array_equal(got, image[rows, cols])


def test_rasters_travel_to_other_processes(write, make_scene):
    root = write((0, 100, 0), (0, 100, 0))
    pair = load_image_pair("S", "DAPI", root)
    copy = pickle.loads(pickle.dumps(pair.post))
    np.testing.assert_array_equal(copy.read_all(), pair.post.read_all())


def test_survey_says_which_channel_and_why(write, make_scene):
    write((0, 100, 0), (0, 100, 30))
    root = write(np.zeros(SHAPE, np.uint8), gray(make_scene), sample="T")
    survey = survey_raw_channels(root)
    assert [(r.sample, r.dye) for r in survey] == [("S", "DAPI"), ("T", "DAPI")]
    good, bad = survey
    assert (good.channel, good.post_shape, good.pre_dtype) == ("green", SHAPE, "uint8")
    assert good.n_channels == (3, 3)
    assert 80 < good.post_signal < 110
    assert bad.channel == ""
    assert "T_post_DAPI.tif is blank" in bad.problem
    text = str(survey)
    for words in ("S DAPI: green", "400 x 300 px uint8", "warning: the pre image also", "T DAPI"):
        assert words in text
    assert json.loads(json.dumps(survey.to_dicts()))[0]["channel"] == "green"
    assert survey_raw_channels(root, samples=["S"]).rows == (good,)


def test_importing_the_package_reads_no_file_format():
    assert set(exo2micro.raw.__all__) == set(exo2micro.raw._HOMES)
    for name in exo2micro.raw.__all__:
        assert getattr(exo2micro.raw, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = exo2micro.raw.nothing
