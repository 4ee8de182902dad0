import json
from dataclasses import replace

import numpy as np
import pytest

from exo2micro.alignment.deformation import (
    apart_from_neighbours,
    fit_deformation,
    total_shifts,
)
from exo2micro.alignment.functions import align, register_highorder
from exo2micro.alignment.interior import InteriorSettings
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.transform import Transform
from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.verdict import Level

SHAPE = (1800, 2000)
WAVE = np.array([[0.0031, 0.0012], [-0.0015, 0.0028]])


def displaced(points, size=6.0):
    return size * np.sin(points @ WAVE.T + np.array([0.4, 1.3]))


def tiles(amplitude, noise=0.05, wrong=0.0, where=SHAPE):
    generator = np.random.default_rng(5)
    rows, cols = np.mgrid[60 : where[0] : 120, 60 : where[1] : 120]
    centres = np.column_stack([cols.ravel(), rows.ravel()]).astype(float)
    count = len(centres)
    shifts = displaced(centres, amplitude) + generator.normal(0, noise, (count, 2))
    bad = generator.uniform(size=count) < wrong
    shifts[bad] += generator.uniform(-12, 12, (int(bad.sum()), 2))
    return TileMatches(
        centres=centres,
        shifts=shifts,
        covariances=np.tile(np.eye(2) * noise**2, (count, 1, 1)),
        scores=np.ones(count),
        gains=np.ones(count),
        significances=np.full(count, 50.0),
        usable=np.ones(count, bool),
    )


GRID = np.stack(np.meshgrid(np.linspace(60, 1940, 30), np.linspace(60, 1740, 30)), -1)
GRID = GRID.reshape(-1, 2)


@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_a_smooth_deformation_is_found_among_wrong_tiles(wrong):
    fit = fit_deformation(tiles(6.0, wrong=wrong), SHAPE)
    assert fit.helps
    error = np.hypot(*(fit.transform(GRID) - GRID - displaced(GRID)).T)
    assert np.median(error) < 0.05
    assert np.quantile(error, 0.95) < 0.2


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_noise_alone_does_not_help(noise):
    fit = fit_deformation(tiles(0.0, noise=noise), SHAPE)
    assert not fit.helps


def test_where_no_tile_is_the_field_goes_on_level():
    fit = fit_deformation(tiles(6.0, where=(1000, 1000)), SHAPE)
    known = np.hypot(*fit.field(GRID[(GRID < 1000).all(axis=1)]).T).max()
    assert np.hypot(*fit.field(GRID).T).max() < 1.5 * known


def test_total_shifts_are_beyond_the_homography_alone():
    fit = fit_deformation(tiles(6.0), SHAPE)
    true = tiles(6.0, noise=0.0)
    # What a tile at x measures beyond the field: fit(x + s) is where x truly lies.
    rest = fit.transform.inverse(true.centres + true.shifts) - true.centres
    totals = total_shifts(replace(true, shifts=rest), fit.transform)
    np.testing.assert_allclose(
        fit.transform.straight(true.centres + totals.shifts),
        true.centres + true.shifts,
        atol=1e-6,
    )


def test_too_few_tiles_give_none():
    assert fit_deformation(tiles(6.0).select(np.arange(15)), SHAPE) is None


@pytest.fixture(scope="module")
def deformed(usual):
    return replace(usual, shape=(1300, 1300), deformation_px=8.0)


def test_goal_with_a_deformation_of_8_px(images, deformed, true_error):
    post, pre, truth = images(deformed)
    results = [align(post, pre, threads=n) for n in (1, 3)]
    result = results[0]
    error = true_error(result.transform, truth)
    assert np.median(error) < 0.2
    assert np.quantile(error, 0.95) < 0.6
    assert result.certificate.bound_px >= np.quantile(error, 0.95)
    assert result.verdict.level is not Level.FAIL
    assert any("smooth deformation" in message for message in result.messages)
    assert results[1].transform == result.transform
    assert results[1].certificate.to_dict() == result.certificate.to_dict()
    assert Transform.from_dict(json.loads(json.dumps(result.transform.to_dict()))) == (
        result.transform
    )


def test_a_plain_pair_has_no_field(images, usual):
    post, pre, _ = images(usual)
    result = align(post, pre)
    assert result.transform.field is None
    assert not result.metrics["interior"]["deformation"]["used"]


def test_switched_off_there_is_no_field_and_the_record_says_why(images, deformed):
    post, pre, _ = images(deformed)
    result = align(post, pre, interior=InteriorSettings(deformation="off"))
    assert result.transform.field is None
    assert result.metrics["interior"]["deformation"] == {"used": False, "reason": "switched off"}
    assert result.verdict.level is Level.FAIL


def test_a_strong_deformation_of_a_small_image_is_found_by_its_neighbourly_tiles():
    spec = PairSpec(
        shape=(1000, 1000),
        rotation_deg=3.2,
        magnification=1.02,
        border=0.1,
        deformation_px=5.0,
        shift_px=(10.4, -8.2),
        seed=33,
    )
    pair = make_pair(spec)
    found = register_highorder(pair.post.read_all(), pair.pre.read_all())
    assert found.verdict.level is Level.PASS
    assert found.metrics["support"] > 2 * found.metrics["support_by_chance"] + 10


def test_strangers_do_not_resemble_their_neighbours():
    assert (apart_from_neighbours(tiles(6.0)) < 2).mean() > 0.9
    assert (apart_from_neighbours(tiles(6.0, wrong=1.0)) < 2).mean() < 0.1
