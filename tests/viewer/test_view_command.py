"""``exo2micro view`` as a process, and napari with a stand-in."""

import json
import os
import signal
import subprocess
import sys
import types
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile
from small_pair import DYE, SAMPLE

from exo2micro.cli import main

WAIT = 120


@contextmanager
def running(project):
    """Start the command and give the process and the address that it prints."""
    # A shell's background jobs ignore Ctrl-C, nohup a hang-up; the child shall hear both.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "from exo2micro.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "view", SAMPLE, DYE, "--no-browser", "--json"]
    folders = [f"--output-dir={project.processed}", f"--raw-dir={project.raw}"]
    process = subprocess.Popen(
        [*command, *folders], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        document = ""
        while not document.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            document += line
        yield process, json.loads(document)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_server_ends_with_the_terminal(searched, name):
    with running(searched) as (process, document):
        with urllib.request.urlopen(f"{document['url']}slide.json", timeout=WAIT) as answer:
            assert json.load(answer)["sample"] == SAMPLE
        process.send_signal(getattr(signal, name))
        assert process.wait(WAIT) == 0
        assert "Traceback" not in process.stderr.read()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(document["url"], timeout=WAIT)


def test_a_pair_that_was_not_run_is_an_error_with_the_command_to_run(project, capsys):
    folders = [f"--output-dir={project.processed}", f"--raw-dir={project.raw}"]
    assert main(["view", SAMPLE, DYE, *folders]) == 1
    assert f"run it first: exo2micro run {SAMPLE} {DYE}" in capsys.readouterr().err


@pytest.fixture
def napari(monkeypatch):
    """A stand-in that notes what it was given."""
    given = types.SimpleNamespace(images={}, labels={}, points={}, has_run=False)

    class Viewer:
        def __init__(self, title):
            given.title = title
            self.scale_bar = given.scale_bar = types.SimpleNamespace()

        def add_image(self, levels, *, name, **options):
            given.images[name] = levels, options

        def add_labels(self, levels, *, name, **options):
            given.labels[name] = levels, options

        def add_points(self, places, **options):
            given.points = places, options

    module = types.ModuleType("napari")
    module.Viewer = Viewer
    module.run = lambda: setattr(given, "has_run", True)
    module.utils = types.SimpleNamespace(Colormap=lambda colours, name: (colours, name))
    monkeypatch.setitem(sys.modules, "napari", module)
    return given


def test_napari_is_given_all_layers_with_their_overviews(searched, napari):
    folders = [f"--output-dir={searched.processed}", f"--raw-dir={searched.raw}"]
    assert main(["view", SAMPLE, DYE, "--napari", *folders]) == 0
    assert napari.has_run
    assert f"{SAMPLE} / {DYE}" in napari.title
    levels, options = napari.images["difference"]
    image = tifffile.imread(searched.folder / "tiff" / "04_difference_difference.tiff")
    assert [level.shape for level in levels][:2] == [image.shape, (1140, 1160)]
    np.testing.assert_array_equal(np.asarray(levels[0][2100:2110, 2200]), image[2100:2110, 2200])
    np.testing.assert_array_equal(levels[0][-3, ::50], image[-3, ::50])
    assert np.asarray(levels[-1]).shape == levels[-1].shape
    assert options["multiscale"] is True
    flags, _ = napari.labels["data quality (DQ)"]
    assert flags[0].dtype == np.uint8
    places, _ = napari.points
    assert len(places) > 5
    assert napari.scale_bar.unit == "px"


def test_without_napari_it_says_what_to_install(searched, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "napari", None)
    folders = [f"--output-dir={searched.processed}", f"--raw-dir={searched.raw}"]
    assert main(["view", SAMPLE, DYE, "--napari", *folders]) == 1
    assert "pip install 'exo2micro[napari]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these always have a screen")
def test_without_a_screen_no_browser_is_started(viewer, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not viewer.open_browser()
    monkeypatch.setitem(os.environ, "DISPLAY", ":0")
    assert viewer.open_browser()
    assert opened == [viewer.url]
