"""Reload follows the files; cached or not, nothing of them stays hidden."""

import os

import pytest

from exo2micro.registry import AutoRegisterMeta, DiscoveryError, LazyDiscoveryDict, PluginWarning


@pytest.fixture(params=["cache", "no cache"])
def package(request, make_package):
    lines = [] if request.param == "cache" else ["__registry__ = LazyDiscoveryDict(False)"]
    made = make_package(*lines, plugins=("one", "two"))
    path = made.folder / "base.py"
    path.write_text("from exo2micro.registry import LazyDiscoveryDict\n" + path.read_text())
    return made


def test_new_changed_and_removed_files(package):
    base = package.load()
    one, two = base.PLUGINS["one"], base.PLUGINS["two"]
    package.write_plugin("three")
    package.write_plugin("two", body="    extra = 1\n")
    (package.folder / "one.py").unlink()
    assert sorted(base.PLUGINS) == ["one", "two"]
    base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["three", "two"]
    assert base.PLUGINS["two"] is not two
    assert base.PLUGINS["two"].extra == 1
    assert base.HELPERS["two"] is base.PLUGINS["two"].helper
    assert one not in base.PLUGINS.values()
    assert package.imported == {"base", "two", "three"}


def test_a_changed_key_leaves_no_old_one(package):
    base = package.load()
    len(base.PLUGINS)
    package.write_plugin("uno", "one")
    base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["two", "uno"]


def test_unchanged_modules_keep_their_classes(package):
    base = package.load()
    before = dict(base.PLUGINS)
    base.PLUGINS.reload()
    assert dict(base.PLUGINS) == before


def test_a_quick_edit_of_the_same_length_is_seen(package):
    """Byte code is trusted by the full second and the length of its source."""
    base = package.load()
    path = package.write_plugin("one", body="    value = 1\n")
    stat = path.stat()
    base.PLUGINS.reload()
    assert base.PLUGINS["one"].value == 1
    path.write_text(path.read_text().replace("value = 1", "value = 2"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    base.PLUGINS.reload()
    assert base.PLUGINS["one"].value == 2


def test_unregistered_classes_come_back_and_run_time_classes_stay(package):
    base = package.load()
    one = base.PLUGINS.unregister("one")
    mine = type(base.Plugin)("Mine", (base.Plugin,), {"name": "mine"})
    other = type(base.Plugin)("Other", (base.Plugin,), {"name": "two"})
    base.PLUGINS.reload()
    assert base.PLUGINS["one"] is one
    assert base.PLUGINS["mine"] is mine
    assert base.PLUGINS["two"] is other
    assert base.HELPERS["one"] is one.helper


def test_cleared_comes_back(package):
    base = package.load()
    base.PLUGINS.clear()
    assert base.HELPERS == base.PLUGINS == {}
    base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["one", "two"]


def test_the_base_class_module_is_not_imported_anew(package, caplog):
    base = package.load()
    len(base.PLUGINS)
    path = package.folder / "base.py"
    path.write_text(path.read_text() + "\nVALUE = 1\n")
    base.PLUGINS.reload()
    assert package.load() is base
    assert sorted(base.PLUGINS) == ["one", "two"]
    assert "base was changed" in caplog.text


def test_a_module_that_breaks_and_is_repaired(package):
    base = package.load()
    len(base.PLUGINS)
    path = package.folder / "one.py"
    good = path.read_text()
    path.write_text(good + "\n1 / 0\n")
    with pytest.warns(PluginWarning, match=r"one.*ZeroDivisionError"):
        base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["two"]
    path.write_text(good)
    base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == ["one", "two"]


def test_under_error_a_failed_reload_is_not_marked_done(make_package):
    package = make_package("__registry_policy__ = 'error'", plugins=("one", "two"))
    plugins = package.load().PLUGINS
    len(plugins)
    path = package.folder / "one.py"
    good = path.read_text()
    path.write_text("1 / 0\n")
    with pytest.raises(DiscoveryError, match="ZeroDivisionError"):
        plugins.reload()
    with pytest.raises(DiscoveryError, match="ZeroDivisionError"):
        len(plugins)
    path.write_text(good)
    assert sorted(plugins) == ["one", "two"]


def test_reload_before_first_use_and_without_a_family(package):
    plugins = package.load().PLUGINS
    plugins.reload()
    assert plugins._discovered
    assert sorted(plugins) == ["one", "two"]
    alone = LazyDiscoveryDict()
    alone["x"] = int
    alone.reload()
    assert alone == {"x": int}


def test_importlib_reload_by_the_user_replaces(make_package):
    import importlib

    package = make_package("__registry_policy__ = 'error'", plugins=("one",))
    base = package.load()
    old = base.PLUGINS["one"]
    importlib.reload(package.load("one"))
    assert base.PLUGINS["one"] is package.load("one").One is not old
    assert isinstance(base.PLUGINS["one"], AutoRegisterMeta)
