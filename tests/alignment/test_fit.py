import numpy as np
import pytest

from exo2micro.alignment.fit import fit_correction
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.transform import Transform


def tiles(transform, count=150, noise=0.02, wrong=0.0, size=2000):
    generator = np.random.default_rng(11)
    centres = generator.uniform(0, size, (count, 2))
    shifts = transform(centres) - centres + generator.normal(0, noise, (count, 2))
    bad = generator.uniform(size=count) < wrong
    shifts[bad] = generator.uniform(-12, 12, (int(bad.sum()), 2))
    return TileMatches(
        centres=centres,
        shifts=shifts,
        covariances=np.tile(np.eye(2) * noise**2, (count, 1, 1)),
        scores=np.ones(count),
        gains=np.ones(count),
        significances=np.full(count, 50.0),
        usable=np.ones(count, bool),
    ), bad


BENT = Transform.similarity(
    rotation_deg=0.1, magnification=1.001, shift=(2, -3), centre=(1000, 1000)
) @ Transform.from_matrix([[1, 0.001, 0], [0, 1, 0], [5e-7, -3e-7, 1]])


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.5])
def test_homography_is_found_among_wrong_tiles(wrong):
    matches, bad = tiles(BENT, wrong=wrong)
    correction = fit_correction(matches, "homography", tolerance_px=3)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2000, 9)] * 2), -1).reshape(-1, 2)
    assert np.hypot(*(correction.transform(grid) - BENT(grid)).T).max() < 0.04
    far = np.hypot(*(matches.shifts - (BENT(matches.centres) - matches.centres)).T) > 0.5
    assert not correction.inliers[far].any()
    assert correction.inliers[~bad].mean() > 0.95


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_every_model_finds_a_similarity(model):
    truth = Transform.similarity(rotation_deg=0.05, magnification=0.999, shift=(1, 2))
    matches, _ = tiles(truth, noise=1e-4)
    correction = fit_correction(matches, model, tolerance_px=3, floor_px=1e-4)
    np.testing.assert_allclose(
        correction.transform(matches.centres), truth(matches.centres), atol=2e-3
    )


def test_precise_tiles_count_more():
    truth = Transform.translation(1, 1)
    matches, _ = tiles(truth, noise=0.005)
    matches.covariances[:75] *= 10_000.0
    matches.shifts[:75] += np.random.default_rng(2).normal(0, 0.5, (75, 2))
    correction = fit_correction(matches, "similarity", tolerance_px=3)
    error = correction.transform(matches.centres) - truth(matches.centres)
    assert np.abs(error).max() < 0.01


def test_too_few_tiles_give_none():
    matches, _ = tiles(BENT, count=4)
    assert fit_correction(matches, "homography", tolerance_px=3) is None
