"""Layers against a simple model, and each parameter at each layer."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import RUN_LAYERS, another_value, layers

from exo2micro import DEFAULTS, PARAMETER_REGISTRY, SampleDye
from exo2micro.config import (
    LAYERS,
    Layer,
    Snapshot,
    explain,
    project_file,
    read_config_file,
    resolve_config,
    resolve_layers,
    to_toml,
    user_file,
)
from exo2micro.config.code import toml_value
from exo2micro.config.options import OPTIONS
from exo2micro.config.pairs import PAIR_KEYS
from exo2micro.defaults import RESERVED_NAMES
from exo2micro.errors import ConfigError, ParameterError
from exo2micro.execution.parameters import settings_from
from exo2micro.parameter import Parameter


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A project folder and the user's folder, both empty."""
    monkeypatch.setenv("EXO2MICRO_CONFIG_DIR", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    (tmp_path / "project" / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def model(stack: list[Layer]) -> tuple[dict, dict]:
    """Return values and sources by the plainest means: the highest layer that sets a name."""
    values, sources = dict(DEFAULTS), {}
    for kind in LAYERS:
        for layer in stack:
            if layer.kind == kind:
                for name, value in layer.items():
                    values[name] = value
                    sources[name] = f"the {kind}"
    return values, sources


@given(st.lists(layers(), max_size=7))
def test_random_stacks_resolve_as_the_model_says(stack):
    snapshot = resolve_layers(stack)
    values, sources = model(stack)
    assert dict(snapshot) == values
    assert list(snapshot) == list(PARAMETER_REGISTRY)
    assert snapshot.sources() == sources
    rows = {row["parameter"]: row for row in explain(snapshot)}
    for name, value in values.items():
        assert rows[name]["value"] == ("off" if value is None else value)
        assert rows[name]["source"] == sources.get(name, "default")
        hidden = [layer for layer in stack if name in layer]
        assert (rows[name]["overrides"] is not None) == (len(hidden) > 1)


@given(st.lists(layers(), max_size=4))
def test_a_snapshot_survives_pickling_and_cannot_be_changed(stack):
    snapshot = resolve_layers(stack)
    copy = pickle.loads(pickle.dumps(snapshot))
    assert copy == snapshot
    assert dict(copy) == dict(snapshot)
    assert copy.sources() == snapshot.sources()
    with pytest.raises(AttributeError):
        copy.layers = ()
    with pytest.raises(TypeError):
        copy["pad"] = 3


def set_at(kind, name, value, lab):
    """Set a parameter at one layer as a user does; return the settings and the source."""
    if kind in ("user file", "project file"):
        path = user_file() if kind == "user file" else project_file("raw")
        path.write_text(f"# a comment\n\n{name} = {toml_value(value)}\n")
        return settings_from("raw", {}, "run", "call"), f"{kind} {path}:3"
    if kind == "batch":
        return settings_from(
            "raw", {name: value}, "batch", "run_batch(params)"
        ), "run_batch(params)"
    run = SampleDye("a", "b")
    stage = PARAMETER_REGISTRY[name].stage
    if kind == "stage":
        run.set_params(stage=stage, **{name: value})
        return run._parameters.snapshot(), f"set_params(stage={stage})"
    run.set_params(**{name: value})
    return run._parameters.snapshot(), "set_params"


@pytest.mark.parametrize("kind", RUN_LAYERS)
@pytest.mark.parametrize("name", list(PARAMETER_REGISTRY))
def test_every_parameter_can_be_set_at_every_layer(kind, name, lab):
    avoid = () if name not in ("scale_min", "scale_max") else (1.0,)
    value = another_value(PARAMETER_REGISTRY[name], avoid)
    if name in ("scale_min", "scale_max"):
        value = 0.9 if name == "scale_min" else 1.1
    snapshot, source = set_at(kind, name, value, lab)
    assert snapshot[name] == value
    assert snapshot.sources() == {name: source}
    assert dict(snapshot) == dict(DEFAULTS) | {name: value}


@pytest.mark.parametrize("name", [n for n, row in PARAMETER_REGISTRY.items() if row.nullable])
def test_off_hides_a_value_below(name, lab):
    value = another_value(PARAMETER_REGISTRY[name])
    user_file().write_text(f"{name} = {toml_value(value)}\n")
    assert resolve_config()[name] == value
    project_file().write_text(f'{name} = "off"\n')
    assert resolve_config()[name] is None
    run = SampleDye("a", "b")
    run.set_params(**{name: value})
    assert run.params[name] == value
    run.set_params(stage=PARAMETER_REGISTRY[name].stage, **{name: None})
    assert run.params[name] is None


def test_all_layers_at_once_and_back_down(lab):
    user_file().write_text("boundary_width = 11\n")
    project_file().write_text("boundary_width = 12\n[stage.2]\nboundary_width = 13\n")
    batch = settings_from("raw", {"boundary_width": 14}, "batch", "run_batch(params)")
    run = SampleDye("a", "b", params=batch)
    assert run.params["boundary_width"] == 14
    run.set_params(boundary_width=15)
    run.set_params(boundary_width=16)
    run.set_params(stage=2, boundary_width=17)
    run.set_params(boundary_width=18)
    assert run.params["boundary_width"] == 17
    (row,) = [r for r in run.explain_params(2) if r["parameter"] == "boundary_width"]
    assert row["source"] == "set_params(stage=2)"
    assert row["overrides"] == (
        "18 (set_params), 14 (run_batch(params)), 13 (project file exo2micro.toml:3), "
        f"12 (project file exo2micro.toml:1), 11 (user file {user_file()}:1)"
    )
    run.reset_params()
    assert run.params["boundary_width"] == 14
    assert SampleDye("a", "b").params["boundary_width"] == 13


def test_params_are_a_plain_mapping_of_values(lab):
    run = SampleDye("a", "b")
    params = run.params
    assert type(params) is dict
    assert params == dict(DEFAULTS)
    params["pad"] = 1
    assert run.params["pad"] == DEFAULTS["pad"]


def test_files_are_read_when_the_run_is_made(lab):
    project_file().write_text("pad = 100\n")
    run = SampleDye("a", "b")
    project_file().write_text("pad = 200\n")
    assert run.params["pad"] == 100
    run.reset_params()
    assert run.params["pad"] == 100
    assert SampleDye("a", "b").params["pad"] == 200


def test_a_snapshot_is_not_resolved_again(lab):
    snapshot = resolve_config()
    project_file().write_text("this is not TOML\n")
    assert SampleDye("a", "b", params=snapshot).params == dict(DEFAULTS)
    with pytest.raises(ConfigError):
        SampleDye("a", "b")


def test_options_of_the_files_hold_unless_the_call_says_otherwise(lab):
    project_file().write_text('[output]\ncheckpoint_format = "fits"\nthreads = 3\n')
    assert SampleDye("a", "b").checkpoint_format == "fits"
    assert SampleDye("a", "b").threads == 3
    assert SampleDye("a", "b", checkpoint_format="tiff", threads=1).checkpoint_format == "tiff"
    assert SampleDye("a", "b", threads=1).threads == 1
    assert resolve_config().option("parallel") is False


def test_a_variant_differs_from_its_run_whatever_layer_set_the_value(lab):
    run = SampleDye("a", "b")
    run.set_params(pad=3)
    run.set_params(stage=2, boundary_width=17)
    variant = run._copy_with({"boundary_width": 5})
    assert (variant.params["boundary_width"], variant.params["pad"]) == (5, 3)
    assert run.params["boundary_width"] == 17


def test_a_parameter_registered_later_joins(lab):
    run = SampleDye("a", "b")
    snapshot = resolve_config()
    PARAMETER_REGISTRY["later_one"] = Parameter(2.0, "lto", 4, "registered later")
    try:
        assert run.params["later_one"] == 2.0
        assert snapshot["later_one"] == 2.0
        run.set_params(later_one=3.0)
        assert run.non_default_params() == {"later_one": 3.0}
        project_file().write_text("later_one = 4\n")
        assert SampleDye("a", "b").params["later_one"] == 4.0
        kept = run._parameters.snapshot()
    finally:
        del PARAMETER_REGISTRY["later_one"]
    assert kept["later_one"] == 3.0  # a process that does not know it must not lose it silently
    assert "later_one" not in snapshot


def test_the_detection_is_configured_by_the_same_defaults():
    from exo2micro.detection.detect import THRESHOLD, WIDTH_PX

    rows = OPTIONS["detection"]
    assert (rows["threshold"].default, rows["width_px"].default) == (THRESHOLD, WIDTH_PX)


def test_no_parameter_may_bear_the_name_of_a_table_or_option():
    options = {name for rows in OPTIONS.values() for name in rows}
    tables = {"stage", "stages", "overrides", *PAIR_KEYS}
    assert {*tables, *OPTIONS, *options} == RESERVED_NAMES
    with pytest.raises(ParameterError, match="threads means something else"):
        PARAMETER_REGISTRY["threads"] = Parameter(2.0, "lto", 4, "text")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "pad = 1\n\nboundry_width = 3\n",
            "line 3: unknown parameter 'boundry_width': did you mean b",
        ),
        ("bw = 3\n", "line 1: 'bw' is the abbreviation in file names; the parameter is boundary_w"),
        (
            "# x\nboundary_width = 'wide'\n",
            "line 2: boundary_width must be a whole number of px",
        ),
        ("boundary_width = 0\n", "line 1: boundary_width must be .* got 0"),
        ("manual_scale = -1.0\n", 'line 1: manual_scale must be .* or "off", got -1.0'),
        ("[stage.3]\n\nboundary_width = 9\n", "line 3: boundary_width belongs to stage 2"),
        ("[stage.3]\nboundary_wdth = 9\n", "line 2: .*did you mean boundary_width"),
        ("[outptu]\nthreads = 2\n", "line 1: unknown parameter 'outptu': did you mean output"),
        ("[output]\nthread = 2\n", "line 2: .*did you mean threads"),
        ("threads = 2\n", r"line 1: threads belongs into the table \[output\]"),
        ("[output]\npad = 2\n", "line 2: pad is a parameter: it belongs above all tables"),
        ("[output]\nthreads = 0\n", "line 2: threads must be .* got 0"),
        ("output = 3\n", r"line 1: output is a table: write \[output\]"),
        ("stage = 3\n", r"line 1: stage is a table"),
        ("stages = 3\n", r"line 1: stages is a list of tables"),
        ("overrides = 3\n", r"line 1: overrides is a list of tables: write \[\[overrides\]\]"),
        ("[[overrides]]\npad = 2\n", "line 1: overrides need a sample, a dye, or both"),
        ("[[overrides]]\nsample = 3\n", "line 2: sample must be a name, got 3"),
        ("[[overrides]]\ndye = 'D'\n[[overrides]]\nsample = 'A'\npda = 2\n", "line 5: .*mean pad"),
        (
            "[batch]\nparallel = 'threads'\n",
            "parallel must be one of false, true, subproc",
        ),
        ("pad = 1\npad = 2\n", "not valid TOML: Cannot overwrite a value .at line 2"),
        ("pad =\n", "not valid TOML: Invalid value .at line 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(lab, text, words):
    project_file().write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        SampleDye("a", "b")
    assert str(caught.value).startswith("exo2micro.toml")


def test_a_file_that_is_no_text_is_named(lab):
    project_file().write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"exo2micro.toml cannot be read as a configuration"):
        resolve_config()


def test_a_file_may_set_parameters_for_a_sample_a_dye_or_one_pair(lab):
    user_file().write_text("[[overrides]]\nsample = 'A'\ndye = 'D'\npad = 1\n")
    project_file().write_text(
        "pad = 2\nboundary_width = 5\n[stage.2]\nboundary_smooth = 4\n"
        "[[overrides]]\nsample = 'A'\ndye = 'D'\nboundary_width = 7\n"
        "[[overrides]]\nsample = 'A'\nboundary_width = 6\nboundary_smooth = 9\n"
        "[[overrides]]\ndye = 'D'\nmanual_scale = 'off'\nscale_percentile = 50\n"
    )
    names = ("pad", "boundary_width", "boundary_smooth", "scale_percentile")
    found = {p: [SampleDye(*p).params[n] for n in names] for p in ("AD", "AE", "BD", "BE")}
    assert found == {
        "AD": [2, 7, 9, 50.0],
        "AE": [2, 6, 9, None],
        "BD": [2, 5, 4, 50.0],
        "BE": [2, 5, 4, None],
    }
    run = SampleDye("A", "D", params={"boundary_width": 8})
    (row,) = [r for r in run.explain_params(2) if r["parameter"] == "boundary_width"]
    assert (row["value"], row["source"]) == (8, "SampleDye(params)")
    assert row["overrides"].startswith("7 (project file exo2micro.toml:8), 6 (project file")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ('"subprocess"', "subprocess")]
)
def test_a_batch_is_parallel_as_the_file_says(lab, text, value):
    project_file().write_text(f"[batch]\nparallel = {text}\n")
    assert resolve_config().option("parallel") is value or value == "subprocess"
    assert resolve_config().option("parallel") == value
    assert OPTIONS["batch"]["parallel"].parse(text.strip('"')) == value


def test_values_that_contradict_each_other_name_both_places(lab):
    user_file().write_text("scale_min = 1.1\n")
    project_file().write_text("\nscale_max = 1.05\n")
    with pytest.raises(
        ParameterError, match=r"scale_min by user file .*config.toml:1, scale_max by "
    ):
        resolve_config()
    assert (
        dict(resolve_config("raw", Layer.of("run", {"scale_max": 1.2}, "--set")))["scale_max"]
        == 1.2
    )


def test_a_wrong_call_changes_nothing(lab):
    run = SampleDye("a", "b")
    run.set_params(pad=10)
    before = run._parameters.snapshot()
    for wrong, words in (
        ({"pda": 3}, "did you mean pad"),
        ({"pad": 1, "boundary_width": 0}, "boundary_width must be"),
        ({"scale_min": 1.2}, "scale_min must not exceed"),
        ({"stage": 3, "pad": 3}, "pad belongs to stage 1"),
        ({"pad": None}, "pad must be"),
    ):
        with pytest.raises(ParameterError, match=words):
            run.set_params(**wrong)
        assert run._parameters.snapshot() is before


def test_extra_stages_come_back_as_plain_data(lab):
    project_file().write_text(
        'pad = 3\n[[stages]]\nfunction = "denoise"\nafter = 3\n'
        '[[stages]]\nfunction = "flatten"\n[stage.denoise]\nsigma = 2.0\n'
    )
    file = read_config_file(project_file())
    assert [dict(extra.values) for extra in file.extra_stages] == [
        {"function": "denoise", "after": 3},
        {"function": "flatten"},
        {"name": "denoise", "sigma": 2.0},
    ]
    assert [extra.source.line for extra in file.extra_stages] == [2, 5, 7]
    assert resolve_config()["pad"] == 3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("raw", "exo2micro.toml"), ("a/raw", "a/exo2micro.toml"), ("../raw/", "../exo2micro.toml")],
)
def test_the_project_file_lies_beside_the_raw_folder(lab, raw, expected):
    assert str(project_file(raw)) == expected


def test_raw_files_in_the_current_folder(lab):
    assert project_file(".") == lab / "exo2micro.toml"


def test_no_file_is_made_or_needed(lab):
    user_file().parent.rmdir()
    assert resolve_config() == resolve_layers([Layer("run", {})][:0])
    assert isinstance(resolve_config(), Snapshot)
    assert not user_file().parent.exists()
    assert not project_file().exists()


def test_the_user_file_lies_in_the_platform_folder_by_default(monkeypatch):
    import platformdirs

    monkeypatch.delenv("EXO2MICRO_CONFIG_DIR")
    expected = platformdirs.user_config_path("exo2micro", appauthor=False) / "config.toml"
    assert user_file() == expected


def test_nothing_heavy_is_imported_for_it():
    code = (
        "import sys; from exo2micro.config import resolve_config; resolve_config();"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "tomlkit", "matplotlib", "astropy", "cv2"} & set(done.stdout.split())


def test_toml_of_a_layer_reads_back(lab):
    from exo2micro.config import LazyPipelineConfig

    project_file().write_text(to_toml(LazyPipelineConfig(pad=7, manual_scale=None)))
    snapshot = resolve_config()
    assert snapshot.sources().keys() == {"pad", "manual_scale"}
