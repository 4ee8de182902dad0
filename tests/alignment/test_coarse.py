import json
from dataclasses import replace

import numpy as np
import pytest

from exo2micro.alignment.coarse import CoarseSettings, coarse_align
from exo2micro.alignment.polish import _beyond_limits
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster
from exo2micro.verdict import Level


def run(images, spec, **settings):
    post, pre, truth = images(spec)
    result = coarse_align(ArrayRaster(post), ArrayRaster(pre), CoarseSettings(**settings))
    return result, truth


@pytest.mark.parametrize(
    "change",
    [
        {"rotation_deg": 0.0, "magnification": 1.0, "shift_px": (0.0, 0.0)},
        {"rotation_deg": -18.0, "magnification": 0.9},
        {"border": 0.01},
        {"border": -0.1},
        {"texture": "low"},
        {"pre_shape": (1000, 880)},
        {"ratio": 0.5},
        {"shape": (150, 1500), "rotation_deg": 1.0},
        {"shape": (220, 220), "shift_px": (4.3, -2.7)},
    ],
    ids=str,
)
def test_found_to_about_a_pixel(images, usual, true_error, change):
    result, truth = run(images, replace(usual, **change))
    assert result.verdict.level is Level.PASS
    assert not result.messages
    assert np.quantile(true_error(result.transform, truth), 0.95) < 1.5


def test_the_search_widens_to_any_rotation_and_says_so(images, usual, true_error):
    result, truth = run(images, replace(usual, rotation_deg=133))
    assert np.quantile(true_error(result.transform, truth), 0.95) < 1.5
    assert any("angle_range" in message for message in result.messages)


def test_a_mirror_image_is_found_and_said(images, usual, true_error):
    result, truth = run(images, replace(usual, mirror=True))
    assert result.transform.mirrored
    assert np.quantile(true_error(result.transform, truth), 0.95) < 1.5
    assert any("mirror" in message for message in result.messages)


def test_unrelated_rocks_fail(images, usual):
    post, _, _ = images(usual)
    _, pre, _ = images(replace(usual, seed=99))
    result = coarse_align(ArrayRaster(post), ArrayRaster(pre), CoarseSettings())
    assert result.verdict.level is Level.FAIL
    assert "no alignment found" in result.verdict.reason


def test_a_blank_image_fails(images, usual):
    post, _, _ = images(usual)
    blank = np.zeros_like(post)
    result = coarse_align(ArrayRaster(post), ArrayRaster(blank), CoarseSettings())
    assert result.verdict.level is Level.FAIL


def test_without_the_searches_a_small_turn_is_still_verified(images, usual, true_error):
    spec = replace(usual, rotation_deg=0.5, magnification=1.0)
    result, truth = run(images, spec, rotation_search=False, scale_search=False)
    assert np.quantile(true_error(result.transform, truth), 0.95) < 1.5


def test_metrics_are_json_and_threads_do_not_matter(images, usual):
    post, pre, _ = images(usual)
    arguments = ArrayRaster(post), ArrayRaster(pre), CoarseSettings(fine_ecc=True)
    results = [coarse_align(*arguments, threads=n) for n in (1, 3)]
    assert results[0].transform == results[1].transform
    assert json.dumps(results[0].metrics, allow_nan=False) == json.dumps(results[1].metrics)


def test_limits_refuse_the_outline_fit():
    limits = CoarseSettings(max_translation=40, max_rotation=2, max_scale_delta=0.1)
    sample = np.array([(x, y) for x in range(100, 300, 20) for y in range(80, 400, 20)], float)
    centre = tuple(sample.mean(axis=0))

    def refused(**change):
        after = Transform.similarity(centre=centre, **change)
        return _beyond_limits(Transform.identity(), after, sample, limits)

    assert not refused(shift=(10, 0), rotation_deg=1, magnification=1.01)
    assert "max_translation" in refused(shift=(50, 0))
    assert "max_rotation" in refused(rotation_deg=3)
    assert "max_scale_delta" in refused(magnification=1.12)
