import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.plotting.overviews import (
    MAX_OVERVIEW_PX,
    colour_overlay,
    correlation,
    display_factor,
    matched_limits,
    overview,
    overview_mask,
    robust_limits,
    stretch,
)
from exo2micro.raster import ArrayRaster

IMAGE = np.random.default_rng(2).uniform(1, 9, (70, 90)).astype(np.float32)


@given(st.integers(1, 40_000), st.integers(1, 40_000))
def test_display_factor_is_the_smallest_power_of_two_that_fits(ny, nx):
    factor = display_factor((ny, nx))
    assert factor & (factor - 1) == 0
    assert -(-ny // factor) * -(-nx // factor) <= MAX_OVERVIEW_PX
    if factor > 1:
        half = factor // 2
        assert -(-ny // half) * -(-nx // half) > MAX_OVERVIEW_PX


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_overview_extent_matches_pixels_of_the_window(factor):
    window = slice(13, 64), slice(21, 85)
    reduced = overview(ArrayRaster(IMAGE), window, factor)
    left, right, bottom, top = reduced.extent
    assert left == (21 // factor) * factor - 21 - 0.5
    assert top == (13 // factor) * factor - 13 - 0.5
    assert right - left == reduced.values.shape[1] * factor
    assert bottom - top == reduced.values.shape[0] * factor
    first = IMAGE[(13 // factor) * factor :, (21 // factor) * factor :][:factor, :factor]
    assert reduced.values[0, 0] == pytest.approx(first.mean(), rel=1e-6)


@given(
    y=st.integers(0, 20),
    x=st.integers(0, 20),
    ny=st.integers(1, 600),
    nx=st.integers(1, 50),
    factor=st.sampled_from([1, 2, 4, 16]),
)
def test_mask_is_validity_at_block_centres(y, x, ny, nx, factor):
    valid = np.random.default_rng(5).random((640, 80)) > 0.5
    window = slice(y, y + ny), slice(x, x + nx)
    mask = overview_mask(lambda r, c: valid[r, c], window, factor)
    reduced = overview(ArrayRaster(valid.astype(np.float32)), window, factor)
    assert mask.shape == reduced.values.shape
    row, col = mask.shape[0] - 1, mask.shape[1] // 2
    centre_y = np.clip((y // factor + row) * factor + factor // 2, y, y + ny - 1)
    centre_x = np.clip((x // factor + col) * factor + factor // 2, x, x + nx - 1)
    assert mask[row, col] == valid[centre_y, centre_x]


def test_limits_ignore_no_data_and_a_bright_pixel():
    image = IMAGE.copy()
    image[:30] = 0
    image[40, 40] = 1e7
    image[41, 41] = np.nan
    low, high = robust_limits(image)
    assert 1 <= low < 2
    assert 8 < high <= 9
    assert robust_limits(np.zeros((3, 3))) == (0.0, 1.0)
    assert robust_limits(np.full((3, 3), 4)) == (3.5, 4.5)


def test_equal_images_are_grey_and_unequal_ones_coloured():
    same = colour_overlay(IMAGE, IMAGE, (1, 9), (1, 9))
    assert (same[..., 0] == same[..., 1]).all()
    assert (same[..., 0] == same[..., 2]).all()
    only_post = colour_overlay(IMAGE + 20, IMAGE * 0, (1, 9), (1, 9))
    assert (only_post == (255, 0, 255)).all()
    only_pre = colour_overlay(IMAGE * 0, IMAGE + 20, (1, 9), (1, 9))
    assert (only_pre == (0, 255, 0)).all()


def test_many_microbes_leave_the_background_grey():
    post = 1.8 * IMAGE
    post[::4] += 500
    limits = matched_limits(post, IMAGE)
    rgb = colour_overlay(post, IMAGE, *limits)[1::4].astype(int)
    assert np.abs(rgb[..., 0] - rgb[..., 1]).mean() < 12


def test_a_sample_of_little_texture_is_grey_and_its_microbes_are_brighter():
    rng = np.random.default_rng(9)
    y, x = np.mgrid[:200, :240]
    sample = np.hypot(y - 100, x - 120) < 90
    pre = np.where(sample, 46.0, 3.0) + rng.normal(0, 1, sample.shape)
    post = np.where(sample, 82.0, 5.0) + rng.normal(0, 1, sample.shape)
    post[90:96, 100:106] = 100
    limits = matched_limits(post, pre)
    grey = stretch(post, limits[0])
    inner = np.hypot(y - 100, x - 120) < 80
    inner[88:98, 98:108] = False
    assert 0.3 < grey[inner].mean() < 0.8
    assert grey[inner].std() > 0.03
    assert grey[90:96, 100:106].min() > grey[inner].mean() + 0.15
    assert stretch(pre, limits[1])[inner].mean() == pytest.approx(grey[inner].mean(), abs=0.05)
    in_vectors = matched_limits(post[sample], pre[sample])
    np.testing.assert_allclose(in_vectors[1][1], limits[1][1], rtol=0.1)


def test_correlation_is_deaf_to_a_bright_pixel_and_a_fibre():
    post, pre = 2 * IMAGE, IMAGE.copy()
    post[3, 4] = 65535
    pre[10:12, 10:40] = 255
    assert correlation(post, pre) > 0.95


def test_correlation():
    assert correlation(IMAGE, 3 * IMAGE + 2) == pytest.approx(1)
    assert correlation(IMAGE, 10 - IMAGE) == pytest.approx(-1)
    half = IMAGE.copy()
    half[:, :45] = 0
    assert correlation(half, IMAGE) == pytest.approx(1)
    assert correlation(IMAGE, 0 * IMAGE) is None
    assert correlation(IMAGE, 0 * IMAGE + 1) is None
