"""The noise of a difference whose sharpness was matched, or whose scale varies; exact truth."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_noise import WHOLE, scene_of

from exo2micro.stages.comparable import make_comparable
from exo2micro.stages.difference import _estimate_noise
from exo2micro.subtraction.difference import QualitySources
from exo2micro.subtraction.scale import estimate_scales

CERTIFICATE = {"median_px": 0.024, "p95_px": 0.049}


def measured(scene, **changes):
    """Return pair, noise estimate and planes as stage 4 makes them."""
    params = dict.fromkeys(("gain_post", "gain_pre", "read_noise_post", "read_noise_pre"))
    params |= {"psf_match": "auto", "scale_field": "off", **changes}
    full = float(scene.spec.full_scale)
    quality = QualitySources(
        valid=scene.difference().quality.valid, saturation_post=full, saturation_pre=full
    )
    inputs = SimpleNamespace(
        params=params,
        threads=1,
        rasters={(1, "post"): scene.post, (3, "pre"): scene.pre},
        facts={"saturation": {"post": full, "pre": full}},
        upstream=lambda _: SimpleNamespace(metrics={"certificate": CERTIFICATE}),
    )
    pair = make_comparable(scene.post, scene.pre, quality, params, threads=1)
    estimate = estimate_scales(pair.sample, params)[""]
    valid = SimpleNamespace(noise_factor=scene.warped.read_noise_factor)
    found = _estimate_noise(pair, estimate, valid, inputs)
    return pair, found, pair.subtract(estimate, valid.noise_factor, found.noise).read_planes(*WHOLE)


def assert_calibrated(scene, planes):
    good = scene.clean & (planes["DQ"] == 0)
    values = planes["SNR"][good].astype(np.float64)
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    assert 0.9 < planes["SNR"][good & scene.edges].std() < 1.2


@pytest.mark.parametrize(("bits", "seed"), [(8, 11), (16, 12)])
@pytest.mark.parametrize(("psf_px", "post_psf_px", "role"), [(1.2, 1.8, "pre"), (1.8, 1.2, "post")])
def test_matching_the_sharpness_leaves_the_cameras_noise_and_calibration(
    psf_px, post_psf_px, role, bits, seed
):
    scene = scene_of(psf_px=psf_px, post_psf_px=post_psf_px, bits=bits, seed=seed)
    pair, found, planes = measured(scene)
    assert pair.match.role == role
    gain, read_noise = scene.spec.noise
    for camera in (found.noise.post, found.noise.pre):
        assert abs(camera.gain - gain) < 3 * camera.gain_error < 0.3 * gain
        assert abs(camera.dark_noise - read_noise) < 3 * camera.dark_noise_error
    assert abs(found.noise.factor - 1) < 0.1
    assert_calibrated(scene, planes)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_scale_that_follows_the_ratio_leaves_unit_significance(bits):
    scene = scene_of(ratio_gradient=0.2, bits=bits)
    pair, found, planes = measured(scene, scale_field="auto")
    assert pair.correction is not None
    gain, _ = scene.spec.noise
    for camera in (found.noise.post, found.noise.pre):
        assert abs(camera.gain - gain) < 3 * camera.gain_error
    assert_calibrated(scene, planes)
