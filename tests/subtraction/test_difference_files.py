"""The planes of a difference as users read them from the FITS file."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye
from exo2micro.subtraction.quality import NO_DATA

STEM = "04_difference_difference"


def fits_file(project, suffix=""):
    return project.folder / "fits" / f"{STEM}{suffix}.fits"


def record_of(project, suffix=""):
    return json.loads((project.folder / "records" / f"{STEM}{suffix}.json").read_text())


@pytest.fixture(scope="module")
def planes(finished):
    with fits.open(fits_file(finished), checksum=True) as hdus:
        hdus.verify("exception")
        return {hdu.name: (hdu.data, hdu.header) for hdu in hdus}


def test_the_file_holds_error_significance_and_quality(planes):
    names = ["PRIMARY", "ERR", "SNR", "DQ"]
    assert list(planes)[:4] == names
    assert len({planes[name][0].shape for name in names}) == 1
    kinds = [planes[name][0].dtype.newbyteorder("=") for name in names]
    assert kinds == [np.float32, np.float32, np.float32, np.uint8]


def test_pixels_without_data_are_zero_in_all_planes(planes):
    missing = (planes["DQ"][0] & int(NO_DATA)) != 0
    for name in ("PRIMARY", "ERR", "SNR"):
        data = planes[name][0]
        assert np.isfinite(data).all()
        assert (data[missing] == 0).all()
    assert (planes["ERR"][0][~missing] > 0).all()


def test_significance_is_difference_over_error_up_to_the_stated_rounding(planes):
    (data, _), (error, error_header) = planes["PRIMARY"], planes["ERR"]
    ratio, ratio_header = planes["SNR"]
    known = error > 0
    rounding = error_header["ROUNDING"]
    expected = data[known] / error[known]
    allowed = ratio_header["SNRSTEP"] / 2 + 1.1 * rounding * np.abs(expected)
    assert (np.abs(ratio[known] - expected) <= allowed).mean() > 0.999


def test_the_header_tells_the_noise_model(planes, finished):
    header = planes["PRIMARY"][1]
    gain, read_noise = finished.spec.noise
    for role in ("POST", "PRE"):
        assert header[f"GAIN{role}"] == pytest.approx(gain, rel=0.1)
        assert header[f"RDN{role}"] == pytest.approx(read_noise, rel=0.2)
    assert header["SNRFACT"] == pytest.approx(1, abs=0.05)
    assert 0 < header["REGERR"] < 0.1
    noise = record_of(finished)["metrics"]["noise"]
    assert noise["post"]["gain"] == header["GAINPOST"]
    assert noise["pixels"] > 50_000
    assert noise["messages"] == []


def test_astropy_reads_every_plane_as_ccddata(finished):
    path = fits_file(finished)
    image = CCDData.read(path, hdu_uncertainty="ERR", hdu_mask="DQ")
    assert image.unit == u.count
    assert isinstance(image.uncertainty, StdDevUncertainty)
    assert image.mask.dtype == bool
    assert 0.1 < image.mask.mean() < 1
    units = [CCDData.read(path, hdu=name).unit for name in ("ERR", "SNR", "DQ")]
    assert units == [u.count, u.dimensionless_unscaled, u.dimensionless_unscaled]


def test_the_significance_of_the_whole_run_is_calibrated(planes, finished):
    import cv2

    truth = finished.truth.truth
    pad = 2000
    ny, nx = finished.spec.shape
    window = (slice(pad, pad + ny), slice(pad, pad + nx))
    ratio, quality = planes["SNR"][0][window], planes["DQ"][0][window]
    taken = (truth.microbe_mask() | ~truth.overlap_mask()).astype(np.uint8)
    clean = (cv2.dilate(taken, np.ones((13, 13), np.uint8)) == 0) & (quality == 0)
    assert clean.sum() > 50_000
    assert abs(ratio[clean].mean()) < 0.05
    assert abs(ratio[clean].std() - 1) < 0.05


def test_error_and_significance_can_be_left_out(done):
    run = SampleDye(SAMPLE, DYE, **done.dirs())
    run.set_params(planes="dq")
    run._run_stage_4_diagnostics()
    with fits.open(fits_file(done, "_pldq")) as hdus, fits.open(fits_file(done)) as both:
        assert {"ERR", "SNR"}.isdisjoint(hdu.name for hdu in hdus)
        np.testing.assert_array_equal(hdus[0].data, both[0].data)
        np.testing.assert_array_equal(hdus["DQ"].data, both["DQ"].data)
        assert "SNRFACT" not in hdus[0].header
    assert "noise" not in record_of(done, "_pldq")["metrics"]


def test_a_given_gain_is_used_and_a_wrong_one_is_said_in_words(done):
    run = SampleDye(SAMPLE, DYE, **done.dirs())
    run.set_params(gain_post=0.5, gain_pre=0.5, read_noise_post=3, read_noise_pre=3)
    run._run_stage_4_diagnostics()
    suffix = "_gpo0.5_gpr0.5_rpo3_rpr3"
    with fits.open(fits_file(done, suffix)) as hdus:
        assert hdus[0].header["GAINPOST"] == 0.5
        assert hdus[0].header["RDNPRE"] == pytest.approx(3)
        assert hdus[0].header["SNRFACT"] < 0.7
        assert any("were multiplied by" in line for line in hdus[0].header["HISTORY"])
    record = record_of(done, suffix)
    assert any("were multiplied" in text for text in record["messages"])
    assert record["verdict"]["level"] == "CHECK"
