"""Configurations as text and back, edited files, the line of each key."""

import json
import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st
from values import another_value, parameter_values

from exo2micro import PARAMETER_REGISTRY
from exo2micro.config import (
    BatchConfig,
    LazyBatchConfig,
    LazyDetectionConfig,
    LazyOutputConfig,
    LazyPipelineConfig,
    PipelineConfig,
    configs_of,
    from_python,
    from_toml,
    json_schema,
    parse_config,
    read_config_file,
    resolve_layers,
    set_value,
    template,
    to_python,
    to_toml,
    unset_value,
    write_new,
)
from exo2micro.config.lines import key_lines
from exo2micro.config.options import OPTIONS
from exo2micro.errors import ConfigError, ParameterError


def lazy_configs() -> st.SearchStrategy[tuple]:
    return st.tuples(
        parameter_values().map(lambda v: LazyPipelineConfig(**v)),
        parameter_values(section="batch").map(lambda v: LazyBatchConfig(**v)),
        parameter_values(section="output").map(lambda v: LazyOutputConfig(**v)),
        parameter_values(section="detection").map(lambda v: LazyDetectionConfig(**v)),
    )


@given(lazy_configs())
def test_python_code_makes_the_same_again(configs):
    code = to_python(*configs)
    assert from_python(code) == configs
    assert to_python(*from_python(code)) == code


@given(parameter_values())
def test_python_code_of_a_concrete_configuration(values):
    config = PipelineConfig(**values)
    assert from_python(to_python(config, BatchConfig())) == (config, BatchConfig())


@given(lazy_configs())
def test_toml_makes_the_same_again(configs):
    text = to_toml(*configs)
    back = from_toml(text)
    names = ("pipeline", "batch", "output", "detection")
    assert tuple(back[name] for name in names) == configs
    assert to_toml(*(back[name] for name in names)) == text


@given(parameter_values())
def test_what_a_snapshot_holds_comes_back_from_its_code(values):
    layers = parse_config(to_toml(LazyPipelineConfig(**values)), Path("x.toml"), "user file").layers
    (config,) = configs_of(resolve_layers(layers))
    assert config == LazyPipelineConfig(**values)


def test_comments_stand_beside_the_values():
    config = LazyPipelineConfig(pad=3, manual_scale=None)
    comments = {"pad": "user file", "manual_scale": "--set"}
    assert "    pad=3,  # user file\n" in to_python(config, comments=comments)
    assert (
        to_toml(config, comments=comments)
        == 'pad = 3  # user file\nmanual_scale = "off"  # --set\n'
    )
    assert from_python(to_python(config, comments=comments)) == (config,)


def test_edited_code_comes_back_as_explicit_values_only():
    code = to_python(LazyPipelineConfig(pad=3)) + "pipeline2 = LazyPipelineConfig(pad=None)\n"
    code = code.replace("pad=3", "pad=4, manual_scale=INHERIT, scale_percentile=None")
    edited, cleared = from_python(code)
    assert repr(edited) == "LazyPipelineConfig(pad=4, scale_percentile=None)"
    assert repr(cleared) == "LazyPipelineConfig()"


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("pipeline = LazyPipelineConfig(", ConfigError, "SyntaxError"),
        ("pipeline = LazyPipelineConfig(pda=3)", ConfigError, "did you mean pad"),
        ("x = 3", ConfigError, "makes no configuration"),
        ("pipeline = LazyPipelineConfig(boundary_width=0)", ParameterError, "got 0"),
    ],
)
def test_wrong_code_says_what_is_wrong(code, error, words):
    with pytest.raises(error, match=words):
        from_python(code)
    assert LazyPipelineConfig().pad == 2000


COMMENTED = """\
# the lab's settings
pad = 100  # a narrow border

[output]  # files
threads = 2
"""


def test_editing_keeps_comments(tmp_path):
    path = tmp_path / "exo2micro.toml"
    path.write_text(COMMENTED)
    set_value(path, "pad", 200)
    set_value(path, "manual_scale", None)
    set_value(path, "checkpoint_format", "fits")
    set_value(path, "interior_ecc", False, stage=3)
    text = path.read_text()
    assert "# the lab's settings\npad = 200  # a narrow border\n" in text
    assert "[output]  # files\nthreads = 2\n" in text
    assert tomllib.loads(text) == {
        "pad": 200,
        "manual_scale": "off",
        "output": {"threads": 2, "checkpoint_format": "fits"},
        "stage": {"3": {"interior_ecc": False}},
    }
    assert unset_value(path, "manual_scale")
    assert unset_value(path, "checkpoint_format")
    assert unset_value(path, "interior_ecc", stage=3)
    assert not unset_value(path, "interior_ecc", stage=3)
    assert not unset_value(path, "boundary_width")
    assert path.read_text().startswith(COMMENTED.replace("100", "200").rstrip())
    assert list(tmp_path.iterdir()) == [path]


def test_line_ends_of_another_system_stay(tmp_path):
    path = tmp_path / "exo2micro.toml"
    path.write_bytes(b"\xef\xbb\xbf" + COMMENTED.replace("\n", "\r\n").encode())
    (layer,) = read_config_file(path).layers
    assert layer["pad"] == 100
    assert layer.setting("threads").source.line == 5
    set_value(path, "pad", 200)
    assert path.read_bytes() == COMMENTED.replace("\n", "\r\n").replace("100", "200").encode()


def test_every_value_can_be_written_and_taken_out_again(tmp_path):
    path = tmp_path / "new" / "exo2micro.toml"
    for name, row in PARAMETER_REGISTRY.items():
        if name not in ("scale_min", "scale_max"):
            set_value(path, name, another_value(row))
    (layer,) = read_config_file(path).layers
    assert [s.source.line for _, s in layer.settings()] == list(range(1, len(layer) + 1))
    assert all(layer[name] == another_value(PARAMETER_REGISTRY[name]) for name in layer)
    for name in list(layer):
        assert unset_value(path, name)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("name", "value", "stage", "words"),
    [
        ("pda", 3, None, "did you mean pad"),
        ("pad", -1, None, "pad must be"),
        ("pad", 3, 4, "pad belongs to stage 1"),
    ],
)
def test_a_wrong_edit_leaves_the_file_alone(tmp_path, name, value, stage, words):
    path = tmp_path / "exo2micro.toml"
    path.write_text(COMMENTED)
    with pytest.raises(ParameterError, match=words):
        set_value(path, name, value, stage)
    assert path.read_text() == COMMENTED
    assert list(tmp_path.iterdir()) == [path]


def test_a_template_sets_nothing_and_names_everything(tmp_path):
    path = tmp_path / "deep" / "exo2micro.toml"
    write_new(path, template("for a test"))
    assert read_config_file(path).layers == ()
    text = path.read_text()
    for name in (*PARAMETER_REGISTRY, *(n for rows in OPTIONS.values() for n in rows)):
        assert f"\n# {name} = " in text
    with pytest.raises(ConfigError, match="exists already"):
        write_new(path, "")
    assert path.read_text() == text


def test_every_line_of_a_template_can_be_taken_out_of_its_comment():
    names = (*PARAMETER_REGISTRY, *(n for rows in OPTIONS.values() for n in rows))
    lines = template("for a test").splitlines()
    live = [line[2:] if line.split(" = ")[0][2:] in names else line for line in lines]
    (layer,) = parse_config("\n".join(live), Path("t.toml"), "user file").layers
    assert set(layer) == set(names)


def test_the_schema_names_every_parameter_with_its_rules():
    schema = json_schema()
    properties = schema["properties"]
    assert set(PARAMETER_REGISTRY) < set(properties)
    assert properties["boundary_width"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 15,
        "description": properties["boundary_width"]["description"],
    }
    assert {"const": "off"} in properties["manual_scale"]["anyOf"]
    assert properties["output"]["properties"]["checkpoint_format"]["enum"] == [
        "tiff",
        "fits",
        "both",
    ]
    assert set(properties["stage"]["properties"]["1"]["properties"]) >= {"pad", "channel"}
    assert schema["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


KEYS = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
SCALARS = st.one_of(
    st.integers(-100, 100),
    st.booleans(),
    WORDS,
    WORDS.map(lambda word: f"{word}\n[x]\ny = 1 # {word}\n"),
    st.lists(WORDS, max_size=3),
)
TABLES = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(st.dictionaries(KEYS, SCALARS, min_size=1, max_size=2), min_size=1, max_size=2)
    ),
    max_leaves=8,
)


def paths_in(value, prefix=()):
    """Yield the path of each table, item and key of parsed TOML."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        path = (*prefix, str(key))
        if not (isinstance(value, list) and not isinstance(inner, dict)):
            yield path
            if isinstance(inner, dict) or (isinstance(inner, list) and inner):
                yield from paths_in(inner, path)


@given(st.dictionaries(KEYS, TABLES, max_size=5))
def test_keys_are_found_on_their_lines(content):
    text = tomlkit.dumps(content)
    lines = text.splitlines() or [""]
    found = key_lines(text)
    assert set(found) <= set(paths_in(tomllib.loads(text)))
    for path, line in found.items():
        keys = [part for part in path if not part.isdecimal()]
        assert keys[-1] in lines[line - 1]
    for key in content:
        assert (key,) in found or any(path[0] == key for path in found) or content[key] in ([], {})


def test_lines_of_everything_that_toml_knows():
    text = (
        '# [no.table]\na = """\nb = 1\n"""\n"c d" = [\n  "e = 1", # f = 2\n  "]",\n]\n'
        "[t . u] # x = 1\ng.h = {i = 1, j = [2]}\r\nk = '#'\n[[s]]\nl = 1\n[[s]]\nl = 2\n"
        "[s.m]\nn = '''\no = 1'''\n"
    )
    assert key_lines(text) == {
        ("a",): 2,
        ("c d",): 5,
        ("t", "u"): 9,
        ("t", "u", "g", "h"): 10,
        ("t", "u", "k"): 11,
        ("s", "0"): 12,
        ("s", "0", "l"): 13,
        ("s", "1"): 14,
        ("s", "1", "l"): 15,
        ("s", "1", "m"): 16,
        ("s", "1", "m", "n"): 17,
    }
