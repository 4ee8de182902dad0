import json

import numpy as np
import pytest
import tifffile

from exo2micro.synthetic import PairSpec, demo_specs, make_pair, write_pair
from exo2micro.synthetic.spec import CHANNELS


@pytest.mark.parametrize("layout", ["tiled", "striped"])
def test_8_bit_rgb_carries_the_signal_in_its_channel(tmp_path, layout):
    spec = PairSpec(
        shape=(300, 340), seed=1, channel="blue", leakage=0.1, rotation_deg=2, pixel_size_um=0.5
    )
    post, pre, _ = write_pair(spec, tmp_path, "CD070", "SybrGld_microbe", layout=layout)
    assert post == tmp_path / "CD070" / "CD070_PostStain_SybrGld_microbe.tif"
    assert pre.name == "CD070_PreStain_SybrGld_microbe.tif"
    pair = make_pair(spec)
    for path, raster in ((post, pair.post), (pre, pair.pre)):
        image, expected = tifffile.imread(path), raster.read_all()
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image[:, :, CHANNELS.index("blue")], expected)
        np.testing.assert_array_equal(image[:, :, 0], np.rint(expected * np.float32(0.1)))
    with tifffile.TiffFile(post) as tif:
        page = tif.pages[0]
        assert page.is_tiled == (layout == "tiled")
        assert page.tags["ResolutionUnit"].value == 3
        numerator, denominator = page.tags["XResolution"].value
        assert numerator / denominator == pytest.approx(20000)
        assert "DateTime" not in page.tags


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_gray_and_different_sizes(tmp_path, compression):
    spec = PairSpec(shape=(270, 310), pre_shape=(520, 290), seed=1, bits=16)
    post, pre, _ = write_pair(spec, tmp_path, "S1", "DAPI", compression=compression)
    pair = make_pair(spec)
    assert tifffile.imread(post).dtype == np.uint16
    np.testing.assert_array_equal(tifffile.imread(post), pair.post.read_all())
    np.testing.assert_array_equal(tifffile.imread(pre), pair.pre.read_all())


def test_files_are_the_same_bytes_twice_and_nothing_partial_stays(tmp_path):
    spec = PairSpec(shape=(150, 140), seed=1)
    first = write_pair(spec, tmp_path / "a", "S1", "DAPI")
    second = write_pair(spec, tmp_path / "b", "S1", "DAPI")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert sorted(p.name for p in first[0].parent.iterdir()) == sorted(p.name for p in first)


def test_truth_file_makes_the_pair_again(tmp_path):
    spec = PairSpec(shape=(150, 140), seed=1, rotation_deg=3, pedestal=2.0, coverage=0.05)
    post, _, truth_file = write_pair(spec, tmp_path, "S1", "DAPI")
    record = json.loads(truth_file.read_text())
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record["spec"].items()}
    pair = make_pair(PairSpec(**values))
    assert pair.spec == spec
    np.testing.assert_array_equal(record["post_to_pre_matrix"], pair.truth.matrix)
    assert record["n_microbes"] == pair.truth.microbes.size > 0
    np.testing.assert_allclose(record["microbes"]["x"], pair.truth.microbes["x"], atol=1e-3)
    image = tifffile.imread(post)[:, :, CHANNELS.index(spec.channel)]
    np.testing.assert_array_equal(image, pair.post.read_all())


def test_demo_has_two_dyes_of_one_sample_and_another_sample():
    pairs = demo_specs()
    names = [(p.sample, p.dye) for p in pairs]
    assert ("CD070", "SybrGld_microbe") in names
    assert ("CD070", "DAPI") in names
    assert len({p.sample for p in pairs}) == 2
    matrices = {make_pair(p.spec).truth.matrix.tobytes() for p in pairs}
    assert len(matrices) == len(pairs)
