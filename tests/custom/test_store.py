"""The store of custom functions: kills, several processes, failing disks, files by hand."""

import errno
import json
import os
import subprocess
import sys

import pytest

from exo2micro.custom import CustomFunctionManager
from exo2micro.custom.store import FunctionStore, Snapshot, store_folder
from exo2micro.custom.transaction import JOURNAL, STAGING, change_files
from exo2micro.errors import (
    CustomFunctionError,
    OutputError,
    OutputLockedError,
    UnknownFunctionError,
)


def source(name, factor=1, **more):
    parts = {name: factor, **more}
    return "\n".join(f"@numpy\ndef {n}(image):\n    return image * {f}\n" for n, f in parts.items())


def files_of(folder):
    """Return every file of a folder with its bytes, the lock aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def run_python(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        # One thread: Python warns about a fork beside other threads.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KILLED_AT_EVERY_STEP = """
import json, os, shutil, signal, sys
from pathlib import Path
from exo2micro.custom import CustomFunctionManager
from exo2micro.custom.declaration import read_source
from exo2micro.custom.store import FunctionStore, Snapshot

base, folder = Path(sys.argv[1]), Path(sys.argv[2])
old, new = sys.argv[3], sys.argv[4]
CustomFunctionManager(base).register_from_code(old)
codes = {n: d.as_function().code for n, d in read_source(new).decorated.items()} | {"gone": None}

def write_and_die(step):
    def counted(real):
        def call(*arguments, **keywords):
            nonlocal step
            step -= 1
            if step == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **keywords)
        return call
    for name in ("replace", "fsync", "unlink", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    store = FunctionStore(folder)
    with store.locked():
        store.write(codes)

outcomes = []
for step in range(1, 200):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    child = os.fork()
    if child == 0:
        write_and_die(step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    snapshot = FunctionStore(folder).read(Snapshot())
    store = FunctionStore(folder)
    with store.locked():
        store.write({"later": "@numpy\\ndef later(image):\\n    return image\\n"})
    after = store.read(Snapshot())
    temporary = (".journal", ".staging", ".writing")
    leftovers = [p.name for p in folder.iterdir() if p.name.startswith(temporary)]
    outcomes.append({
        "killed": os.WIFSIGNALED(status),
        "state": {n: f.code for n, f in snapshot.functions.items()},
        "broken": dict(snapshot.broken),
        "later": sorted(after.functions),
        "leftovers": leftovers,
    })
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(outcomes))
"""


def test_a_kill_at_any_step_leaves_old_or_new_and_never_a_mixture(tmp_path):
    old = source("kept", 1, gone=1)
    new = source("kept", 2, fresh=2)
    output = run_python(KILLED_AT_EVERY_STEP, tmp_path / "base", tmp_path / "store", old, new)
    outcomes = json.loads(output)

    is_new = ["fresh" in outcome["state"] for outcome in outcomes]
    for outcome, is_after in zip(outcomes, is_new, strict=True):
        state = outcome["state"]
        assert set(state) == ({"kept", "fresh"} if is_after else {"kept", "gone"})
        assert ("image * 2" in state["kept"]) is is_after
        assert outcome["broken"] == {}
        assert set(outcome["later"]) == set(state) | {"later"}
        assert outcome["leftovers"] == []
    # From one step on the change counts, and then it counts for good.
    assert is_new == sorted(is_new)
    assert sum(is_new) >= 5
    assert is_new.count(False) >= 5
    assert [outcome["killed"] for outcome in outcomes] == [True] * (len(outcomes) - 1) + [False]


def test_two_processes_register_at_once(tmp_path):
    script = """
import sys
from exo2micro.custom import CustomFunctionManager
manager = CustomFunctionManager(sys.argv[1])
for number in range(8):
    manager.register_from_code(
        f"@numpy\\ndef {sys.argv[2]}_{number}(image):\\n    return image\\n"
        f"@numpy\\ndef shared(image):\\n    return image * {number}\\n"
    )
"""
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "store")]
    both = [subprocess.Popen([*command, name]) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    manager = CustomFunctionManager(tmp_path / "store")
    names = [info.name for info in manager.list_custom_functions()]
    assert names == sorted([*(f"{p}_{n}" for p in ("one", "two") for n in range(8)), "shared"])
    assert manager.load_all_custom_functions() == 17
    # No version was lost: each process registered 8, and equal neighbours count once.
    assert 8 <= len(manager.history("shared")) <= 16
    assert [v.number for v in manager.history("shared")] == list(
        range(1, len(manager.history("shared")) + 1)
    )


@pytest.mark.parametrize("failing", ["fsync", "replace", "unlink"])
def test_a_failing_disk_leaves_everything_as_it_was(manager, told, monkeypatch, failing):
    manager.register_from_code(source("kept", 1, other=1))
    real, before, known = getattr(os, failing), files_of(manager.storage_dir), manager.get("kept")
    told.clear()
    for number in range(1, 60):
        left = iter(range(number, 0, -1))

        def fails_once(*arguments, _left=left, **keywords):
            if next(_left, 0) == 1:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **keywords)

        monkeypatch.setattr(os, failing, fails_once)
        error = attempt(lambda: manager.register_from_code(source("kept", 2, fresh=2)))
        monkeypatch.setattr(os, failing, real)
        if error is None:
            break
        assert "Input/output error" in str(error)
        assert files_of(manager.storage_dir) == before
        assert manager.get("kept") == known
        assert told == []
        with pytest.raises(UnknownFunctionError):
            manager.get("fresh")
    assert number > 2
    assert [event if isinstance(event, str) else event[1] for event in told] == [
        "fresh",
        "kept",
        "changed",
    ]


def attempt(call):
    """Return the error of a call, None if there was none."""
    try:
        call()
    except OSError as error:
        return error
    return None


def test_a_change_that_a_killed_process_published_is_completed_by_the_next_look_up(tmp_path):
    folder = tmp_path / "store"
    CustomFunctionManager(folder).register_from_code(source("kept", 1))
    staging = folder / STAGING
    staging.mkdir()
    (staging / "new-1").write_text(source("second", 3))
    # The first file had its name already when the process ended.
    (folder / "first.py").write_text(source("first", 3))
    steps = [
        {"path": "first.py", "staged": "new-0"},
        {"path": "second.py", "staged": "new-1"},
        {"path": "kept.py", "staged": None},
    ]
    (folder / JOURNAL).write_text(json.dumps(steps))
    names = [info.name for info in CustomFunctionManager(folder).list_custom_functions()]
    assert names == ["first", "second"]
    assert not (folder / JOURNAL).exists()


def test_files_that_were_staged_but_not_published_are_dropped(tmp_path):
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / "new-0").write_text("half")
    change_files(tmp_path, {"sub/a.txt": "a", "b.txt": "b"})
    assert files_of(tmp_path) == {"sub/a.txt": b"a", "b.txt": b"b"}
    change_files(tmp_path, {"sub/a.txt": None, "b.txt": "c"})
    assert files_of(tmp_path) == {"b.txt": b"c"}


def test_another_process_is_noticed_by_the_next_look_up(manager, told):
    manager.register_from_code(source("mine"))
    told.clear()
    code = (
        "import sys; from exo2micro.custom import CustomFunctionManager as M\n"
        "m = M(sys.argv[1]); m.register_from_code(sys.argv[2]); m.remove_function('mine')"
    )
    run_python(code, manager.storage_dir, source("theirs", 5))
    assert told == []
    assert manager.get("theirs").memory_type == "numpy"
    kinds = [event if isinstance(event, str) else event[:2] for event in told]
    assert kinds == [("removed", "mine"), ("added", "theirs"), "changed"]


def test_two_changes_within_one_tick_of_the_clock_are_both_noticed(tmp_path):
    store = FunctionStore(tmp_path)
    snapshot = Snapshot()
    for factor in range(30):
        with store.locked():
            store.write({"f": source("f", factor)})
        os.utime(tmp_path / "f.py", ns=(0, 0))
        snapshot = FunctionStore(tmp_path).read(snapshot)
        assert f"image * {factor}\n" in snapshot.functions["f"].code


def test_a_file_that_goes_while_the_folder_is_listed_hides_no_other(manager):
    manager.register_from_code(source("f"))
    (manager.storage_dir / "gone.py").symlink_to(manager.storage_dir / "nowhere")
    again = CustomFunctionManager(manager.storage_dir)
    assert [info.name for info in again.list_custom_functions()] == ["f"]


def test_a_file_changed_by_hand_is_noticed(manager):
    manager.register_from_code(source("f", 1))
    path = manager.storage_dir / "f.py"
    path.write_text(source("f", 1234))
    assert "1234" in manager.get("f").code
    path.write_text("def f(:")
    with pytest.raises(CustomFunctionError, match=r"f\.py: line 1: not valid Python"):
        manager.get("f")
    assert manager.get_function_code("f") == "def f(:"
    assert manager.list_custom_functions() == []
    manager.update_custom_function("f", source("f", 2))
    assert [v.code for v in manager.history("f")] == ["def f(:", source("f", 2)]


def test_reading_an_unchanged_store_gives_the_same_snapshot(tmp_path):
    store = FunctionStore(tmp_path)
    with store.locked():
        store.write({"f": source("f"), "g": source("g")})
    snapshot = store.read(Snapshot())
    assert store.read(snapshot) is snapshot
    with store.locked():
        store.write({"g": source("g", 2)})
    later = store.read(snapshot)
    assert later.functions["f"] is snapshot.functions["f"]
    assert later.functions["g"].sha256 != snapshot.functions["g"].sha256


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() == 0, reason="the administrator may write everywhere"
)
def test_a_store_that_may_not_be_written_can_be_read(tmp_path):
    CustomFunctionManager(tmp_path).register_from_code(source("f"))
    tmp_path.chmod(0o500)
    try:
        manager = CustomFunctionManager(tmp_path)
        assert manager.get("f").name == "f"
        with pytest.raises(OutputError, match="permission"):
            manager.register_from_code(source("g"))
    finally:
        tmp_path.chmod(0o700)


def test_a_file_of_unknown_encoding_is_reported_and_can_be_removed(manager):
    manager.register_from_code(source("f"))
    (manager.storage_dir / "g.py").write_bytes(b"\xff\xfe\x00")
    assert [info.name for info in manager.list_custom_functions()] == ["f"]
    assert "g" in manager.broken_files()
    assert manager.delete_custom_function("g") is True
    assert manager.broken_files() == {}


def test_what_an_editor_leaves_behind_is_no_function(manager):
    manager.register_from_code(source("f"))
    for name in (".#f.py", "f.py~", ".f.py.swp", "notes.txt"):
        (manager.storage_dir / name).write_text("x")
    assert [info.name for info in manager.list_custom_functions()] == ["f"]
    assert manager.broken_files() == {}


def test_a_store_that_another_process_keeps_is_said_to_be_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr("exo2micro.custom.store.LOCK_TIMEOUT_S", 0.1)
    with FunctionStore(tmp_path).locked(), pytest.raises(OutputLockedError, match="in use"):
        CustomFunctionManager(tmp_path).register_from_code(source("f"))
    CustomFunctionManager(tmp_path).register_from_code(source("f"))


def test_the_folder_is_the_argument_the_variable_or_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "variable"))
    assert store_folder(tmp_path / "argument") == tmp_path / "argument"
    assert store_folder() == tmp_path / "variable"
    monkeypatch.delenv("EXO2MICRO_CUSTOM_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store_folder().parts[-2:] == ("exo2micro", "custom_functions")
    assert store_folder().is_relative_to(tmp_path)


def test_looking_up_creates_nothing(manager):
    assert manager.list_custom_functions() == []
    assert manager.load_all_custom_functions() == 0
    with pytest.raises(UnknownFunctionError, match="there is none yet"):
        manager.get("f")
    assert manager.delete_custom_function("f") is False
    assert not manager.storage_dir.exists()


def test_importing_the_package_reads_no_store_and_listing_executes_nothing(folder):
    folder.mkdir()
    (folder / "evil.py").write_text("raise SystemExit(7)\n" + source("evil"))
    script = """
import sys
opened = []
def hook(event, arguments):
    if event in ("open", "os.scandir"):
        opened.append(str(arguments[0]))
sys.addaudithook(hook)
import exo2micro, exo2micro.custom
from exo2micro.custom import CustomFunctionManager
manager = CustomFunctionManager()
assert not any(sys.argv[1] in name for name in opened), opened
assert [info.name for info in manager.list_custom_functions()] == ["evil"]
"""
    run_python(script, folder)
