"""Other distributions contribute through entry points, and cannot break a family."""

import importlib.metadata
import sys

import pytest

from exo2micro.registry import ENTRY_POINT_GROUP, PluginWarning


@pytest.fixture
def install(site):
    """Write a distribution: its module and its metadata."""

    def install(name, version, module_text, *entry_points):
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(module_text)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(
            "\n".join([f"[{ENTRY_POINT_GROUP}]", *entry_points, ""])
        )
        return module

    return install


@pytest.fixture
def family(make_package):
    package = make_package("__registry_policy__ = 'error'", plugins=("one",))
    yield package
    for name in [n for n in sys.modules if n.startswith("e2m_dist")]:
        del sys.modules[name]


def plugin_text(package, key, title="Extra", more=""):
    return (
        f"from {package.name}.base import Plugin\n"
        f"class {title}(Plugin):\n    name = {key!r}\n    helper = int\n{more}"
    )


@pytest.mark.parametrize("target", ["e2m_dist_a", "e2m_dist_a:Extra"])
def test_a_module_or_a_class(family, install, target):
    install("e2m-dist-a", "1.0", plugin_text(family, "extra"), f"extra = {target}")
    base = family.load()
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["extra", "one"]
    assert base.PLUGINS["extra"].__module__ == "e2m_dist_a"


def test_they_are_loaded_on_discovery_and_not_before(family, install):
    install("e2m-dist-a", "1.0", plugin_text(family, "extra"), "extra = e2m_dist_a")
    base = family.load()
    assert "e2m_dist_a" not in sys.modules
    assert "extra" in base.PLUGINS
    assert "e2m_dist_a" in sys.modules


@pytest.mark.parametrize(
    ("more", "target", "cause"),
    [
        ("1 / 0", "e2m_dist_b", "ZeroDivisionError: division by zero"),
        ("import e2m_no_such", "e2m_dist_b", "ModuleNotFoundError: No module named 'e2m_no_such'"),
        ("raise SystemExit(2)", "e2m_dist_b", "SystemExit: 2"),
        ("", "e2m_dist_b:Missing", "AttributeError: .*Missing"),
        ("", "e2m_dist_absent", "ModuleNotFoundError: .*e2m_dist_absent"),
    ],
)
def test_a_broken_distribution_warns_and_never_breaks_the_family(
    family, install, more, target, cause
):
    install("e2m-dist-b", "2.5", plugin_text(family, "bad", more=more), f"bad = {target}")
    install("e2m-dist-c", "1.0", plugin_text(family, "good"), "good = e2m_dist_c")
    base = family.load()
    pattern = (
        rf"'bad' of the distribution e2m-dist-b 2\.5 is skipped.*'{target}' failed with {cause}"
    )
    with pytest.warns(PluginWarning, match=pattern):
        found = set(base.PLUGINS)
    assert found - {"bad"} == {"one", "good"}
    # a module that ran to its end keeps its classes; one that failed on the way keeps none
    assert ("bad" in found) == target.endswith(":Missing")
    assert set(base.HELPERS) == found


def test_a_key_that_is_taken_is_a_broken_distribution(family, install):
    install("e2m-dist-a", "1.0", plugin_text(family, "one"), "extra = e2m_dist_a")
    base = family.load()
    pattern = rf"e2m-dist-a 1\.0.*DuplicateKeyError: e2m_dist_a\.Extra.*{family.name}\.one\.One"
    with pytest.warns(PluginWarning, match=pattern):
        assert base.PLUGINS["one"].__module__ == f"{family.name}.one"


def test_a_family_without_duplicate_errors_takes_the_plugin_instead_of_its_own(
    make_package, install, family
):
    package = make_package(plugins=("one",))
    install("e2m-dist-a", "1.0", plugin_text(package, "one"), "extra = e2m_dist_a")
    assert package.load().PLUGINS["one"].__module__ == "e2m_dist_a"


def test_the_users_class_goes_before_the_plugin(make_package, install, family):
    package = make_package(plugins=("one",))
    install("e2m-dist-a", "1.0", plugin_text(package, "extra"), "extra = e2m_dist_a")
    base = package.load()
    mine = type(base.Plugin)("Mine", (base.Plugin,), {"name": "extra"})
    assert base.PLUGINS["extra"] is mine


def test_a_new_distribution_is_seen_on_reload_although_cached(make_package, install, family):
    package = make_package(plugins=("one",))
    base = package.load()
    assert list(base.PLUGINS) == ["one"]
    install("e2m-dist-a", "1.0", plugin_text(package, "extra"), "extra = e2m_dist_a")
    base.PLUGINS.reload()
    assert sorted(base.PLUGINS) == ["extra", "one"]
    package.unload()
    del sys.modules["e2m_dist_a"]
    assert sorted(package.load().PLUGINS) == ["extra", "one"]


def test_an_unregistered_plugin_comes_back_on_reload(family, install):
    install("e2m-dist-a", "1.0", plugin_text(family, "extra"), "extra = e2m_dist_a")
    plugins = family.load().PLUGINS
    extra = plugins.unregister("extra")
    assert list(plugins) == ["one"]
    plugins.reload()
    assert plugins["extra"] is extra


def test_another_group_or_none(make_package, install, family):
    package = make_package("__entry_point_group__ = 'other.group'", plugins=("one",))
    install("e2m-dist-a", "1.0", plugin_text(package, "extra"), "extra = e2m_dist_a")
    assert list(package.load().PLUGINS) == ["one"]


def test_an_entry_point_without_distribution(make_package, monkeypatch):
    package = make_package(plugins=("one",))
    point = importlib.metadata.EntryPoint("lost", "e2m_dist_lost", ENTRY_POINT_GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
    with pytest.warns(PluginWarning, match="'lost' of an unknown distribution is skipped"):
        assert list(package.load().PLUGINS) == ["one"]
