"""``survey``, ``check``, ``run``, ``batch``, ``status`` and ``demo`` on real files."""

import json
import re
import shutil

import pytest

from exo2micro.cli.demo import MARKER
from exo2micro.synthetic import unrelated_pair, write_image, write_pair

SAMPLE, DYE = "CD070", "SybrGld_microbe"


def dirs(project):
    return ("--raw-dir", project.raw, "--output-dir", project.processed)


def test_run_writes_the_difference_and_says_where(call, project):
    result = call("run", SAMPLE, DYE, *dirs(project))
    path = project.folder / "fits" / "04_difference_difference.fits"
    assert result.code == 0
    assert path.exists()
    assert f"{SAMPLE} / {DYE}: PASS - complete" in result.out
    assert str(path) in result.out
    stages = [line for line in result.err.splitlines() if line.startswith("stage ")]
    assert [line.split()[1] for line in stages] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("done in" in line for line in stages)


def test_run_again_keeps_everything(call, done):
    result = call("run", SAMPLE, DYE, *dirs(done), "--json")
    assert result.code == 0
    assert result.err.count("valid, kept") == 4
    document = result.document
    assert [stage["action"] for stage in document["stages"]] == ["cached"] * 4
    assert abs(document["scale_estimate"] / done.spec.ratio - 1) < 0.005
    assert document["difference"]["fits"].endswith("04_difference_difference.fits")


def test_run_shows_every_scale(call, done):
    settings = ("--set", "scale_percentile=50", "--set", "manual_scale=1.5")
    lines = call("run", SAMPLE, DYE, *dirs(done), *settings).out.splitlines()
    scales = {line[:17].strip(): line[17:23] for line in lines if "95 % interval" in line}
    assert list(scales) == ["scale", "by percentile", "by manual"]
    assert scales["by manual"] == "1.5000"
    assert abs(float(scales["by percentile"]) / done.spec.ratio - 1) < 0.02


def test_quiet_shows_the_result_only(call, done):
    result = call("run", SAMPLE, DYE, *dirs(done), "-q")
    assert result.err == ""
    assert result.out.startswith(f"{SAMPLE} / {DYE}: PASS")


def test_a_pair_that_cannot_be_trusted_exits_4(call, project):
    other_rock, _ = unrelated_pair(project.spec)
    post = project.raw / SAMPLE / f"{SAMPLE}_PostStain_{DYE}.tif"
    write_image(other_rock, post, project.spec)
    result = call("run", SAMPLE, DYE, *dirs(project), "--json")
    assert result.code == 4
    assert result.document["verdict"] == "FAIL"
    assert result.document["difference"] is None
    assert "stage 2: failed: no alignment found" in result.err
    *_, last, _ = call("status", SAMPLE, DYE, *dirs(project), "--json").document["stages"]
    assert (last["verdict"], last["verdict_reason"]) == ("FAIL", result.document["reason"])
    assert not (project.folder / "fits" / "04_difference_difference.fits").exists()


@pytest.mark.parametrize(
    ("sample", "dye", "words"),
    [
        ("CD071", DYE, "CD071"),
        (SAMPLE, "DAPI", DYE),
        ("a/b", DYE, "plain folder name"),
    ],
)
def test_a_wrong_pair_is_one_line_with_what_there_is(call, project, sample, dye, words):
    result = call("run", sample, dye, *dirs(project))
    assert result.code in (1, 2)
    assert words in result.err
    assert result.err.splitlines()[-1].startswith("error: ")
    assert not project.processed.exists()


def test_status_tells_what_a_parameter_would_change(call, done):
    rows = call("status", SAMPLE, DYE, *dirs(done), "--json").document["stages"]
    assert {row["state"] for row in rows} == {"valid"}
    certificates = {row["stage"]: row["certificate"] for row in rows if row["certificate"]}
    assert list(certificates) == [3]
    assert re.fullmatch(r"bound 0\.\d\d px, \d+ tiles, \d+ %", certificates[3])
    changed = call("status", SAMPLE, DYE, *dirs(done), "--set", "interior_blur_base=4", "--json")
    states = {row["stage"]: row["state"] for row in changed.document["stages"]}
    assert (states[2], states[3], states[4]) == ("valid", "to run", "to run")
    assert "interior alignment" in call("status", SAMPLE, DYE, *dirs(done)).out


def test_survey_names_channel_and_problems(call, project):
    folder = project.raw / SAMPLE
    shutil.copy(folder / f"{SAMPLE}_PreStain_{DYE}.tif", folder / f"{SAMPLE}_PreStain_DAPI.tif")
    result = call("survey", "--raw-dir", project.raw, "--json")
    assert result.code == 3
    (row,) = result.document["pairs"]
    assert (row["sample"], row["dye"], row["channel"]) == (SAMPLE, DYE, "green")
    (problem,) = result.document["layout"]["problems"]
    assert problem["kind"] == "half pair"
    assert "half pair" in call("survey", "--raw-dir", project.raw).out
    only = call("survey", "--raw-dir", project.raw, "--sample", SAMPLE, "--dye", DYE)
    assert "post: " in only.out


def test_survey_of_an_empty_folder_is_an_error(call, tmp_path):
    result = call("survey", "--raw-dir", tmp_path)
    assert result.code == 1
    assert "no sample folders" in result.out


def test_check_expects_cost_and_plans(call, project):
    result = call("check", *dirs(project), "--json")
    assert result.code == 0
    (pair,) = result.document["pairs"]
    assert pair["preflight"]["memory_bytes"] > 0
    assert [row["action"] for row in pair["plan"]] == ["run"] * 4
    assert result.document["total"]["pairs_to_run"] == 1
    assert not project.processed.exists()


def test_check_notices_too_little_memory(call, project, monkeypatch):
    monkeypatch.setattr("exo2micro.execution.preflight.get_available_memory", lambda: 1000)
    result = call("check", SAMPLE, DYE, *dirs(project))
    assert result.code == 1
    assert "not enough memory" in result.out


def test_deep_check_notices_a_changed_byte_that_dates_hide(call, done):
    path = done.folder / "tiff" / "02_icp_aligned_pre.tiff"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert call("check", SAMPLE, DYE, *dirs(done)).code == 0
    deep = call("check", SAMPLE, DYE, *dirs(done), "--deep", "--json")
    assert deep.code == 3
    plan = {row["number"]: row for row in deep.document["pairs"][0]["plan"]}
    assert "02_icp_aligned_pre.tiff" in plan[2]["reason"]


def test_check_needs_both_names_or_none(call, project):
    result = call("check", SAMPLE, *dirs(project))
    assert result.code == 2
    assert "SAMPLE and DYE" in result.err


def test_batch_goes_on_after_an_error_and_exits_with_1(call, done):
    write_pair(done.spec, done.raw, "Broken", DYE)
    path = done.raw / "Broken" / f"Broken_PreStain_{DYE}.tif"
    path.write_bytes(path.read_bytes()[:2000])
    result = call("batch", *dirs(done), "--json", "-q")
    assert result.code == 1
    statuses = {row["sample"]: row["status"] for row in result.document["results"]}
    assert statuses["Broken"].startswith("error: ")
    assert statuses[SAMPLE] == "complete"
    assert "Traceback" not in result.err


def test_batch_table_ends_with_the_problems(call, done):
    result = call("batch", *dirs(done), "--sample", SAMPLE)
    assert result.code == 0
    assert result.out.splitlines()[0].startswith("sample")
    assert f"{SAMPLE} / {DYE}: complete in" in result.err


def test_batch_without_pairs_is_an_error(call, tmp_path):
    result = call("batch", "--raw-dir", tmp_path)
    assert result.code == 1
    assert "no complete pair" in result.err


def test_demo_leaves_other_peoples_files_alone(call, tmp_path):
    mine = tmp_path / "raw" / "mine.tif"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = call("demo", "--dir", tmp_path)
    assert result.code == 1
    assert "no demo has made" in result.err
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_demo_finds_the_truth(call, tmp_path):
    folder = tmp_path / "demo"
    result = call("demo", "--dir", folder, "--json", "-q")
    assert result.code == 0, result.out
    assert (folder / MARKER).exists()
    assert all(row["is_within_goals"] for row in result.document["truth"])
    again = call("demo", "--dir", folder, "--keep", "-q")
    assert again.code == 0
    assert "Where to look:" in again.out
    paths = [line.split(": ", 1)[1] for line in again.out.splitlines() if line.startswith("  ")]
    assert paths
    assert all((tmp_path / path).exists() for path in paths)
    json.dumps(result.document)
