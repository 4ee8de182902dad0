"""Detection on images with exact truth: counts, fluxes, false objects, windows, missing pixels."""

import numpy as np
import pytest
from scipy import ndimage

from exo2micro.detection import Difference, Flag, detect
from exo2micro.detection.detect import false_rate
from exo2micro.errors import DetectionError, ParameterError
from exo2micro.raster.base import ArrayRaster

SIGMA, NOISE = 1.5, 3.0


def noise_image(shape, seed=0):
    return np.random.default_rng(seed).normal(0, NOISE, shape).astype(np.float32)


def as_difference(data, *, noise=NOISE, quality=None, **facts):
    plane = None if noise is None else ArrayRaster(np.full(data.shape, noise, np.float32))
    flags = None if quality is None else ArrayRaster(quality)
    return Difference(ArrayRaster(data), plane, flags, **facts)


def add_blob(image, x, y, flux, major=SIGMA, minor=SIGMA, angle=0.0):
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    along = (xx - x) * np.cos(angle) + (yy - y) * np.sin(angle)
    across = (yy - y) * np.cos(angle) - (xx - x) * np.sin(angle)
    light = np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))
    image += (flux * light / (2 * np.pi * major * minor)).astype(np.float32)


def grid_of_blobs(flux, side=400, step=40, seed=0):
    image = noise_image((side, side), seed)
    rng = np.random.default_rng(seed)
    places = [
        (x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5))
        for x in range(step // 2, side, step)
        for y in range(step // 2, side, step)
    ]
    for x, y in places:
        near = image[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13]
        add_blob(near, x - int(x) + 12, y - int(y) + 12, flux)
    return image, np.array(places)


def crowded_image(shape, seed, count):
    rng = np.random.default_rng(seed)
    points = np.zeros(shape, np.float32)
    rows, cols = rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)
    np.add.at(points, (rows, cols), rng.uniform(200, 3000, count).astype(np.float32))
    return ndimage.gaussian_filter(points, SIGMA) + noise_image(shape, seed)


def test_every_bright_object_is_found_once_where_it_is():
    image, places = grid_of_blobs(flux=1000)
    found = detect(as_difference(image))
    assert len(found) == len(places)
    centres = np.stack([found.columns["x"], found.columns["y"]], axis=1)
    distance = np.linalg.norm(centres[:, None] - places[None], axis=2)
    assert sorted(distance.argmin(axis=1)) == list(range(len(places)))
    assert np.median(distance.min(axis=1)) < 0.1
    assert np.all(found.columns["flags"] == 0)


def test_fluxes_are_unbiased_and_their_errors_true():
    pulls, ratios = [], []
    for seed in range(4):
        image, _ = grid_of_blobs(flux=1000, seed=seed)
        found = detect(as_difference(image)).columns
        pulls.append((found["flux"] - 1000) / found["flux_err"])
        ratios.append(found["flux"] / 1000)
    pull = np.concatenate(pulls)
    assert abs(np.mean(np.concatenate(ratios)) - 1) < 0.02
    assert 0.85 < np.std(pull) < 1.15


def test_the_shape_is_that_of_the_light():
    image = noise_image((120, 120))
    add_blob(image, 60.3, 59.8, 20000, major=3.0, minor=1.5, angle=np.deg2rad(30))
    found = detect(as_difference(image)).columns
    assert len(found["x"]) == 1
    assert found["semi_major_px"][0] == pytest.approx(3.0, rel=0.06)
    assert found["semi_minor_px"][0] == pytest.approx(1.5, rel=0.06)
    assert found["theta_deg"][0] == pytest.approx(30, abs=5)
    assert found["ellipticity"][0] == pytest.approx(0.5, abs=0.08)


def test_noise_alone_gives_no_more_false_objects_than_expected():
    difference = as_difference(noise_image((1400, 1400)))
    found = detect(difference, threshold=3.5)
    expected = found.facts.expected_false
    roughness = 2 * (1 - np.exp(-1 / (4 * SIGMA**2)))
    assert expected == pytest.approx(1.96e6 * false_rate(3.5, roughness), rel=0.08)
    for count in (len(found), found.facts.negatives):
        assert abs(count - expected) < 3 * np.sqrt(expected)


@pytest.mark.parametrize(("width", "threshold"), [(0.6, 3), (1.0, 3.5), (1.5, 4)])
def test_the_false_rate_is_that_of_peaks_on_a_grid(width, threshold):
    count, pixels = 0, 0
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(0, 1, (1200, 1200))
        smooth = ndimage.gaussian_filter(noise, width)[12:-12, 12:-12]
        smooth /= smooth.std()
        high = ndimage.maximum_filter(smooth, 3) == smooth
        count += np.count_nonzero(high & (smooth >= threshold))
        pixels += smooth.size
    step = 2 * (1 - np.exp(-1 / (4 * width**2)))
    expected = pixels * false_rate(threshold, step)
    assert count == pytest.approx(expected, abs=0.06 * expected + 3 * np.sqrt(expected))


def test_noise_that_is_correlated_is_calibrated():
    smooth = ndimage.gaussian_filter(noise_image((1000, 1000)), 0.7)
    found = detect(as_difference(smooth, noise=float(smooth.std())), threshold=4)
    assert found.facts.noise_factor > 1.5
    assert len(found) <= found.facts.expected_false + 3 * np.sqrt(found.facts.expected_false)


def test_unknown_noise_is_estimated_and_the_result_says_so():
    image, places = grid_of_blobs(flux=1000)
    found = detect(as_difference(image, noise=None))
    assert len(found) == len(places)
    assert "estimated" in found.facts.noise_source
    assert any("estimated" in text for text in found.warnings())


def test_a_smooth_residue_of_the_background_is_no_object():
    image = noise_image((600, 600))
    image += np.linspace(-4, 8, 600, dtype=np.float32)
    assert len(detect(as_difference(image))) == 0


@pytest.mark.parametrize("width", [1.2, 2.0, 2.5])
def test_wide_objects_stay_whole_and_keep_their_light(width):
    image = noise_image((400, 400), 3)
    rng = np.random.default_rng(3)
    for x in range(20, 400, 40):
        for y in range(20, 400, 40):
            near = image[y - 14 : y + 15, x - 14 : x + 15]
            add_blob(near, 14 + rng.uniform(-0.5, 0.5), 14, 5000, width, width)
    found = detect(as_difference(image)).columns
    assert len(found["x"]) == 100
    ratios = found["flux"] / 5000
    assert np.mean(ratios) == pytest.approx(1, abs=0.004)
    assert 0.8 < np.std((found["flux"] - 5000) / found["flux_err"]) < 1.45


@pytest.mark.parametrize(("mean", "gain"), [(60.0, 0.2), (40.0, 2.0)])
def test_a_prediction_that_holds_the_noise_itself_is_seen_through(mean, gain):
    """Noise of pre lowers the difference and raises the error that is predicted from it."""
    rng = np.random.default_rng(4)
    shape = (1400, 1400)
    post, pre = (rng.normal(mean, np.sqrt(gain * mean), shape) for _ in range(2))
    local = ndimage.uniform_filter(pre, 3, mode="nearest")
    error = np.sqrt(2 * gain * local).astype(np.float32)
    difference = Difference(ArrayRaster((post - pre).astype(np.float32)), ArrayRaster(error))
    found = detect(difference, threshold=3.5)
    expected = found.facts.expected_false
    assert expected > 100
    for count in (len(found), found.facts.negatives):
        assert abs(count - expected) < 3 * np.sqrt(expected)


@pytest.mark.parametrize("window_px", [64, 97, 300])
@pytest.mark.parametrize("threads", [1, 3])
def test_windows_and_threads_change_nothing(window_px, threads, tmp_path):
    image = crowded_image((300, 340), 3, 900)
    difference = as_difference(image)
    options = {"background": ArrayRaster(image), "scratch": tmp_path}
    whole = detect(difference, window_px=1024, **options)
    parts = detect(difference, window_px=window_px, threads=threads, **options)
    assert parts.facts == whole.facts
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(parts.columns[name], values, err_msg=name)
    np.testing.assert_array_equal(parts.labels.read_all(), whole.labels.read_all())


def test_an_object_longer_than_a_window_is_one_object():
    image = noise_image((300, 500))
    rod = np.zeros_like(image)
    rod[150, 100:401] = 1500
    image += ndimage.gaussian_filter(rod, SIGMA)
    found = detect(as_difference(image), window_px=64)
    assert len(found) == 1
    assert found.columns["x"][0] == pytest.approx(250, abs=1)
    assert found.columns["flux"][0] == pytest.approx(301 * 1500, rel=0.01)
    assert found.facts.cut == 0


def test_a_structure_without_end_is_cut_and_reported():
    image = noise_image((64, 2000))
    image[30:33] += 100
    cut = [detect(as_difference(image), window_px=size) for size in (64, 500)]
    assert cut[0].facts.cut == cut[1].facts.cut > 0
    assert any("cut" in text for text in cut[0].warnings())
    np.testing.assert_array_equal(cut[0].columns["flux"], cut[1].columns["flux"])


def test_close_objects_are_parted_and_flagged():
    image = noise_image((100, 100))
    add_blob(image, 47, 50, 3000)
    add_blob(image, 53, 50, 3000)
    found = detect(as_difference(image)).columns
    assert len(found["x"]) == 2
    assert np.all(found["flags"] & Flag.BLENDED)


def test_labels_are_the_rows_of_the_table(tmp_path):
    image, places = grid_of_blobs(flux=1000)
    found = detect(as_difference(image), scratch=tmp_path)
    labels = found.labels.read_all()
    assert set(np.unique(labels)) == set(range(len(places) + 1))
    x, y = (np.rint(found.columns[axis]).astype(int) for axis in "xy")
    np.testing.assert_array_equal(labels[y, x], np.arange(1, len(found) + 1))
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], found.columns["area_px"])


def test_quality_flags_reach_the_objects_and_the_count():
    image, _ = grid_of_blobs(flux=1000)
    quality = np.zeros(image.shape, np.uint8)
    quality[:, :60] = Flag.LOW_CONFIDENCE
    quality[:60, 60:] = Flag.SATURATED
    found = detect(as_difference(image, quality=quality))
    flags = found.columns["flags"]
    assert np.all(flags[found.columns["x"] < 50] & Flag.LOW_CONFIDENCE)
    assert found.count == np.sum((flags & Flag.LOW_CONFIDENCE) == 0)
    assert 80 <= found.count <= 90
    assert np.any(flags & Flag.SATURATED)


@pytest.mark.parametrize("bit", [Flag.LOW_CONFIDENCE, Flag.DEBRIS])
def test_where_objects_do_not_count_the_area_does_not_either(bit):
    image, places = grid_of_blobs(flux=1000)
    quality = np.zeros(image.shape, np.uint8)
    quality[:, :200] = bit
    found = detect(as_difference(image, quality=quality, pixel_size_um=(0.5, 0.5)))
    assert (found.facts.pixels, found.facts.masked) == (400 * 200, 400 * 200)
    whole = len(places) / (400 * 400 * 0.25e-6)
    assert found.density()[0] == pytest.approx(whole, rel=0.01)
    assert any(text.startswith("on 50 % of the area") for text in found.warnings())
    quality[:] = bit
    nothing = detect(as_difference(image, quality=quality))
    assert len(nothing) > 0
    assert nothing.count == 0
    assert np.isnan(nothing.density()[:3]).all()
    assert nothing.summary()["density"] is None
    assert any(text.startswith("on 100 % of the area") for text in nothing.warnings())


def test_a_sample_that_is_nowhere_is_an_error():
    nowhere = ArrayRaster(np.zeros((200, 200), np.bool_))
    with pytest.raises(DetectionError, match="outline of the sample"):
        detect(as_difference(noise_image((200, 200))), region=nowhere)


def test_a_difference_that_was_cut_off_at_zero_is_refused():
    image = np.rint(grid_of_blobs(flux=1000)[0])
    assert len(detect(as_difference(image, noise=None, zero_is_data=True))) == 100
    image = image.clip(0)
    with pytest.raises(DetectionError, match="lowest value, 0: what is below was cut off"):
        detect(as_difference(image, noise=None, zero_is_data=True))


@pytest.mark.parametrize(("factor", "says"), [(1, False), (3, True), (1 / 3, True)])
def test_noise_that_is_not_what_it_seems_is_said(factor, says):
    image, _ = grid_of_blobs(flux=1000)
    found = detect(as_difference(image, noise=NOISE * factor))
    assert found.facts.noise_factor == pytest.approx(1 / factor, rel=0.05)
    assert any("times as much as its noise explains" in t for t in found.warnings()) == says


@pytest.mark.parametrize("factor", [1e-25, 1e20])
def test_values_beyond_single_precision_are_refused(factor):
    image = noise_image((200, 200)) * np.float32(factor)
    with pytest.raises(DetectionError, match="multiply the image"):
        detect(as_difference(image, noise=None))


def test_pixels_without_data_are_not_searched_and_mark_the_edge():
    image = noise_image((200, 200))
    add_blob(image, 100, 60, 3000)
    add_blob(image, 100, 140, 3000)
    quality = np.zeros(image.shape, np.uint8)
    quality[62:100] = 1
    image[62:100] = 1e6
    found = detect(as_difference(image, quality=quality))
    assert found.facts.pixels == 200 * 162
    assert len(found) == 2
    np.testing.assert_array_equal((found.columns["flags"] & Flag.EDGE) > 0, [True, False])


def test_overlap_with_bright_background():
    image, _ = grid_of_blobs(flux=1000)
    background = np.ones(image.shape, np.float32)
    background[:21, :] = 50
    found = detect(as_difference(image), background=ArrayRaster(background)).columns
    on_bright = found["bright_overlap"][found["y"] < 25]
    assert np.all((on_bright > 0.3) & (on_bright < 0.8))
    assert np.all(found["bright_overlap"][found["y"] > 40] == 0)
    unknown = detect(as_difference(image)).columns["bright_overlap"]
    assert np.all(np.isnan(unknown))


def test_density_with_and_without_pixel_size():
    image, places = grid_of_blobs(flux=1000)
    known = detect(as_difference(image, pixel_size_um=(0.5, 0.5)))
    value, low, high, unit = known.density()
    assert unit == "mm-2"
    assert value == pytest.approx(len(places) / (400 * 400 * 0.25e-6))
    assert low < value < high
    unknown = detect(as_difference(image))
    assert unknown.density()[3] == "Mpx-1"
    assert any("pixel size is unknown" in text for text in unknown.warnings())


def test_nothing_found_gives_an_upper_limit():
    found = detect(as_difference(noise_image((300, 300))), threshold=6)
    value, low, high, _ = found.density()
    assert (len(found), value, low) == (0, 0, 0)
    assert high == pytest.approx(3.689 / 0.09, rel=1e-3)
    assert len(found.table()) == 0


@pytest.mark.parametrize(
    "image", [np.zeros((200, 200), np.float32), np.full((200, 200), np.nan, np.float32)]
)
def test_an_empty_difference_is_an_error(image):
    with pytest.raises(DetectionError, match="empty"):
        detect(as_difference(image, noise=None))


@pytest.mark.parametrize(
    "setting", [{"threshold": 1}, {"threshold": float("nan")}, {"width_px": 0}, {"window_px": 3}]
)
def test_settings_out_of_range(setting):
    with pytest.raises(ParameterError, match=next(iter(setting))):
        detect(as_difference(noise_image((64, 64))), **setting)


def test_false_objects_per_area_come_with_an_interval():
    image, _ = grid_of_blobs(flux=-1000)
    value, low, high, unit = detect(as_difference(image, pixel_size_um=(0.5, 0.5))).false_density()
    assert unit == "mm-2"
    assert value == pytest.approx(100 / 0.04)
    assert (low, high) == pytest.approx((81.36 / 0.04, 121.63 / 0.04), rel=1e-3)


def test_saturated_pits_are_no_sign_of_noise():
    image, _ = grid_of_blobs(flux=-1000)
    assert detect(as_difference(image)).facts.negatives == 100
    quality = np.zeros(image.shape, np.uint8)
    quality[:, :200] = Flag.SATURATED
    assert 45 <= detect(as_difference(image, quality=quality)).facts.negatives <= 50


def test_saturated_objects_are_told():
    image, _ = grid_of_blobs(flux=1000)
    quality = np.full(image.shape, Flag.SATURATED, np.uint8)
    assert any(
        "100 objects hold saturated" in t
        for t in detect(as_difference(image, quality=quality)).warnings()
    )
