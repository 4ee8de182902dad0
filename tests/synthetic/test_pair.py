import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from exo2micro.errors import ParameterError
from exo2micro.synthetic import PairSpec, make_pair, unrelated_pair
from exo2micro.synthetic.camera import QUANTISATION_VARIANCE
from exo2micro.synthetic.scene import CACHED_TILES

QUIET = {"gain": 0.0, "read_noise": 0.0, "coverage": 0.0}
EVERYTHING = PairSpec(
    shape=(610, 730),
    pre_shape=(580, 700),
    seed=21,
    rotation_deg=11,
    magnification=1.05,
    shift_px=(14.3, -8.8),
    shear=0.01,
    perspective=(0.02, 0.01),
    deformation_px=6,
    ratio_gradient=0.2,
    bleaching=0.3,
    vignetting=0.2,
    pedestal=5,
    saturated_debris=3,
    lost_piece=0.1,
    pieces=2,
    coverage=0.03,
    post_psf_px=1.5,
)


def centre_points(shape, step=1):
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step].astype(float)
    return np.c_[x.ravel(), y.ravel()]


@pytest.mark.parametrize("name", ["post", "pre"])
def test_windows_equal_the_whole_image(name):
    whole = getattr(make_pair(EVERYTHING), name).read_all()
    other = getattr(make_pair(EVERYTHING), name)
    for rows, cols in (
        (slice(250, 262), slice(0, 700)),
        (slice(500, 580), slice(400, 401)),
        (slice(3, 300), slice(255, 513)),
    ):
        np.testing.assert_array_equal(other.read(rows, cols), whole[rows, cols])


def test_truth_planes_equal_their_windows():
    truth = make_pair(EVERYTHING).truth
    rows, cols = slice(200, 300), slice(240, 520)
    for plane in (
        truth.background,
        truth.microbe_mask,
        truth.debris_mask,
        truth.sample_mask,
        truth.overlap_mask,
        truth.saturated,
    ):
        np.testing.assert_array_equal(plane(rows, cols), plane()[rows, cols])


def test_pixels_do_not_depend_on_what_was_read_before():
    pair = make_pair(EVERYTHING)
    assert CACHED_TILES > 9
    early = pair.post.read(slice(300, 320), slice(300, 320)).copy()
    pair.pre.read_all()
    pair.post.read_all()
    again = make_pair(EVERYTHING).post.read(slice(300, 320), slice(300, 320))
    np.testing.assert_array_equal(early, again)


def test_identity_without_noise_gives_identical_images():
    pair = make_pair(PairSpec(shape=(500, 600), seed=3, ratio=1.0, **QUIET))
    np.testing.assert_array_equal(pair.post.read_all(), pair.pre.read_all())
    np.testing.assert_array_equal(pair.post.noise_free(), pair.pre.noise_free())


def test_whole_pixel_shift_moves_pixels():
    pair = make_pair(PairSpec(shape=(400, 500), seed=3, ratio=1.0, shift_px=(7.0, -4.0), **QUIET))
    post, pre = pair.post.noise_free(), pair.pre.noise_free()
    np.testing.assert_allclose(post[0:396, 7:500], pre[4:400, 0:493], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("deformation", [0.0, 8.0])
def test_post_background_is_ratio_times_scene_at_the_mapped_point(deformation):
    spec = PairSpec(
        shape=(400, 450),
        seed=5,
        rotation_deg=20,
        magnification=0.95,
        shift_px=(3.3, 9.1),
        perspective=(0.03, 0.0),
        deformation_px=deformation,
        ratio=2.2,
        pedestal=7.0,
        ratio_gradient=0.2,
        **QUIET,
    )
    pair = make_pair(spec)
    points = centre_points(spec.shape)
    expected = pair.truth.ratio(points) * pair.truth.pre_brightness(pair.truth.mapping(points))
    got = pair.post.noise_free().ravel() - 7.0
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-4)


def test_scene_between_pixels_is_the_cubic_spline_through_the_pre_image():
    pair = make_pair(PairSpec(shape=(300, 300), seed=8, border=-0.5, **QUIET))
    image = pair.pre.noise_free().astype(np.float64)
    points = np.random.default_rng(2).uniform(60, 240, (3000, 2))
    spline = ndimage.map_coordinates(image, points[:, ::-1].T, order=3)
    np.testing.assert_allclose(pair.truth.pre_brightness(points), spline, rtol=1e-4)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
def test_median_ratio_over_the_overlap_is_the_scale(ratio):
    spec = PairSpec(
        shape=(500, 600), seed=6, ratio=ratio, pedestal=12.0, rotation_deg=4, bits=16, **QUIET
    )
    pair = make_pair(spec)
    overlap = pair.truth.overlap_mask()
    scene = pair.truth.pre_brightness(pair.truth.mapping(centre_points(spec.shape)))
    local = (pair.post.noise_free() - 12.0) / scene.reshape(spec.shape)
    assert pair.truth.scale == ratio
    assert float(np.median(local[overlap])) == pytest.approx(ratio, rel=1e-5)


def test_scale_of_a_varying_ratio_is_the_median_over_overlap_pixels():
    truth = make_pair(EVERYTHING).truth
    ratio = truth.ratio(centre_points(EVERYTHING.shape)).reshape(EVERYTHING.shape)
    median = np.median(ratio[truth.overlap_mask()])
    assert truth.scale == pytest.approx(median, rel=1e-9)
    assert np.ptp(ratio[truth.overlap_mask()]) > 0.2 * truth.scale


def test_vignetted_ratio_matches_the_two_images():
    spec = PairSpec(shape=(300, 350), seed=6, vignetting=0.4, shift_px=(30.0, 10.0), **QUIET)
    pair = make_pair(spec)
    post, pre = pair.post.noise_free(), pair.pre.noise_free()
    local = post[10:, 30:] / pre[:-10, :-30]
    points = centre_points(spec.shape)
    expected = pair.truth.ratio(points).reshape(spec.shape)[10:, 30:]
    np.testing.assert_allclose(local, expected, rtol=1e-4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", ["post", "pre"])
def test_noise_has_the_stated_variance(bits, name):
    # A pedestal keeps the noise clear of zero, where it would be clipped.
    spec = PairSpec(
        shape=(512, 512), seed=9, bits=bits, coverage=0, pedestal=20.0, pre_pedestal=20.0, ratio=1.2
    )
    raster = getattr(make_pair(spec), name)
    expected, variance = raster.noise_free(), raster.variance() + QUANTISATION_VARIANCE
    free = expected < 0.9 * spec.full_scale
    z = ((raster.read_all() - expected) / np.sqrt(variance))[free].astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)
    gain, read_noise = spec.noise
    light = expected - 20.0
    np.testing.assert_allclose(raster.variance(), gain * light + read_noise**2, rtol=1e-4)


def test_noise_of_pre_and_post_and_of_tiles_is_independent():
    spec = PairSpec(shape=(512, 512), seed=9, ratio=1.0, coverage=0, bits=16)
    pair = make_pair(spec)
    noise = [(r.read_all() - r.noise_free()) / np.sqrt(r.variance()) for r in (pair.post, pair.pre)]
    tiles = [noise[0][:256, :256], noise[0][256:, :256], noise[0][:256, 256:], noise[1][:256, :256]]
    correlation = np.corrcoef([t.ravel() for t in tiles])
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5 / 256


def test_variant_keeps_the_rock_and_changes_microbes_and_noise():
    spec = PairSpec(shape=(300, 320), seed=2)
    first, second = make_pair(spec), make_pair(replace(spec, variant=1))
    np.testing.assert_array_equal(first.pre.noise_free(), second.pre.noise_free())
    assert (first.pre.read_all() != second.pre.read_all()).mean() > 0.3
    assert not np.array_equal(first.truth.microbes, second.truth.microbes)


def test_unrelated_images_share_nothing():
    spec = PairSpec(shape=(400, 400), seed=2, border=-1.0, ratio=1.0, **QUIET)
    post, pre = unrelated_pair(spec)
    own = make_pair(spec).post
    assert np.corrcoef(own.read_all().ravel(), pre.read_all().ravel())[0, 1] > 0.999
    assert abs(np.corrcoef(post.read_all().ravel(), pre.read_all().ravel())[0, 1]) < 0.3


def test_border_keeps_the_margin_dark():
    for border, touches in ((0.15, False), (0.0, True)):
        pair = make_pair(PairSpec(shape=(400, 500), seed=4, border=border, **QUIET))
        rock = pair.truth.sample_mask()
        rows, cols = np.flatnonzero(rock.any(axis=1)), np.flatnonzero(rock.any(axis=0))
        margins = (rows[0], 399 - rows[-1], cols[0], 499 - cols[-1])
        assert max(margins) <= border * 400 + 12
        assert (min(margins) < 12) == touches
    filled = make_pair(PairSpec(shape=(400, 500), seed=4, border=-0.5, **QUIET))
    assert filled.truth.sample_mask().all()


def test_lost_piece_and_blank_half_and_gap():
    base = PairSpec(shape=(400, 500), seed=4, **QUIET)
    whole = make_pair(base).truth.sample_mask()
    lost = make_pair(replace(base, lost_piece=0.2)).truth.sample_mask()
    assert not (lost & ~whole).any()
    assert 0.03 < 1 - lost.sum() / whole.sum() < 0.35
    _, count = ndimage.label(make_pair(replace(base, pieces=2)).truth.sample_mask())
    assert count == 2
    blank = make_pair(replace(base, blank_half=True)).pre.noise_free()
    left, right = blank[150:250, 100:200], blank[150:250, 300:400]
    assert np.ptp(left) < 1e-3 * left.mean()
    assert right.std() > 0.1 * right.mean()


def test_texture_kinds_differ_in_contrast_and_detail():
    def detail(texture):
        spec = PairSpec(shape=(400, 400), seed=4, border=-1, texture=texture, **QUIET)
        image = make_pair(spec).pre.noise_free()
        fine = image - ndimage.gaussian_filter(image, 3)
        return image.std() / image.mean(), fine.std() / image.mean()

    normal, low, smooth = detail("normal"), detail("low"), detail("smooth")
    assert low[0] < 0.2 * normal[0]
    assert low[1] < 0.2 * normal[1]
    assert smooth[1] < 0.7 * normal[1]
    image = make_pair(
        PairSpec(shape=(600, 600), seed=4, border=-1, texture="repeated", **QUIET)
    ).pre.noise_free()
    np.testing.assert_allclose(image[:300, :300], image[256:556, 256:556], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bits", 12),
        ("ratio", 0.0),
        ("ratio", math.nan),
        ("texture", "rough"),
        ("pieces", 3),
        ("coverage", -0.1),
        ("psf_px", 0.3),
        ("shape", (0, 100)),
        ("perspective", (0.9, 0.0)),
        ("channel", "alpha"),
    ],
)
def test_bad_values_are_named(name, value):
    with pytest.raises(ParameterError, match=rf"PairSpec\.{name} must be .*got"):
        PairSpec(**{name: value})
