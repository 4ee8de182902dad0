"""An alignment borrowed from another dye of the sample: never silently, never beyond its worth."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from small_pair import DYE, SAMPLE, SPEC

from exo2micro import SampleDye
from exo2micro.batch.overrides import params_for, read_overrides
from exo2micro.errors import CheckpointError, ParameterError, RegistrationError
from exo2micro.execution.borrowing import sibling_dye
from exo2micro.parameter import Parameter, plain_word
from exo2micro.raster.paths import PairPaths
from exo2micro.synthetic import make_pair, write_pair

OTHER = "DAPI"


def add_dye(project, dye=OTHER, **changes) -> None:
    write_pair(replace(SPEC, variant=1, **changes), project.raw, SAMPLE, dye)


def borrower(project, dye=OTHER, **params) -> SampleDye:
    return SampleDye(SAMPLE, dye, **project.dirs(), params={"borrow_from": DYE, **params})


def test_names_are_reduced_to_what_file_names_hold():
    row = Parameter(None, "zz", 2, "a dye", kind=str, normalise=plain_word)
    assert row.validated("SybrGld_microbe", "dye") == "sybrgldmicrobe"
    assert row.parse("SybrGld_microbe") == "sybrgldmicrobe"
    assert row.validated("off", "dye") is None
    for word in ("", "_-", "no_ne"):
        with pytest.raises(ParameterError, match="letters and digits"):
            row.validated(word, "dye")


def test_a_sibling_lends_its_alignment(done):
    add_dye(done)
    lender = SampleDye(SAMPLE, DYE, **done.dirs())
    run = borrower(done)
    result = run.run()
    points = np.random.default_rng(0).uniform(0, 500, (50, 2))
    assert np.array_equal(run.transform()(points), lender.transform()(points))
    assert result["verdict"] == "PASS"
    assert result["borrowed_from"] == DYE
    assert any(f"borrowed from {DYE}" in message for message in result["messages"])
    assert result["certificate"]["tiles"] > 10
    header = fits.getheader(result["difference"]["fits"])
    assert (header["BORROWED"], header["BOR"]) == (DYE, "sybrgldmicrobe")
    reasons = [row["reason"] for row in run.status() if row["stage"] in (2, 3)]
    assert all(f"borrowed from {DYE}" in reason for reason in reasons)
    record = json.loads(
        run._store.paths.record("02_icp_aligned_pre", "_borsybrgldmicrobe").read_text()
    )
    assert record["facts"]["borrowed_from"]["dye"] == DYE
    assert [row.action for row in run.plan()] == ["cached"] * 4
    assert SampleDye(SAMPLE, OTHER, **done.dirs()).plan(to_stage=2)[1].action == "run"


def test_a_changed_lender_makes_the_borrower_stale(done):
    add_dye(done)
    borrower(done).run(to_stage=3)
    record = done.folder / "records" / "03_interior_aligned_pre.json"
    content = json.loads(record.read_text())
    content["transform"]["matrix"][0][2] += 0.25
    record.write_text(json.dumps(content))
    row = borrower(done).plan()[1]
    assert (row.action, row.reason) == ("run", f"input changed: alignment of {DYE}")
    assert borrower(done).run(to_stage=3)["stages"][1]["action"] == "run"


def test_a_missing_alignment_names_the_command_that_makes_it(project):
    add_dye(project)
    with pytest.raises(CheckpointError, match="missing") as caught:
        borrower(project, boundary_width=20).run()
    assert f"exo2micro run {SAMPLE} {DYE} --output-dir {project.processed} " in str(caught.value)
    assert str(caught.value).endswith(" --set boundary_width=20 --to-stage 3")
    assert not project.processed.exists()


def test_an_alignment_that_was_borrowed_itself_is_not_lent(done):
    add_dye(done)
    add_dye(done, "Third", coverage=0.02)
    borrower(done).run(to_stage=3)
    with pytest.raises(CheckpointError, match="no valid alignment of its own"):
        SampleDye(SAMPLE, "Third", **done.dirs(), params={"borrow_from": OTHER}).run()


def test_a_stale_or_failed_lender_is_refused(done):
    add_dye(done)
    record = done.folder / "records" / "03_interior_aligned_pre.json"
    content = json.loads(record.read_text())
    content["verdict"] = {"level": "FAIL", "reasons": ["no tile agrees"]}
    record.write_text(json.dumps(content))
    with pytest.raises(RegistrationError, match="no tile agrees"):
        borrower(done).run()
    (done.folder / "tiff" / "03_interior_aligned_pre.tiff").unlink()
    with pytest.raises(CheckpointError, match="stage 3.*missing"):
        borrower(done).run()


def test_dyes_that_cannot_lend_are_refused_with_those_that_can(tmp_path):
    pair = PairPaths(tmp_path / "processed", "S", "DAPI")
    for dye in ("DAPI", "Sybr_Gold", "Sybr-Gold", "Cy5"):
        (tmp_path / "processed" / "S" / dye / "records").mkdir(parents=True)
    assert sibling_dye("cy5", pair, tmp_path / "raw") == "Cy5"
    with pytest.raises(ParameterError, match="'cy3'; other dyes of S: Cy5, Sybr-Gold, Sybr_Gold"):
        sibling_dye("cy3", pair, tmp_path / "raw")
    with pytest.raises(ParameterError, match="ambiguous.*Sybr-Gold or Sybr_Gold"):
        sibling_dye("sybrgold", pair, tmp_path / "raw")
    with pytest.raises(ParameterError, match="DAPI itself") as caught:
        sibling_dye("dapi", pair, tmp_path / "raw")
    assert "overrides with the columns sample,dye,borrow_from" in str(caught.value)
    row = {"sample": "S", "dye": "DAPI", "borrow_from": "off"}
    assert ",".join(row) in str(caught.value)
    assert ",".join(row.values()) in str(caught.value)
    assert params_for(read_overrides([row]), "S", "DAPI") == {"borrow_from": None}


def test_images_of_another_shape_cannot_borrow(done):
    add_dye(done, shape=(560, 600))
    with pytest.raises(RegistrationError, match="post image has 600 x 560 px, that of Sybr"):
        borrower(done).run()


def test_texture_that_contradicts_the_loan_fails(done):
    add_dye(done, rotation_deg=-5.0, shift_px=(-20.0, 25.0))
    result = borrower(done).run()
    assert result["verdict"] == "FAIL"
    assert result["difference"] is None


def test_a_pair_without_texture_is_never_passed_on_the_lenders_word(done):
    add_dye(done, dim=0.02, coverage=0.0)
    result = borrower(done).run()
    assert result["verdict"] == "CHECK"
    assert "too little texture" in result["reason"]
    assert f"certificate of {DYE} is PASS" in result["reason"]
    truth = make_pair(replace(SPEC, variant=1, dim=0.02, coverage=0.0)).truth
    points = np.random.default_rng(1).uniform(100, 450, (50, 2))
    run = borrower(done)
    pad = run.params["pad"]
    error = run.transform()(points + pad) - pad - truth.mapping(points)
    assert np.abs(error).max() < 0.2
