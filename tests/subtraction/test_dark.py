import numpy as np
import pytest

from exo2micro.subtraction.dark import _clipped_moments, _dark_peak, _post_level, _pre_level

RNG = np.random.default_rng(11)
ROCK = RNG.lognormal(4.0, 0.3, 60_000)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_dark_surroundings_are_found_beside_textured_rock(share):
    n = int(share / (1 - share) * len(ROCK))
    spike = RNG.normal(22.2, 0.1, n // 6)
    glow = RNG.normal(23.1, 0.7, n - len(spike))
    peak, middle, is_dark = _dark_peak(np.concatenate([ROCK, spike, glow]))
    assert is_dark
    assert 21.5 < peak < 24.0
    assert middle > 45


def test_texture_alone_is_not_taken_for_dark_surroundings():
    assert not _dark_peak(ROCK)[2]
    assert not _dark_peak(np.concatenate([ROCK, RNG.uniform(2, 40, 4000)]))[2]


@pytest.mark.parametrize("pedestal", [0.0, 0.5, 1.0, 3.0, 20.0])
def test_pedestal_is_recovered_through_clipping_and_rounding(pedestal):
    counts = np.clip(np.rint(RNG.normal(pedestal, 0.9, 100_000)), 0, 255)
    post, noise = _post_level(counts)
    assert post.level == pytest.approx(pedestal, abs=0.15)
    assert abs(post.level - pedestal) < 3 * post.error
    pre = _pre_level(counts, noise)
    assert pre.level == pytest.approx(pedestal, abs=0.2)


def test_pedestal_of_an_image_without_noise_close_to_zero():
    assert _pre_level(np.full(2000, 0.1), 1e-3).level == pytest.approx(0.1)
    assert _post_level(RNG.normal(0.25, 0.01, 2000))[0].level == pytest.approx(0.25, abs=0.001)


def test_moments_of_a_clipped_gaussian():
    values = np.clip(RNG.normal(0.4, 1.0, 400_000), 0, None)
    assert _clipped_moments(0.4) == pytest.approx((values.mean(), values.std()), abs=0.005)
