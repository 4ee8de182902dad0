"""Decoding the names of output files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro import build_suffix
from exo2micro.cli.names import pair_of, parse_stem
from exo2micro.raster.paths import PairPaths, base_name

IMAGES = [
    (1, "padded", "post"),
    (1, "padded", "pre"),
    (2, "icp_aligned", "pre"),
    (2, "icp_aligned", "coarse_pre"),
    (3, "interior_aligned", "pre"),
    (4, "difference", "difference"),
    (4, "difference", "difference_manual"),
    (4, "difference", "difference_percentile_p50"),
    (4, "difference", "difference_failed"),
]
params = st.fixed_dictionaries(
    {},
    optional={
        "pad": st.integers(0, 5000),
        "channel": st.sampled_from(["auto", "red", "2"]),
        "boundary_width": st.integers(1, 100),
        "rotation_search": st.booleans(),
        "stopdelta": st.floats(1e-12, 0.5),
        "interior_blur_base": st.floats(3.2, 100),
        "scale_percentile": st.none() | st.floats(0, 100),
        "manual_scale": st.none() | st.floats(1e-3, 1e3),
    },
)


@given(st.sampled_from(IMAGES), params)
def test_a_name_tells_image_and_parameters(image, values):
    stage, stage_name, name = image
    suffix = build_suffix(values)
    found = parse_stem(base_name(stage, stage_name, name) + suffix)
    assert found is not None
    assert (found.stage, found.stage_name, found.name) == image
    assert build_suffix(found.params) == suffix


@pytest.mark.parametrize(
    "stem", ["", "04_", "04_difference", "05_unknown_x", "difference", "02_padded_post", "4_x_y"]
)
def test_other_names_are_not_decoded(stem):
    assert parse_stem(stem) is None


def test_a_shortened_name_points_to_the_record():
    found = parse_stem("04_difference_difference~0123456789ab")
    assert found is not None
    assert (found.name, found.params, found.is_hashed) == ("difference", {}, True)


def test_words():
    text = parse_stem("04_difference_difference_percentile_p50_sp50").text
    assert "the difference" in text
    assert "percentile 50" in text
    assert "image 'mask' of stage 2" in parse_stem("02_icp_aligned_mask").text


@pytest.mark.parametrize("folder", ["tiff", "fits", "pipeline_output", "records", "set_aside"])
def test_the_pair_is_known_from_the_folder(folder):
    path = Path("/data/processed/CD070/SybrGld_microbe") / folder / "x.tiff"
    assert pair_of(path) == PairPaths(Path("/data/processed"), "CD070", "SybrGld_microbe")


def test_files_elsewhere_belong_to_no_pair():
    assert pair_of(Path("/data/raw/CD070/CD070_pre_DAPI.tif")) is None
    assert pair_of(Path("/tiff/x.tiff")) is None
