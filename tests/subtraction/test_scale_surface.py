from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from subtraction_pairs import SPEC, aligned_pair

from exo2micro.stages.comparable import make_comparable
from exo2micro.subtraction.blocks import BLOCK_PX
from exo2micro.subtraction.correction import FieldCorrection
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.field import SIDE, Frame, RatioField
from exo2micro.subtraction.scale import estimate_scales
from exo2micro.synthetic import make_pair
from exo2micro.verdict import Level

RNG = np.random.default_rng(9)
GRADIENT = {"ratio_gradient": 0.2}


@cache
def found(scale_field="auto", **changes):
    made = aligned_pair(**changes)
    quality = QualitySources(valid=made.valid, saturation_pre=made.saturation_pre)
    params = {"psf_match": "off", "scale_field": scale_field}
    return made, make_comparable(made.post, made.pre, quality, params, threads=1)


def true_ratio(x, y, **changes):
    return make_pair(replace(SPEC, **changes)).truth.ratio(np.stack([x, y], axis=1))


@pytest.mark.parametrize("changes", [GRADIENT, {**GRADIENT, "bits": 16}], ids=str)
def test_a_gradient_of_20_per_cent_is_followed_within_one_per_cent(changes):
    made, pair = found(**changes)
    area, field = pair.sample.area, pair.sample.field
    estimate = estimate_scales(pair.sample, {})[""]
    expected = true_ratio(area.x, area.y, **changes)
    error = estimate.scale * field.at(area.x, area.y) / expected - 1.0
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert estimate.interval[0] < made.scale < estimate.interval[1]
    assert estimate.half_width < 0.01


PEDESTALS = {"bits": 16, "coverage": 0.05, "pedestal": 200.0, "pre_pedestal": 120.0}
EQUAL = {"coverage": 0.05, "ratio": 1.0, "pedestal": 20.0, "pre_pedestal": 20.0}


@pytest.mark.parametrize("changes", [GRADIENT | PEDESTALS, GRADIENT | EQUAL], ids=str)
def test_stray_light_follows_a_varying_ratio_and_pedestals_do_not(changes):
    made, pair = found(**changes)
    pedestal, truth = pair.sample.pedestal, make_pair(replace(SPEC, **changes)).truth
    assert pedestal.pre == pytest.approx(changes["pre_pedestal"], rel=0.12)
    estimate = estimate_scales(pair.sample, {})[""]
    assert estimate.scale == pytest.approx(made.scale, rel=0.002)
    assert abs(estimate.offset - made.offset) < 3 * pedestal.error
    assert pair.cards()["PEDPRE"][0] == pedestal.pre
    # What is left in the dark surroundings holds nothing of the variation.
    left = pair.subtract(estimate, lambda rows, cols, _: np.ones((480, 480))).read_all()
    dark = made.valid.read_all() & ~truth.sample_mask()
    dark &= cv2.erode(dark.view(np.uint8), np.ones((15, 15), np.uint8)).view(np.bool_)
    middle = int(np.median(np.nonzero(dark)[1]))
    sides = [np.median(left[:, part][dark[:, part]]) for part in (np.s_[:middle], np.s_[middle:])]
    light = 0.05 * made.scale * truth.pre_brightness(np.array([[240.0, 240.0]]))[0]
    assert abs(sides[1] - sides[0]) < max(0.03 * light, 1.0)


def test_a_bleached_spot_is_followed_and_leaves_the_scale_where_it_is():
    changes = {"bleaching": 0.1}
    made, pair = found(**changes)
    estimate = estimate_scales(pair.sample, {})[""]
    assert estimate.scale == pytest.approx(made.scale, rel=0.004)
    area = pair.sample.area
    expected = true_ratio(area.x, area.y, **changes)
    left = np.abs(estimate.scale * pair.sample.field.at(area.x, area.y) / expected - 1.0)
    assert area.quantile(left, 0.95) < 0.015


def test_the_area_is_that_of_the_sample():
    made, pair = found(**GRADIENT)
    truth = make_pair(replace(SPEC, **GRADIENT)).truth
    area = pair.sample.area
    assert np.sum(area.weight) * BLOCK_PX**2 == pytest.approx(truth.overlap_mask().sum(), rel=0.02)
    assert area.quantile(truth.ratio(np.stack([area.x, area.y], axis=1)), 0.5) == pytest.approx(
        made.scale, rel=0.002
    )


def test_the_field_is_one_in_the_middle_of_its_distribution():
    _, pair = found(**GRADIENT)
    area = pair.sample.area
    assert area.quantile(pair.sample.field.at(area.x, area.y), 0.5) == pytest.approx(1.0, abs=1e-9)


def test_corrected_is_said_and_not_doubted_and_uncorrected_is_doubted():
    _, corrected = found(**GRADIENT)
    assert any("scale follows" in text for text in corrected.messages)
    assert estimate_scales(corrected.sample, {})[""].verdict.level is Level.PASS
    assert corrected.cards()["SFIELD"][0] is True
    _, plain = found("off", **GRADIENT)
    estimate = estimate_scales(plain.sample, {})[""]
    assert estimate.verdict.level is Level.CHECK
    assert "scale_field=auto" in estimate.verdict.reason
    assert plain.correction is None
    assert "SFIELD" not in plain.cards()
    assert plain.metrics()["scale_field"]["is_applied"] is False


@pytest.mark.parametrize("seed", [5, 6, 7])
@pytest.mark.parametrize("changes", [{}, {"bits": 16}, {"pedestal": 20.0}], ids=str)
def test_a_uniform_ratio_shows_no_field_worth_a_word(seed, changes):
    _, pair = found(seed=seed, **changes)
    estimate = estimate_scales(pair.sample, {})[""]
    assert estimate.metrics["field_variation"] < 0.01
    assert estimate.verdict.level is Level.PASS


def test_the_difference_loses_its_slope_across_the_image():
    made, pair = found(**GRADIENT)
    estimate = estimate_scales(pair.sample, {})[""]
    clean = pair.sample.clean
    quality = QualitySources(valid=made.valid)
    slopes = []
    for correction in (None, pair.correction):
        raster = DifferenceRaster(
            pair.post,
            pair.pre,
            scale=estimate.scale,
            offset=estimate.offset,
            quality=quality,
            correction=correction,
        )
        difference = raster.read_all()
        rows, cols = clean.y.astype(int), clean.x.astype(int)
        places = zip(rows, cols, strict=True)
        block = np.array([difference[r - 3 : r + 5, c - 3 : c + 5].mean() for r, c in places])
        slopes.append(np.std(block / (estimate.scale * clean.pre)))
    assert slopes[1] < 0.35 * slopes[0]


def test_only_light_is_scaled_and_windows_fit_together():
    frame = Frame((100.0, 80.0), 120.0)
    field = RatioField(frame, RNG.normal(0, 0.05, (SIDE, SIDE)))
    correction = FieldCorrection(field, pre_pedestal=7.0)
    pre = RNG.uniform(7, 90, (160, 200)).astype(np.float32)
    whole = correction.apply(pre, slice(0, 160), slice(0, 200))
    part = correction.apply(pre[30:50, 60:99], slice(30, 50), slice(60, 99))
    np.testing.assert_allclose(part, whole[30:50, 60:99], rtol=1e-6)
    dark = correction.apply(np.full((4, 4), 7.0, np.float32), slice(0, 4), slice(0, 4))
    assert np.all(dark == 7.0)
    y, x = np.mgrid[0:160:9, 0:200:11]
    points = field.at(x.ravel().astype(float), y.ravel().astype(float))
    np.testing.assert_allclose(field.grid(y[:, 0] * 1.0, x[0] * 1.0).ravel(), points)


def test_a_field_survives_its_record_and_goes_on_beyond_its_frame():
    field = RatioField(Frame((10.0, 20.0), 50.0), RNG.normal(0, 0.1, (SIDE, SIDE)), 0.1, 0.002)
    again = RatioField.from_dict(field.to_dict())
    np.testing.assert_array_equal(again.coefficients, field.coefficients)
    assert (again.frame, again.penalty, again.predicted) == (field.frame, 0.1, 0.002)
    inside, beyond = (field.at(np.array([x]), np.array([20.0])) for x in (60.0, 900.0))
    assert inside == pytest.approx(beyond)
    assert RatioField.flat(field.frame).is_flat
    assert RatioField.flat(field.frame).scaled(2.0).is_flat
