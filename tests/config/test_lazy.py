"""Lazy dataclasses: what is unset inherits, what is set counts."""

import contextlib
import copy
import dataclasses
import inspect
import pickle

import pytest
from configs import Camera, Counted, LazyCamera, LazyCounted
from hypothesis import given
from hypothesis import strategies as st
from values import layers, parameter_values

from exo2micro import DEFAULTS, PARAMETER_REGISTRY
from exo2micro.config import (
    INHERIT,
    BatchConfig,
    DetectionConfig,
    Layer,
    LazyBatchConfig,
    LazyDetectionConfig,
    LazyOutputConfig,
    LazyPipelineConfig,
    OutputConfig,
    PipelineConfig,
    config_context,
    explicit_values,
    field_states,
    has_lazy_resolution,
    lazy_dataclass,
    raw_value,
    resolve_layers,
)
from exo2micro.errors import ConfigError, ParameterError
from exo2micro.parameter import Parameter

PAIRS = [
    (PipelineConfig, LazyPipelineConfig),
    (DetectionConfig, LazyDetectionConfig),
    (BatchConfig, LazyBatchConfig),
    (OutputConfig, LazyOutputConfig),
    (Camera, LazyCamera),
]


def raw(config, name):
    return object.__getattribute__(config, name)


@pytest.mark.parametrize(("concrete", "lazy"), PAIRS)
def test_the_pairs_can_be_told_apart(concrete, lazy):
    assert not has_lazy_resolution(concrete)
    assert has_lazy_resolution(lazy)
    assert has_lazy_resolution(lazy())
    assert not has_lazy_resolution(concrete())
    assert not has_lazy_resolution(int)
    assert issubclass(lazy, concrete)
    assert lazy.concrete is concrete
    assert type(lazy().resolve()) is concrete
    assert lazy().resolve() == concrete()


@pytest.mark.parametrize(("concrete", "lazy"), PAIRS)
def test_both_are_dataclasses_with_the_same_fields(concrete, lazy):
    for cls in (concrete, lazy, concrete(), lazy()):
        assert dataclasses.is_dataclass(cls)
    names = [f.name for f in dataclasses.fields(concrete)]
    assert [f.name for f in dataclasses.fields(lazy)] == names
    assert list(dataclasses.asdict(concrete())) == names


def test_the_fields_are_those_of_the_registry():
    assert [f.name for f in dataclasses.fields(PipelineConfig)] == list(PARAMETER_REGISTRY)
    assert dataclasses.asdict(PipelineConfig()) == dict(DEFAULTS)
    assert list(inspect.signature(LazyPipelineConfig).parameters) == list(PARAMETER_REGISTRY)


def test_unset_fields_hold_none_or_the_sentinel():
    config = LazyPipelineConfig()
    for name, row in PARAMETER_REGISTRY.items():
        unset = INHERIT if row.nullable else None
        assert raw(config, name) is unset
        assert raw_value(config, name) is unset
        assert getattr(config, name) == row.default
    assert explicit_values(config) == {}
    assert repr(config) == "LazyPipelineConfig()"


def test_none_is_off_where_it_is_a_value_and_inherits_elsewhere():
    below = Layer.of("run", {"manual_scale": 1.5, "pad": 7}, "call")
    config = LazyPipelineConfig(manual_scale=None, pad=None)
    with config_context(below):
        assert config.manual_scale is None
        assert config.pad == 7
        assert LazyPipelineConfig().manual_scale == 1.5
        assert LazyPipelineConfig(manual_scale="off").manual_scale is None
        assert LazyPipelineConfig(manual_scale=INHERIT, pad=INHERIT) == LazyPipelineConfig()
    assert explicit_values(config) == {"manual_scale": None}


@given(st.lists(layers(), max_size=4), parameter_values())
def test_reading_resolves_through_the_active_layers(stack, values):
    snapshot = resolve_layers(stack)
    config = LazyPipelineConfig(**values)
    with config_context(snapshot):
        resolved = config.resolve()
        for name in PARAMETER_REGISTRY:
            assert getattr(config, name) == values.get(name, snapshot[name])
            assert getattr(resolved, name) == getattr(config, name)
    with config_context(*stack):  # here the nearest layer counts, whatever its kind
        for name in PARAMETER_REGISTRY:
            set_by = [layer for layer in stack if name in layer]
            below = set_by[-1][name] if set_by else DEFAULTS[name]
            assert getattr(config, name) == values.get(name, below)
    assert explicit_values(config) == values


def test_contexts_nest_and_end():
    config = LazyPipelineConfig()
    with config_context(LazyPipelineConfig(pad=1, boundary_width=2)):
        with config_context(LazyPipelineConfig(pad=3), PipelineConfig(boundary_width=4)):
            assert (config.pad, config.boundary_width) == (DEFAULTS["pad"], 4)
        with contextlib.suppress(ZeroDivisionError), config_context(LazyPipelineConfig(pad=3)):
            assert (config.pad, config.boundary_width) == (3, 2)
            raise ZeroDivisionError
        assert (config.pad, config.boundary_width) == (1, 2)
    assert config.pad == DEFAULTS["pad"]
    with pytest.raises(TypeError, match="expected a Layer"), config_context(3):
        pass


def test_detection_shares_the_values_of_the_pipeline():
    PARAMETER_REGISTRY["threshold_probe"] = Parameter(5.0, "tprb", 5, "registered by the test")
    try:
        assert [f.name for f in dataclasses.fields(DetectionConfig)][-1] == "threshold_probe"
        with config_context(LazyPipelineConfig(threshold_probe=6.0)):
            assert LazyDetectionConfig().threshold_probe == 6.0
            assert LazyDetectionConfig().threshold == 5.0
    finally:
        del PARAMETER_REGISTRY["threshold_probe"]


def test_a_parameter_registered_later_is_a_field_at_once():
    before, concrete_before = LazyPipelineConfig(pad=3), PipelineConfig()
    PARAMETER_REGISTRY["later_one"] = Parameter(2.0, "lto", 4, "registered later")
    try:
        assert before.later_one == 2.0
        assert concrete_before.later_one == 2.0
        assert LazyPipelineConfig(later_one=3).later_one == 3.0
        assert "later_one" in [f.name for f in dataclasses.fields(LazyPipelineConfig)]
        assert before.resolve() == PipelineConfig(pad=3)
    finally:
        del PARAMETER_REGISTRY["later_one"]
    with pytest.raises(AttributeError):
        _ = before.later_one
    with pytest.raises(TypeError, match="unexpected keyword"):
        LazyPipelineConfig(later_one=3)


@pytest.mark.parametrize(("concrete", "lazy"), PAIRS)
def test_an_unknown_keyword_is_a_type_error(concrete, lazy):
    for cls in (concrete, lazy):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            cls(no_such_field=3)
    with pytest.raises(TypeError, match="did you mean boundary_width"):
        LazyPipelineConfig(boundry_width=3)
    with pytest.raises(TypeError, match="keywords only"):
        LazyPipelineConfig(3)


def test_values_are_checked_when_they_are_given():
    for cls in (PipelineConfig, LazyPipelineConfig):
        with pytest.raises(ParameterError, match="boundary_width must be"):
            cls(boundary_width=0)
    assert LazyPipelineConfig(boundary_width=15.0).boundary_width == 15
    with pytest.raises(ParameterError, match="scale_min must not exceed"):
        PipelineConfig(scale_min=1.2)
    with pytest.raises(ParameterError, match="scale_min must not exceed"):
        LazyPipelineConfig(scale_min=1.2).resolve()


def test_configurations_are_frozen_and_compare_by_what_is_set():
    for config in (PipelineConfig(pad=3), LazyPipelineConfig(pad=3), LazyCamera(gain=2.0)):
        (name,) = list(explicit_values(config))[:1]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, 4)
        again = pickle.loads(pickle.dumps(config))
        assert again == config == copy.deepcopy(config)
        assert hash(again) == hash(config)
        assert type(again) is type(config)
    assert LazyPipelineConfig(pad=2000) != LazyPipelineConfig()
    assert PipelineConfig(pad=2000) == PipelineConfig()
    assert LazyPipelineConfig(pad=3) != PipelineConfig(pad=3)
    assert dataclasses.replace(PipelineConfig(pad=3), boundary_width=4) == PipelineConfig(
        pad=3, boundary_width=4
    )
    assert pickle.loads(pickle.dumps(INHERIT)) is INHERIT


def test_any_dataclass_can_have_a_lazy_twin():
    config = LazyCamera(2.0, offset=None)
    assert (config.gain, config.name, config.offset, config.tags) == (2.0, "left", None, [])
    assert raw(LazyCamera(), "gain") is None
    assert raw(LazyCamera(), "offset") is INHERIT
    with config_context(Camera(gain=9.0, name="right", offset=1.0), LazyCamera(gain=4.0)):
        assert LazyCamera().resolve() == Camera(4.0, "right", 1.0)
        assert config.resolve() == Camera(2.0, "right", None)
        assert LazyPipelineConfig().pad == DEFAULTS["pad"]
    with pytest.raises(TypeError, match="at most 4 values"):
        LazyCamera(1, 2, 3, 4, 5)
    with pytest.raises(TypeError, match="several values for 'gain'"):
        LazyCamera(1, gain=2)


def test_post_init_runs_and_resolve_runs_that_of_the_concrete_class():
    assert LazyCounted().made == ["1"]
    with config_context(Counted(x=5)):
        assert LazyCounted().made == ["5"]
        assert LazyCounted(7).resolve().made == ["7"]


def test_what_cannot_have_a_twin_is_refused():
    for wrong in (int, LazyCamera, Camera()):
        with pytest.raises(TypeError, match="a lazy twin is made of a dataclass"):
            lazy_dataclass(wrong)


def test_a_field_without_default_must_be_set_somewhere():
    @dataclasses.dataclass
    class Needed:
        size: int

    lazy = lazy_dataclass(Needed)
    with pytest.raises(ConfigError, match="size of LazyNeeded is set in no active layer"):
        lazy().resolve()
    with config_context(Needed(3)):
        assert lazy().size == 3


def test_a_form_can_show_what_a_field_inherits():
    below = Layer.of("run", {"boundary_width": 15, "manual_scale": 2.0}, "--set")
    config = LazyPipelineConfig(boundary_width=20)
    with config_context(below):
        states = {state.name: state for state in field_states(config)}
    assert list(states) == list(PARAMETER_REGISTRY)
    assert states["boundary_width"].is_set
    assert states["boundary_width"].value == 20
    assert states["boundary_width"].text == "instead of 15 (--set)"
    assert not states["manual_scale"].is_set
    assert states["manual_scale"].text == "inherited: 2.0 (--set)"
    assert states["scale_percentile"].text == "inherited: off (default)"
