"""Validation of custom functions: every stage, with line and text."""

import inspect
import sys
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.custom import (
    AVAILABLE_MEMORY_TYPES,
    ValidationError,
    check_name,
    get_default_template,
    get_template_for_kind,
    get_template_for_memory_type,
    validate_code,
    validate_decorator,
    validate_function,
    validate_imports,
    validate_syntax,
)
from exo2micro.custom.declaration import read_source
from exo2micro.custom.rules import FORBIDDEN_MODULES
from exo2micro.errors import CustomFunctionError, Exo2microError

GOOD = """\
@numpy
def f(image, factor=2.0):
    return image * factor
"""


def image_function(body, signature="image", first="@numpy"):
    return f"{first}\ndef f({signature}):\n    {body}\n    return image\n"


def only_error(code, **options):
    result = validate_code(code, **options)
    assert not result.is_valid
    assert len(result.errors) == 1, result.errors
    assert result.functions == ()
    return result.errors[0]


def test_a_valid_source():
    result = validate_code(GOOD)
    assert result.is_valid
    assert (result.errors, result.function_names) == ((), ("f",))
    assert result.functions[0].code == GOOD
    result.raise_for_errors()


def test_results_and_errors_cannot_be_changed():
    result = validate_code("def f(:")
    with pytest.raises(AttributeError):
        result.is_valid = True
    error = result.errors[0]
    for name in ("message", "line_number", "code_snippet"):
        with pytest.raises(AttributeError):
            setattr(error, name, 1)


def test_an_error_is_typed_and_says_line_and_text():
    error = only_error("x = 1\n\ndef f(:\n    pass")
    assert isinstance(error, Exo2microError)
    assert isinstance(error, ValueError)
    assert (error.line_number, error.code_snippet) == (3, "def f(:")
    assert "line 3: not valid Python" in str(error)


def test_errors_of_one_stage_are_all_named():
    result = validate_code(f"import os\n{GOOD}import socket\n")
    assert [(e.line_number, e.code_snippet) for e in result.errors] == [
        (1, "import os"),
        (5, "import socket"),
    ]
    with pytest.raises(ValidationError, match="'os'") as caught:
        result.raise_for_errors()
    assert "socket" in caught.value.__notes__[0]


# -- syntax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["def f(:", "x = (", "  indented", "a\0b", "x = '"])
def test_syntax_errors(code):
    with pytest.raises(ValidationError, match="not valid Python"):
        validate_syntax(code)


def test_a_source_that_is_data_is_refused():
    with pytest.raises(ValidationError, match="1000000 at most"):
        validate_syntax("x = 1\n" * 200_000)


def test_deep_nesting_is_an_error_and_no_crash():
    assert not validate_code("x = " + "(" * 5000 + ")" * 5000).is_valid


# -- imports and dynamic access -------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(FORBIDDEN_MODULES))
def test_modules_of_the_system_are_refused(module):
    for line in (f"import {module}", f"import {module}.x as y", f"from {module} import x"):
        with pytest.raises(ValidationError, match=f"import of '{module}") as caught:
            validate_imports(image_function(line))
        assert caught.value.line_number == 3
        assert caught.value.code_snippet == line


def test_every_module_that_the_rules_promise_is_refused():
    promised = (
        "os sys subprocess socket shutil ctypes importlib builtins pickle multiprocessing urllib "
        "requests http pathlib tempfile"
    )
    assert set(promised.split()) <= FORBIDDEN_MODULES


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "exec('1')",
        "compile('1', '', 'eval')",
        "open('x')",
        "__import__('os')",
        "e = eval",
        "globals()",
        "__builtins__",
        "image.__class__.__bases__",
        "().__class__.__base__.__subclasses__()",
        "image.__dict__",
        "getattr(image, '__class__')",
        "getattr(image, 'sha' + 'pe')",
        "setattr(image, name, 1)",
        "np.os.remove('x')",
        "np.ctypeslib.ctypes",
        "from . import x",
        "from .. import x",
        "from .os import x",
        "from scipy import os",
        "from numpy import __builtins__",
        "[eval for x in image]",
        "lambda: exec",
    ],
)
def test_dynamic_access_is_refused(line):
    with pytest.raises(ValidationError) as caught:
        validate_imports(image_function(line))
    assert (caught.value.line_number, caught.value.code_snippet) == (3, line)


@pytest.mark.parametrize(
    "line",
    [
        "import scipy.ndimage as ndi",
        "from skimage.filters import gaussian",
        "from scipy import io",
        "import math, itertools",
        "getattr(image, 'shape')",
        "name = __name__",
        "input = 3; input + 1",
    ],
)
def test_what_images_need_is_allowed(line):
    validate_imports(image_function(line))


def test_a_class_may_have_an_initialiser():
    validate_imports("class A:\n    def __init__(self):\n        super().__init__()\n" + GOOD)


def test_only_a_reader_opens_files_and_only_to_read():
    reader = "@reader(suffixes=('.dat',))\ndef f(path, page=None):\n    return open(path{})\n"
    for mode in (", 'rb'", ", mode='r'", ""):
        validate_imports(reader.format(mode))
    for mode in (", 'w'", ", mode=chosen"):
        with pytest.raises(ValidationError, match="'open'"):
            validate_imports(reader.format(mode))


# -- decorator and signature ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        ("x = 1", 1, "no function of this source has a decorator"),
        ("\ndef f(image):\n    return image", 2, "no function of this source has a decorator"),
        ("import numpy\n@numpy\ndef f(image): ...", 2, "write @numpy_memory"),
        ("@numpy\nasync def f(image): ...", 2, "asynchronous"),
        ("@numpy\n@torch\ndef f(image): ...", 2, "keep one of them"),
        ("@numpy\ndef f(): ...", 2, "first parameters of 'f' must be image"),
        ("@numpy\ndef f(x): ...", 2, "must be image"),
        ("@numpy\ndef f(*, image): ...", 2, "must be image"),
        ("@numpy\ndef f(image, *rest): ...", 2, r"\*rest is refused"),
        ("@numpy\ndef f(image, **rest): ...", 2, r"\*\*rest is refused"),
        ("@numpy\ndef f(image, sigma): ...", 2, "'sigma' needs a default"),
        ("@numpy\ndef f(image, *, sigma): ...", 2, "'sigma' needs a default"),
        ("@numpy\ndef f(image, a=np.pi): ...", 2, "must be written out"),
        ("@numpy\ndef f(image, a=[[1]]): ...", 2, "must be written out"),
        ("@numpy\ndef f(image, a={}): ...", 2, "must be written out"),
        ("@numpy\ndef print(image): ...", 2, "taken by Python"),
        ("@numpy\ndef torch(image): ...", 2, "taken by Python or by exo2micro"),
        ("@numpy\ndef _f(image): ...", 2, "begins with a letter"),
        ("@numpy\ndef größe(image): ...", 2, "letters a-z"),
        (f"{GOOD}{GOOD}", 5, "defined twice"),
        ("@diagnostic\ndef f(post_im, pre_im, *, sample, dye): ...", 1, "what its picture shows"),
        ("@diagnostic(caption='x')\ndef f(post_im, *, sample, dye): ...", 2, "post_im, pre_im"),
        ("@diagnostic(caption='x')\ndef f(post_im, pre_im, *, sample): ...", 2, "take dye"),
        ("@diagnostic(caption='x')\ndef F(post_im, pre_im, *, sample, dye): ...", 2, "call it 'f'"),
        (
            "@diagnostic(caption='x')\ndef excess_heatmap(post_im, pre_im, *, sample, dye): ...",
            2,
            "diagnostic 'excess_heatmap' of its own",
        ),
        ("@scale_estimator\ndef f(pre, post): ...", 2, "must be post, pre"),
        ("@scale_estimator\ndef moffat(post, pre): ...", 2, "scale estimator 'moffat' of its own"),
        ("@reader\ndef f(path): ...", 1, "which files it reads"),
        ("@reader(suffixes=('DAT',))\ndef f(path): ...", 1, "which files it reads"),
    ],
)
def test_rules_for_decorators_and_signatures(code, line, words):
    error = only_error(code)
    assert error.line_number == line
    with pytest.raises(ValidationError, match=words):
        raise error
    with pytest.raises(ValidationError, match=words):
        validate_decorator(code)


@pytest.mark.parametrize(
    "first",
    [
        "@numpy_memory",
        "@numpy(dtype='input')",
        "from exo2micro.custom.memory import numpy as on_numpy\n@on_numpy",
        "import exo2micro.custom.memory as memory\n@memory.numpy",
        "import exo2micro.custom.memory\n@exo2micro.custom.memory.numpy_memory()",
        "import numpy\n@numpy_memory",
    ],
)
def test_a_decorator_by_any_name(first):
    result = validate_code(image_function("pass", first=first))
    assert result.is_valid, result.errors
    assert result.functions[0].memory_type == "numpy"


def test_the_strict_profile_asks_for_annotations():
    assert validate_decorator(GOOD) == ("f",)
    errors = validate_code(GOOD, strict=True).errors
    assert [e.message.split(":")[0] for e in errors] == [
        "annotate image with np.ndarray",
        "annotate what the function returns",
    ]
    annotated = GOOD.replace("image, factor=2.0)", "image: np.ndarray, factor=2.0) -> np.ndarray")
    assert validate_decorator(annotated, strict=True) == ("f",)
    wrong = annotated.replace("image: np.ndarray", "image: int")
    with pytest.raises(ValidationError, match="got int"):
        validate_decorator(wrong, strict=True)


def test_undefined_names_are_warned_about_with_the_line():
    result = validate_code(image_function("if False:\n        gauss(image) + sigmaa"))
    assert result.is_valid
    assert result.warnings == (
        "line 4: the name 'gauss' is defined nowhere",
        "line 4: the name 'sigmaa' is defined nowhere",
    )


def test_defined_names_are_not_warned_about():
    code = """
import math
CONSTANT = [x for x in range(3)]

def helper(n):
    global made
    made = n
    def inner():
        return n + CONSTANT[0]
    return inner()

@numpy
def f(image, a=1.0):
    try:
        helper(a)
    except ValueError as error:
        print(error, __name__)
    return np.stack([plane * math.e * made for plane in image]).astype(image.dtype)
"""
    assert validate_code(code).warnings == ()


# -- trial run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("image += 1", 2, "changes the image"),
        ("return image[:, ::2]", 2, r"must return an image of the shape .*\(1, 48, 64\)"),
        ("return image.transpose(0, 2, 1)", 2, "must return an image of the shape"),
        ("return image * np.nan", 2, "3072 pixels that are NaN"),
        ("return None", 2, "must return an image"),
        ("return image + 1j", 2, "real numbers"),
        ("return image, 3", 2, "must return an image"),
        ("raise ValueError('no')", 3, "ValueError: no"),
        ("1 / 0", 3, "ZeroDivisionError"),
        ("raise SystemExit(3)", 3, "SystemExit"),
    ],
)
def test_what_the_trial_run_refuses(body, line, words):
    error = only_error(image_function(body))
    assert error.line_number == line
    with pytest.raises(ValidationError, match=words):
        raise error


def test_a_source_that_fails_when_executed_names_its_line():
    error = only_error("A = 1\nB = A / 0\n" + GOOD)
    assert (error.line_number, error.code_snippet) == (2, "B = A / 0")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return image > 50", "truth values"),
        ("return image.astype(np.float64)", "is given float32 and returns float64"),
        ("return image / np.float32(image.max())", "a function that rescales images"),
        ("return image + np.random.random()", "another result each time"),
        ("import warnings; warnings.warn('careful')", "UserWarning: careful"),
        ("assert image.dtype.kind == 'f'", "fails with whole numbers"),
    ],
)
def test_what_the_trial_run_warns_about(body, words):
    result = validate_code(image_function(body))
    assert result.is_valid, result.errors
    assert any(words in warning for warning in result.warnings), result.warnings


def test_a_clean_function_causes_no_warning():
    assert validate_code(image_function("pass")).warnings == ()


def test_an_image_with_metadata_and_a_function_of_a_pair_are_accepted():
    assert validate_code(image_function("return image, {'n': 3}")).is_valid
    assert validate_code(image_function("return np.stack([image[1], image[0]])")).is_valid
    assert validate_code(
        image_function("return image", first="@numpy(slice_by_slice=True)")
    ).is_valid


def test_a_diagnostic_is_tried_out():
    code = get_template_for_kind("diagnostic")
    assert validate_code(code).is_valid
    error = only_error(code.replace("return figure", "return axes"))
    assert "must return a matplotlib Figure" in error.message
    error = only_error(code.replace("    figure = ", "    post_im *= 2\n    figure = "))
    assert "changes the images" in error.message


def test_pyplot_figures_do_not_pile_up():
    code = get_template_for_kind("diagnostic").replace(
        "    figure = Figure()", "    import matplotlib.pyplot as plt\n    figure = plt.figure()"
    )
    assert validate_code(code).is_valid
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("post / pre", "one number"),
        ("-1.0", "finite scale > 0"),
        ("float('nan')", "finite scale > 0"),
        ("True", "one number"),
        ("np.sort(post, out=None) if post.sort() else 1.8", "changes the arrays"),
    ],
)
def test_a_scale_estimator_is_tried_out(returned, words):
    code = f"@scale_estimator\ndef f(post, pre):\n    return {returned}\n"
    assert words in only_error(code).message


def test_a_scale_that_is_far_off_is_warned_about():
    result = validate_code("@scale_estimator\ndef f(post, pre):\n    return 1.0\n")
    assert result.is_valid
    assert "says 1 for a pair of ratio 1.8" in result.warnings[0]


def test_validate_function_runs_a_function():
    function = validate_code(GOOD).functions[0]
    remark = "f is given uint16 and returns float64; nothing is rescaled or cast unasked"
    assert validate_function(function) == [remark]


# -- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_templates_of_memory_types_pass_and_run(name):
    assert name in AVAILABLE_MEMORY_TYPES
    code = get_template_for_memory_type(name)
    result = validate_code(code, strict=True)
    assert result.is_valid, result.errors
    assert not any("not tried out" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", AVAILABLE_MEMORY_TYPES)
def test_templates_of_all_memory_types_are_valid(name):
    assert validate_code(get_template_for_memory_type(name), strict=True).is_valid


@pytest.mark.parametrize("kind", ["image", "diagnostic", "scale_estimator", "reader"])
def test_templates_of_all_kinds_pass_and_take_a_name(kind):
    result = validate_code(get_template_for_kind(kind, "chosen_name"), strict=True)
    assert result.is_valid, result.errors
    assert result.function_names == ("chosen_name",)
    assert result.functions[0].kind == kind
    assert get_template_for_kind("image") == get_default_template()


def test_the_template_of_a_reader_reads_what_it_says(tmp_path):
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    path = tmp_path / "x.dat"
    np.concatenate([np.array(image.shape, np.uint16), image.ravel()]).tofile(path)
    function = validate_code(get_template_for_kind("reader")).functions[0]
    np.testing.assert_array_equal(function.load()(path), image)


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(CustomFunctionError, match="image, diagnostic"):
        get_template_for_kind("filter")


# -- loading --------------------------------------------------------------------------------------


def test_a_loaded_function_belongs_to_the_package_and_shows_its_source():
    function = validate_code("\n\n" + GOOD).functions[0]
    loaded = function.load()
    assert loaded.__module__.startswith("exo2micro.")
    assert loaded.__module__ not in sys.modules
    assert inspect.getsource(loaded.__wrapped__) == GOOD
    assert function.load() is loaded


def test_tracebacks_show_the_users_lines():
    body = "return image / (1 // (n < LIMIT))"
    code = f"# first line\n\nLIMIT = 3\n\n@numpy\ndef f(image, n=0):\n    {body}\n"
    loaded = validate_code(code).functions[0].load()
    with pytest.raises(ZeroDivisionError) as caught:
        loaded(np.ones((1, 2, 2)), n=5)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (7, "return image / (1 // (n < LIMIT))")


def test_the_second_function_of_a_source_keeps_its_line_numbers():
    code = f"{GOOD}\n\n@numpy\ndef g(image):\n    raise RuntimeError\n"
    functions = {d.name: d for d in read_source(code).decorated.values()}
    function = functions["g"].as_function()
    assert "def f" not in function.code
    with pytest.raises(RuntimeError) as caught:
        function.load()(np.ones((1, 2, 2)))
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (8, "raise RuntimeError")


# -- names ----------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_a_name_that_is_accepted_is_a_safe_file_name(name):
    try:
        check_name(name, "image")
    except CustomFunctionError as error:
        assert repr(name) in str(error)  # noqa: PT017 - any text may come
        return
    assert name.isidentifier()
    assert name.isascii()
    assert not name.startswith("_")
    assert len(name) <= 64


@given(st.from_regex(r"[a-z][a-z0-9_]{0,30}[0-9]z", fullmatch=True))
def test_plain_names_are_accepted_and_differ_in_more_than_capitals(name):
    check_name(name, "image")
    check_name(name, "image", [name])
    with pytest.raises(CustomFunctionError, match="capitals only"):
        check_name(name, "image", [name.upper()])


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "a\\b", "", ".", "..", "a.py", "a b", "con", "NUL", "class", "1a", "ä", "a\n"],
)
def test_paths_and_the_like_are_no_names(name):
    with pytest.raises(CustomFunctionError, match="consists of letters"):
        check_name(name, "image")


@pytest.mark.parametrize(
    "name", ["print", "np", "numpy", "torch_memory", "diagnostic", "ValueError"]
)
def test_names_of_python_and_of_the_package_are_taken(name):
    with pytest.raises(CustomFunctionError, match="taken by Python"):
        check_name(name, "image")
