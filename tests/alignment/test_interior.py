import json
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.certify import _verdict
from exo2micro.alignment.functions import (
    align,
    prealign_phase_correlation,
    refine_interior_ecc,
    refine_interior_sift,
    register_highorder,
)
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.transform import Transform
from exo2micro.errors import RegistrationError
from exo2micro.raster import ArrayRaster
from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.verdict import Level


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"perspective": (0.01, -0.015), "shear": 0.02},
        {"coverage": 0.15},
        {"dim": 0.3},
        {"saturated_debris": 30},
        {"bits": 16, "pedestal": 200.0},
        {"lost_piece": 0.3},
    ],
    ids=str,
)
def test_goal_on_small_images(images, usual, true_error, change):
    post, pre, truth = images(replace(usual, **change))
    result = align(post, pre)
    error = true_error(result.transform, truth)
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.95) < 0.3
    assert result.certificate.bound_px >= np.quantile(error, 0.95)
    assert result.verdict.level is not Level.FAIL


def test_a_plain_pair_passes(images, usual):
    post, pre, _ = images(replace(usual, shape=(1300, 1300)))
    result = align(post, pre)
    assert result.verdict.level is Level.PASS, result.verdict.reason
    assert result.certificate.coverage > 0.9
    assert result.certificate.forward_backward_px < 0.1


def test_a_small_image_lacks_tiles_but_contradicts_nothing(images, usual, true_error):
    post, pre, truth = images(replace(usual, shape=(220, 220), shift_px=(4.3, -2.7)))
    result = align(post, pre)
    assert np.quantile(true_error(result.transform, truth, step=5), 0.95) < 0.3
    assert result.verdict.level is Level.CHECK
    assert result.verdict.reason.startswith("the image is too small or too blank to certify")
    wrong = result.transform @ Transform.translation(4, 0)
    kept = refine_interior_sift(post, pre, wrong, interior_ecc=False)
    assert kept.verdict.level is Level.FAIL


def test_a_way_back_that_was_not_measured_is_no_pass():
    ones = np.ones(12)
    tiles = TileMatches(
        np.eye(12, 2), np.eye(12, 2), np.ones((12, 2, 2)), ones, ones, ones, ones > 0
    )
    levels = {px: _verdict(tiles, 0, (0.1, 0.2), 1.0, px).level for px in (0.1, 0.6, np.inf)}
    assert list(levels.values()) == [Level.PASS, Level.CHECK, Level.CHECK]


@pytest.mark.parametrize("wrong_px", [4.0, 9.0, 40.0])
def test_a_wrong_alignment_never_passes(images, usual, wrong_px):
    post, pre, truth = images(usual)
    wrong = Transform.from_matrix(truth.matrix) @ Transform.translation(wrong_px, 0)
    result = refine_interior_sift(post, pre, wrong, interior_ecc=False)
    assert result.transform == wrong
    assert result.verdict.level is Level.FAIL


def test_an_offset_of_a_pixel_is_certified_as_such(images, usual):
    post, pre, truth = images(usual)
    wrong = Transform.from_matrix(truth.matrix) @ Transform.translation(0.9, 0.6)
    certificate = refine_interior_sift(post, pre, wrong, interior_ecc=False).certificate
    length = np.hypot(*(wrong.linear() @ [0.9, 0.6] - wrong.linear() @ [0, 0]))
    assert certificate.median_px == pytest.approx(length, rel=0.1)
    assert certificate.bound_px >= length
    assert certificate.verdict.level is Level.CHECK


def test_a_correction_beyond_the_limit_is_refused(images, usual):
    post, pre, truth = images(usual)
    start = Transform.from_matrix(truth.matrix) @ Transform.translation(12, 0)
    result = refine_interior_sift(post, pre, start, interior_max_correction=5)
    assert result.transform == start
    assert "interior_max_correction" in result.verdict.reason


def test_a_refused_correction_has_no_deformation(images, usual):
    post, pre, _ = images(replace(usual, shape=(1300, 1300), deformation_px=8.0))
    start = register_highorder(post, pre).transform
    result = refine_interior_sift(post, pre, start, interior_max_correction=1)
    assert result.transform == start
    assert result.metrics["deformation"]["reason"] == "the correction was refused"
    assert not result.metrics["deformation"]["used"]
    assert not any("deformation" in message for message in result.messages)


def test_same_bits_at_any_thread_count_and_again(images, usual):
    post, pre, _ = images(usual)
    first, second, third = (align(post, pre, threads=n) for n in (1, 3, 1))
    assert first.transform == second.transform == third.transform
    assert first.certificate.to_dict() == second.certificate.to_dict()
    assert json.dumps(first.metrics) == json.dumps(third.metrics)


def test_certificate_survives_json(images, usual):
    post, pre, _ = images(usual)
    certificate = align(post, pre).certificate
    text = json.dumps(certificate.to_dict(), allow_nan=False)
    assert Certificate.from_dict(json.loads(text)).to_dict() == certificate.to_dict()
    assert Certificate.from_dict(json.loads(text)).verdict == certificate.verdict


def test_array_functions_agree(images, usual, true_error):
    post, pre, truth = images(usual)
    coarse = register_highorder(post, pre, angle_range=10)
    fine = refine_interior_ecc(post, pre, coarse.transform)
    assert np.median(true_error(fine.transform, truth)) < 0.05
    for matrix in (coarse.transform.matrix, coarse.transform.matrix[:2].tolist()):
        kept = refine_interior_sift(post, pre, matrix, interior_ecc=False)
        assert kept.transform == Transform.from_matrix(matrix)


def test_phase_correlation_finds_a_shift(caplog):
    pair = make_pair(PairSpec(shape=(600, 700), shift_px=(40, -25), border=0.15))
    post, pre = pair.post.read_all(), pair.pre.read_all()
    found = prealign_phase_correlation(post, pre)
    point = np.array([[350.0, 300.0]])
    np.testing.assert_allclose(found(point), pair.truth.mapping(point), atol=1)
    np.testing.assert_allclose(prealign_phase_correlation(post, post)(point), point, atol=0.2)
    assert not caplog.records
    prealign_phase_correlation(post, np.rot90(post, 2))
    assert "not to be trusted" in caplog.text
    with pytest.raises(RegistrationError, match="one brightness"):
        prealign_phase_correlation(post, np.zeros_like(post))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((100, 100, 3), np.uint8), "one channel"),
        (np.full((100, 100), np.nan), "NaN"),
        (ArrayRaster(np.where(np.eye(100) > 0, np.inf, 1.0)), "post holds NaN or infinity"),
        (np.zeros((100, 100), np.complex128), "real numbers"),
        (np.zeros((20, 100), np.uint8), "at least 64 px"),
    ],
)
def test_unusable_arrays_are_refused(image, words):
    with pytest.raises(RegistrationError, match=words):
        align(image, np.zeros((100, 100), np.uint8))


def test_very_large_images_go_by_a_middle_overview(images, usual, true_error, monkeypatch):
    post, pre, truth = images(replace(usual, shape=(1300, 1300)))
    monkeypatch.setattr("exo2micro.alignment.overview.LARGEST_OVERVIEW_PX", 700)
    monkeypatch.setattr("exo2micro.alignment.refine.LARGEST_JUMP", 1)
    result = align(post, pre)
    assert np.quantile(true_error(result.transform, truth), 0.95) < 0.05
    assert result.verdict.level is Level.PASS


@pytest.mark.parametrize("brightest", [200, 1])
def test_images_too_small_or_blank_end_in_a_verdict_with_json_metrics(brightest):
    generator = np.random.default_rng(8)
    post, pre = (generator.integers(0, brightest, (70, 80)).astype(np.uint8) for _ in range(2))
    result = align(post, pre)
    assert result.verdict.level is Level.FAIL
    assert "no alignment found: the images are too small or too blank" in result.verdict.reason
    json.dumps([result.metrics, result.certificate.to_dict()], allow_nan=False)


def test_same_bits_whatever_the_threads_of_linear_algebra(images, usual):
    post, pre, _ = images(usual)
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads, user_api="blas"):
            found.append(align(post, pre))
    assert found[0].transform == found[1].transform
    assert found[0].certificate.to_dict() == found[1].certificate.to_dict()
