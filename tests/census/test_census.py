"""Tables and limits of finished pairs, on real files, against exact truth."""

import shutil

import numpy as np
import pytest
import tifffile
from astropy.table import Table
from small_pair import DYE, SAMPLE, Project

from exo2micro import SampleDye
from exo2micro.census import detect_file, detect_pair, detection_limit, finished_pairs
from exo2micro.errors import (
    CheckpointError,
    DetectionError,
    FailedVerdictError,
    ParameterError,
)
from exo2micro.synthetic import unrelated_pair, write_image


def run_of(project, **params):
    return SampleDye(SAMPLE, DYE, **project.dirs(), params=params)


@pytest.fixture(scope="module")
def detected(finished, tmp_path_factory):
    """A copy of the finished project, and what was found in it once."""
    root = tmp_path_factory.mktemp("census") / "project"
    shutil.copytree(finished.root, root)
    project = Project(root, finished.spec)
    return project, detect_pair(run_of(project))


def test_a_pair_gets_table_and_labels(detected):
    project, result = detected
    assert result.table == project.folder / "detections.ecsv"
    table = Table.read(result.table)
    labels = tifffile.imread(result.labels)
    truth = project.truth.truth
    x, y = np.rint(table["x_post"]).astype(int), np.rint(table["y_post"]).astype(int)
    assert np.mean(truth.microbe_mask()[y, x]) > 0.95
    np.testing.assert_allclose(table["x"] - table["x_post"], 2000)
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], table["area_px"])
    assert labels.shape == result.found.difference.shape
    assert table["flux"].unit == "ct"
    meta = table.meta
    assert (meta["sample"], meta["dye"], meta["verdict"]) == (SAMPLE, DYE, "PASS")
    assert meta["threshold"] == 5
    assert meta["pixel_size_um"] == "unknown"
    assert meta["density_unit"] == "Mpx-1"
    assert meta["shapost"]
    assert "ERR" in meta["noise_source"]
    assert np.all(np.isfinite(table["bright_overlap"]))


def test_only_the_sample_counts(detected):
    project, result = detected
    on_rock = np.count_nonzero(project.truth.truth.sample_mask())
    assert result.found.facts.pixels == pytest.approx(on_rock, rel=0.06)
    assert result.found.facts.area_source == "the sample's outline"


def test_a_file_in_the_pairs_folder_leaves_the_pairs_table_alone(detected):
    project, by_pair = detected
    before = by_pair.table.read_bytes(), by_pair.labels.read_bytes()
    by_file = detect_file(project.folder / "fits" / "04_difference_difference.fits")
    assert by_file.table == project.folder / "fits" / "04_difference_difference_detections.ecsv"
    assert by_file.labels.parent == by_file.table.parent
    assert (by_pair.table.read_bytes(), by_pair.labels.read_bytes()) == before
    assert by_file.found.facts.area_source == "all pixels with data"
    assert np.all(np.isnan(Table.read(by_file.table)["bright_overlap"]))
    assert len(by_file.found) == pytest.approx(len(by_pair.found), rel=0.05)
    by_file.table.unlink()
    by_file.labels.unlink()


def test_a_pair_that_is_not_finished_is_named(project):
    with pytest.raises(CheckpointError, match="exo2micro run"):
        detect_pair(run_of(project))
    assert not project.folder.exists()


def test_other_parameters_are_another_difference(done):
    with pytest.raises(CheckpointError, match="stage 4"):
        detect_pair(run_of(done, manual_scale=1.5))


def test_a_failed_pair_is_refused_unless_kept_and_accepted(done):
    other_rock, _ = unrelated_pair(done.spec)
    write_image(other_rock, done.raw / SAMPLE / f"{SAMPLE}_PostStain_{DYE}.tif", done.spec)
    run = run_of(done)
    assert run.run()["verdict"] == "FAIL"
    with pytest.raises(FailedVerdictError, match="FAIL"):
        detect_pair(run)
    with pytest.raises(FailedVerdictError, match="--keep-failed"):
        detect_pair(run, accept_failed=True)
    with pytest.raises(FailedVerdictError, match="no detection limit"):
        detection_limit(run)


def test_finished_pairs_of_a_selection(done):
    assert finished_pairs(done.processed) == [(SAMPLE, DYE)]
    assert finished_pairs(done.processed, (SAMPLE,), (DYE,)) == [(SAMPLE, DYE)]
    with pytest.raises(CheckpointError, match=f"pairs there: {SAMPLE}/{DYE}"):
        finished_pairs(done.processed, ("CD071",))


@pytest.mark.slow
def test_the_limit_is_where_microbes_begin_to_be_found(done):
    before = sorted(path.name for path in done.folder.rglob("*"))
    run = run_of(done)
    result = detection_limit(run, sources=40, sigma_px=1.5, seed=5)
    half, ninety = result.limits
    assert half.interval[0] < half.flux < half.interval[1] < 1.3 * ninety.flux
    # A matched filter of the source's own width finds half of them at the threshold.
    noise = np.median(np.sqrt(result.found.difference.read(*inner()).noise ** 2))
    expected = 5 * 2 * np.sqrt(np.pi) * 1.5 * noise * result.found.facts.noise_factor
    assert half.flux == pytest.approx(expected, rel=0.3)
    assert abs(result.scale_change) < 0.01
    assert result.completeness.fraction[-1] > 0.9
    assert "90 % probability" in result.sentence()
    table = Table.read(result.table_path)
    np.testing.assert_array_equal(table["recovered"], result.completeness.recovered)
    assert table.meta["sentence"] == result.sentence()
    assert result.figure_path.read_bytes().startswith(b"\x89PNG")
    added = {"detection_limit.ecsv", "detection_limit.png"}
    assert {path.name for path in done.folder.rglob("*")} == set(before) | added
    again = detection_limit(
        SampleDye(SAMPLE, DYE, **done.dirs(), threads=2), sources=40, sigma_px=1.5, seed=5
    )
    assert again.to_dict() == result.to_dict()


def inner():
    return slice(2200, 2400), slice(2200, 2400)


def test_a_limit_needs_room(done):
    with pytest.raises(DetectionError, match="room"):
        detection_limit(run_of(done), sigma_px=8)


@pytest.mark.parametrize("setting", [{"sources": 3}, {"sigma_px": 0.01}])
def test_settings_of_a_limit(done, setting):
    with pytest.raises(ParameterError, match=next(iter(setting))):
        detection_limit(run_of(done), **setting)
