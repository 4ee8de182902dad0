"""What discovery imports, when, and what it says about modules that are broken."""

import os
import subprocess
import sys
import warnings

import pytest

from exo2micro.registry import (
    AutoRegisterMeta,
    DiscoveryError,
    LazyDiscoveryDict,
    PluginWarning,
    RegistryConfig,
    RegistryError,
    discover_registry_classes,
    discover_registry_classes_recursive,
)


def discover(package, function=discover_registry_classes, **options):
    base = package.load().Plugin
    found = function(sys.modules[package.name].__path__, f"{package.name}.", base, **options)
    return [cls.__name__ for cls in found]


class TestFunctions:
    def test_own_subclasses_of_each_module(self, make_package):
        package = make_package(plugins=("one", "two"))
        package.write("again", f"from {package.name}.one import One\nAlias = One\n")
        package.write_plugin("three", body="Other = Three\n")
        assert discover(package) == ["One", "Three", "Two"]

    def test_abstract_classes_are_found_and_can_be_filtered(self, make_package):
        package = make_package(plugins=("one",))
        package.write(
            "half",
            f"""
            from abc import abstractmethod
            from {package.name}.base import Plugin

            class Half(Plugin):
                @abstractmethod
                def run(self): ...
            """,
        )
        assert discover(package) == ["Half", "One"]
        assert discover(package, validation_func=lambda c: c.name is not None) == ["One"]

    def test_excluded_modules_are_not_imported(self, make_package):
        package = make_package(plugins=("one", "two", "database"))
        assert discover(package, exclude_modules={"base", "two"}) == ["Database", "One"]
        assert "two" not in package.imported
        full = {f"{package.name}.one"}
        assert discover(package, exclude_modules=full) == ["Database", "Two"]

    def test_subpackages(self, make_package):
        package = make_package(plugins=("one",))
        package.write_plugin("inner", "sub/__init__")
        package.write_plugin("deep", "sub/lower/deep")
        package.write("sub/lower/__init__", "")
        recursive = discover_registry_classes_recursive
        assert discover(package) == ["One"]
        assert "sub" not in package.imported
        assert discover(package, skip_packages=False) == ["One", "Inner"]
        assert discover(package, recursive) == ["One", "Inner", "Deep"]
        assert discover(package, recursive, skip_packages=True) == ["One", "Deep"]
        assert discover(package, recursive, exclude_modules={"lower"}) == ["One", "Inner"]

    def test_scripts_are_not_run(self, make_package):
        package = make_package(plugins=("one",))
        package.write("__main__", "raise SystemExit('ran')\n")
        assert discover(package) == ["One"]

    @pytest.mark.parametrize("statement", ["import e2m_no_such", "1 / 0", "raise SystemExit(3)"])
    @pytest.mark.parametrize(
        "function", [discover_registry_classes, discover_registry_classes_recursive]
    )
    def test_broken_modules(self, make_package, statement, function):
        package = make_package(plugins=("one", "three"))
        package.write("broken", statement)
        cause = {
            "i": "ModuleNotFoundError: No module named 'e2m_no_such'",
            "1": "ZeroDivisionError",
            "r": "SystemExit: 3",
        }[statement[0]]
        pattern = rf"'{package.name}\.broken' of the package '{package.name}' failed with {cause}"
        with pytest.warns(PluginWarning, match=pattern):
            assert discover(package, function) == ["One", "Three"]
        with pytest.raises(DiscoveryError, match=pattern) as caught:
            discover(package, function, on_broken="error")
        assert isinstance(caught.value, ImportError)
        assert caught.value.__cause__ is not None


class TestLaziness:
    def test_nothing_is_imported_before_first_use(self, make_package):
        package = make_package(plugins=("one",))
        plugins = package.load().PLUGINS
        assert package.imported == {"base"}
        assert list(plugins) == ["one"]
        assert package.imported == {"base", "one"}

    def test_importing_the_registry_is_light(self):
        code = (
            "import sys, exo2micro.registry\n"
            "heavy = {'importlib.metadata', 'json', 'numpy', 'exo2micro.registry.cache'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "[]"

    def test_package_is_that_of_the_base_class(self, make_package):
        package = make_package()
        assert package.load().PLUGINS._config.discovery_package == package.name

    def test_package_of_a_base_class_in_init(self, make_package):
        package = make_package()
        text = (package.folder / "base.py").read_text()
        package.write("sub/__init__", text)
        package.write(
            "sub/one", f"from {package.name}.sub import Plugin\nclass A(Plugin): name = 'a'"
        )
        plugins = package.load("sub").PLUGINS
        assert plugins._config.discovery_package == f"{package.name}.sub"
        assert list(plugins) == ["a"]

    def test_no_package_where_plugins_could_not_import_the_base(self):
        class Base(metaclass=AutoRegisterMeta):
            __registry_key__ = "name"
            name = None

        assert Base.__registry__._config.discovery_package is None
        assert len(Base.__registry__) == 0

    def test_no_package_for_a_local_class_of_a_packages_module(self, make_package):
        package = make_package(plugins=("one",))
        package.load()
        names = {"__module__": f"{package.name}.base", "__qualname__": "make.<locals>.Base"}
        base = AutoRegisterMeta("Base", (), {"__registry_key__": "name", "name": None, **names})
        assert len(base.__registry__) == 0
        assert package.imported == {"base"}

    def test_package_and_function_given(self, make_package):
        package = make_package(plugins=("one",))
        calls = []
        config = RegistryConfig(
            LazyDiscoveryDict(),
            "name",
            discovery_package=package.name,
            discovery_function=lambda *arguments: calls.append(arguments),
        )
        base = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config)
        assert len(base.__registry__) == 0
        assert calls == [([str(package.folder)], f"{package.name}.", base)]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("", ["one", "deep"]),
            ("__discovery_recursive__ = True", ["one", "deep"]),
            ("__discovery_recursive__ = False", ["one"]),
        ],
    )
    def test_recursive_where_not_refused(self, make_package, line, expected):
        package = make_package(line, plugins=("one",))
        package.write("sub/__init__", "")
        package.write_plugin("deep", "sub/deep")
        assert list(package.load().PLUGINS) == expected

    def test_secondary_dicts_are_filled_without_touching_the_primary(self, make_package):
        package = make_package(plugins=("one", "two"))
        base = package.load()
        assert sorted(base.HELPERS) == ["one", "two"]
        assert base.HELPERS["one"].__name__ == "OneHelper"

    def test_the_very_dict_that_was_given_is_filled(self, make_package):
        package = make_package()
        package.write("tables", "HELPERS = {'kept': int}\n")
        text = (package.folder / "base.py").read_text()
        package.write(
            "base", text.replace("HELPERS = {}", f"from {package.name}.tables import HELPERS")
        )
        package.write_plugin("one")
        given = package.load("tables").HELPERS
        base = package.load()
        assert sorted(base.HELPERS) == ["kept", "one"]
        assert sorted(given) == ["kept", "one"]
        base.PLUGINS.unregister("one")
        assert list(given) == list(base.HELPERS) == ["kept"]

    def test_a_file_younger_than_the_finders_view_of_its_folder(self, make_package):
        package = make_package()
        base = package.load()
        stat = package.folder.stat()
        package.write_plugin("one")
        os.utime(package.folder, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert list(base.PLUGINS) == ["one"]

    def test_a_plugin_body_that_reads_the_registry(self, make_package):
        package = make_package(plugins=("one", "two"))
        package.write_plugin("reader", "b_reader", "SEEN = sorted(Plugin.__registry__)\n")
        assert sorted(package.load().PLUGINS) == ["one", "reader", "two"]
        assert package.load("b_reader").SEEN == ["reader"]


class TestFailure:
    def test_broken_module_warns_and_is_skipped_with_its_classes(self, make_package):
        package = make_package(plugins=("one",))
        package.write_plugin("half", body="1 / 0\n")
        base = package.load()
        with pytest.warns(PluginWarning, match=rf"{package.name}\.half.*ZeroDivisionError"):
            assert list(base.PLUGINS) == ["one"]
        assert list(base.HELPERS) == ["one"]

    def test_what_a_broken_module_had_replaced_is_put_back(self, make_package):
        package = make_package(plugins=("one",))
        package.write_plugin("one", "z_broken", "1 / 0\n")
        base = package.load()
        with pytest.warns(PluginWarning):
            assert base.PLUGINS["one"].__module__ == f"{package.name}.one"
        assert base.HELPERS["one"].__module__ == f"{package.name}.one"

    def test_policy_error_and_no_mark_of_done(self, make_package):
        package = make_package("__registry_policy__ = 'error'", plugins=("one",))
        path = package.write_plugin("half", body="import e2m_no_such\n")
        plugins = package.load().PLUGINS
        for _ in range(2):
            with pytest.raises(DiscoveryError, match=rf"{package.name}\.half.*e2m_no_such"):
                len(plugins)
            assert not plugins._discovered
        path.write_text(path.read_text().replace("import e2m_no_such", ""))
        assert sorted(plugins) == ["half", "one"]
        assert plugins._discovered

    def test_missing_package_is_not_marked_done(self, make_package):
        package = make_package(plugins=("one",))
        config = RegistryConfig(
            LazyDiscoveryDict(), "name", registry_name="stage", discovery_package="e2m_later"
        )
        base = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config)
        with pytest.raises(DiscoveryError, match="package 'e2m_later', which holds the stage"):
            "x" in base.__registry__  # noqa: B015
        assert not base.__registry__._discovered
        (package.folder.parent / "e2m_later").mkdir()
        (package.folder.parent / "e2m_later" / "__init__.py").touch()
        assert "x" not in base.__registry__
        assert base.__registry__._discovered
        del sys.modules["e2m_later"]

    def test_failing_discovery_function_is_not_marked_done(self):
        calls = []

        def function(path, prefix, base):
            calls.append(prefix)
            if len(calls) == 1:
                raise OSError("disk on fire")
            type(base)("P", (base,), {"name": "p"})

        config = RegistryConfig(
            LazyDiscoveryDict(), "name", discovery_package="json", discovery_function=function
        )
        base = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config)
        with pytest.raises(DiscoveryError, match="OSError: disk on fire"):
            base.__registry__.get("p")
        assert list(base.__registry__) == ["p"]
        assert calls == ["json.", "json."]

    def test_a_warning_that_is_an_error_is_not_marked_done_either(self, make_package):
        package = make_package(plugins=("one",))
        package.write("broken", "1 / 0")
        plugins = package.load().PLUGINS
        with warnings.catch_warnings(action="error"), pytest.raises(PluginWarning):
            len(plugins)
        assert not plugins._discovered

    def test_duplicates_in_a_package(self, make_package, caplog):
        package = make_package(plugins=("one",))
        package.write_plugin("one", "two")
        assert package.load().PLUGINS["one"].__module__ == f"{package.name}.two"
        assert f"{package.name}.one.One and {package.name}.two.One" in caplog.text

    def test_duplicates_in_a_package_under_error(self, make_package):
        for line in ("__registry_policy__ = 'error'", "__duplicate_policy__ = 'error'"):
            package = make_package(line, plugins=("one",))
            package.write_plugin("one", "two").write_text(
                (package.folder / "two.py").read_text().replace("class One(", "class Uno(")
            )
            pattern = rf"{package.name}\.two\.Uno claims.*{package.name}\.one\.One holds"
            with pytest.raises(RegistryError, match=pattern):
                len(package.load().PLUGINS)


class TestUsersOwnClasses:
    """It must not matter whether discovery ran before or after the user's class was made."""

    @pytest.mark.parametrize("discover_first", [True, False])
    def test_they_override_those_of_the_package(self, make_package, discover_first):
        package = make_package(plugins=("one", "two"))
        base = package.load()
        if discover_first:
            len(base.PLUGINS)
        mine = type(base.Plugin)("Mine", (base.Plugin,), {"name": "one", "helper": int})
        assert base.PLUGINS["one"] is mine
        assert base.HELPERS["one"] is int
        assert sorted(base.PLUGINS) == ["one", "two"]

    def test_they_override_modules_that_are_imported_by_hand_later(self, make_package):
        package = make_package(plugins=("one",))
        base = package.load()
        mine = type(base.Plugin)("Mine", (base.Plugin,), {"name": "one"})
        package.load("one")
        assert base.PLUGINS["one"] is mine

    def test_after_discovery_the_last_wins_wherever_it_is_made(self, make_package):
        package = make_package(plugins=("one",))
        base = package.load()
        len(base.PLUGINS)
        type(base.Plugin)("Mine", (base.Plugin,), {"name": "one"})
        inside = {"name": "one", "__module__": f"{package.name}.made"}
        made = type(base.Plugin)("Made", (base.Plugin,), inside)
        assert base.PLUGINS["one"] is made

    def test_under_error_they_are_named(self, make_package):
        package = make_package("__registry_policy__ = 'error'", plugins=("one",))
        base = package.load()
        mine = type(base.Plugin)("Mine", (base.Plugin,), {"name": "one"})
        with pytest.raises(DiscoveryError, match=r"one\.One claims.*Mine holds"):
            len(base.PLUGINS)
        assert mine.name == "one"

    def test_unregistered_stays_away(self, make_package):
        package = make_package(plugins=("one", "two"))
        base = package.load()
        one = base.PLUGINS.unregister("one")
        assert one.__name__ == "One"
        assert list(base.PLUGINS) == ["two"]
        assert list(base.HELPERS) == ["two"]
