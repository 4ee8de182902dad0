from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from subtraction_pairs import aligned_pair

from exo2micro.errors import ParameterError, ScaleError
from exo2micro.raster.base import ArrayRaster, OffsetRaster
from exo2micro.registry import unregister_class
from exo2micro.subtraction.assess import OVERLAP
from exo2micro.subtraction.sampling import sample_pairs
from exo2micro.subtraction.scale import (
    SCALE_ESTIMATORS,
    ScaleEstimator,
    active_estimators,
    estimate_scales,
)
from exo2micro.verdict import Level


@cache
def pair(**changes):
    return aligned_pair(**changes)


def sample_of(pair, **options):
    return sample_pairs(
        pair.post, pair.pre, pair.valid, saturation_pre=pair.saturation_pre, **options
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 0.5},
        {"ratio": 1.0},
        {"ratio": 1.05},
        {"ratio": 4.0},
        {"ratio": 1.0, "bits": 16},
        {"ratio": 3.0, "bits": 16},
        {"pedestal": 20.0},
        {"pedestal": 20.0, "pre_pedestal": 20.0},
        {"bits": 16, "pedestal": 300.0, "pre_pedestal": 100.0},
        {"border": -0.3},
        {"border": -0.3, "pedestal": 8.0},
        {"saturated_debris": 6},
        {"coverage": 0.0},
    ],
    ids=str,
)
def test_canonical_scale_is_within_half_a_per_cent(changes):
    made = pair(**changes)
    estimate = estimate_scales(sample_of(made), {})[""]
    assert estimate.scale == pytest.approx(made.scale, rel=0.005)
    assert estimate.half_width < 0.01
    assert estimate.interval[0] < estimate.scale < estimate.interval[1]
    brightness = float(np.median(sample_of(made).post))
    assert estimate.offset == pytest.approx(made.offset, abs=0.01 * brightness)
    assert estimate.goodness > 0.9


def test_offset_is_exactly_zero_without_pedestal_and_kept_with_one():
    assert estimate_scales(sample_of(pair(ratio=1.8)), {})[""].offset == 0.0
    assert estimate_scales(sample_of(pair(pedestal=20.0)), {})[""].offset == pytest.approx(
        20.0, abs=0.3
    )


def test_stray_light_of_a_lost_piece_is_no_pedestal():
    pedestals = {"pedestal": 140.0, "pre_pedestal": 100.0}
    made = pair(
        shape=(1000, 900), seed=4, bits=16, ratio=2.4, coverage=0.03, lost_piece=0.1, **pedestals
    )
    estimate = estimate_scales(sample_of(made), {})[""]
    assert estimate.interval[0] < made.scale < estimate.interval[1]
    assert estimate.offset == pytest.approx(made.offset, abs=4.0)


def test_least_squares_follows_the_microbes_and_the_canonical_scale_does_not():
    estimates = estimate_scales(sample_of(pair()), {"extra_estimators": "all"})
    assert list(estimates) == ["", "robust_regression", "least_squares"]
    assert estimates["least_squares"].scale > 1.03 * pair().scale
    assert estimates["least_squares"].verdict.level is Level.CHECK
    assert estimates["robust_regression"].scale == pytest.approx(pair().scale, rel=0.01)


def test_gradient_is_said_in_words():
    found = estimate_scales(sample_of(pair(ratio_gradient=0.2)), {})[""]
    assert found.verdict.level is Level.CHECK
    assert "one scale is not enough" in found.verdict.reason
    assert 0.1 < found.metrics["field_variation"] < 0.22
    flat = estimate_scales(sample_of(pair()), {})[""]
    assert flat.verdict.level is Level.PASS
    assert flat.metrics["field_variation"] == 0.0


def test_result_depends_on_neither_threads_nor_padding_of_the_canvas():
    made = pair()
    once = estimate_scales(sample_of(made), {})[""]
    again = estimate_scales(sample_of(made, threads=2), {})[""]
    assert (once.scale, once.interval, once.offset) == (again.scale, again.interval, again.offset)
    canvas = (2000, 2100)
    padded = [OffsetRaster(r, canvas, (700, 800)) for r in (made.post, made.pre, made.valid)]
    wide = estimate_scales(sample_pairs(*padded, saturation_pre=made.saturation_pre), {})[""]
    assert wide.scale == pytest.approx(once.scale, rel=0.001)


def test_changing_the_units_of_an_image_changes_the_scale_by_that_factor():
    made = pair(bits=16)
    plain = estimate_scales(sample_of(made), {})[""]
    halved = ArrayRaster(made.pre.read_all() * np.float32(0.5))
    other = sample_pairs(made.post, halved, made.valid, saturation_pre=made.saturation_pre / 2)
    assert estimate_scales(other, {})[""].scale == pytest.approx(2 * plain.scale, rel=5e-4)


@pytest.mark.parametrize("is_smooth", [False, True], ids=["from integers", "continuous"])
def test_the_unit_of_float_images_does_not_matter(is_smooth):
    made = pair(pedestal=20.0, pre_pedestal=20.0)
    post, pre = (image.read_all().astype(np.float32) for image in (made.post, made.pre))
    if is_smooth:
        post += np.random.default_rng(5).uniform(-0.5, 0.5, post.shape).astype(np.float32)

    def found(factor):
        images = (ArrayRaster(image * np.float32(factor)) for image in (post, pre))
        sample = sample_pairs(*images, made.valid)
        assert sample.step == pytest.approx(0 if is_smooth else factor, rel=1e-3)
        return estimate_scales(sample, {})[""]

    plain = found(1.0)
    assert plain.scale == pytest.approx(made.scale, rel=0.003)
    for factor in (1e-6, 1 / 65535, 1 / 255, 1e6):
        scaled = found(factor)
        assert scaled.scale == pytest.approx(plain.scale, rel=1e-4)
        assert scaled.half_width == pytest.approx(plain.half_width, rel=0.05)
        assert scaled.offset == pytest.approx(factor * plain.offset, rel=0.01)


def test_identical_images_have_scale_one_and_no_offset():
    made = pair(coverage=0.0)
    same = ArrayRaster(made.post.read_all().astype(np.float32))
    found = estimate_scales(sample_pairs(made.post, same, made.valid, saturation_pre=255), {})[""]
    assert found.scale == pytest.approx(1.0, abs=1e-3)
    assert found.offset == 0.0
    dim = ArrayRaster(same.read_all() / np.float32(255))
    found = estimate_scales(sample_pairs(dim, dim, made.valid), {})[""]
    assert found.scale == pytest.approx(1.0, abs=1e-3)


def test_percentile_and_manual():
    sample = sample_of(pair())
    params = {"scale_percentile": 50, "manual_scale": 1.25}
    found = estimate_scales(sample, params)
    assert list(found) == ["", "percentile_p50", "manual"]
    assert found["manual"].scale == 1.25
    assert found["manual"].interval == (1.25, 1.25)
    assert found["manual"].verdict.reason == found["manual"].messages[0]
    assert "(manual) is 0.834 times the background's ratio 1.4992" in found["manual"].messages[0]
    assert found["percentile_p50"].verdict.level is Level.PASS
    near = pair().scale * 1.005
    assert estimate_scales(sample, {"manual_scale": near})["manual"].verdict.level is Level.PASS
    scales = [
        estimate_scales(sample, {"scale_percentile": p})[f"percentile_p{p}"].scale
        for p in (0, 10, 50, 90, 100)
    ]
    assert scales == sorted(scales)
    assert scales[1] < pair().scale < scales[3]


def test_every_estimate_says_how_well_it_fits_and_can_be_drawn():
    params = {"scale_percentile": 50, "manual_scale": 15.0, "extra_estimators": "all"}
    found = estimate_scales(sample_of(pair()), params)
    assert len(found) == 5
    for label, estimate in found.items():
        assert estimate.curve["counts"].sum() > 0, label
        assert {len(values) for values in estimate.curve.values()} == {50}
        is_wrong = label == "manual"
        assert (estimate.goodness < 0.1) == is_wrong
        assert (estimate.curve["fitted"].sum() < 1) == is_wrong


def test_robust_regression_follows_a_field_without_its_pedestal():
    made = pair(bits=16, ratio_gradient=0.2, pre_pedestal=400.0, coverage=0.0)
    sample = sample_of(made)
    assert not sample.field.is_flat
    assert sample.pedestal.pre > 300
    params = {"extra_estimators": "robustregression"}
    found = estimate_scales(replace(sample, is_corrected=True), params)["robust_regression"]
    clean, zero = sample.clean, sample.pedestal.pre
    corrected = (clean.pre - zero) * sample.relative_ratio(clean) + zero
    rest = clean.post - found.scale * corrected - found.offset
    ratio = sample.relative_ratio(clean)
    light = np.median(clean.post)
    low, high = (rest[part].mean() for part in (ratio < 0.93, ratio > 1.07))
    assert abs(low) < 0.002 * light
    assert abs(high) < 0.002 * light


@pytest.mark.parametrize(
    "params",
    [
        {"scale_percentile": 101},
        {"scale_percentile": -0.5},
        {"scale_percentile": np.nan},
        {"manual_scale": 0.0},
        {"manual_scale": -1.5},
        {"manual_scale": np.nan},
        {"manual_scale": np.inf},
        {"extra_estimators": "leastsquare"},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_named(params):
    with pytest.raises((ScaleError, ParameterError), match=next(iter(params))):
        estimate_scales(sample_of(pair()), params)


def test_family_finds_its_members_and_none_means_off():
    assert {"moffat", "percentile", "manual", "robust_regression", "least_squares"} <= set(
        SCALE_ESTIMATORS
    )
    active = active_estimators({"scale_percentile": None, "manual_scale": None})
    assert [cls.name for cls in active] == ["moffat"]


def test_extra_estimators_are_chosen_by_their_joined_names():
    active = active_estimators({"extra_estimators": "leastsquaresrobustregression"})
    assert [cls.name for cls in active] == ["moffat", "robust_regression", "least_squares"]


def test_a_class_made_at_run_time_can_be_switched_on():
    class Halved(ScaleEstimator):
        name = "halved"

        def estimate(self, sample, **params):
            return replace(estimate_scales(sample, {})[""], name="halved", label="halved")

    try:
        assert Halved not in active_estimators({"extra_estimators": "leastsquares"})
        for value in ("halved", "all", "leastsquareshalved"):
            assert Halved in active_estimators({"extra_estimators": value})
        assert "halved" in estimate_scales(sample_of(pair()), {"extra_estimators": "halved"})
    finally:
        unregister_class(Halved)


def test_unusable_pairs_are_refused_in_words():
    made = pair()
    nowhere = ArrayRaster(np.zeros(made.post.shape, bool))
    with pytest.raises(ScaleError, match="do not overlap"):
        sample_pairs(made.post, made.pre, nowhere)
    full = ArrayRaster(np.full(made.post.shape, 255, np.uint8))
    with pytest.raises(ScaleError, match="saturated"):
        sample_pairs(full, made.pre, made.valid)
    blank = ArrayRaster(np.zeros(made.post.shape, np.uint8))
    with pytest.raises(ScaleError, match="no brightness"):
        sample_pairs(blank, ArrayRaster(np.zeros(made.post.shape, np.float32)), made.valid)
    with pytest.raises(ScaleError, match="one canvas"):
        sample_pairs(made.post, ArrayRaster(np.zeros((5, 5), np.float32)), None)


def test_negative_and_constant_images_are_refused_in_words():
    made = pair()
    below = ArrayRaster(made.pre.read_all() - np.float32(5000))
    with pytest.raises(ScaleError, match="no scale exists"):
        sample_pairs(made.post, below, made.valid)
    constant = ArrayRaster(np.full(made.post.shape, 7, np.uint8))
    brighter = ArrayRaster(np.full(made.post.shape, 9, np.uint8))
    for post in (constant, brighter):
        with pytest.raises(ScaleError, match="one brightness everywhere"):
            sample_pairs(post, constant, made.valid)
    lost = ArrayRaster(np.full(made.post.shape, np.nan, np.float32))
    with pytest.raises(ScaleError, match="do not overlap"):
        sample_pairs(made.post, lost, made.valid)


@pytest.mark.parametrize("below", [3.0, 20.0])
def test_images_that_go_below_zero_have_a_negative_pedestal(below):
    made = pair()
    clean = estimate_scales(sample_of(made), {})[""].scale
    dark = made.pre.read_all() - np.float32(below)
    post = made.post.read_all().astype(np.float32) - np.float32(below)
    top = 255 - below
    shifted = sample_pairs(
        ArrayRaster(post), ArrayRaster(dark), made.valid, saturation_post=top, saturation_pre=top
    )
    assert estimate_scales(shifted, {})[""].scale == pytest.approx(clean, rel=0.005)


@pytest.mark.parametrize("brightness", [2.0, 3.0, 4.0])
def test_dim_rock_that_is_cut_off_at_zero_counts_does_not_bend_the_line(brightness):
    made = pair(brightness=brightness, ratio=1.8, coverage=0.05, seed=23)
    found = estimate_scales(sample_of(made), {})[""]
    assert found.scale == pytest.approx(made.scale, rel=0.005)
    assert found.interval[0] < made.scale < found.interval[1]
    assert found.offset == 0.0
    assert ("noise is cut off at zero counts" in found.verdict.reason) == (brightness < 4)


def test_nan_and_outliers_in_pre_do_not_matter():
    made = pair()
    clean = estimate_scales(sample_of(made), {})[""].scale
    damaged = made.pre.read_all().copy()
    damaged[100:103, :] = np.nan
    damaged[300:310, 200:210] = 1e6
    spoilt = replace(made, pre=ArrayRaster(damaged))
    assert estimate_scales(sample_of(spoilt), {})[""].scale == pytest.approx(clean, rel=0.003)


def test_misregistration_of_many_pixels_is_not_passed():
    made = pair()
    shifted = np.roll(made.pre.read_all(), (60, 45), axis=(0, 1))
    found = estimate_scales(sample_of(replace(made, pre=ArrayRaster(shifted))), {})[""]
    assert found.verdict.level is not Level.PASS


def test_background_is_found_where_microbes_and_a_slope_pull_the_first_scale_off():
    # This pair once had all of its background cut as microbes, and a scale 3.7 % high.
    rng = np.random.default_rng(2033005)
    made = aligned_pair(
        shape=(440, 440),
        bits=16,
        ratio_gradient=0.1,
        seed=2033005,
        rotation_deg=float(rng.uniform(-5, 5)),
        magnification=float(rng.uniform(0.98, 1.02)),
        shift_px=(float(rng.uniform(-10, 10)), float(rng.uniform(-10, 10))),
    )
    sample = sample_of(made)
    found = estimate_scales(sample, {})[""]
    assert 0.4 < sample.clean_fraction < 0.8
    assert found.scale == pytest.approx(made.scale, rel=0.003)


def test_no_background_at_all_is_said_in_words():
    made = pair()
    rng = np.random.default_rng(3)
    bright = made.post.read_all() + rng.choice([0, 60], made.post.shape).astype(np.float32)
    found = estimate_scales(sample_of(replace(made, post=ArrayRaster(bright))), {})[""]
    assert found.verdict.level is not Level.PASS


def part_of(pair, side):
    valid = np.zeros(pair.post.shape, bool)
    valid[200 : 200 + side, 200 : 200 + side] = True
    return replace(pair, valid=ArrayRaster(valid))


@pytest.mark.parametrize("side", [64, 80, 120])
def test_few_tiles_give_a_wide_interval_that_covers_the_truth(side):
    made = part_of(pair(), side)
    found = estimate_scales(sample_of(made), {})[""]
    assert found.n_tiles < 8
    assert found.interval[0] < made.scale < found.interval[1]
    assert found.verdict.level is Level.CHECK
    assert "tiles of background only" in found.verdict.reason


def test_one_tile_knows_neither_its_scatter_nor_the_pedestal():
    found = estimate_scales(sample_of(part_of(pair(), 64)), {})[""]
    assert found.n_tiles == 1
    assert found.offset == 0.0
    assert found.half_width > 0.05
    assert found.metrics["error_bootstrap"] >= 0.02


def test_the_parts_of_the_error_make_the_interval():
    found = estimate_scales(sample_of(pair()), {})[""]
    parts = [value for name, value in found.metrics.items() if name.startswith("error_")]
    assert len(parts) == 6
    assert found.half_width == pytest.approx(OVERLAP * 1.96 * np.linalg.norm(parts))


def test_the_interval_is_narrower_where_there_is_less_noise():
    quiet, noisy = (
        estimate_scales(sample_of(pair(coverage=0.0, read_noise=counts)), {})[""]
        for counts in (0.8, 4.0)
    )
    assert quiet.metrics["error_bootstrap"] < 0.7 * noisy.metrics["error_bootstrap"]
    assert quiet.half_width < noisy.half_width
