"""Memory types: where an image goes, that its values stay, and what is said when they do not.

NumPy and JAX are used for real. PyTorch, where it is installed, by
``python -m pytest tests/custom/test_memory_types.py -k torch``; the others by stand-ins.
"""

import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.custom import memory
from exo2micro.custom.memory import MEMORY_TYPES, cast, convert, run_function
from exo2micro.errors import FrameworkMissingError, MemoryTypeError

NAMES = ("numpy", "cupy", "torch", "tensorflow", "jax", "pyclesperanto")
IMAGE = np.arange(24, dtype=np.float32).reshape(1, 4, 6)


@pytest.fixture
def stand_in(monkeypatch):
    """Return a maker of frameworks that hold NumPy arrays in a class of their own."""

    def make(name: str) -> types.ModuleType:
        module = types.ModuleType(name)

        class Array:
            __module__ = f"{name}.core"

            def __init__(self, values):
                self.values = np.array(values)
                self.shape = self.values.shape
                self.dtype = self.values.dtype

            def __getitem__(self, index):
                return Array(self.values[index])

            def __mul__(self, other):
                return Array(self.values * other)

        module.Array = Array
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


def test_the_types_are_known_and_each_has_its_decorators():
    assert set(NAMES) <= set(memory.AVAILABLE_MEMORY_TYPES)
    decorators = memory.memory_decorators()
    for name in NAMES:
        assert getattr(memory, name) == getattr(memory, f"{name}_memory") == decorators[name]


def test_a_decorated_function_names_its_types_and_stays_itself():
    @memory.numpy(output_type="jax", halo=3)
    def double(image, factor: float = 2.0):
        """Double it."""
        return image * factor

    assert (double.input_memory_type, double.output_memory_type) == ("numpy", "jax")
    assert double.backend == "numpy"
    assert double.__doc__ == "Double it."
    assert memory.contract_of(double).halo_px({"factor": 2.0}) == 3


def test_a_halo_may_depend_on_the_parameters():
    @memory.numpy(halo=lambda sigma: 4 * sigma)
    def smooth(image, sigma: float = 2.0):
        return image

    assert memory.contract_of(smooth).halo_px({"sigma": 1.6}) == 7
    with pytest.raises(MemoryTypeError, match=r"halo must be a number of pixels >= 0, got -4"):
        memory.contract_of(smooth).halo_px({"sigma": -1})
    assert memory.contract_of(lambda image: image).halo_px({}) is None


def test_decorating_imports_no_framework():
    code = (
        "from exo2micro.custom import memory as m\n"
        "@m.torch\ndef f(image): return image\n"
        "@m.jax(device='cpu')\ndef g(image): return image\n"
        "m.AVAILABLE_MEMORY_TYPES\n"
        "import sys; print(*{'torch', 'jax', 'cupy', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_jax_gets_its_own_array_and_returns_one():
    import jax

    seen = []

    @memory.jax
    def triple(image):
        seen.append(image)
        return image * 3

    result = triple(IMAGE)
    assert isinstance(seen[0], jax.Array)
    assert isinstance(result, jax.Array)
    np.testing.assert_array_equal(convert(result, "numpy"), IMAGE * 3)


def test_jax_results_come_as_numpy_where_that_is_asked():
    @memory.jax(output_type="numpy", device="cpu:0")
    def same(image):
        return image

    result = same(IMAGE)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, IMAGE)


def test_a_narrower_type_of_the_framework_is_reported():
    outcome = run_function(memory.jax(lambda image: image), IMAGE.astype(np.float64))
    assert outcome.remarks == ("jax holds float64 pixels as float32",)


@pytest.mark.parametrize(
    ("name", "device"), [("jax", "tpu:0"), ("jax", "cpu:99"), ("numpy", "gpu")]
)
def test_an_unknown_device_is_refused_by_name(name, device):
    with pytest.raises(MemoryTypeError, match=f"{name} cannot use the device '{device}'"):
        convert(IMAGE, name, device)


def test_the_device_can_be_chosen_in_the_call():
    function = memory.jax(lambda image: image)
    assert {d.platform for d in function(IMAGE, device="cpu").devices()} == {"cpu"}
    with pytest.raises(MemoryTypeError, match="cannot use the device 'cpu:99'"):
        function(IMAGE, device="cpu:99")


def test_an_option_that_the_function_has_itself_is_its_own():
    @memory.numpy
    def named(image, device="mine"):
        return image, {"device": device}

    assert named(IMAGE, device="yours")[1] == {"device": "yours"}


def test_slices_are_given_one_plane_at_a_time():
    shapes = []

    @memory.numpy(slice_by_slice=True)
    def flip(plane):
        shapes.append(plane.shape)
        return plane[::-1], {"sum": float(plane.sum())}

    stack = np.stack([IMAGE[0], IMAGE[0] + 100])
    outcome = run_function(flip, stack)
    assert shapes == [(4, 6), (4, 6)]
    np.testing.assert_array_equal(outcome.image, stack[:, ::-1])
    assert outcome.metadata == {
        "plane 0": {"sum": float(stack[0].sum())},
        "plane 1": {"sum": float(stack[1].sum())},
    }


def test_values_are_never_rescaled():
    @memory.numpy
    def to_float(image):
        return image / 7.0

    image = np.array([[[0, 3, 255]]], np.uint8)
    np.testing.assert_array_equal(to_float(image), image / 7.0)
    assert to_float(image).dtype == np.float64


def test_a_cast_that_is_asked_for_is_rounded_clipped_and_reported(caplog):
    @memory.numpy(dtype="input")
    def stretch(image):
        return image * 1.5 - 1

    image = np.array([[[0, 1, 2, 200]]], np.uint8)
    result = stretch(image)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, [[[0, 0, 2, 255]]])
    assert "stretch: cast from float64 to uint8: 1 pixels rounded, 2 clipped" in caplog.text


def test_nan_cannot_be_cast_to_whole_numbers():
    with pytest.raises(MemoryTypeError, match="float32 values that are NaN or infinite"):
        cast(np.array([np.nan], np.float32), "uint8")
    with pytest.raises(MemoryTypeError, match="dtype must be a type of real numbers"):
        cast(IMAGE, "complex64")


@given(
    st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20),
    st.sampled_from(["uint8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float16"]),
)
def test_a_cast_gives_the_nearest_value_that_the_type_has(values, dtype):
    array = np.array(values)
    result, report = cast(array, dtype)
    assert result.dtype.name == report.after == dtype
    if np.dtype(dtype).kind == "f":
        largest = float(np.finfo(dtype).max)
        np.testing.assert_array_equal(result, np.clip(array, -largest, largest).astype(dtype))
        return
    limits = np.iinfo(dtype)
    for value, got in zip(values, result.tolist(), strict=True):
        nearest = min(max(round(value), limits.min), limits.max)
        assert abs(got - nearest) <= 2**11 if dtype in ("int64", "uint64") else got == nearest


def test_an_unknown_type_or_array_is_refused():
    with pytest.raises(MemoryTypeError, match=r"memory type must be one of cupy, .*, got 'tourch'"):
        memory.get_template_for_memory_type("tourch")
    with pytest.raises(MemoryTypeError, match=r"got builtins.list"):
        convert([1, 2], "numpy")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "numpy"])
def test_a_missing_framework_names_the_extra_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, MEMORY_TYPES[name].module, None)
    with pytest.raises(FrameworkMissingError, match=rf"pip install 'exo2micro\[{name}\]'"):
        getattr(memory, name)(lambda image: image)(IMAGE)


def test_every_extra_is_in_the_project_file():
    import tomllib
    from pathlib import Path

    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert {MEMORY_TYPES[name].extra for name in NAMES} - {""} <= set(extras)


def test_cupy_by_a_stand_in(stand_in):
    cupy, used = stand_in("cupy"), []

    class Device:
        def __init__(self, number):
            used.append(number)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    cupy.cuda = types.SimpleNamespace(Device=Device)
    cupy.asarray, cupy.asnumpy = cupy.Array, lambda array: array.values
    function = memory.cupy(output_type="numpy")(lambda image: image * 2)
    np.testing.assert_array_equal(function(IMAGE, device="cuda:1"), IMAGE * 2)
    assert used == [1]
    with pytest.raises(MemoryTypeError, match="devices are called cuda:0"):
        function(IMAGE, device="metal")


def test_tensorflow_by_a_stand_in(stand_in):
    tensorflow = stand_in("tensorflow")
    tensorflow.Array.numpy = lambda self: self.values
    tensorflow.convert_to_tensor = tensorflow.Array
    function = memory.tensorflow(output_type="numpy", slice_by_slice=True)(lambda plane: plane * 2)
    np.testing.assert_array_equal(function(IMAGE), IMAGE * 2)


def test_pyclesperanto_by_a_stand_in(stand_in):
    cle = stand_in("pyclesperanto")
    cle.push, cle.pull = cle.Array, lambda array: array.values
    function = memory.pyclesperanto(output_type="numpy")(lambda image: image * 2)
    np.testing.assert_array_equal(function(IMAGE), IMAGE * 2)


def test_torch_by_a_stand_in(stand_in):
    torch = stand_in("torch")
    placed = []

    def tensor(values, device=None):
        placed.append(device)
        if device == "cuda:7":
            message = "no such device"
            raise RuntimeError(message)
        return torch.Array(values)

    torch.tensor = tensor
    torch.Array.detach = torch.Array.cpu = lambda self: self
    torch.Array.numpy = lambda self: self.values
    function = memory.torch(output_type="numpy")(lambda image: image * 2)
    np.testing.assert_array_equal(function(IMAGE, device="cpu"), IMAGE * 2)
    assert placed == ["cpu"]
    with pytest.raises(MemoryTypeError, match="torch cannot use the device 'cuda:7': no such"):
        function(IMAGE, device="cuda:7")


def test_two_frameworks_hand_over_by_dlpack(stand_in):
    cupy = stand_in("cupy")
    cupy.from_dlpack = lambda array: cupy.Array(np.asarray(array))
    jax_array = convert(IMAGE, "jax")
    handed = convert(jax_array, "cupy")
    assert isinstance(handed, cupy.Array)
    np.testing.assert_array_equal(handed.values, IMAGE)


def test_torch_for_real():
    torch = pytest.importorskip("torch")
    function = memory.torch(device="cpu")(lambda image: image * 2)
    result = function(IMAGE)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(convert(result, "numpy"), IMAGE * 2)
    np.testing.assert_array_equal(convert(convert(result, "jax"), "numpy"), IMAGE * 2)
    with pytest.raises(MemoryTypeError, match="torch cannot use the device 'cuda:99'"):
        function(IMAGE, device="cuda:99")


def run_template(name: str) -> np.ndarray:
    """Run a template's source as the store does and call its function."""
    space = {"np": np} | memory.memory_decorators()
    exec(compile(memory.get_template_for_memory_type(name), "<template>", "exec"), space)
    return np.asarray(convert(space["my_function"](IMAGE), "numpy"))


@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "tensorflow", "cupy", "pyclesperanto"])
def test_each_template_runs(name):
    if name not in ("numpy", "jax"):
        pytest.importorskip(name)
    result = run_template(name)
    assert result.shape == IMAGE.shape
    assert abs(result.mean() - IMAGE.mean()) < 1
    assert result.std() < IMAGE.std()


def test_the_default_template_is_for_numpy():
    assert memory.get_default_template() == memory.get_template_for_memory_type("numpy")


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_each_template_passes_validation_and_is_kept(name, manager):
    source = memory.get_template_for_memory_type(name)
    function = manager.add_function("my_function", source)
    assert function.input_memory_type == name
    assert manager.get("my_function").memory_type == name


@pytest.mark.parametrize("name", ["torch", "tensorflow", "cupy", "pyclesperanto"])
def test_other_templates_are_valid_but_for_the_framework(name):
    from exo2micro.custom import validate_code

    result = validate_code(memory.get_template_for_memory_type(name), strict=True)
    missing = [e for e in result.errors if "which cannot be imported" not in str(e)]
    assert missing == []
    assert result.function_names == ("my_function",)
