"""The generated parameter table and ``--set``."""

import click
import pytest

from exo2micro import DEFAULTS, PARAMETER_REGISTRY
from exo2micro.cli.options import parse_settings
from exo2micro.cli.params import as_text


def test_table_holds_every_parameter(call):
    text = call("params").out
    for name, row in PARAMETER_REGISTRY.items():
        assert f" {name} " in text
        assert f" {row.abbreviation} " in text


def test_json_holds_every_field(call):
    rows = {row["name"]: row for row in call("params", "--json").document["parameters"]}
    assert list(rows) == list(PARAMETER_REGISTRY)
    assert rows["pad"]["default"] == 2000
    assert rows["pad"]["type"] == "int"
    assert rows["manual_scale"]["nullable"] is True
    assert rows["manual_scale"]["default"] is None
    assert rows["boundary_width"]["bounds"] == [1, 1000]


def test_markdown_is_a_table(call):
    lines = call("params", "--markdown", "--stage", "4").out.splitlines()
    assert len({line.count(" | ") for line in lines if "---" not in line}) == 1
    assert [line.split("`")[1] for line in lines[2:]] == [
        name for name, row in PARAMETER_REGISTRY.items() if row.stage == 4
    ]


def test_a_stage_without_parameters_is_a_usage_error(call):
    result = call("params", "--stage", "77")
    assert result.code == 2
    assert "stage 77 has no parameters" in result.err


@pytest.mark.parametrize("name", list(PARAMETER_REGISTRY))
def test_the_default_as_shown_can_be_set(name):
    text = as_text(DEFAULTS[name])
    assert parse_settings([f"{name}={text}"]) == {name: DEFAULTS[name]}


def test_settings_are_typed():
    texts = ["pad=500", "rotation_search=off", "scale_percentile=50", "manual_scale=off"]
    assert parse_settings(texts) == {
        "pad": 500,
        "rotation_search": False,
        "scale_percentile": 50.0,
        "manual_scale": None,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boundry_width=3", "did you mean boundary_width"),
        ("bw=3", "the parameter is boundary_width"),
        ("boundary_width", "expected NAME=VALUE"),
        ("boundary_width=wide", "boundary_width must be a whole number of px from 1 to 1000"),
        ("boundary_width=0", "got '0'"),
    ],
)
def test_a_wrong_setting_is_a_usage_error(call, text, words):
    with pytest.raises(click.BadParameter, match="."):
        parse_settings([text])
    result = call("run", "CD070", "DAPI", "--set", text)
    assert result.code == 2
    assert words in result.err


def test_settings_that_make_no_sense_together_are_a_usage_error(call, tmp_path):
    settings = ("--set", "scale_min=1.2", "--set", "scale_max=1.1")
    result = call("run", "CD070", "DAPI", *settings, "--raw-dir", tmp_path)
    assert result.code == 2
    assert "scale_min must not exceed scale_max" in result.err
