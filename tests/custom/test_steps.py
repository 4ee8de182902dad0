"""An extra stage as data: what it says, which values it takes, how its function is applied."""

from dataclasses import replace

import numpy as np
import pytest

from exo2micro.custom import memory
from exo2micro.custom.memory import numpy
from exo2micro.custom.plain import function_of
from exo2micro.custom.stage import FunctionStage
from exo2micro.custom.step import FunctionStep, in_order, resolve
from exo2micro.custom.windowed import AppliedFunction, working_bytes
from exo2micro.errors import CustomFunctionError, CustomStageError, ParameterError
from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.record import Record
from exo2micro.stages import STAGES, StageInputs

SMOOTH = '''
@numpy(halo=lambda sigma, rounds, mode: 4 * sigma * rounds + 1)
def smooth(image, sigma: float = 1.0, rounds: int = 1, mode: str = "reflect"):
    """Smooth it."""
    from scipy.ndimage import gaussian_filter

    result = image.astype(np.float32)
    for _ in range(rounds):
        result = gaussian_filter(result, (0, sigma, sigma), mode=mode)
    return result
'''
IMAGE = np.random.default_rng(4).integers(0, 4000, (700, 300)).astype(np.uint16)


def declared(manager, code: str, **values) -> FunctionStage:
    """Return the last function of a source as the first extra stage of a run."""
    name = manager.register_from_code(code)[-1].__name__
    return FunctionStage(resolve(FunctionStep(name, values), manager.get), 0)


def applied(manager, code: str, *images, **values) -> AppliedFunction:
    sources = [ArrayRaster(image) for image in images or (IMAGE,)]
    return AppliedFunction(declared(manager, code, **values).resolved, sources)


def test_text_describes_a_step():
    step = FunctionStep.parse("denoise:after=1,applies_to=pair,sigma=2")
    assert step == FunctionStep("denoise", {"sigma": "2"}, 1, "pair")
    assert FunctionStep.parse("denoise") == FunctionStep(function="denoise", parameters={})
    assert FunctionStep.parse(str(step)) == step


@pytest.mark.parametrize(("after", "role"), [(1, "pre"), (2, "pre"), (3, "pre"), (4, "difference")])
def test_a_step_applies_to_what_its_stage_made(after, role):
    assert FunctionStep("f", after=after).applies_to == role


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f:after=9", r"after must be one of the stages \[1, 2, 3, 4.*got 9"),
        ("f:after=three", "after must be a stage number, got 'three'"),
        ("f:applies_to=mask", "applies_to must be one of post, pre, difference, pair, got 'mask'"),
        ("f:applies_to=difference", "f after stage 3 cannot apply to the difference"),
        ("f:sigma", "a stage is written NAME:after=3"),
        (":after=3", "a stage is written NAME:after=3"),
    ],
)
def test_a_wrong_step_is_refused_in_words(text, message):
    with pytest.raises(ParameterError, match=message):
        FunctionStep.parse(text)


def test_values_take_the_type_of_their_default(manager):
    step = declared(manager, SMOOTH, sigma="2", rounds="3", mode="nearest")
    assert dict(step.resolved.values) == {"sigma": 2.0, "rounds": 3, "mode": "nearest"}
    assert step.title == "smooth(sigma=2.0, rounds=3, mode=nearest) on pre"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigma": "much"}, "smooth: sigma must be a number like its default 1.0, got 'much'"),
        ({"rounds": 1.5}, "smooth: rounds must be a whole number like its default 1, got 1.5"),
        ({"sigma": True}, "smooth: sigma must be a number"),
        ({"sigma": float("nan")}, "smooth: sigma must be a number"),
        ({"mode": 3}, "smooth: mode must be text"),
        ({"sgima": 2.0}, "smooth: .*sgima.*sigma"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(manager, values, message):
    with pytest.raises(ParameterError, match=message):
        declared(manager, SMOOTH, **values)


def test_the_hash_tells_code_values_and_place_apart(manager):
    def hash_of(code: str = SMOOTH, after: int = 3, role: str = "pre", **values) -> str:
        name = manager.register_from_code(code)[-1].__name__
        return resolve(FunctionStep(name, values, after, role), manager.get).digest

    edited = SMOOTH.replace("Smooth it.", "Smooth it more.")
    hashes = [
        hash_of(),
        hash_of(sigma=2),
        hash_of(edited),
        hash_of(after=1),
        hash_of(role="post"),
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_of(sigma=1, rounds=1) == hash_of()
    assert hash_of(sigma="1.0") == hash_of()


def test_a_plot_is_no_stage(manager):
    code = "@scale_estimator\ndef ratio(post, pre):\n    return float(np.median(post / pre))\n"
    with pytest.raises(ParameterError, match="ratio is a scale_estimator; an extra stage is"):
        declared(manager, code)


def test_steps_run_by_stage_and_then_as_they_were_added(manager):
    manager.register_from_code(SMOOTH)
    asked = [FunctionStep("smooth", {"sigma": s}, a) for s, a in ((1, 3), (2, 1), (3, 3), (4, 1))]
    ordered = in_order([resolve(step, manager.get) for step in asked])
    assert [r.values["sigma"] for r in ordered] == [2, 4, 1, 3]


@pytest.mark.parametrize(
    ("after", "role", "key", "readers"),
    [
        (1, "pre", (1, "pre"), {2, 3, 4}),
        (1, "post", (1, "post"), {2, 3, 4}),
        (2, "pre", (2, "pre"), set()),
        (3, "pre", (3, "pre"), {4}),
        (3, "post", (1, "post"), {4}),
        (4, "difference", (4, "difference"), set()),
        (4, "pre", (3, "pre"), set()),
    ],
)
def test_which_stages_read_the_result(manager, after, role, key, readers):
    manager.register_from_code(SMOOTH)
    stage = FunctionStage(resolve(FunctionStep("smooth", {}, after, role), manager.get), 0)
    numbered = {n: STAGES[n]() for n in (1, 2, 3, 4)}
    assert {n for n, s in numbered.items() if stage.replaces(key, s)} == readers
    assert {n for n, s in numbered.items() if stage.feeds_matching_of(s)} == (
        {3} if after == 2 else set()
    )


# -- how a function is applied


def test_windows_and_the_whole_image_give_the_same(manager):
    windowed = applied(manager, SMOOTH, sigma=2.0)
    whole = applied(manager, _whole_code(), sigma=2.0)
    assert (windowed.halo_px, whole.halo_px) == (9, None)
    everything = slice(0, 700), slice(0, 300)
    expected = whole.read(0, *everything)
    for rows in (slice(0, 512), slice(512, 700), slice(250, 251)):
        np.testing.assert_allclose(
            windowed.read(0, rows, slice(0, 300)), expected[rows], rtol=1e-5, atol=1e-3
        )


def _whole_code() -> str:
    return "@numpy\ndef smooth" + SMOOTH.split("def smooth")[1]


def test_a_halo_that_is_too_small_is_found_out(manager):
    code = SMOOTH.replace("4 * sigma * rounds + 1", "1")
    with pytest.raises(CustomStageError, match="declares a halo of 1 px, but its result changes"):
        applied(manager, code, sigma=5.0)


def test_a_pair_comes_as_two_planes_post_first(manager):
    code = "@numpy\ndef swap(image):\n    return image[::-1] * np.float32(2)\n"
    result = applied(manager, code, IMAGE, IMAGE // 2)
    window = slice(5, 20), slice(7, 30)
    np.testing.assert_array_equal(result.read(0, *window), (IMAGE // 2)[window] * 2.0)
    np.testing.assert_array_equal(result.read(1, *window), IMAGE[window] * 2.0)


def test_the_function_may_write_to_its_image(manager):
    code = "@numpy(halo=0)\ndef add(image, count: int = 7):\n    image += count\n    return image\n"
    before = IMAGE.copy()
    with pytest.raises(CustomFunctionError):
        manager.register_from_code(code)  # the trial run refuses it, yet it would do no harm
    np.testing.assert_array_equal(IMAGE, before)


def test_a_type_that_files_do_not_hold_becomes_float(manager):
    code = "@numpy\ndef third(image):\n    return image / 3.0\n"
    result = applied(manager, code)
    assert (result.computed_dtype.name, result.dtype.name) == ("float64", "float32")
    window = result.read(0, slice(0, 9), slice(0, 9))
    np.testing.assert_array_equal(window, (IMAGE[:9, :9] / 3.0).astype(np.float32))


def test_what_the_function_tells_is_kept(manager):
    code = "@numpy\ndef told(image):\n    return image, {'mean': image.mean(), 'best': [np.nan]}\n"
    result = applied(manager, code)
    result.read(0, slice(0, 9), slice(0, 9))
    assert result.summary()["metadata"] == {"mean": float(IMAGE.mean()), "best": ["nan"]}


BAD = {
    "shape": ("image[:, ::2] if image.shape[1] > 64 else image", "returned an image of shape"),
    "nan": ("image / 0.0 if image.shape[1] > 64 else image / 1.0", "NaN or infinite"),
    "error": ("1 / 0 if image.shape[1] > 64 else image", "failed in line 3.*ZeroDivisionError"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_result_is_refused_and_says_why(manager, kind):
    expression, message = BAD[kind]
    expression = expression.replace("64", "690")
    code = f"@numpy\ndef bad(image):\n    return {expression}\n"
    with (
        np.errstate(all="ignore"),
        pytest.raises(CustomStageError, match=f"extra stage bad .*{message}"),
    ):
        applied(manager, code).read(0, slice(0, 9), slice(0, 9))


def test_the_memory_of_a_function_without_halo_grows_with_the_image(manager):
    windowed = declared(manager, SMOOTH).resolved
    assert working_bytes(windowed, (30_000, 25_000)) < 0.5e9
    whole = declared(manager, _whole_code()).resolved
    assert working_bytes(whole, (30_000, 25_000)) > 20e9


# -- functions that live in a script


def plain(image, sigma: float = 1.0):
    """Do nothing."""
    return image * np.float32(sigma)


SECRET = 3


def surrounded(image):
    return image * SECRET


def test_a_plain_function_travels_by_its_source():
    function = function_of(plain)
    assert (function.name, function.kind, function.memory_type) == ("plain", "image", "numpy")
    assert function.doc == "Do nothing."
    assert [(p.name, p.default) for p in function.parameters] == [("sigma", 1.0)]
    np.testing.assert_array_equal(function.load()(np.ones((1, 2, 2)), sigma=3.0), 3.0)


@memory.numpy(halo=3)
def foreign(image):
    return image


@numpy(halo=3)
def marked(image):
    return image


def test_a_memory_type_travels_with_the_function():
    loaded = function_of(marked).load()
    assert loaded.memory_contract.halo == 3
    with pytest.raises(CustomFunctionError, match="the decorator of foreign is not understood"):
        function_of(foreign)


def test_a_function_that_uses_its_surroundings_is_refused():
    with pytest.raises(CustomFunctionError, match="surrounded uses SECRET from outside of itself"):
        function_of(surrounded)
    with pytest.raises(CustomFunctionError, match="the source of .* cannot be found"):
        function_of(len)


def test_after_stage_1_each_image_of_a_pair_keeps_its_own_size(manager):
    manager.register_from_code("@numpy\ndef up(image):\n    return image + np.float32(1)\n")
    resolved = resolve(FunctionStep("up", {}, 1, "pair"), manager.get)
    stage = FunctionStage(resolved, 0)
    canvas = np.zeros((120, 130), np.uint8)
    shapes = {"post": (100, 90), "pre": (80, 110)}
    record = Record("s", "d", 1, "padded", "post", "", "", 1, {}, {})
    facts = {"offset": [10, 10], "canvas_shape": [120, 130]}
    facts |= {f"{role}_shape": list(shape) for role, shape in shapes.items()}
    inputs = StageInputs(
        params={},
        rasters={(1, role): ArrayRaster(canvas) for role in shapes},
        records={1: replace(record, facts=facts)},
        pair=None,
        threads=1,
    )
    for product, (ny, nx) in zip(stage.process(inputs).products, shapes.values(), strict=True):
        whole = product.source.read_planes(slice(0, 120), slice(0, 130))["data"]
        assert whole.sum() == ny * nx
        assert whole[10 : 10 + ny, 10 : 10 + nx].all()
