import numpy as np
import pytest

from exo2micro.alignment.matching import match_strangers, match_tiles
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster

WRONG_BY = np.array([0.62, -3.31])


@pytest.fixture(scope="module")
def matched(images, usual):
    post, pre, truth = images(usual)
    exact = Transform.from_matrix(truth.matrix)
    grid = np.arange(250, 700, 90)
    centres = np.array([(x, y) for y in grid for x in grid], float)
    start = exact @ Transform.translation(*WRONG_BY)
    arguments = (ArrayRaster(post), ArrayRaster(pre), start, centres, MatchPlan(64, search=8))
    return arguments, match_tiles(*arguments), match_strangers(*arguments)


def test_shifts_undo_the_error_of_the_transform(matched):
    _, found, _ = matched
    assert found.usable.mean() > 0.9
    error = found.shifts[found.usable] + WRONG_BY
    assert np.median(np.hypot(*error.T)) < 0.05
    assert np.abs(np.median(error, axis=0)).max() < 0.02


def test_covariance_tells_the_scatter(matched):
    _, found, _ = matched
    good = found.select(found.usable)
    pull = (good.shifts + WRONG_BY) / np.sqrt(np.einsum("nii->ni", good.covariances))
    assert 0.7 < 1.4826 * np.median(np.abs(pull)) < 2.0


def test_strangers_do_not_match(matched):
    _, found, strangers = matched
    assert strangers.scores.max() < np.quantile(found.scores[found.usable], 0.05)


def test_threads_do_not_change_a_bit(matched):
    arguments, found, _ = matched
    again = match_tiles(*arguments, threads=3)
    np.testing.assert_array_equal(found.shifts, again.shifts)
    np.testing.assert_array_equal(found.covariances, again.covariances)


def test_gain_is_the_brightness_ratio(matched, usual):
    _, found, _ = matched
    assert np.median(found.gains[found.usable]) == pytest.approx(usual.ratio, rel=0.05)


def test_a_blank_tile_is_not_usable():
    blank = ArrayRaster(np.zeros((300, 300), np.uint8))
    found = match_tiles(
        blank, blank, Transform.identity(), np.array([[150.0, 150.0]]), MatchPlan(64)
    )
    assert not found.usable.any()


def test_saturated_pixels_have_no_say():
    generator = np.random.default_rng(3)
    from scipy import ndimage

    rock = ndimage.gaussian_filter(generator.normal(100, 60, (300, 300)), 1.5)
    rock = np.clip(rock * 4 - 280, 1, 240)
    pre = rock.astype(np.uint8)
    post = pre.copy()
    post[140:160, 130:150] = 255
    found = match_tiles(
        ArrayRaster(post),
        ArrayRaster(pre),
        Transform.translation(1.0, 0.0),
        np.array([[150.0, 150.0]]),
        MatchPlan(64),
    )
    np.testing.assert_allclose(found.shifts, [[-1.0, 0.0]], atol=0.01)


@pytest.mark.parametrize("limit", [255, 240], ids=["of the type", "of the camera"])
def test_a_tile_that_is_mostly_saturated_is_not_usable(limit):
    post = ArrayRaster(np.full((300, 300), limit, np.uint8))
    post.read_all()[100:200, 100:140] = np.random.default_rng(3).integers(50, 200, (100, 40))
    centres = np.array([[150.0, 150.0]])
    arguments = (post, post, Transform.identity(), centres, MatchPlan(64, search=0, steps=0))
    assert match_tiles(*arguments).usable.all() == (limit != 255)
    post.saturation = limit
    assert not match_tiles(*arguments).usable.any()
