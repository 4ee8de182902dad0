"""``detect`` and ``limit`` as a shell calls them."""

import numpy as np
from astropy.io import fits

SAMPLE, DYE = "CD070", "SybrGld_microbe"


def dirs(project):
    return ("--raw-dir", project.raw, "--output-dir", project.processed)


def test_detect_one_pair(call, done):
    result = call("detect", SAMPLE, DYE, *dirs(done))
    assert result.code == 0
    assert f"{SAMPLE} / {DYE}: " in result.out
    assert "per million pixels" in result.out
    assert "pixel size is unknown" in result.out
    assert str(done.folder / "detections.ecsv") in result.out


def test_detect_as_json(call, done):
    document = call("detect", SAMPLE, DYE, *dirs(done), "--threshold", "6", "--json").document
    assert document["threshold"] == 6
    assert document["objects"] >= document["counted"] > 10
    assert document["table"].endswith("detections.ecsv")


def test_detect_every_finished_pair(call, done):
    result = call("detect", *dirs(done), "--sample", SAMPLE, "--json")
    assert result.code == 0
    assert result.document["objects"] > 10


def test_detect_files_of_others_and_go_on_after_a_bad_one(call, tmp_path):
    data = np.random.default_rng(0).normal(0, 2, (200, 200)).astype(np.float32)
    data[50:54, 50:54] += 30
    fits.writeto(tmp_path / "good.fits", data)
    (tmp_path / "bad.fits").write_bytes(b"nothing")
    result = call("detect", tmp_path / "bad.fits", tmp_path / "good.fits", "--json")
    assert result.code == 1
    bad, good = result.document["results"]
    assert "bad.fits" in bad["error"]
    assert good["objects"] == 1
    assert (tmp_path / "good_detections.ecsv").exists()
    assert (tmp_path / "good_detections_labels.tiff").exists()


def test_a_failed_difference_exits_4(call, tmp_path):
    header = fits.Header()
    header["VERDICT"], header["REASON"] = "FAIL", "not registered"
    data = np.random.default_rng(0).normal(0, 2, (200, 200)).astype(np.float32)
    fits.writeto(tmp_path / "failed.fits", data, header)
    result = call("detect", tmp_path / "failed.fits")
    assert result.code == 4
    assert "not registered" in result.err
    assert call("detect", tmp_path / "failed.fits", "--accept-failed").code == 3


def test_a_pair_without_result_says_what_to_run(call, project):
    result = call("detect", SAMPLE, DYE, *dirs(project))
    assert result.code == 1
    assert f"exo2micro run {SAMPLE} {DYE}" in result.err
    assert call("limit", SAMPLE, DYE, *dirs(project)).code == 1


def test_wrong_usage(call, done):
    assert call("detect", "CD070", *dirs(done)).code == 2
    assert call("detect", SAMPLE, DYE, "--threshold", "1", *dirs(done)).code == 2
    assert call("limit", SAMPLE, *dirs(done)).code == 2


def test_limit_tells_a_table_and_a_sentence(call, done):
    result = call("limit", SAMPLE, DYE, *dirs(done), "--sources", "12", "--sigma-px", "1.5")
    assert result.code == 0
    assert "90 % probability" in result.out
    assert str(done.folder / "detection_limit.ecsv") in result.out


def test_what_detect_writes_explains_itself(call, done):
    call("detect", SAMPLE, DYE, *dirs(done))
    table = call("explain", done.folder / "detections.ecsv")
    assert table.code == 0
    assert "objects" in table.out
    assert "expected_false" in table.out
    assert "label image" in call("explain", done.folder / "detections_labels.tiff").out
