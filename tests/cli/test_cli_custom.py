"""``exo2micro custom`` on a store of its own."""

import os

import pytest

from exo2micro.custom import CustomFunctionManager

GOOD = (
    '@numpy\ndef brighter(image, factor=2.0):\n    """Make it brighter."""\n    return image * 2\n'
)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty store and an empty current folder."""
    folder = tmp_path / "store"
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def brighter(tmp_path):
    (tmp_path / "brighter.py").write_text(GOOD)
    return "brighter.py"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--memory", "jax"],
        *(["--kind", k] for k in ("diagnostic", "scale_estimator", "reader")),
    ],
    ids=" ".join,
)
def test_a_new_function_can_be_added_as_it_stands(call, tmp_path, options):
    assert call("custom", "new", "my_own", *options).code == 0
    result = call("custom", "add", "my_own.py", "--json")
    assert (result.code, result.document["added"]) == (0, ["my_own"])
    assert "exists" in call("custom", "new", "my_own").err


@pytest.mark.parametrize("name", ["../x", "print", "a b"])
def test_a_new_function_has_a_plain_name(call, tmp_path, name):
    result = call("custom", "new", name)
    assert result.code == 1
    assert not list(tmp_path.rglob("*.py"))


def test_add_list_show_remove(call, brighter, store):
    assert "no custom functions" in call("custom", "list").out
    assert call("custom", "add", brighter).out == f"added brighter ({store})\n"
    listed = call("custom", "list").out
    for word in ("brighter", "image (numpy)", "factor=2.0", "Make it brighter."):
        assert word in listed
    (row,) = call("custom", "list", "--json").document["functions"]
    assert row["parameters"] == {"factor": 2.0}
    shown = call("custom", "show", "brighter")
    assert shown.out.endswith(GOOD + "\n")
    assert call("custom", "show", "brighter", "--json").document["code"] == GOOD
    unknown = call("custom", "remove", "brighter", "brigther")
    assert unknown.code == 1
    assert "did you mean brighter" in unknown.err
    assert call("custom", "list", "--json").document["functions"]
    assert call("custom", "remove", "brighter").code == 0
    assert call("custom", "list", "--json").document["functions"] == []


def test_a_store_by_option(call, brighter, tmp_path, store):
    other = tmp_path / "other"
    assert call("custom", "add", brighter, "--store", other).code == 0
    assert (other / "brighter.py").exists()
    assert not store.exists()


def test_a_broken_file_is_listed(call, brighter, store):
    call("custom", "add", brighter)
    (store / "bad.py").write_text("def bad(:")
    result = call("custom", "list", "--json").document
    assert [row["name"] for row in result["functions"]] == ["brighter"]
    assert "line 1: not valid Python" in result["broken"]["bad"]
    assert "broken: " in call("custom", "list").out
    assert call("custom", "show", "bad", "--json").document["code"] == "def bad(:"


def test_check_names_line_and_text_and_keeps_nothing(call, brighter, tmp_path, store):
    assert call("custom", "check", brighter).code == 0
    (tmp_path / "bad.py").write_text("import os\n" + GOOD)
    result = call("custom", "check", "bad.py")
    assert result.code == 1
    assert "error: bad.py: line 1: the import of 'os' is refused" in result.out
    document = call("custom", "check", "bad.py", "--json").document
    assert document["errors"][0]["line_number"] == 1
    assert document["errors"][0]["code_snippet"] == "import os"
    assert call("custom", "check", brighter, "--strict").code == 1
    assert call("custom", "check", "missing.py").code == 1
    assert not store.exists()
    call("custom", "add", brighter)
    assert call("custom", "check", "brighter", "--isolated").code == 0


@pytest.mark.skipif(os.name != "posix", reason="the editor is a shell command")
def test_edit_keeps_what_is_valid_and_never_loses_the_text(call, brighter, tmp_path, monkeypatch):
    call("custom", "add", brighter)
    manager = CustomFunctionManager()
    monkeypatch.setenv("EDITOR", "sed -i 's/image [*] 2/image * 3/'")
    assert call("custom", "edit", "brighter").out == "brighter was changed\n"
    assert "image * 3" in manager.get_function_code("brighter")
    assert call("custom", "edit", "brighter").out == "brighter was not changed\n"
    monkeypatch.setenv("EDITOR", "sed -i 's/image [*] 3/os.remove(1)/; 1i import os'")
    result = call("custom", "edit", "brighter")
    assert result.code == 1
    assert "your text lies in brighter.rejected.py" in result.err
    assert "os.remove" in (tmp_path / "brighter.rejected.py").read_text()
    assert "image * 3" in manager.get_function_code("brighter")


def test_export_and_import(call, brighter, tmp_path):
    call("custom", "add", brighter)
    assert call("custom", "export", "bundle.zip").out == "bundle.zip holds brighter\n"
    other = ["--store", tmp_path / "other"]
    assert call("custom", "import", "bundle.zip", *other, "--json").document["imported"] == [
        "brighter"
    ]
    assert "here already" in call("custom", "import", "bundle.zip", *other).out
    (tmp_path / "other" / "brighter.py").write_text(GOOD.replace("* 2", "* 4"))
    refused = call("custom", "import", "bundle.zip", *other)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert call("custom", "import", "bundle.zip", *other, "--overwrite").code == 0
    assert call("custom", "export", "bundle.zip", "brigther").code == 1
