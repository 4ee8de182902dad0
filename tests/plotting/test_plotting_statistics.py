import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.errors import ParameterError
from exo2micro.plotting.pair import image_pair
from exo2micro.plotting.statistics import (
    MAX_KEPT_PX,
    MAX_READ_PX,
    TILE,
    histogram,
    joint_histogram,
    robust_range,
    sample_pixels,
    sample_tiles,
)
from exo2micro.raster import Raster


class Ramp(Raster):
    """A large image that is made when it is read, and counts what was read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.pixels_read = shape, np.dtype(np.uint16), 0

    def read(self, rows, cols):
        y, x = np.mgrid[rows, cols]
        self.pixels_read += y.size
        return (1 + (x + y) % 5000).astype(np.uint16)


def window(ny, nx, y=0, x=0):
    return slice(y, y + ny), slice(x, x + nx)


def test_small_images_are_read_whole():
    post = np.arange(1, 61, dtype=np.float32).reshape(6, 10)
    sample = sample_pixels(image_pair(post, post * 2))
    assert sample.fraction == 1
    assert sample.unit == "pixels"
    np.testing.assert_array_equal(np.sort(sample.post), np.arange(1, 61))
    np.testing.assert_array_equal(sample.pre, 2 * sample.post)


def test_large_images_are_sampled_evenly_and_within_the_limit():
    post, pre = Ramp((9000, 12000)), Ramp((9000, 12000))
    sample = sample_pixels(image_pair(post, pre))
    assert post.pixels_read <= MAX_READ_PX
    assert 0.2 * MAX_KEPT_PX < len(sample.post) <= MAX_KEPT_PX
    assert sample.fraction == pytest.approx(len(sample.post) / (9000 * 12000), rel=1e-6)
    assert "sample" in sample.unit
    assert np.median(sample.post) == pytest.approx(2500, rel=0.05)


@given(
    ny=st.integers(1, 9000),
    nx=st.integers(1, 9000),
    y=st.integers(0, 700),
    x=st.integers(0, 700),
    limit=st.integers(1, 12),
)
def test_tiles_lie_inside_the_window_once_each(ny, nx, y, x, limit):
    tiles = list(sample_tiles(window(ny, nx, y, x), limit * TILE**2))
    assert tiles
    starts = {(r.start, c.start) for r, c in tiles}
    assert len(starts) == len(tiles)
    for rows, cols in tiles:
        assert y <= rows.start < rows.stop <= y + ny
        assert x <= cols.start < cols.stop <= x + nx
        assert rows.stop - rows.start <= TILE
    n_all = (-(-(y + ny) // TILE) - y // TILE) * (-(-(x + nx) // TILE) - x // TILE)
    assert len(tiles) == min(n_all, limit)


def test_whole_numbers_are_dithered_and_floats_are_not():
    whole = np.full((50, 50), 7, np.uint8)
    sample = sample_pixels(image_pair(whole, whole.astype(np.float32)))
    assert (sample.pre == 7).all()
    assert 6.5 <= sample.post.min() < sample.post.max() <= 7.5
    assert sample.post.mean() == pytest.approx(7, abs=0.03)


def test_no_data_is_left_out():
    post = np.full((4, 4), 5.0)
    pre = np.full((4, 4), 2.0)
    post[0], pre[1], pre[2] = 0, 0, np.nan
    assert len(sample_pixels(image_pair(post, pre)).post) == 4
    valid = np.zeros((4, 4), bool)
    valid[0, :2] = valid[2, 0] = True
    sample = sample_pixels(image_pair(post, pre, valid=valid))
    assert sample.post.tolist() == [0, 0]


def test_histogram_counts_what_lies_inside():
    values = np.array([0.0, 0.5, 1.0, 1.9, 2.0, -0.1], np.float32)
    counts, edges = histogram(values, (0, 2), 4)
    assert counts.tolist() == [1, 1, 1, 1]
    assert edges.tolist() == [0, 0.5, 1, 1.5, 2]


def test_joint_histogram_has_y_as_rows():
    x = np.array([0.1, 0.1, 5.0], np.float32)
    y = np.array([9.9, 0.0, 5.0], np.float32)
    counts = joint_histogram(x, y, (0, 10), (0, 10), 10)
    assert counts[9, 0] == counts[0, 0] == counts[5, 5] == 1
    assert counts.sum() == 3


def test_one_bright_pixel_does_not_set_the_range():
    values = np.random.default_rng(0).normal(100, 5, 100_000).astype(np.float32)
    values[500] = 1e6
    low, high = robust_range(values, 0.001, 0.999)
    assert 70 < low < 90
    assert 110 < high < 130


def test_equal_values_and_none_still_give_a_range():
    assert robust_range(np.full(9, 3.0, np.float32), 0.1, 0.9) == (2.5, 3.5)
    assert robust_range(np.empty(0, np.float32), 0.1, 0.9) == (0.0, 1.0)


def test_images_that_do_not_fit_are_refused_with_names():
    grey = np.zeros((4, 5))
    with pytest.raises(ParameterError, match=r"pre_im must have the shape of post_im, \(4, 5\)"):
        image_pair(grey, np.zeros((5, 4)))
    with pytest.raises(ParameterError, match=r"post_im must be a 2-D image.*post_im\[\.\.\., 1\]"):
        image_pair(np.zeros((4, 5, 3)), grey)
    with pytest.raises(ParameterError, match="window must be"):
        image_pair(grey, grey, window=window(5, 5))
