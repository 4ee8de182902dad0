"""``config``, ``params --sources`` and ``sweep`` on real files."""

import json
import tomllib

import click
import numpy as np
import pytest
from astropy.io import fits
from small_pair import DYE, SAMPLE

from exo2micro import DEFAULTS, SampleDye
from exo2micro.census.pairs import detection_options
from exo2micro.cli.sweep import parse_grid
from exo2micro.config import from_python, from_toml


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """An empty project folder, and a user's folder."""
    monkeypatch.setenv("EXO2MICRO_CONFIG_DIR", str(tmp_path / "user"))
    (tmp_path / "project" / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def test_a_file_is_made_edited_shown_and_checked(call, lab):
    assert call("config", "init").out == "wrote exo2micro.toml\n"
    again = call("config", "init")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert call("config", "set", "boundary_width", "20").code == 0
    assert call("config", "set", "scale_percentile", "off").code == 0
    assert call("config", "set", "pad", "500", "--user").code == 0
    assert call("config", "set", "interior_ecc", "no", "--stage", "3").code == 0
    assert (lab / "user" / "config.toml").read_text() == "pad = 500\n"
    text = call("config", "show").out
    assert f"pad = 500  # user file {lab / 'user' / 'config.toml'}:1\n" in text
    settings = {
        "pad": 500,
        "boundary_width": 20,
        "interior_ecc": False,
        "scale_percentile": "off",
    }
    assert tomllib.loads(text) == settings
    (config,) = from_python(call("config", "show", "--as", "python").out)
    assert config == from_toml(text)["pipeline"]
    shown = call("config", "show", "--json", "--set", "pad=3").document["settings"]
    assert shown["pad"] == {"value": 3, "source": "--set"}
    assert call("config", "validate").out.splitlines()[1] == "exo2micro.toml: valid"
    assert call("config", "unset", "interior_ecc", "--stage", "3").out.startswith("taken out")
    assert "is not set in" in call("config", "unset", "interior_ecc", "--stage", "3").out
    paths = call("config", "path", "--json").document
    assert {name: p["exists"] for name, p in paths.items()} == {
        "user file": True,
        "project file": True,
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("boundry_width", "3", "did you mean boundary_width"),
        ("boundary_width", "0", "boundary_width must be a whole number"),
        ("bw", "3", "the parameter is boundary_width"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_and_makes_no_file(call, lab, name, value, words):
    result = call("config", "set", name, value)
    assert result.code == 2
    assert words in result.err
    assert list((lab / "project").iterdir()) == [lab / "project" / "raw"]


def test_a_wrong_file_ends_every_command_with_its_line(call, lab):
    (lab / "project" / "exo2micro.toml").write_text("pad = 3\nboundry_width = 3\n")
    words = "exo2micro.toml, line 2: unknown parameter 'boundry_width': did you mean boundary_width"
    for command in (("run", SAMPLE, DYE), ("status", SAMPLE, DYE), ("params", "--sources")):
        result = call(*command)
        assert result.code == 2
        assert words in result.err
    result = call("config", "validate", "--json")
    assert result.code == 2
    assert words in result.document["problems"][0]
    assert call("config", "validate", "absent.toml").code == 2


def test_files_that_contradict_each_other_are_not_valid(call, lab):
    (lab / "user").mkdir()
    (lab / "user" / "config.toml").write_text("scale_min = 1.1\n")
    (lab / "project" / "exo2micro.toml").write_text("scale_max = 1.0\n")
    result = call("config", "validate")
    assert result.code == 2
    assert "scale_min by user file" in result.out


def test_validate_without_files(call, lab):
    result = call("config", "validate")
    assert (result.code, result.out) == (0, "there is no configuration file\n")


def test_sources_tell_who_set_what(call, lab):
    (lab / "project" / "exo2micro.toml").write_text("[stage.1]\npad = 5\n")
    rows = call("params", "--sources", "--json", "--set", "channel=red").document["parameters"]
    found = {row["parameter"]: row for row in rows}
    assert list(found) == list(DEFAULTS)
    assert found["pad"] == {
        "stage": 1,
        "parameter": "pad",
        "value": 5,
        "default": 2000,
        "source": "project file exo2micro.toml:2",
        "overrides": None,
    }
    assert found["channel"]["source"] == "--set"
    assert found["boundary_width"]["source"] == "default"
    text = call("params", "--sources", "--stage", "1").out
    assert "project file exo2micro.toml:2" in text
    assert "boundary_width" not in text


def test_the_schema_is_json(call):
    assert json.loads(call("config", "schema").out)["properties"]["pad"]["type"] == "integer"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("boundary_width=10,15,20", [10, 15, 20]),
        ("scale_percentile=40:60:5", [40.0, 45.0, 50.0, 55.0, 60.0]),
        ("scale_percentile=off,50, 60", [None, 50.0, 60.0]),
        ("down_scale=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("boundary_width=20:10:-5", [20, 15, 10]),
        ("boundary_width=10:19:5", [10, 15]),
        ("boundary_width=5,10:12:1,11", [5, 10, 11, 12]),
        ("use_edges=on,off", [True, False]),
    ],
)
def test_values_of_a_sweep(text, values):
    assert list(parse_grid([text]).values()) == [values]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boundary_width=10:20", "FIRST:LAST:STEP"),
        ("boundary_width=10:20:0", "FIRST:LAST:STEP"),
        ("boundary_width=20:10:5", "FIRST:LAST:STEP"),
        ("boundary_width=a:b:c", "FIRST:LAST:STEP"),
        ("boundary_width=10,0", "got '0'"),
        ("boundary_width=10:11:0.5", "got '10.5'"),
        ("boundry_width=1,2", "did you mean boundary_width"),
        ("boundary_width", "expected NAME=VALUE"),
    ],
)
def test_wrong_values_of_a_sweep(text, words):
    with pytest.raises(click.BadParameter) as caught:
        parse_grid([text])
    assert words in caught.value.message


def test_a_sweep_of_one_value_is_a_usage_error(call):
    result = call("sweep", SAMPLE, DYE, "--set", "pad=3")
    assert result.code == 2
    assert "several values" in result.err


def test_the_detection_follows_the_files_unless_told_otherwise(call, done):
    (done.root / "exo2micro.toml").write_text("[detection]\nthreshold = 7.5\n")
    folders = ("--raw-dir", done.raw, "--output-dir", done.processed, "--json")
    noise = np.random.default_rng(0).normal(0, 2, (200, 200)).astype(np.float32)
    fits.writeto(done.root / "noise.fits", noise)
    file = call("detect", done.root / "noise.fits", *folders, "--width-px", "2").document
    assert (file["threshold"], file["width_px"]) == (7.5, 2.0)
    run = SampleDye(SAMPLE, DYE, **done.dirs())
    assert detection_options(run, None, 2.0) == {"threshold": 7.5, "width_px": 2.0}


def test_a_sweep_ends_in_a_table_and_a_picture(call, done):
    folders = ("--raw-dir", done.raw, "--output-dir", done.processed)
    before = {p: p.read_bytes() for p in done.folder.glob("fits/*")}
    grid = ("--set", "manual_scale=off,1.5", "--set", "scale_percentile=40")
    result = call("sweep", SAMPLE, DYE, *grid, *folders, "--json")
    assert result.code == 0
    rows = result.document["rows"]
    assert all("detections" not in row for row in rows)
    assert [row["manual_scale"] for row in rows] == [None, 1.5]
    assert rows[1]["scale_estimate"] == 1.5 < rows[0]["scale_estimate"]
    assert rows[0]["background_sigma"] < rows[1]["background_sigma"]
    picture = done.folder / "pipeline_output" / "comparison_manual_scale_sp40.png"
    assert result.document["contact_sheet"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert result.err.count("complete") == 2
    assert "contact sheet of a comparison" in call("explain", picture).out
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list(done.folder.glob("tiff/0[123]*"))) == 4  # shared with the default run
    names = (f"detections{suffix}.ecsv" for suffix in ("_sp40_msc1.5", "_sp40"))
    for number, name in enumerate(names):
        (done.folder / name).write_text("# a comment\nx y\n" + "1 2\n" * number)
    again = call("sweep", SAMPLE, DYE, *grid, *folders, "--json")
    assert [row["detections"] for row in again.document["rows"]] == [1, 0]
