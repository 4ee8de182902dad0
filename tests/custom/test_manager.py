"""The manager: atomic registration, look-ups, signals, versions, bundles, isolation."""

import logging
import pickle
import subprocess
import sys
import traceback
import zipfile

import joblib
import numpy as np
import pytest

import exo2micro
from exo2micro.custom import (
    CustomFunctionManager,
    ValidationError,
    default_manager,
    functions_changed,
    get_function,
    register_function,
)
from exo2micro.custom.isolation import Limits
from exo2micro.custom.memory import numpy_memory
from exo2micro.errors import CustomFunctionError, IsolationError, UnknownFunctionError

IMAGE = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def source(name, factor=1, annotated=False):
    signature = "(image: np.ndarray) -> np.ndarray" if annotated else "(image)"
    return f"@numpy\ndef {name}{signature}:\n    return image * {factor}\n"


PAIR = source("first", 2) + "\n" + source("second", 3)
BROKEN = source("first", 5) + "\n@numpy\ndef second(image):\n    return image[0]\n"


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def names_of(manager):
    return [info.name for info in manager.list_custom_functions()]


# -- registering ----------------------------------------------------------------------------------


def test_all_functions_of_a_source_are_registered_and_run(manager, told):
    first, second = manager.register_from_code(PAIR)
    np.testing.assert_array_equal(first(IMAGE), IMAGE * 2)
    np.testing.assert_array_equal(second(IMAGE), IMAGE * 3)
    assert told == [("added", "first", first), ("added", "second", second), "changed"]
    assert names_of(CustomFunctionManager()) == ["first", "second"]
    assert (manager.storage_dir / "first.py").read_text() == source("first", 2)


def test_a_failing_second_function_leaves_the_first_unregistered(manager, told):
    with pytest.raises(ValidationError, match="must return an image of the shape") as caught:
        manager.register_from_code(BROKEN)
    assert caught.value.line_number == 6
    assert names_of(manager) == []
    assert not manager.storage_dir.exists()
    assert told == []


def test_a_failed_change_leaves_disk_memory_and_listeners_alone(manager, told):
    manager.register_from_code(PAIR)
    before, known = files_of(manager.storage_dir), manager.list_custom_functions()
    told.clear()
    for attempt in (
        lambda: manager.register_from_code(BROKEN),
        lambda: manager.update_custom_function("first", "def first(:"),
        lambda: manager.update_custom_function("first", source("other")),
        lambda: manager.add_function("first", source("first", 9)),
        lambda: manager.add_function("../x", source("x", annotated=True)),
        lambda: manager.register_from_code(source("FIRST")),
    ):
        with pytest.raises(CustomFunctionError):
            attempt()
        assert files_of(manager.storage_dir) == before
        assert manager.list_custom_functions() == known
        assert told == []
    np.testing.assert_array_equal(manager.get_function("first")(IMAGE), IMAGE * 2)


def test_functions_of_one_source_are_deleted_separately(manager, told):
    manager.register_from_code(PAIR)
    told.clear()
    assert manager.delete_custom_function("first") is True
    assert told == [("removed", "first"), "changed"]
    assert manager.delete_custom_function("first") is False
    assert len(told) == 2
    assert names_of(manager) == ["second"]
    np.testing.assert_array_equal(manager.get_function("second")(IMAGE), IMAGE * 3)
    with pytest.raises(UnknownFunctionError, match="did you mean second"):
        manager.remove_function("secnd")
    manager.remove_function("second")
    assert names_of(CustomFunctionManager()) == []


def test_a_function_takes_along_what_it_uses(manager):
    code = "K = 4\n\ndef helper(x):\n    return x * K\n\n" + source("first", 2)
    code += "\n@numpy\ndef second(image):\n    return helper(first(image))\n"
    manager.register_from_code(code)
    manager.remove_function("first")
    np.testing.assert_array_equal(manager.get_function("second")(IMAGE), IMAGE * 8)
    manager.update_custom_function("second", manager.get_function_code("second"))


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "", ".hidden", "x.py", "..\\x"])
def test_a_path_is_no_name(manager, tmp_path, name):
    outside = tmp_path / "x.py"
    outside.write_text("precious")
    manager.register_from_code(source("first"))
    for call in (
        manager.delete_custom_function,
        manager.remove_function,
        manager.history,
        manager.rollback,
        lambda name: manager.update_custom_function(name, source("first")),
        lambda name: manager.add_function(name, source("first")),
    ):
        with pytest.raises(CustomFunctionError, match="consists of letters"):
            call(name)
    assert outside.read_text() == "precious"
    assert names_of(manager) == ["first"]


def test_names_that_differ_in_capitals_clash(manager):
    manager.register_from_code(source("first"))
    with pytest.raises(CustomFunctionError, match="capitals only"):
        manager.register_from_code(source("First"))
    with pytest.raises(CustomFunctionError, match="capitals only"):
        manager.register_from_code(source("one") + source("One"))


def test_adding_is_strict_named_and_replaces(manager, told):
    with pytest.raises(ValidationError, match="annotate image"):
        manager.add_function("first", source("first"))
    with pytest.raises(CustomFunctionError, match="must define 'second'"):
        manager.add_function("second", source("first", annotated=True))
    both = source("first", annotated=True) + source("second", annotated=True)
    with pytest.raises(CustomFunctionError, match="register_from_code registers several"):
        manager.add_function("first", both)
    first = manager.add_function("first", source("first", 2, annotated=True))
    assert told == [("added", "first", first), "changed"]
    told.clear()
    again = manager.add_function("first", source("first", 3, annotated=True))
    assert told == [("updated", "first", again), "changed"]


def test_the_same_source_again_is_no_change(manager, told):
    manager.register_from_code(PAIR)
    before = files_of(manager.storage_dir)
    told.clear()
    manager.register_from_code(PAIR.replace("\n", "\r\n"))
    assert told == []
    assert files_of(manager.storage_dir) == before


def test_updating_an_unknown_function_names_near_ones(manager):
    manager.register_from_code(source("denoise"))
    with pytest.raises(UnknownFunctionError, match="did you mean denoise"):
        manager.update_custom_function("denoiser", source("denoiser"))


def test_functions_of_this_process_only(manager, told):
    (first,) = manager.register_from_code(source("first", 2), persist=False)
    assert told == [("added", "first", first), "changed"]
    assert not manager.storage_dir.exists()
    assert manager.list_custom_functions()[0].file_path is None
    assert default_manager().get("first").code == source("first", 2)
    manager.update_custom_function("first", source("first", 4))
    assert manager.get("first").code == source("first", 4)
    assert not manager.storage_dir.exists()
    manager.register_from_code(source("second"))
    with pytest.raises(CustomFunctionError, match="is in the store"):
        manager.register_from_code(source("second", 2), persist=False)
    manager.register_from_code(source("first", 3))
    assert (manager.storage_dir / "first.py").exists()
    manager.remove_function("first")
    assert names_of(manager) == ["second"]


# -- looking up -----------------------------------------------------------------------------------


def test_what_is_known_of_a_function(manager):
    code = '''@numpy(halo=3)
def smooth(image: np.ndarray, *, sigma: float = 2.0, mode="near", axes=(1, 2)) -> np.ndarray:
    """Smooth an image.

    Much.
    """
    return image
'''
    manager.add_function("smooth", code)
    (info,) = manager.list_custom_functions()
    assert (info.name, info.kind, info.memory_type) == ("smooth", "image", "numpy")
    assert info.file_path == manager.storage_dir / "smooth.py"
    assert info.doc == "Smooth an image.\n\nMuch."
    assert [str(p) for p in info.parameters] == [
        "sigma: float = 2.0",
        "mode='near'",
        "axes=(1, 2)",
    ]
    assert info.sha256 == manager.get("smooth").sha256
    assert manager.get("smooth").options == {"halo": 3}
    assert manager.get("custom:smooth") is manager.get("smooth")
    assert manager.get_function("custom:smooth") is manager.get_function("smooth")
    with pytest.raises(AttributeError):
        info.name = "other"


def test_an_unknown_name_is_answered_with_near_ones(manager):
    manager.register_from_code(source("denoise"))
    for call in (manager.get, manager.get_function, manager.get_function_code):
        with pytest.raises(UnknownFunctionError, match="did you mean denoise") as caught:
            call("denose")
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, ValueError)


def test_one_broken_file_does_not_stop_the_rest(manager, caplog):
    manager.register_from_code(PAIR)
    (manager.storage_dir / "syntax.py").write_text("def syntax(:")
    (manager.storage_dir / "fails.py").write_text("1 / 0\n" + source("fails"))
    (manager.storage_dir / "other.py").write_text(source("another"))
    with caplog.at_level(logging.WARNING):
        assert manager.load_all_custom_functions() == 2
    report = manager.last_load_report
    assert report.loaded == ("first", "second")
    assert set(report.failed) == {"syntax", "fails", "other"}
    assert "ZeroDivisionError in line 1" in report.failed["fails"]
    assert "holds no decorated function 'other'" in report.failed["other"]
    assert len(caplog.records) == 3
    assert manager.load_all_functions() == 2


def test_function_objects_of_any_backend(folder):
    def twice(image):
        return image * 2

    assert register_function(twice, backend="mine") == "mine:twice"
    assert get_function("twice", backend="mine") is twice
    assert get_function("mine:twice") is twice
    with pytest.raises(UnknownFunctionError):
        get_function("twice")
    decorated = numpy_memory(twice)
    assert register_function(decorated) == "custom:twice"
    assert get_function("twice") is decorated
    assert get_function("custom:twice") is decorated
    (info,) = default_manager().list_custom_functions()
    assert (info.name, info.kind, info.memory_type, info.sha256) == ("twice", "image", "numpy", "")
    with pytest.raises(CustomFunctionError, match="registered as an object"):
        default_manager().get("twice")
    with pytest.raises(CustomFunctionError, match="consists of letters"):
        register_function(lambda image: image)
    default_manager().register_from_code(source("twice", 4))
    np.testing.assert_array_equal(get_function("twice")(IMAGE), IMAGE * 4)
    with pytest.raises(CustomFunctionError, match="with a source"):
        register_function(twice)


def test_the_manager_is_a_public_name_of_the_package():
    assert exo2micro.CustomFunctionManager is CustomFunctionManager


# -- signals --------------------------------------------------------------------------------------


def test_a_failing_listener_keeps_no_other_from_being_told(manager, caplog):
    heard = []
    manager.function_added.connect(lambda name: 1 / 0)
    manager.function_added.connect(lambda name: heard.append(name))

    def fails():
        raise SystemError

    functions_changed.connect(fails)
    try:
        manager.register_from_code(PAIR)
    finally:
        functions_changed.disconnect(fails)
    assert heard == ["first", "second"]
    assert names_of(manager) == ["first", "second"]
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "a listener of function_added failed",
        "a listener of function_added failed",
        "a listener of functions_changed failed",
    ]


def test_a_listener_may_change_functions(manager):
    heard = []

    def also(name):
        heard.append(name)
        if name == "first":
            manager.register_from_code(source("third"))

    manager.function_added.connect(also)
    manager.register_from_code(source("first"))
    assert heard == ["first", "third"]
    assert names_of(manager) == ["first", "third"]


def test_two_managers_of_one_folder_tell_the_global_signal_once(manager, told):
    other = CustomFunctionManager()
    assert names_of(other) == []
    heard = []
    other.function_added.connect(lambda name: heard.append(name))
    manager.register_from_code(source("first"))
    assert heard == []
    assert other.refresh() is True
    assert other.refresh() is False
    assert heard == ["first"]
    assert told.count("changed") == 1


def test_the_first_look_up_tells_nothing(manager, told):
    CustomFunctionManager(manager.storage_dir).register_from_code(PAIR)
    told.clear()
    assert names_of(manager) == ["first", "second"]
    assert told == []


# -- versions and bundles -------------------------------------------------------------------------


def test_history_and_rollback(manager, told):
    for factor in (1, 2, 3):
        manager.register_from_code(source("first", factor))
    assert [(v.number, v.code, v.is_current) for v in manager.history("first")] == [
        (1, source("first", 1), False),
        (2, source("first", 2), False),
        (3, source("first", 3), True),
    ]
    told.clear()
    manager.rollback("first")
    assert manager.get_function_code("first") == source("first", 2)
    assert [event[:2] for event in told[:1]] == [("updated", "first")]
    manager.rollback("first", 1)
    assert manager.get_function_code("first") == source("first", 1)
    assert len(manager.history("first")) == 5
    with pytest.raises(CustomFunctionError, match=r"earlier versions \[1, 2, 3, 4\], got 5"):
        manager.rollback("first", 5)
    manager.remove_function("first")
    assert not any(v.is_current for v in manager.history("first"))
    manager.rollback("first")
    assert manager.get_function_code("first") == source("first", 1)
    with pytest.raises(UnknownFunctionError):
        manager.history("second")


def test_a_bundle_carries_functions_to_another_store(manager, tmp_path, told):
    manager.register_from_code(PAIR)
    bundle = tmp_path / "bundle.zip"
    assert manager.export_bundle(bundle) == ["first", "second"]
    content = bundle.read_bytes()
    manager.export_bundle(bundle)
    assert bundle.read_bytes() == content
    other = CustomFunctionManager(tmp_path / "other")
    assert other.import_bundle(bundle) == ["first", "second"]
    assert other.get("first") == manager.get("first")
    assert other.import_bundle(bundle) == []
    other.update_custom_function("first", source("first", 7))
    with pytest.raises(CustomFunctionError, match="other versions of first; nothing was imported"):
        other.import_bundle(bundle)
    assert other.import_bundle(bundle, overwrite=True) == ["first"]
    assert other.get("first") == manager.get("first")
    manager.export_bundle(bundle, ["second"])
    assert CustomFunctionManager(tmp_path / "third").import_bundle(bundle) == ["second"]
    with pytest.raises(UnknownFunctionError):
        manager.export_bundle(bundle, ["thrid"])


def rewritten(bundle, change):
    """Write a bundle anew with changed entries."""
    with zipfile.ZipFile(bundle) as archive:
        entries = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, text in change(entries).items():
            archive.writestr(name, text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e | {"first.py": source("first", 66)}, "does not have the hash"),
        (lambda e: {n: t for n, t in e.items() if n != "first.py"}, "no bundle"),
        (lambda e: {n: t for n, t in e.items() if n != "manifest.json"}, "no bundle"),
        (lambda e: e | {"manifest.json": "[]"}, "no bundle"),
        (lambda e: e | {"manifest.json": '{"format": 99}'}, "bundle format 99"),
        (
            lambda e: {n: t.replace('"first"', '"../first"') for n, t in e.items()},
            "consists of letters",
        ),
    ],
)
def test_a_damaged_bundle_changes_nothing(manager, tmp_path, change, words):
    manager.register_from_code(PAIR)
    bundle = tmp_path / "bundle.zip"
    manager.export_bundle(bundle)
    rewritten(bundle, change)
    other = CustomFunctionManager(tmp_path / "other")
    with pytest.raises(CustomFunctionError, match=words):
        other.import_bundle(bundle)
    assert not other.storage_dir.exists()


def test_a_file_that_is_no_bundle_is_refused(manager, tmp_path):
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(CustomFunctionError, match="no bundle"):
        manager.import_bundle(tmp_path / "x.zip")
    with pytest.raises(CustomFunctionError, match="no custom function to export"):
        manager.export_bundle(tmp_path / "x.zip")


# -- other processes ------------------------------------------------------------------------------


def test_a_function_travels_to_a_process_with_an_empty_store(manager, tmp_path):
    code = "# mine\n@numpy\ndef f(image, n=1):\n    return image * (2 // n)\n"
    manager.register_from_code(code)
    (tmp_path / "f.pickle").write_bytes(pickle.dumps(manager.get("f")))
    script = """
import os, pickle, sys, traceback
import numpy as np
os.environ["EXO2MICRO_CUSTOM_DIR"] = sys.argv[1] + "/empty"
f = pickle.loads(open(sys.argv[1] + "/f.pickle", "rb").read()).load()
assert (f(np.ones((1, 2, 2))) == 2).all()
try:
    f(np.ones((1, 2, 2)), n=0)
except ZeroDivisionError as error:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    print(frame.lineno, frame.line)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "4 return image * (2 // n)"


def test_a_function_itself_can_be_sent_to_a_worker(manager):
    (function,) = manager.register_from_code(source("first", 2))
    with joblib.parallel_config("loky", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(function)(IMAGE * n) for n in (1, 2))
    np.testing.assert_array_equal(results, [IMAGE * 2, IMAGE * 4])


def test_edited_code_is_another_function(manager):
    manager.register_from_code(source("first", 2))
    old = manager.get("first")
    manager.register_from_code(source("first", 3))
    new = manager.get("first")
    assert old.sha256 != new.sha256
    np.testing.assert_array_equal(old.load()(IMAGE), IMAGE * 2)
    np.testing.assert_array_equal(new.load()(IMAGE), IMAGE * 3)


WILD = """@numpy
def wild(image, task=""):
    if task == "loop":
        while True:
            pass
    if task == "memory":
        return image + np.ones(1 << 28)[0]
    if task == "crash":
        import numpy.lib.stride_tricks as tricks
        tricks.as_strided(image, (1 << 40,), (1 << 12,))[:] = 1
    if task == "error":
        return image / (1 // 0)
    return image * 2, {"task": task, "list": [1, (2.5, float("inf"))]}
"""


def test_a_function_in_a_process_of_its_own(manager):
    manager.register_from_code(WILD)
    wild = manager.get_function("wild", run_isolated=True)
    image, metadata = wild(IMAGE, task="plain")
    np.testing.assert_array_equal(image, IMAGE * 2)
    assert metadata == {"task": "plain", "list": [1, (2.5, float("inf"))]}
    with pytest.raises(IsolationError, match="line 12: ZeroDivisionError"):
        wild(IMAGE, task="error")
    with pytest.raises(IsolationError, match="ended its process"):
        wild(IMAGE, task="crash")
    with pytest.raises(IsolationError, match="object cannot be sent"):
        wild(IMAGE, task=object())


def test_limits_of_time_and_memory(manager):
    manager.register_from_code(WILD)
    limits = Limits(time_s=4.0, memory_bytes=1 << 30)
    wild = manager.get_function("wild", run_isolated=True, limits=limits)
    with pytest.raises(IsolationError, match="stopped after 4 s"):
        wild(IMAGE, task="loop")
    if sys.platform == "linux":
        with pytest.raises(IsolationError, match="Unable to allocate 2"):
            wild(IMAGE, task="memory")


def test_a_source_registered_in_isolation_is_not_executed_here(manager, told):
    code = "import numpy as n\nn.executed_here = True\n" + source("first", 2)
    (first,) = manager.register_from_code(code, run_isolated=True)
    assert not hasattr(np, "executed_here")
    np.testing.assert_array_equal(first(IMAGE), IMAGE * 2)
    assert [event[:2] for event in told[:-1]] == [("added", "first")]
    with pytest.raises(ValidationError, match="shape") as caught:
        manager.register_from_code(BROKEN, run_isolated=True)
    assert caught.value.line_number == 6
    assert names_of(manager) == ["first"]


def test_a_traceback_of_a_registered_function_shows_the_users_line(manager):
    manager.register_from_code("\n\n" + source("first", "(1 if image.any() else 1 // 0)"))
    with pytest.raises(ZeroDivisionError) as caught:
        manager.get_function("first")(IMAGE * 0)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (5, "return image * (1 if image.any() else 1 // 0)")


def test_a_function_that_is_in_use_can_be_replaced(manager):
    from exo2micro.custom.enrolment import enrol

    code = "@scale_estimator\ndef half(post, pre):\n    return float(np.median(post / pre))\n"
    reader = "@reader(suffixes=('.half',))\ndef half_file(path):\n    return np.load(path)\n"
    manager.register_from_code(code + reader)
    enrol(manager.functions().values())
    try:
        manager.update_custom_function("half", code.replace("median", "mean"))
        manager.update_custom_function("half_file", reader.replace("load", "loadtxt"))
    finally:
        enrol(())
    assert "mean" in manager.get_function_code("half")


def test_an_object_without_source_takes_no_part_in_runs(folder):
    from exo2micro.custom import diagnostic
    from exo2micro.custom.run_code import collect

    @diagnostic(caption="x")
    def plot(post_im, pre_im, *, sample, dye):
        return None

    register_function(plot)
    assert collect().functions == ()
