"""The noise of a difference: measured, propagated, calibrated; against exact truth."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster.base import ArrayRaster
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.noise import ROUNDING_VARIANCE, CameraNoise, DifferenceNoise
from exo2micro.subtraction.noise_estimate import estimate_noise
from exo2micro.subtraction.photon_transfer import GivenNoise
from exo2micro.subtraction.sampling import sample_pairs
from exo2micro.subtraction.scale import estimate_scales
from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.verdict import Level

SPEC = PairSpec(
    shape=(480, 480), coverage=0.05, ratio=1.6, rotation_deg=2.0, magnification=1.02, seed=11
)
WHOLE = (slice(0, 480), slice(0, 480))
REGISTRATION_PX = 0.02


@dataclass(frozen=True)
class Scene:
    """A pair, resampled almost as the truth demands, and its clean background."""

    spec: PairSpec
    post: ArrayRaster
    pre: ArrayRaster
    warped: WarpedRaster
    scale: float
    offset: float
    clean: np.ndarray
    edges: np.ndarray

    @property
    def start(self) -> DifferenceNoise:
        return DifferenceNoise(
            CameraNoise(0.0, 0.0, pedestal=self.spec.pedestal),
            CameraNoise(0.0, 0.0, pedestal=self.spec.pre_pedestal),
            registration_px=REGISTRATION_PX,
        )

    def difference(self, noise=None, **changes) -> DifferenceRaster:
        options = {
            "scale": self.scale,
            "offset": self.offset,
            "resampling": self.warped.read_noise_factor,
            "quality": QualitySources(
                valid=ArrayRaster(self.warped.read_validity(*WHOLE)),
                saturation_pre=float(self.spec.full_scale),
            ),
        }
        return DifferenceRaster(self.post, self.pre, noise=noise, **options | changes)


def scene_of(**changes) -> Scene:
    spec = replace(SPEC, **changes)
    pair = make_pair(spec)
    off = Transform.translation(REGISTRATION_PX, -REGISTRATION_PX)
    transform = Transform.from_matrix(pair.truth.matrix) @ off
    pre = ArrayRaster(pair.pre.read_all())
    warped = WarpedRaster(pre, transform, spec.shape)
    taken = pair.truth.microbe_mask() | pair.truth.debris_mask() | ~pair.truth.overlap_mask()
    clean = cv2.dilate(taken.astype(np.uint8), np.ones((13, 13), np.uint8)) == 0
    rows, cols = np.gradient(cv2.GaussianBlur(pair.truth.background(), (0, 0), 0.7))
    slope = np.hypot(rows, cols)
    return Scene(
        spec,
        ArrayRaster(pair.post.read_all()),
        ArrayRaster(warped.read_all()),
        warped,
        pair.truth.scale,
        pair.truth.offset,
        clean,
        clean & (slope > np.quantile(slope[clean], 0.99)),
    )


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"bits": 16},
        {"bits": 16, "coverage": 0.15, "pedestal": 140.0, "pre_pedestal": 100.0, "ratio": 0.5},
        {"rotation_deg": 0.0, "magnification": 1.0, "shift_px": (0.5, 0.25), "ratio": 4.0},
    ],
    ids=["8 bit", "16 bit", "microbes and pedestals", "between pixels everywhere"],
)
def measured(request):
    scene = scene_of(**request.param)
    return scene, estimate_noise(scene.difference(), scene.start)


@pytest.fixture(scope="module")
def plain():
    return scene_of()


def test_gain_and_read_noise_are_found_within_their_errors(measured):
    scene, estimate = measured
    gain, read_noise = scene.spec.noise
    for camera in (estimate.noise.post, estimate.noise.pre):
        assert abs(camera.gain - gain) < 3 * camera.gain_error
        assert abs(camera.dark_noise - read_noise) < 3 * camera.dark_noise_error
        assert camera.gain_error < 0.2 * gain
    assert estimate.goodness > 0.95
    assert estimate.messages == ()
    assert estimate.verdict.level is Level.PASS


def test_the_significance_of_clean_background_is_a_unit_gaussian(measured):
    scene, estimate = measured
    planes = scene.difference(estimate.noise).read_planes(*WHOLE)
    good = scene.clean & (planes["DQ"] == 0)
    values = planes["SNR"][good]
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    assert 0.9 < planes["SNR"][good & scene.edges].std() < 1.2
    assert np.count_nonzero(np.abs(values) > 5) <= 2
    np.testing.assert_allclose(values, planes["data"][good] / planes["ERR"][good])


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 1.0, "pedestal": 20.0, "pre_pedestal": 20.0},
        {"bits": 16, "ratio": 1.8, "pedestal": 720.0, "pre_pedestal": 400.0},
        {"bits": 16, "ratio": 1.0, "pedestal": 400.0, "pre_pedestal": 400.0, "border": -1.0},
    ],
    ids=["8 bit, equal", "16 bit, proportional", "no dark surroundings"],
)
def test_pedestals_that_cancel_do_not_spoil_the_noise(changes):
    scene = scene_of(**changes)
    valid, full = scene.difference().quality.valid, float(scene.spec.full_scale)
    sample = sample_pairs(scene.post, scene.pre, valid, saturation_pre=full)
    scale = estimate_scales(sample, {})[""]
    assert scale.offset == 0
    cameras = (CameraNoise(0, 0, pedestal=p) for p in (sample.pedestal.post, sample.pedestal.pre))
    start = DifferenceNoise(*cameras, scale.half_width / 2, sample.pedestal.error, REGISTRATION_PX)
    estimate = estimate_noise(scene.difference(scale=scale.scale, offset=0.0), start)
    for camera in (estimate.noise.post, estimate.noise.pre):
        assert abs(camera.gain - scene.spec.noise[0]) < 3 * camera.gain_error
        assert camera.dark_noise > scene.spec.noise[1]
    planes = scene.difference(estimate.noise, scale=scale.scale, offset=0.0).read_planes(*WHOLE)
    good = scene.clean & (planes["DQ"] == 0)
    level = cv2.blur(scene.pre.read_all(), (5, 5))
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.95), (0.95, 1)):
        limits = np.quantile(level[good], [low, high])
        chosen = good & (level >= limits[0]) & (level <= limits[1])
        assert abs(planes["SNR"][chosen].std() - 1) < 0.05


def test_a_given_read_noise_tells_a_pedestal_that_cancels():
    scene = scene_of(ratio=1.0, pedestal=20.0, pre_pedestal=20.0)
    hidden = DifferenceNoise(CameraNoise(0, 0), CameraNoise(0, 0), registration_px=REGISTRATION_PX)
    known = GivenNoise(read_noise=scene.spec.noise[1])
    noise = estimate_noise(scene.difference(), hidden, (known, known)).noise
    for camera in (noise.post, noise.pre):
        assert camera.pedestal == pytest.approx(20, abs=1)
        assert camera.gain == pytest.approx(scene.spec.noise[0], rel=0.06)
        assert camera.dark_noise == pytest.approx(known.read_noise)


def test_the_interpolation_changes_noise_by_the_factor_it_states():
    noise = np.random.default_rng(3).normal(0, 1, (400, 400)).astype(np.float32)
    transform = Transform.from_matrix([[1.02, 0.03, 2.3], [-0.03, 1.02, 14.7], [1e-5, 2e-5, 1.0]])
    warped = WarpedRaster(ArrayRaster(noise), transform, (350, 350))
    values, valid = warped.read_with_validity(slice(0, 350), slice(0, 350))
    factor = warped.read_noise_factor(slice(0, 350), slice(0, 350))
    assert 0.57 < factor.min() < 0.6 < 0.99 < factor.max() <= 1
    for low, high in ((0.57, 0.65), (0.65, 0.75), (0.75, 0.85), (0.85, 1.0)):
        chosen = valid & (factor >= low) & (factor < high)
        ratio = np.square(values[chosen]).mean() / factor[chosen].mean()
        assert abs(ratio - 1) < 4 * np.sqrt(2 * 3 / chosen.sum())


@pytest.mark.parametrize(
    "window", [(slice(3, 40), slice(100, 333)), (slice(0, 1), slice(0, 480)), WHOLE]
)
def test_error_and_significance_do_not_depend_on_the_window(plain, window):
    noise = DifferenceNoise(
        CameraNoise(0.1, 0.7), CameraNoise(0.1, 0.7), 0.001, 0.1, registration_px=0.3
    )
    difference = plain.difference(noise)
    whole = difference.read_planes(*WHOLE)
    for name, plane in difference.read_planes(*window).items():
        np.testing.assert_array_equal(plane, whole[name][window], err_msg=name)
    for cols, planes in difference.read_tiles(*WHOLE, width=100):
        for name, plane in planes.items():
            np.testing.assert_array_equal(plane, whole[name][:, cols], err_msg=name)


def test_units_scale_difference_and_error_alike(plain):
    factor = 37.5
    results = []
    for k in (1.0, factor):
        post, pre = (
            ArrayRaster((image.read_all() * k).astype(np.float32))
            for image in (plain.post, plain.pre)
        )
        camera = CameraNoise(0.0, 0.0, rounding=0.0)
        start = DifferenceNoise(camera, camera, registration_px=REGISTRATION_PX)
        quality = QualitySources(
            valid=plain.difference().quality.valid, saturation_post=255 * k, saturation_pre=255 * k
        )
        options = {"scale": plain.scale, "quality": quality}
        bare = DifferenceRaster(post, pre, resampling=plain.warped.read_noise_factor, **options)
        noise = estimate_noise(bare, start).noise
        full = DifferenceRaster(
            post, pre, noise=noise, resampling=plain.warped.read_noise_factor, **options
        )
        results.append((noise, full.read_planes(*WHOLE)))
    (noise, planes), (scaled_noise, scaled) = results
    assert scaled_noise.post.gain == pytest.approx(factor * noise.post.gain, rel=1e-3)
    np.testing.assert_allclose(scaled["ERR"], factor * planes["ERR"], rtol=1e-3)
    np.testing.assert_allclose(scaled["SNR"], planes["SNR"], rtol=1e-3, atol=1e-3)


def test_no_data_is_zero_in_every_plane(plain):
    noise = DifferenceNoise(CameraNoise(0.1, 0.7), CameraNoise(0.1, 0.7))
    planes = plain.difference(noise).read_planes(*WHOLE)
    missing = (planes["DQ"] & 3) != 0
    assert 0 < missing.sum() < missing.size
    for name in ("data", "ERR", "SNR"):
        assert (planes[name][missing] == 0).all()
        assert np.isfinite(planes[name]).all()
    assert (planes["ERR"][~missing] > 0).all()


def test_nan_and_negative_pixels_do_no_harm():
    post = np.full((40, 40), 20.0, np.float32)
    pre = np.full((40, 40), 10.0, np.float32)
    post[5, 5], post[9, 9], pre[20, 20] = np.nan, -1000.0, np.inf
    noise = DifferenceNoise(CameraNoise(0.1, 0.7), CameraNoise(0.1, 0.7), registration_px=0.1)
    difference = DifferenceRaster(ArrayRaster(post), ArrayRaster(pre), scale=2.0, noise=noise)
    planes = difference.read_planes(slice(0, 40), slice(0, 40))
    for y, x in ((5, 5), (20, 20)):
        assert [planes[n][y, x] for n in ("data", "ERR", "SNR", "DQ")] == [0, 0, 0, 1]
    assert planes["data"][9, 9] == -1020
    rest = planes["ERR"][planes["DQ"] == 0]
    assert np.isfinite(rest).all()
    assert rest.max() == pytest.approx(np.sqrt(2.7 + 4 * 1.7), rel=0.01)


def test_every_part_of_the_error_is_counted():
    cols = np.arange(60, dtype=np.float32)
    background = np.tile(100 + 3 * cols, (60, 1)).astype(np.float32)
    camera = CameraNoise(0.2, 1.0, pedestal=10.0)
    noise = DifferenceNoise(camera, camera, 0.01, 0.5, registration_px=0.4, factor=2.0)
    error = noise.error(background, 2.0, 4.0, 0.6)[30, 30]
    post = 0.2 * 190 + 1.0
    pre = 4 * (0.2 * (190 - 4) / 2 + 1.0) * (0.6 - 2 * 0.4**2 / 6)
    parts = post + pre + (0.01 * (190 - 10)) ** 2 + 0.5**2 + (0.4 * 3) ** 2
    assert error == pytest.approx(2 * np.sqrt(parts), rel=1e-5)


def test_given_numbers_are_used_as_they_are(plain):
    known = GivenNoise(plain.spec.noise[0], plain.spec.noise[1])
    noise = estimate_noise(plain.difference(), plain.start, (known, known)).noise
    for camera in (noise.post, noise.pre):
        assert camera.gain == known.gain
        assert camera.dark_noise == pytest.approx(known.read_noise)
        assert camera.gain_error == 0
    assert noise.factor == pytest.approx(1, abs=0.02)
    half = estimate_noise(
        plain.difference(), plain.start, (GivenNoise(gain=0.1), GivenNoise(read_noise=0.8))
    ).noise
    assert (half.post.gain, half.pre.dark_noise) == (0.1, pytest.approx(0.8))
    assert half.pre.gain == pytest.approx(0.1, rel=0.1)


def test_given_numbers_that_do_not_fit_are_said_in_words(plain):
    known = GivenNoise(0.4, 3.0)
    estimate = estimate_noise(plain.difference(), plain.start, (known, known))
    assert estimate.noise.factor < 0.6
    for words in ("the errors were multiplied", "at some brightness"):
        assert any(words in message for message in estimate.messages)
        assert words in estimate.verdict.reason
    assert estimate.verdict.level is Level.CHECK
    values = plain.difference(estimate.noise).read_planes(*WHOLE)["SNR"]
    assert 0.68 < (np.abs(values[plain.clean]) < 1).mean() + 0.05 < 0.78


def test_noise_below_the_rounding_is_said_in_words():
    scene = scene_of(gain=0.001, read_noise=0.05)
    estimate = estimate_noise(scene.difference(), scene.start)
    assert any("rounding to whole counts" in message for message in estimate.messages)


def test_too_little_background_falls_back_in_words(plain):
    masked = QualitySources(
        valid=lambda rows, cols: np.asarray(
            (np.arange(rows.start, rows.stop)[:, None] < 40)
            & (np.arange(cols.start, cols.stop) < 60)
        )
    )
    difference = plain.difference(quality=masked)
    estimate = estimate_noise(difference, plain.start)
    assert "could not be measured" in estimate.messages[0]
    assert estimate.verdict.level is Level.CHECK
    assert np.isfinite(estimate.noise.post.floor)
    assert estimate.noise.post.floor >= ROUNDING_VARIANCE
    known = GivenNoise(0.1, 0.8)
    given = estimate_noise(difference, plain.start, (known, known))
    assert "could not be checked" in given.verdict.reason
    assert given.noise.post.gain == 0.1


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("size", [30, 60])
def test_the_scatter_of_an_image_smaller_than_a_window_is_that_of_its_pixels(size, flagged):
    rng = np.random.default_rng(1)
    post, pre = (rng.normal(1000, 50, (size, size)).astype(np.float32) for _ in range(2))
    quality = QualitySources(low_confidence=ArrayRaster(np.full(post.shape, flagged)))
    difference = DifferenceRaster(ArrayRaster(post), ArrayRaster(pre), scale=1.0, quality=quality)
    camera = CameraNoise(0.0, 0.0, rounding=0.0)
    estimate = estimate_noise(difference, DifferenceNoise(camera, camera))
    spread = float((post - pre).std())
    assert np.sqrt(estimate.noise.post.least) == pytest.approx(spread, rel=0.05)


def test_images_that_are_equal_but_for_a_spot_have_the_error_of_that_scatter():
    pre = np.random.default_rng(2).uniform(0, 1, (300, 300)).astype(np.float32)
    post = pre.copy()
    post[100:110, 100:110] += 0.2
    difference = DifferenceRaster(ArrayRaster(post), ArrayRaster(pre), scale=1.0)
    camera = CameraNoise(0.0, 0.0, rounding=0.0)
    estimate = estimate_noise(difference, DifferenceNoise(camera, camera))
    assert np.sqrt(estimate.noise.post.least) == pytest.approx((post - pre).std(), rel=0.01)
    assert estimate.verdict.level is Level.CHECK


def test_a_pair_without_shot_noise_gets_one_error_for_all():
    rng = np.random.default_rng(8)
    light = 200 + 60 * cv2.GaussianBlur(rng.normal(size=(300, 300)), (0, 0), 3) * 10
    post, pre = (np.rint(light + rng.normal(0, 3, light.shape)).clip(1, 5e4) for _ in range(2))
    difference = DifferenceRaster(
        ArrayRaster(post.astype(np.uint16)), ArrayRaster(pre.astype(np.float32)), scale=1.0
    )
    estimate = estimate_noise(difference, DifferenceNoise(CameraNoise(0, 0), CameraNoise(0, 0)))
    assert "no shot noise of post can be seen" in estimate.verdict.reason
    noise = estimate.noise
    planes = DifferenceRaster(difference.post, difference.pre, scale=1.0, noise=noise).read_planes(
        slice(0, 300), slice(0, 300)
    )
    assert np.median(planes["ERR"]) == pytest.approx(3 * np.sqrt(2), rel=0.03)
    assert planes["ERR"].max() < 1.3 * planes["ERR"].min()


def test_no_gain_is_negative_where_one_image_was_smoothed(plain):
    smooth = cv2.GaussianBlur(plain.post.read_all().astype(np.float32), (0, 0), 1.2)
    pre = cv2.GaussianBlur(plain.pre.read_all(), (0, 0), 0.6)
    difference = DifferenceRaster(ArrayRaster(smooth), ArrayRaster(pre), scale=plain.scale)
    estimate = estimate_noise(difference, plain.start)
    for camera in (estimate.noise.post, estimate.noise.pre):
        assert camera.gain >= 0
        assert camera.floor >= ROUNDING_VARIANCE - 1e-9 or camera.gain > 0
    planes = plain.difference(estimate.noise).read_planes(*WHOLE)
    assert np.isfinite(planes["SNR"]).all()
