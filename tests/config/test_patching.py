"""Patching: within its context constructors keep what is given, outside nothing is ever changed."""

import asyncio
import contextlib
import dataclasses
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from configs import Camera, LazyCamera, LazyCounted
from hypothesis import given
from hypothesis import strategies as st
from values import parameter_values

from exo2micro import DEFAULTS, PARAMETER_REGISTRY
from exo2micro.config import (
    INHERIT,
    LazyBatchConfig,
    LazyOutputConfig,
    LazyPipelineConfig,
    PipelineConfig,
    config_context,
    discover_lazy_dataclass_types,
    lazy_dataclass,
    patch_lazy_constructors,
    patch_specific_types,
)

LAZY = (LazyPipelineConfig, LazyBatchConfig, LazyOutputConfig, LazyCamera, LazyCounted)


def fingerprint() -> dict:
    """Return everything that patching could change about the classes."""
    return {cls: {base: dict(vars(base)) for base in cls.__mro__} for cls in LAZY}


@given(parameter_values())
def test_constructors_keep_exactly_what_is_given(values):
    with config_context(PipelineConfig(pad=9, manual_scale=4.0)):
        with patch_lazy_constructors():
            config = LazyPipelineConfig(**values)
            for name, row in PARAMETER_REGISTRY.items():
                unset = INHERIT if row.nullable else None
                assert getattr(config, name) is values.get(name, unset)
                assert object.__getattribute__(config, name) is values.get(name, unset)
        assert config.pad == values.get("pad", 9)
        assert config.manual_scale == values.get("manual_scale", 4.0)


def test_nothing_is_checked_or_converted_inside():
    with patch_lazy_constructors():
        config = LazyPipelineConfig(pad="wide", boundary_width=15.5, manual_scale=None)
        assert (config.pad, config.boundary_width, config.manual_scale) == ("wide", 15.5, None)
        assert config.scale_percentile is INHERIT
        assert config.use_edges is None
        with pytest.raises(TypeError, match="did you mean boundary_width"):
            LazyPipelineConfig(boundry_width=3)
        with pytest.raises(TypeError, match="unexpected keyword"):
            LazyCamera(gian=3)
        assert PipelineConfig().pad == DEFAULTS["pad"]


def test_replace_keeps_unset_fields_unset_inside():
    config = LazyPipelineConfig(boundary_width=20)
    with patch_lazy_constructors():
        changed = dataclasses.replace(config, pad=3)
    assert changed == LazyPipelineConfig(boundary_width=20, pad=3)


def test_post_init_is_respected():
    with patch_lazy_constructors():
        assert LazyCounted().made == ["None"]
        assert LazyCounted(4).made == ["4"]


def test_specific_types_only():
    with patch_specific_types([LazyCamera]):
        assert LazyCamera().gain is None
        assert LazyPipelineConfig().pad == DEFAULTS["pad"]
        with patch_lazy_constructors([LazyBatchConfig]):
            assert LazyCamera().gain is None
            assert LazyBatchConfig().n_workers is INHERIT
            assert LazyOutputConfig().checkpoint_format == "tiff"
        assert LazyBatchConfig().n_workers is None
    assert LazyCamera().gain == 1.5


@pytest.mark.parametrize("patch", [patch_lazy_constructors, patch_specific_types])
@pytest.mark.parametrize("wrong", [PipelineConfig, Camera, int, "LazyCamera"])
def test_what_is_not_lazy_cannot_be_patched(patch, wrong):
    with pytest.raises(TypeError, match="is no lazy dataclass"), patch([LazyCamera, wrong]):
        pass
    assert LazyCamera().gain == 1.5


def test_a_subclass_of_a_patched_type_is_patched():
    class Mine(LazyPipelineConfig):
        pass

    with patch_specific_types([LazyPipelineConfig]):
        assert Mine().pad is None
    assert Mine().pad == DEFAULTS["pad"]


@given(st.lists(st.sampled_from([None, *LAZY]), max_size=6), st.booleans())
def test_nested_patches_are_always_undone(nested, fails):
    before = fingerprint()
    with contextlib.suppress(ZeroDivisionError), contextlib.ExitStack() as stack:
        for cls in nested:
            stack.enter_context(patch_lazy_constructors(None if cls is None else [cls]))
        patched = set(LAZY) if None in nested else set(nested)
        assert (LazyCamera().gain is None) == (LazyCamera in patched)
        assert (LazyOutputConfig().checkpoint_format is None) == (LazyOutputConfig in patched)
        if fails:
            raise ZeroDivisionError
    assert fingerprint() == before
    assert LazyCamera().gain == 1.5


def test_overlapping_patches_in_many_threads_and_exceptions():
    before = fingerprint()
    threads = 16
    barrier = threading.Barrier(threads)
    problems = []

    def work(number):
        for step in range(30):
            barrier.wait()
            expected = number % 2 == step % 2
            with contextlib.suppress(ZeroDivisionError):
                if expected:
                    patch = patch_specific_types(LAZY) if step % 3 else patch_lazy_constructors()
                    with patch:
                        barrier.wait()
                        values = LazyPipelineConfig().pad, LazyCamera().gain
                        if values != (None, None):
                            problems.append(values)
                        raise ZeroDivisionError
                barrier.wait()
                values = LazyPipelineConfig().pad, LazyCamera().gain
                if values != (DEFAULTS["pad"], 1.5):
                    problems.append(values)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, number) for number in range(threads)]:
            future.result(timeout=60)
    assert problems == []
    assert fingerprint() == before


def test_overlapping_patches_in_tasks_of_one_event_loop():
    async def patched(inside, go_on):
        with patch_lazy_constructors():
            inside.set()
            await go_on.wait()
            return LazyCamera().gain

    async def main():
        inside, go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(patched(inside, go_on))
        await inside.wait()
        outside = LazyCamera().gain
        go_on.set()
        return outside, await task, LazyCamera().gain

    assert asyncio.run(main()) == (1.5, None, 1.5)


def test_discovery_in_this_package_and_in_any_module():
    here = {LazyPipelineConfig, LazyBatchConfig, LazyOutputConfig}
    assert here <= set(discover_lazy_dataclass_types("exo2micro.config"))
    assert discover_lazy_dataclass_types(sys.modules["configs"]) == (LazyCamera, LazyCounted)
    assert {*here, LazyCamera} <= set(discover_lazy_dataclass_types())
    assert discover_lazy_dataclass_types() is discover_lazy_dataclass_types()
    assert discover_lazy_dataclass_types("json") == ()
    with pytest.raises(ModuleNotFoundError):
        discover_lazy_dataclass_types("no_such_module")


def test_discovery_is_kept_until_the_module_changes():
    module = types.ModuleType("made_up")
    assert discover_lazy_dataclass_types(module) == ()
    module.Camera = Camera
    module.LazyCamera = module.Alias = LazyCamera
    found = discover_lazy_dataclass_types(module)
    assert found == (LazyCamera,)
    assert discover_lazy_dataclass_types(module) is found
    module.LazyCamera = module.Alias = lazy_dataclass(Camera)
    assert discover_lazy_dataclass_types(module) == (module.LazyCamera,)
    other = types.ModuleType("made_up")
    assert discover_lazy_dataclass_types(other) == ()
