"""Debris and places without a certified registration, as DQ tells them."""

import numpy as np
import pytest

from exo2micro.raster.base import ArrayRaster
from exo2micro.subtraction.confidence import CELL_PX, LowConfidence, registration_error
from exo2micro.subtraction.difference import DEBRIS_HALO_PX, DifferenceRaster, QualitySources
from exo2micro.subtraction.quality import DQ
from exo2micro.verdict import Level, Verdict

SHAPE = (1600, 2000)


def flags_of(post, pre=None, scale=1.0):
    pre = np.full(post.shape, 10, np.float32) if pre is None else pre
    quality = QualitySources(saturation_pre=255.0)
    images = ArrayRaster(post), ArrayRaster(pre)
    return DifferenceRaster(*images, scale=scale, quality=quality).quality_raster()


def disc(shape, centre, radius):
    y, x = np.indices(shape)
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def test_a_large_saturated_object_is_debris_with_its_halo_and_a_microbe_is_not():
    post = np.full((200, 200), 20, np.uint8)
    speck, microbe = disc(post.shape, (60, 60), 9), disc(post.shape, (140, 150), 4)
    post[speck | microbe] = 255
    raster = flags_of(post)
    debris = (raster.read_all() & DQ.DEBRIS) != 0
    assert debris[speck].all()
    assert debris[60 + 9 + DEBRIS_HALO_PX - 2, 60]
    assert not debris[60 + 9 + DEBRIS_HALO_PX + 2, 60]
    assert not debris[110:, 110:].any()
    for window in ((slice(40, 83), slice(55, 200)), (slice(0, 50), slice(60, 61))):
        np.testing.assert_array_equal(raster.read(*window), raster.read_all()[window])


@pytest.mark.parametrize(
    ("post_light", "pre_light", "scale", "is_debris"),
    [
        (255, 60, 4.0, False),
        (255, 255, 1.8, False),
        (255, 40, 4.0, True),
        (100, 255, 0.4, False),
        (20, 255, 0.4, True),
    ],
    ids=["rock in post", "rock in both", "debris on post", "rock in pre", "debris on pre"],
)
def test_rock_that_the_other_image_shows_is_saturated_but_no_debris(
    post_light, pre_light, scale, is_debris
):
    spot = disc((120, 120), (60, 60), 10)
    post = np.where(spot, post_light, 20).astype(np.uint8)
    pre = np.where(spot, pre_light, 20 / scale).astype(np.float32)
    flags = flags_of(post, pre, scale).read_all()[spot]
    assert (flags & DQ.SATURATED).all()
    assert ((flags & DQ.DEBRIS) > 0).all() == is_debris
    assert ((flags & DQ.DEBRIS) > 0).any() == is_debris


def test_a_saturated_fibre_is_debris():
    post = np.full((120, 200), 20, np.uint8)
    post[58:63, 20:180] = 255
    debris = (flags_of(post).read_all() & DQ.DEBRIS) != 0
    assert debris[60, 25:175].all()
    assert not debris[:40].any()


def tiles(positions, off=(), **options):
    positions = np.asarray(positions, np.float64).reshape(-1, 2)
    residuals = np.full(positions.shape, 0.01)
    for index in off:
        residuals[index] = (1.5, 0.0)
    return LowConfidence(positions, residuals, np.full(len(positions), 0.05), SHAPE, **options)


def test_confidence_ends_some_way_from_the_last_tile():
    x, y = np.meshgrid(np.arange(100, 1000, 200), np.arange(100, 1600, 200))
    low = tiles(np.column_stack([x.ravel(), y.ravel()]))
    everywhere = low(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert not everywhere[:, :1300].any()
    assert everywhere[:, 1500:].all()
    part = (slice(100, 777), slice(1290, 1501))
    np.testing.assert_array_equal(low(*part), everywhere[part])


def test_a_deformation_is_not_known_beyond_the_outermost_tiles():
    x, y = np.meshgrid(np.arange(400, 1000, 200), np.arange(400, 1200, 200))
    positions = np.column_stack([x.ravel(), y.ravel()])
    window = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    plain, deformed = tiles(positions)(*window), tiles(positions, is_deformed=True)(*window)
    assert not deformed[400:1000, 400:800].any()
    assert not plain[400:1000, 1000:1100].any()
    assert deformed[400:1000, 1000:1100].all()
    np.testing.assert_array_equal(deformed | plain, deformed)


@pytest.mark.parametrize("positions", [[(1000, 800)], [(200, 200), (600, 200), (1000, 200)]])
def test_tiles_in_one_line_vouch_for_a_deformation_beside_them(positions):
    low = tiles(positions, is_deformed=True)(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert not any(low[y, x] for x, y in positions)
    assert low[1200:].all()


def test_a_tile_that_is_off_takes_its_surroundings_with_it():
    positions = [(200, 200), (600, 200), (1000, 200), (1400, 200)]
    low = tiles(positions, off=[2])
    found = [low(slice(200, 201), slice(x, x + 1)).item() for x, _ in positions]
    assert found == [False, False, True, False]


@pytest.mark.parametrize("positions", [[], [(1000, 800)]])
def test_few_tiles_vouch_for_little(positions):
    low = tiles(positions)(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert low[0, 0]
    assert low[800, 1000] == (not positions)
    assert low.mean() > 1 - (6 * CELL_PX) ** 2 / low.size


def test_the_registration_error_is_that_of_one_axis():
    rng = np.random.default_rng(0)
    lengths = np.hypot(*rng.normal(0, 0.2, (2, 100_000)))
    certificate = {"median_px": np.median(lengths), "p95_px": np.quantile(lengths, 0.95)}
    assert registration_error(certificate) == (pytest.approx(0.2, rel=0.02), Verdict())
    one = registration_error({"median_px": 0.1, "p95_px": None})
    assert one == (pytest.approx(0.085, rel=0.01), Verdict())


def test_few_tiles_bound_the_registration_error_and_the_verdict_says_so():
    rng = np.random.default_rng(4)
    bounds = []
    for _ in range(400):
        residuals = rng.normal(0, 0.3, (5, 2)).tolist()
        figures = {"median_px": None, "p95_px": None, "residuals": residuals}
        bound, verdict = registration_error(figures)
        bounds.append(bound)
    assert np.mean(np.array(bounds) >= 0.3) == pytest.approx(0.95, abs=0.03)
    assert "only 5 tiles" in verdict.reason
    for nothing in (None, figures | {"residuals": []}):
        error, verdict = registration_error(nothing)
        assert error == 0
        assert verdict.level is Level.CHECK
