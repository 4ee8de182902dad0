"""The cache of a family: it spares imports, and never hides, mixes or keeps plugins."""

import json
import sys

import pytest

from exo2micro.registry import cache


@pytest.fixture
def package(make_package):
    made = make_package(plugins=("one", "two"))
    made.write("helper", "VALUE = 1\n")
    return made


def fresh(package):
    """Return the keys that a new process would find, primary and secondary."""
    package.unload()
    base = package.load()
    found = sorted(base.PLUGINS)
    assert sorted(base.HELPERS) == found
    return found


def cache_file(folder):
    (path,) = folder.iterdir()
    return path


class TestFamily:
    def test_a_second_process_imports_the_plugins_alone(self, package, cache_folder):
        assert fresh(package) == ["one", "two"]
        assert package.imported == {"base", "helper", "one", "two"}
        assert cache_file(cache_folder).name.startswith(f"{package.name}-plugin-")
        assert fresh(package) == ["one", "two"]
        assert package.imported == {"base", "one", "two"}

    def test_without_cache(self, package, cache_folder):
        path = package.folder / "base.py"
        text = path.read_text().replace(
            "__registry_key__",
            "__registry__ = LazyDiscoveryDict(enable_cache=False)\n    __registry_key__",
        )
        path.write_text("from exo2micro.registry import LazyDiscoveryDict\n" + text)
        assert fresh(package) == fresh(package) == ["one", "two"]
        assert "helper" in package.imported
        assert not cache_folder.exists()

    @pytest.mark.parametrize("where", ["three", "sub/three"])
    def test_a_new_plugin_is_seen_at_once(self, package, where):
        package.write("sub/__init__", "")
        fresh(package)
        package.write_plugin("three", where)
        assert fresh(package) == ["one", "three", "two"]

    def test_a_changed_plugin_is_seen_at_once(self, package):
        fresh(package)
        package.write_plugin("three", "helper")
        package.write_plugin("other", "one")
        assert fresh(package) == ["other", "three", "two"]

    def test_a_removed_plugin_is_gone_at_once(self, package):
        fresh(package)
        (package.folder / "one.py").unlink()
        assert fresh(package) == ["two"]

    def test_a_library_that_was_installed_meanwhile(self, package, tmp_path, monkeypatch):
        installed = tmp_path / "site-packages"
        installed.mkdir()
        monkeypatch.syspath_prepend(str(installed))
        package.write(
            "optional",
            f"""
            from {package.name}.base import Plugin
            try:
                import e2m_optional_library
            except ImportError:
                pass
            else:
                class Optional(Plugin):
                    name, helper = "optional", int
            """,
        )
        assert fresh(package) == ["one", "two"]
        (installed / "e2m_optional_library").mkdir()
        (installed / "e2m_optional_library" / "__init__.py").touch()
        assert fresh(package) == ["one", "optional", "two"]

    def test_packages_with_one_registry_name_are_not_mixed(self, make_package, cache_folder):
        first, second = make_package(plugins=("a",)), make_package(plugins=("b",))
        for _ in range(2):
            assert fresh(first) == ["a"]
            assert fresh(second) == ["b"]
        assert len(list(cache_folder.iterdir())) == 2

    def test_two_families_of_one_package_and_name_are_not_mixed(self, package, cache_folder):
        text = (package.folder / "base.py").read_text().replace("class Plugin", "class Other")
        package.write("other", text.replace("Plugin.__", "Other.__") + "    \n__name = 0\n")
        package.write("x", f"from {package.name}.other import Other\nclass X(Other): name = 'x'\n")
        for path in (package.folder / "base.py", package.folder / "other.py"):
            text = path.read_text().replace(
                "__registry_key__", '__registry_name__ = "p"\n    __registry_key__'
            )
            path.write_text(text)
        for _ in range(2):
            assert fresh(package) == ["one", "two"]
            assert sorted(package.load("other").PLUGINS) == ["x"]
        assert len(list(cache_folder.iterdir())) == 2

    def test_one_package_name_in_two_places_is_not_mixed(self, make_package, tmp_path, monkeypatch):
        elsewhere = tmp_path / "elsewhere"
        first = make_package(plugins=("a",), name="e2m_twice")
        second = make_package(plugins=("b",), name="e2m_twice", folder=elsewhere)
        assert fresh(first) == ["a"]
        monkeypatch.syspath_prepend(str(elsewhere))
        assert fresh(second) == ["b"]

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"items": {}}'])
    def test_corrupt_is_built_anew(self, package, cache_folder, caplog, content):
        fresh(package)
        path = cache_file(cache_folder)
        good = json.loads(path.read_text())["items"]
        path.write_text(content)
        assert fresh(package) == ["one", "two"]
        assert "is corrupt" in caplog.text
        assert json.loads(path.read_text())["items"] == good

    @pytest.mark.parametrize(
        "forged", [{"module": "json", "qualname": "JSONDecoder"}, {"qualname": "No"}]
    )
    def test_entries_that_lead_elsewhere_are_refused(self, package, cache_folder, forged):
        fresh(package)
        path = cache_file(cache_folder)
        content = json.loads(path.read_text())
        content["items"]["one"] |= forged
        content["items"]["one"]["class_name"] = content["items"]["one"]["qualname"]
        path.write_text(json.dumps(content))
        assert fresh(package) == ["one", "two"]

    def test_nothing_is_kept_while_a_module_is_broken(self, package, cache_folder):
        """The library that it needs may come at any time."""
        package.write("broken", "import e2m_no_such\n")
        for _ in range(2):
            with pytest.warns(UserWarning, match="e2m_no_such"):
                assert fresh(package) == ["one", "two"]
        assert list(cache_folder.iterdir()) == []

    def test_a_plugin_that_breaks_later_is_reported_although_cached(self, package, monkeypatch):
        package.write_plugin("one", body="import os\nif 'E2M_BREAK' in os.environ: 1 / 0\n")
        assert fresh(package) == ["one", "two"]
        monkeypatch.setenv("E2M_BREAK", "1")
        with pytest.warns(UserWarning, match=r"\.one.*ZeroDivisionError"):
            assert fresh(package) == ["two"]

    def test_classes_that_no_name_leads_to_are_not_cached(self, package, cache_folder):
        package.write(
            "loop",
            f"""
            from {package.name}.base import Plugin
            for key in ("x", "y"):
                class P(Plugin):
                    name, helper = key, int
            """,
        )
        assert fresh(package) == fresh(package) == ["one", "two", "x", "y"]
        assert list(cache_folder.iterdir()) == []

    def test_a_file_written_during_discovery_is_not_hidden(self, package):
        package.write_plugin(
            "two",
            body="import pathlib\n"
            f"late = 'from {package.name}.base import Plugin\\n'\n"
            "late += 'class L(Plugin): name, helper = \"l\", int\\n'\n"
            "pathlib.Path(__file__).with_name('a_late.py').write_text(late)\n",
        )
        assert fresh(package) == ["one", "two"]
        assert fresh(package) == ["l", "one", "two"]

    def test_a_cache_folder_that_cannot_be_made_is_no_obstacle(
        self, package, tmp_path, monkeypatch, caplog
    ):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert fresh(package) == ["one", "two"]
        assert "is not written" in caplog.text

    def test_no_home_is_no_obstacle(self, package, monkeypatch, caplog):
        def fail():
            raise RuntimeError("no home")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(cache.Path, "home", fail)
        assert fresh(package) == ["one", "two"]
        assert "without a cache" in caplog.text

    def test_other_modules_are_never_imported_for_a_forged_entry(self, package, cache_folder, site):
        (site / "e2m_forged.py").write_text("class One: pass\n")
        fresh(package)
        path = cache_file(cache_folder)
        content = json.loads(path.read_text())
        content["items"]["one"]["module"] = "e2m_forged"
        path.write_text(json.dumps(content))
        assert fresh(package) == ["one", "two"]
        assert "e2m_forged" not in sys.modules

    def test_a_plugin_that_moves_with_the_environment_is_found(self, package, monkeypatch):
        text = package.write_plugin("one").read_text()
        package.write(
            "one",
            "import os\nif 'E2M_MOVE' in os.environ:\n    class One: pass\nelse:\n"
            + "".join(f"    {line}\n" for line in text.splitlines()),
        )
        package.write(
            "helper",
            "import os\nif 'E2M_MOVE' in os.environ:\n"
            + "".join(f"    {line}\n" for line in text.splitlines()),
        )
        assert fresh(package) == ["one", "two"]
        monkeypatch.setenv("E2M_MOVE", "1")
        assert fresh(package) == ["one", "two"]

    def test_reload_leaves_a_cache_that_holds(self, package):
        fresh(package)
        package.write_plugin("three")
        package.load().PLUGINS.reload()
        assert fresh(package) == ["one", "three", "two"]
        assert "helper" not in package.imported
