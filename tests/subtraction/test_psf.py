from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from subtraction_pairs import aligned_pair

from exo2micro.raster.base import ArrayRaster
from exo2micro.stages.comparable import make_comparable
from exo2micro.subtraction.difference import QualitySources
from exo2micro.subtraction.matching import ConvolvedRaster, gaussian_kernel, match_psf
from exo2micro.subtraction.psf import SharpnessGap, is_significant
from exo2micro.subtraction.scale import estimate_scales
from exo2micro.verdict import Level

RNG = np.random.default_rng(4)


@cache
def pair(**changes):
    return aligned_pair(**changes)


def quality_of(made):
    return QualitySources(valid=made.valid, saturation_pre=made.saturation_pre)


def comparable(made, **changes):
    params = {"psf_match": "auto", "scale_field": "off", **changes}
    return make_comparable(made.post, made.pre, quality_of(made), params, threads=1)


def leftover(found, scale, truth_mask):
    """Return the standard deviation of the difference on clean pixels beside strong edges."""
    post, pre = found.post.read_all().astype(float), found.pre.read_all().astype(float)
    edges = ndimage.gaussian_gradient_magnitude(pre, 1.5)
    steep = truth_mask & (edges > np.quantile(edges[truth_mask], 0.9))
    return float(np.std((post - scale * pre)[steep]))


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"psf_px": 1.2, "post_psf_px": 1.8}, "pre"),
        ({"psf_px": 1.2, "post_psf_px": 1.8, "bits": 16}, "pre"),
        ({"psf_px": 1.8, "post_psf_px": 1.2}, "post"),
    ],
    ids=str,
)
def test_other_focus_is_measured_within_its_error_and_matched(changes, role):
    match = match_psf(pair(**changes).post, pair(**changes).pre, quality_of(pair(**changes)))
    truth = changes["post_psf_px"] ** 2 - changes["psf_px"] ** 2
    assert match.role == role
    assert abs(match.gap.difference - truth) < 3 * match.gap.error
    assert match.gap.error < 0.5
    assert match.sigma_px == pytest.approx(np.sqrt(abs(truth)), abs=3 * match.sigma_error_px)
    assert f"{role} was convolved" in match.message
    assert ("microbes are blurred" in match.message) == (role == "post")


@pytest.mark.parametrize("seed", [5, 6, 7, 8])
@pytest.mark.parametrize("bits", [8, 16])
def test_equally_sharp_pairs_are_left_alone(seed, bits):
    made = pair(seed=seed, bits=bits)
    match = match_psf(made.post, made.pre, quality_of(made))
    assert match.role == "none"
    assert match.post is made.post
    assert match.pre is made.pre
    assert match.message == ""
    assert match.noise_factor == 1.0


def test_rings_around_grains_are_gone_after_matching():
    made = pair(psf_px=1.2, post_psf_px=2.0, bits=16, coverage=0.0)
    inside = ndimage.binary_erosion(made.valid.read_all(), iterations=12)
    raw, matched = comparable(made, psf_match="off"), comparable(made)
    assert leftover(matched, made.scale, inside) < 0.5 * leftover(raw, made.scale, inside)


def test_the_scale_is_right_after_matching_and_doubted_without():
    made = pair(psf_px=1.2, post_psf_px=2.4)
    matched = estimate_scales(comparable(made).sample, {})[""]
    assert matched.scale == pytest.approx(made.scale, rel=0.004)
    assert matched.verdict.level is Level.PASS
    plain = estimate_scales(comparable(made, psf_match="off").sample, {})[""]
    assert plain.interval[0] < made.scale < plain.interval[1]
    assert plain.verdict.level is Level.CHECK
    assert "post is less sharp" in plain.verdict.reason
    assert "psf_match=auto" in plain.verdict.reason


def test_record_and_header_tell_of_the_match():
    found = comparable(pair(psf_px=1.2, post_psf_px=1.8))
    described = found.metrics()["psf_match"]
    assert described["role"] == "pre"
    assert 0 < described["sigma_error_px"] < 0.3
    assert 0 < described["noise_factor"] < 0.3
    assert found.cards()["PSFROLE"][0] == "pre"
    assert found.cards()["PSFSIGMA"][0] == described["sigma_px"]
    assert "PSFROLE" not in comparable(pair()).cards()


@pytest.mark.parametrize("sigma", [0.65, 1.0, 2.3])
def test_the_kernel_has_the_width_it_says(sigma):
    kernel = gaussian_kernel(sigma)
    at = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1.0)
    assert np.sum(kernel * at**2) == pytest.approx(sigma**2, rel=0.01)


def test_convolution_keeps_brightness_at_the_edge_of_the_data_and_saturated_pixels():
    image = np.full((80, 90), 100.0, np.float32)
    image[40, 50] = 255.0
    valid = np.zeros(image.shape, bool)
    valid[10:70, 15:80] = True
    image[~valid] = np.nan
    found = ConvolvedRaster(ArrayRaster(image), 1.5, ArrayRaster(valid), 255.0)
    whole = found.read_all()
    assert np.all(whole[~valid] == 0.0)
    assert whole[40, 50] == 255.0
    far = valid.copy()
    far[30:50, 40:60] = False
    np.testing.assert_allclose(whole[far], 100.0, rtol=1e-5)


def test_convolution_does_not_depend_on_the_window():
    image = RNG.integers(0, 200, (120, 130)).astype(np.uint8)
    found = ConvolvedRaster(ArrayRaster(image), 1.1, None, None)
    whole = found.read_all()
    for rows, cols in ((slice(0, 33), slice(0, 130)), (slice(57, 101), slice(20, 71))):
        np.testing.assert_allclose(found.read(rows, cols), whole[rows, cols], rtol=1e-5)


@pytest.mark.parametrize(("axis", "angle"), [(1, 0), (0, 90)])
def test_blur_along_one_direction_is_found_and_said(axis, angle):
    made = pair(bits=16)
    post = ndimage.gaussian_filter1d(made.post.read_all().astype(np.float32), 1.4, axis=axis)
    smeared = replace(made, post=ArrayRaster(post))
    found = comparable(smeared)
    gap = found.sample.sharpness
    along_x = 1.4**2 if axis == 1 else -(1.4**2)
    assert gap.elongation[0] == pytest.approx(along_x, abs=3 * gap.elongation_error)
    assert abs(gap.elongation[1]) < 3 * gap.elongation_error
    estimate = estimate_scales(found.sample, {})[""]
    assert estimate.verdict.level is Level.CHECK
    said = next(text for text in estimate.verdict.reasons if "astigmatism" in text)
    degrees = float(said.split("along ")[1].split(" deg")[0])
    assert abs((degrees - angle + 90) % 180 - 90) < 20
    assert len(found.metrics()["psf_match"]["elongation_px2"]) == 2


@pytest.mark.parametrize("bits", [8, 16])
def test_round_blur_is_not_taken_for_elongated(bits):
    for changes in ({}, {"psf_px": 1.2, "post_psf_px": 1.8}):
        gap = comparable(pair(bits=bits, **changes)).sample.sharpness
        assert gap.elongation_message == ""


def test_without_texture_nothing_is_measured_or_matched():
    flat = np.full((300, 300), 80, np.uint8)
    noisy = [ArrayRaster((flat + RNG.normal(0, 2, flat.shape)).astype(np.uint8)) for _ in range(2)]
    match = match_psf(noisy[0], noisy[1], QualitySources())
    assert match.role == "none"
    assert not is_significant(SharpnessGap())
    assert SharpnessGap().error == np.inf
    assert SharpnessGap().elongation_message == ""


def turned_texture(noise):
    """Return post and pre of one soft texture, equally sharp, pre resampled over all phases."""
    rng = np.random.default_rng(3)
    texture = ndimage.gaussian_filter(rng.normal(size=(900, 900)), 2.0)
    texture = 100.0 + 6.0 * texture / texture.std()
    angle = np.radians(3.0)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def turn(image):
        turned = ndimage.affine_transform(image, matrix, offset=(50, 0), order=3)
        return turned[80:800, 80:800].astype(np.float32)

    post = turn(texture) + rng.normal(0, noise, (720, 720)).astype(np.float32)
    return ArrayRaster(post), ArrayRaster(turn(texture + rng.normal(0, noise, texture.shape)))


def test_noise_that_resampling_dampens_unevenly_counts_in_the_error():
    quiet, loud = (match_psf(*turned_texture(noise), QualitySources()) for noise in (1.0, 4.0))
    for match in (quiet, loud):
        assert abs(match.gap.difference) < 2 * match.gap.error
        assert match.role == "none"
    assert loud.gap.error > 1.4 * quiet.gap.error


def test_a_matched_pair_is_not_measured_by_its_convolved_noise():
    found = comparable(pair(psf_px=1.2, post_psf_px=1.8))
    assert found.match.role == "pre"
    assert found.sample.sharpness == found.match.gap.after_matching()
    assert estimate_scales(found.sample, {})[""].verdict.level is Level.PASS
