"""The cache: where it lies, when it is refused, and that it never hides or mixes plugins."""

import json
import logging
import os
import threading
import time

import pytest

from exo2micro.registry import (
    CacheConfig,
    CacheError,
    RegistryCacheManager,
    cache,
    deserialize_plugin_class,
    get_cache_file_path,
    get_package_file_mtimes,
    serialize_plugin_class,
)

VERSION = {"now": "1.0"}


def manager(name="items", config=None, **changes):
    functions = {
        "version_getter": lambda: VERSION["now"],
        "serializer": lambda value: {"value": value},
        "deserializer": lambda data: data["value"],
    }
    return RegistryCacheManager(name, **(functions | changes), config=config)


def edit(made, **changes):
    content = json.loads(made._cache_path.read_text())
    made._cache_path.write_text(json.dumps(content | changes))


class TestPath:
    def test_under_xdg_cache_home(self, cache_folder):
        path = get_cache_file_path("test.json")
        assert path == cache_folder / "test.json"
        assert get_cache_file_path("test") == path
        assert path.parent.is_dir()

    @pytest.mark.parametrize("value", [None, "", "relative/folder"])
    def test_under_home_else(self, monkeypatch, tmp_path, value):
        monkeypatch.setenv("HOME", str(tmp_path))
        if value is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", value)
        expected = tmp_path / ".cache" / "exo2micro" / "registry" / "test.json"
        assert get_cache_file_path("test") == expected

    @pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\0b", "-x"])
    def test_names_that_could_lead_out_are_refused(self, name):
        with pytest.raises(CacheError, match="letters, digits") as caught:
            get_cache_file_path(name)
        assert isinstance(caught.value, OSError)

    def test_no_home(self, monkeypatch):
        def fail():
            raise RuntimeError("no home")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(cache.Path, "home", fail)
        with pytest.raises(CacheError, match="set XDG_CACHE_HOME"):
            get_cache_file_path("test")


class TestManager:
    def test_round_trip(self):
        items = {"a": 1, "é": [1, 2]}
        manager().save_cache(items)
        assert manager().load_cache() == items
        assert manager("other").load_cache() is None

    def test_defaults(self):
        assert CacheConfig() == CacheConfig(max_age_days=7, check_mtimes=False, cache_version="1.0")

    def test_other_version(self, monkeypatch):
        manager().save_cache({"a": 1})
        monkeypatch.setitem(VERSION, "now", "2.0")
        assert manager().load_cache() is None

    def test_other_format(self):
        manager().save_cache({"a": 1})
        assert manager(config=CacheConfig(cache_version="2.0")).load_cache() is None

    @pytest.mark.parametrize(
        ("age_days", "limit", "is_used"),
        [(6.9, 7, True), (7.1, 7, False), (1, 0.5, False), (-1, 7, False)],
    )
    def test_age(self, age_days, limit, is_used):
        made = manager(config=CacheConfig(max_age_days=limit))
        made.save_cache({"a": 1})
        edit(made, timestamp=time.time() - age_days * 86400)
        assert (made.load_cache() is not None) == is_used

    @pytest.mark.parametrize("change", ["changed", "removed", "added", "added folder"])
    def test_files(self, tmp_path, change):
        folder = tmp_path / "files"
        (folder / "sub").mkdir(parents=True)
        for name in ("a.py", "b.py", "notes.txt"):
            (folder / name).write_text("# text")
        mtimes = {str(folder / name): (folder / name).stat().st_mtime for name in ("a.py", "b.py")}
        made = manager(config=CacheConfig(check_mtimes=True))
        made.save_cache({"k": 1}, file_mtimes=mtimes)
        (folder / "notes.txt").write_text("more")
        assert made.load_cache() == {"k": 1}
        if change == "changed":
            stat = (folder / "a.py").stat()
            os.utime(folder / "a.py", (stat.st_atime, stat.st_mtime + 0.01))
        elif change == "removed":
            (folder / "a.py").unlink()
        elif change == "added":
            (folder / "c.py").touch()
        else:
            (folder / "new").mkdir()
        assert made.load_cache() is None
        assert manager(config=CacheConfig(check_mtimes=False)).load_cache() == {"k": 1}

    @pytest.mark.parametrize(
        "content",
        [
            b"not json{{",
            b"",
            b"[]",
            b"null",
            b"3",
            b"{}",
            b"\xff\xfe",
            b'{"cache_version": "1.0"}',
            b'{"cache_version": "1.0", "version": "1.0", "timestamp": "x", "items": {}}',
        ],
    )
    def test_corrupt_is_removed_with_a_warning(self, content, caplog):
        made = manager()
        made.save_cache({"a": 1})
        made._cache_path.write_bytes(content)
        assert made.load_cache() is None
        assert not made._cache_path.exists()
        assert [r.levelno for r in caplog.records] == [logging.WARNING]
        assert str(made._cache_path) in caplog.text
        made.save_cache({"a": 2})
        assert made.load_cache() == {"a": 2}

    def test_items_of_a_wrong_kind_are_corrupt(self):
        made = manager()
        made.save_cache({"a": 1})
        edit(made, items=[1, 2])
        assert made.load_cache() is None
        assert not made._cache_path.exists()

    def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(self, monkeypatch):
        made = manager()
        made.save_cache({"a": "old"})
        begun, go = threading.Event(), threading.Event()
        dump = json.dump

        def slow(content, file, **options):
            file.write('{"half": ')
            file.flush()
            begun.set()
            assert go.wait(20)
            file.seek(0)
            file.truncate()
            dump(content, file, **options)

        monkeypatch.setattr(cache.json, "dump", slow)
        writer = threading.Thread(target=made.save_cache, args=({"a": "new"},))
        writer.start()
        assert begun.wait(20)
        assert made.load_cache() == {"a": "old"}
        go.set()
        writer.join(20)
        assert made.load_cache() == {"a": "new"}
        assert [p.name for p in made._cache_path.parent.iterdir()] == ["items.json"]

    def test_a_failed_write_keeps_the_old_file(self, monkeypatch, caplog):
        made = manager()
        made.save_cache({"a": "old"})

        def fail(*arguments, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache.json, "dump", fail)
        made.save_cache({"a": "new"})
        assert "No space left" in caplog.text
        assert made.load_cache() == {"a": "old"}
        assert [p.name for p in made._cache_path.parent.iterdir()] == ["items.json"]

    def test_one_item_that_cannot_be_written_spoils_all(self, caplog):
        def serialize(value):
            if value == 2:
                raise ValueError("two is too much")
            return {"value": value}

        made = manager(serializer=serialize)
        made.save_cache({"a": 1, "b": 2})
        assert not made._cache_path.exists()
        assert "two is too much" in caplog.text

    def test_one_item_that_cannot_be_read_spoils_all(self, caplog):
        manager().save_cache({"a": 1, "b": 2})

        def deserialize(data):
            return 1 // (data["value"] - 2)

        assert manager(deserializer=deserialize).load_cache() is None
        assert "division" in caplog.text

    def test_clear(self):
        made = manager()
        made.clear_cache()
        made.save_cache({"a": 1})
        made.clear_cache()
        assert made.load_cache() is None
        made._cache_path.mkdir()
        with pytest.raises(CacheError, match=r"cannot remove.*items\.json"):
            made.clear_cache()


class TestClasses:
    class Nested:
        """A class inside a class."""

    def test_round_trip(self):
        for cls in (dict, TestManager, TestClasses.Nested, CacheConfig):
            assert deserialize_plugin_class(serialize_plugin_class(cls)) is cls
        assert serialize_plugin_class(TestClasses.Nested) == {
            "module": __name__,
            "class_name": "Nested",
            "qualname": "TestClasses.Nested",
        }

    def test_a_local_class_is_found_only_if_its_module_holds_it(self, monkeypatch):
        class Local:
            pass

        data = serialize_plugin_class(Local)
        with pytest.raises(CacheError, match="holds no class"):
            deserialize_plugin_class(data)
        monkeypatch.setitem(globals(), "Local", Local)
        assert deserialize_plugin_class(data) is Local

    def test_not_there(self):
        data = {"module": "json", "class_name": "dumps", "qualname": "dumps"}
        with pytest.raises(CacheError, match="module json holds no class dumps"):
            deserialize_plugin_class(data)
        with pytest.raises(ImportError):
            deserialize_plugin_class(data | {"module": "e2m_no_such"})

    def test_package_files(self, make_package):
        package = make_package(plugins=("one",))
        package.write("sub/__init__", "")
        package.write("sub/deep", "")
        (package.folder / "data.txt").touch()
        package.load()
        found = get_package_file_mtimes(package.name)
        names = {"__init__.py", "base.py", "one.py", "sub/__init__.py", "sub/deep.py"}
        assert found == {
            str(package.folder / name): (package.folder / name).stat().st_mtime for name in names
        }
        one = str(package.folder / "one.py")
        assert get_package_file_mtimes(f"{package.name}.one") == {one: found[one]}
        assert get_package_file_mtimes("e2m_no_such.package") == {}
