from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster, cubic_bspline_noise_factor
from exo2micro.raster import ArrayRaster

RNG = np.random.default_rng(5)
SOURCE = RNG.integers(0, 60000, (700, 620)).astype(np.uint16)
TURN = Transform.similarity(
    rotation_deg=11, magnification=1.07, shift=(9.3, -4.8), centre=(300, 300)
) @ Transform([[1, 0, 0], [0, 1, 0], [2e-5, -1e-5, 1]])
SHAPE = (650, 580)
WARPED = WarpedRaster(ArrayRaster(SOURCE), TURN, SHAPE, offset=(-20, -35))
WHOLE, VALID = WARPED.read_with_validity(slice(0, SHAPE[0]), slice(0, SHAPE[1]))


def exact(source, transform, shape, offset=(0, 0)):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    points = transform(np.column_stack([x.ravel() + offset[1], y.ravel() + offset[0]]))
    valid = ((points >= 0) & (points <= np.array(source.shape[::-1]) - 1)).all(1).reshape(shape)
    values = ndimage.map_coordinates(
        source.astype(float), points.T[::-1], order=3, mode="mirror"
    ).reshape(shape)
    return np.where(valid, values, 0), valid


def test_equals_the_exact_spline():
    values, valid = exact(SOURCE, TURN, SHAPE, (-20, -35))
    assert 0.5 < valid.mean() < 0.99
    np.testing.assert_array_equal(VALID, valid)
    np.testing.assert_allclose(WHOLE, values, atol=0.3)
    assert (WHOLE[~VALID] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_window_has_the_same_bits(data):
    rows = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[0])] * 2))))
    cols = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[1])] * 2))))
    values, valid = WARPED.read_with_validity(rows, cols)
    np.testing.assert_array_equal(values.view(np.int32), WHOLE[rows, cols].view(np.int32))
    np.testing.assert_array_equal(valid, VALID[rows, cols])


@settings(max_examples=25, deadline=None)
@given(st.data(), st.tuples(st.integers(-300, 300), st.integers(-300, 300)))
def test_blocks_may_lie_on_any_grid(data, grid):
    warped = WarpedRaster(ArrayRaster(SOURCE), WARPED.transform, SHAPE, WARPED.offset, grid)
    rows = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[0])] * 2))))
    cols = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[1])] * 2))))
    values, valid = warped.read_with_validity(rows, cols)
    np.testing.assert_allclose(values, WHOLE[rows, cols], atol=2e-3)
    np.testing.assert_array_equal(valid, VALID[rows, cols])
    np.testing.assert_array_equal(warped.read_validity(rows, cols), valid)
    half = slice(rows.start, (rows.start + rows.stop) // 2)
    again = warped.read(half, cols)
    np.testing.assert_array_equal(again, values[: half.stop - half.start])


def test_beyond_the_limit_of_opencv_windows_have_the_bits_of_the_whole():
    long = RNG.integers(0, 250, (48, 35_000)).astype(np.uint8)
    transform = Transform.similarity(rotation_deg=0.02, shift=(3.3, 1.7), centre=(17_000, 24))
    warped = WarpedRaster(ArrayRaster(long), transform, (40, 34_500))
    whole = warped.read_all()
    for start in (0, 32_700, 33_901):
        cols = slice(start, start + 199)
        np.testing.assert_array_equal(warped.read(slice(5, 33), cols), whole[5:33, cols])
    values, _ = exact(
        long[:, 33_000:], Transform.translation(-33_000, 0) @ transform, (40, 900), (0, 33_200)
    )
    np.testing.assert_allclose(whole[:, 33_200:34_100], values, atol=0.01)


def test_threads_do_not_change_a_bit():
    windows = [(slice(r, r + 97), slice(c, c + 97)) for r in (0, 300, 500) for c in (0, 250, 400)]
    with ThreadPoolExecutor(4) as pool:
        for (rows, cols), values in zip(
            windows, pool.map(lambda w: WARPED.read(*w), windows), strict=True
        ):
            np.testing.assert_array_equal(values, WHOLE[rows, cols])


@pytest.mark.parametrize("transform", [Transform.identity(), TURN @ TURN.inverse])
def test_identity_keeps_every_pixel(transform):
    warped = WarpedRaster(ArrayRaster(SOURCE), transform, SOURCE.shape)
    values, valid = warped.read_with_validity(slice(0, 700), slice(0, 620))
    assert valid.all()
    np.testing.assert_allclose(values, SOURCE, atol=0.2)


def test_offset_places_the_image_on_a_canvas():
    warped = WarpedRaster(ArrayRaster(SOURCE), Transform.identity(), (740, 660), offset=(-20, -20))
    values, valid = warped.read_with_validity(slice(0, 740), slice(0, 660))
    np.testing.assert_allclose(values[20:720, 20:640], SOURCE, atol=0.2)
    assert valid.sum() == SOURCE.size


def test_a_warp_that_misses_the_source_is_empty():
    warped = WarpedRaster(ArrayRaster(SOURCE), Transform.translation(5000, 0), (300, 300))
    values, valid = warped.read_with_validity(slice(0, 300), slice(0, 300))
    assert not values.any()
    assert not valid.any()


def test_pixels_behind_the_horizon_are_not_valid():
    bent = Transform([[1, 0, 0], [0, 1, 0], [-1 / 200, 0, 1]])
    _, valid = WarpedRaster(ArrayRaster(SOURCE), bent, (64, 400)).read_with_validity(
        slice(0, 64), slice(0, 400)
    )
    assert valid[:, :150].all()
    assert not valid[:, 200:].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (5, 3)])
def test_tiny_sources(shape):
    source = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    values, valid = WarpedRaster(
        ArrayRaster(source), Transform.identity(), shape
    ).read_with_validity(slice(0, shape[0]), slice(0, shape[1]))
    assert valid.all()
    np.testing.assert_allclose(values, source, atol=1e-4)


@pytest.mark.parametrize("phase", [0.0, 0.13, 0.5, 0.77])
@pytest.mark.parametrize("fwhm", [2.0, 3.0])
def test_centroids_do_not_shift(phase, fwhm):
    sigma = fwhm / 2.3548
    y, x = np.mgrid[:41, :41]
    star = 1000 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / (2 * sigma**2)).astype(np.float32)
    moved = WarpedRaster(ArrayRaster(star), Transform.translation(phase, 0), (41, 41)).read_all()
    window = moved[10:31, 10:31]
    assert (window * x[10:31, 10:31]).sum() / window.sum() == pytest.approx(20 - phase, abs=2e-3)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5])
def test_noise_factor_is_what_the_warp_does(phase):
    noise = RNG.normal(0, 1, (600, 600)).astype(np.float32)
    warped = WarpedRaster(ArrayRaster(noise), Transform.translation(phase, 0), (600, 600))
    measured = warped.read(slice(50, 550), slice(50, 550)).var()
    factor = cubic_bspline_noise_factor(np.array([phase, 0.0]))
    assert factor[1] == pytest.approx(1, abs=1e-6)
    assert measured == pytest.approx(factor[0], rel=0.02)
