import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro import defaults
from exo2micro.defaults import (
    ABBREVIATIONS,
    DEFAULTS,
    PARAM_STAGES,
    PARAMETER_REGISTRY,
    STAGE_NAMES,
    validate_params,
)
from exo2micro.errors import ParameterError, SuffixError
from exo2micro.parameter import Parameter
from exo2micro.suffix import build_suffix, params_from_suffix

# The contract of the published table: name -> (abbreviation, default, stage).
CONTRACT = {
    "pad": ("pad", 2000, 1),
    "use_edges": ("ue", True, 2),
    "boundary_width": ("bw", 15, 2),
    "boundary_smooth": ("bs", 10, 2),
    "rotation_search": ("rs", True, 2),
    "angle_range": ("ar", 20, 2),
    "angle_step": ("astep", 1, 2),
    "scale_search": ("ss", True, 2),
    "scale_min": ("smin", 0.85, 2),
    "scale_max": ("smax", 1.15, 2),
    "scale_step": ("sstep", 0.05, 2),
    "multiscale": ("ms", True, 2),
    "down_scale": ("ds", 0.3, 2),
    "max_translation": ("mtr", 200, 2),
    "max_rotation": ("mrot", 5.0, 2),
    "max_scale_delta": ("msd", 0.2, 2),
    "max_scale_diff": ("msdf", 0.15, 2),
    "save_all_intermediates": ("sai", False, 2),
    "fine_ecc": ("fecc", False, 2),
    "stopit": ("sit", 500, 2),
    "stopdelta": ("sdl", 1e-6, 2),
    "interior_ecc": ("iecc", True, 3),
    "interior_blur_base": ("iblur", 8.0, 3),
    "interior_max_correction": ("imc", 500, 3),
    "interior_min_inlier_ratio": ("imir", 0.4, 3),
    "scale_percentile": ("sp", None, 4),
    "manual_scale": ("msc", None, 4),
}


def values_of(row: Parameter) -> st.SearchStrategy:
    if row.kind is bool:
        values = st.booleans()
    elif row.kind is str:
        words = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True).filter(lambda w: w != "off")
        values = (
            st.sampled_from(row.choices) if row.choices else words.filter(lambda w: w != "none")
        )
    else:
        low, high = row.bounds
        if row.kind is int:
            values = st.integers(int(low), int(high))
        else:
            values = st.floats(low, high, allow_nan=False, allow_infinity=False)
    return st.one_of(st.none(), values) if row.nullable else values


def random_params() -> st.SearchStrategy:
    return st.fixed_dictionaries(
        {}, optional={name: values_of(row) for name, row in PARAMETER_REGISTRY.items()}
    )


custom_stages = st.lists(
    st.tuples(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True),
        st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    ).filter(lambda pair: pair[0].isascii()),
    max_size=3,
)


@pytest.fixture
def registry():
    before = dict(PARAMETER_REGISTRY.items())
    yield PARAMETER_REGISTRY
    for name in set(PARAMETER_REGISTRY) - set(before):
        del PARAMETER_REGISTRY[name]


def test_every_contract_row_is_there():
    for name, (abbreviation, default, stage) in CONTRACT.items():
        got_default, got_abbreviation, got_stage, description = PARAMETER_REGISTRY[name]
        assert (got_abbreviation, got_default, got_stage) == (abbreviation, default, stage)
        assert type(got_default) is PARAMETER_REGISTRY[name].kind or got_default is None
        assert len(description) > 20


@given(random_params(), custom_stages)
def test_suffix_round_trip(params, custom):
    if custom:
        params["custom_stages"] = custom
    suffix = build_suffix(params)
    expected = {n: v for n, v in params.items() if n == "custom_stages" or v != DEFAULTS[n]}
    assert params_from_suffix(suffix) == expected
    assert build_suffix(params_from_suffix(suffix)) == suffix


@given(random_params(), random_params())
def test_different_values_never_share_a_name(a, b):
    different = dict(DEFAULTS) | a != dict(DEFAULTS) | b
    assert (build_suffix(a) != build_suffix(b)) == different


@given(st.text(alphabet="_+abcdeimnoprstuw0123456789.-", max_size=24))
def test_a_suffix_decodes_exactly_or_is_refused(text):
    try:
        params = params_from_suffix(text)
    except SuffixError:
        return
    assert build_suffix(params) == text


def test_suffix_examples():
    assert build_suffix({}) == ""
    assert build_suffix({"boundary_width": 20}) == "_bw20"
    both = {"manual_scale": 1.25, "pad": 0, "use_edges": False}
    assert build_suffix(both) == "_pad0_ue0_msc1.25"
    assert build_suffix(both, stage=2) == "_pad0_ue0"
    assert build_suffix({"manual_scale": 1.0000001}) == "_msc1.0000001"
    assert build_suffix({"max_translation": 1e6}) == "_mtr1e+06"
    assert params_from_suffix("_+denoise-0a1b2c3d") == {"custom_stages": [("denoise", "0a1b2c3d")]}


@pytest.mark.parametrize(
    "suffix", ["bw20", "_bw20x", "_xx1", "_bw15", "_bs1_bw20", "_bw020", "_bw20_bw21", "__bw20"]
)
def test_bad_suffix_is_refused(suffix):
    with pytest.raises(SuffixError, match=re.escape(repr(suffix))):
        params_from_suffix(suffix)


def test_registering_makes_all_views_follow(registry):
    registry["x"] = (2.0, "xx", 4, "text")
    assert DEFAULTS["x"] == 2.0
    assert ABBREVIATIONS["x"] == "xx"
    assert PARAM_STAGES["x"] == 4
    assert build_suffix({"x": 3.0}) == "_xx3"
    assert params_from_suffix("_xx3") == {"x": 3.0}


@pytest.mark.parametrize(
    ("abbreviation", "other"),
    [("bw", "boundary_width"), ("spn", "scale_percentile"), ("cha", "channel")],
)
def test_ambiguous_abbreviation_names_both(registry, abbreviation, other):
    with pytest.raises(ParameterError, match=f"of newcomer .* of {other}"):
        registry["newcomer"] = (2.0, abbreviation, 4, "text")
    assert "newcomer" not in registry


def test_free_string_makes_every_longer_abbreviation_ambiguous(registry):
    registry["label"] = ("none", "lab", 4, "text")
    with pytest.raises(ParameterError, match="label"):
        registry["other"] = (2.0, "labx", 4, "text")


@pytest.mark.parametrize("abbreviation", ["", "Xx", "x1", "toolongabb", "a_b", "scale"])
def test_impossible_abbreviation_is_refused(registry, abbreviation):
    with pytest.raises(ParameterError):
        registry["newcomer"] = (2.0, abbreviation, 4, "text")


def test_max_stage_follows_stage_names(monkeypatch):
    assert defaults.MAX_STAGE == 4
    monkeypatch.setitem(STAGE_NAMES, 7, "segment")
    assert defaults.MAX_STAGE == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boundary_widht": 20}, "did you mean boundary_width"),
        ({"boundary_width": 0}, "boundary_width must be a whole number of px from 1 to 1000, got"),
        ({"boundary_width": 1.5}, "got 1.5"),
        ({"boundary_width": True}, "got True"),
        ({"boundary_width": "20"}, "got '20'"),
        ({"boundary_width": None}, "got None"),
        ({"use_edges": 1}, "True or False"),
        ({"manual_scale": float("nan")}, "or None"),
        ({"manual_scale": -1.0}, "got -1.0"),
        ({"scale_percentile": 101}, "from 0 to 100"),
        ({"channel": "alpha"}, "one of auto, red"),
        ({"scale_min": 1.2}, "scale_min must not exceed scale_max, got 1.2 and 1.15"),
    ],
)
def test_bad_values_say_what_is_allowed(changes, words):
    with pytest.raises(ParameterError, match=re.escape(words)):
        validate_params(changes, DEFAULTS)


def test_values_get_their_type():
    params = validate_params({"boundary_width": 20.0, "manual_scale": 2}, DEFAULTS)
    assert (type(params["boundary_width"]), params["boundary_width"]) == (int, 20)
    assert (type(params["manual_scale"]), params["manual_scale"]) == (float, 2.0)
    assert list(params) == list(PARAMETER_REGISTRY)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("manual_scale", "off", None),
        ("scale_percentile", "none", None),
        ("scale_percentile", "50", 50.0),
        ("use_edges", "false", False),
        ("use_edges", "1", True),
        ("boundary_width", "20", 20),
        ("channel", "green", "green"),
    ],
)
def test_parse_text(name, text, value):
    assert PARAMETER_REGISTRY[name].parse(text) == value


def test_parse_refuses_what_is_no_value():
    with pytest.raises(ParameterError, match="a whole number"):
        PARAMETER_REGISTRY["boundary_width"].parse("20.5")
