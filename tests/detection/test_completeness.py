"""Completeness curves against known ones, and injected sources against what was asked for."""

import numpy as np
import pytest
from scipy import stats

from exo2micro.detection.completeness import Completeness
from exo2micro.detection.injection import InjectedRaster
from exo2micro.raster.base import ArrayRaster

FLUX = np.geomspace(20, 300, 10)


def drawn(midpoint, width, each, seed, top=1.0):
    chance = top * stats.norm.cdf((np.log(FLUX) - np.log(midpoint)) / width)
    injected = np.full(FLUX.size, each)
    return Completeness(FLUX, injected, np.random.default_rng(seed).binomial(injected, chance))


def test_limits_are_those_of_the_curve():
    half, ninety = drawn(80, 0.25, 4000, 0).limits((0.5, 0.9))
    assert half.flux == pytest.approx(80, rel=0.02)
    assert ninety.flux == pytest.approx(80 * np.exp(1.2816 * 0.25), rel=0.02)


def test_intervals_of_the_limits_cover_the_truth():
    covered = []
    for seed in range(40):
        half, _ = drawn(80, 0.3, 80, seed).limits((0.5, 0.9), seed)
        covered.append(half.interval[0] <= 80 <= half.interval[1])
    assert np.mean(covered) >= 0.85


def test_sources_lost_whatever_their_flux_are_no_one_curve():
    assert min(drawn(80, 0.3, 80, seed).misfit() for seed in range(40)) > 0.01
    assert max(drawn(80, 0.3, 80, seed, top=0.8).misfit() for seed in range(40)) < 0.01


def test_wilson_intervals():
    low, high = Completeness(FLUX[:1], np.array([10]), np.array([0])).intervals()[0]
    assert (low, high) == pytest.approx((0, 0.27753), abs=1e-4)


def test_a_limit_that_is_not_reached_is_none():
    never = Completeness(FLUX, np.full(10, 50), np.zeros(10, int))
    assert [limit.flux for limit in never.limits((0.5, 0.9))] == [None, None]
    half, ninety = drawn(80, 0.25, 400, 0, top=0.7).limits((0.5, 0.9))
    assert half.flux is not None
    assert ninety.flux is None
    assert str(ninety) == "at no flux up to 300 counts, the brightest that was injected"


def test_a_limit_below_all_fluxes_is_no_failure_to_find():
    always = Completeness(FLUX, np.full(10, 50), np.full(10, 50))
    for limit in always.limits((0.5, 0.9)):
        assert (limit.flux, limit.above, limit.below) == (None, None, 20)
        assert str(limit) == "already at 20 counts, the faintest that was injected"


def test_a_limit_that_the_fractions_do_not_tell():
    flat = Completeness(FLUX, np.full(10, 50), np.full(10, 35))
    assert str(flat.limits((0.5,))[0]).startswith("already")
    assert str(flat.limits((0.9,))[0]).startswith("at no flux up to 300")
    unclear = Completeness(FLUX, np.full(10, 10), np.full(10, 6))
    assert str(unclear.limits((0.5,))[0]) == "at a flux that could not be determined"


def injected(dtype, flux, gain, n=300, level=20, seed=0):
    image = np.full((900, 900), level, dtype)
    grid = np.stack(np.meshgrid(np.arange(30, 870, 48), np.arange(30, 870, 48)), -1).reshape(-1, 2)
    places = grid[:n] + np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 2))
    top = 255.0 if dtype == np.uint8 else None
    raster = InjectedRaster(
        ArrayRaster(image),
        places[:, 0],
        places[:, 1],
        np.full(n, float(flux)),
        sigma_px=1.4,
        gain=gain,
        top=top,
        seed=seed,
    )
    return raster, places


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("flux", [3, 200])
def test_injected_light_is_what_was_asked_for(dtype, flux):
    raster, places = injected(dtype, flux, gain=0.1)
    light = raster.read_all().astype(float) - 20
    assert raster.dtype == raster.read_all().dtype == np.dtype(dtype)
    total = light.sum() / len(places)
    scatter = np.sqrt((0.1 * flux + 40 * 0.25) / len(places))
    assert total == pytest.approx(flux, abs=5 * scatter)


def test_injected_light_has_the_shot_noise_of_the_gain():
    raster, places = injected(np.float32, 500, gain=2.0)
    light = raster.read_all() - 20
    fluxes = [light[y - 12 : y + 13, x - 12 : x + 13].sum() for x, y in np.rint(places).astype(int)]
    assert np.var(fluxes) == pytest.approx(2.0 * 500, rel=0.3)


def test_windows_show_the_same_sources():
    raster, _ = injected(np.uint8, 200, gain=0.1)
    whole = raster.read_all()
    for rows, cols in ((slice(0, 77), slice(10, 400)), (slice(60, 61), slice(0, 900))):
        np.testing.assert_array_equal(raster.read(rows, cols), whole[rows, cols])


def test_injected_light_saturates():
    raster, _ = injected(np.uint8, 50_000, gain=0.1)
    assert raster.read_all().max() == 255


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.5])
def test_narrow_sources_keep_light_and_width_wherever_they_lie(sigma):
    for phase in (0.0, 0.25, 0.5):
        x = np.array([20 + phase])
        raster = InjectedRaster(
            ArrayRaster(np.zeros((41, 41), np.float64)),
            x,
            x,
            np.array([1000.0]),
            sigma_px=sigma,
            gain=0,
            top=None,
        )
        light = raster.read_all().sum(axis=0)
        assert light.sum() == pytest.approx(1000, rel=1e-3)
        centre = light @ np.arange(41) / light.sum()
        assert centre == pytest.approx(x[0], abs=0.3 if sigma < 0.5 else 0.02)
        if sigma >= 0.5:
            width = np.sqrt(light @ (np.arange(41) - centre) ** 2 / light.sum())
            assert width == pytest.approx(sigma, rel=0.1)


def test_light_beyond_the_type_saturates_and_does_not_wrap():
    image = np.full((41, 41), 250, np.uint8)
    one = np.array([20.0])
    raster = InjectedRaster(
        ArrayRaster(image), one, one, np.array([9000.0]), sigma_px=1.4, gain=0, top=None
    )
    assert raster.read_all().min() == 250
    assert raster.read_all().max() == 255
