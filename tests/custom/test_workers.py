"""Custom code in other processes: workers with an empty store, killed runs, the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro import SampleDye, run_batch
from exo2micro.batch.task import Task, execute
from exo2micro.cli import main
from exo2micro.custom import CustomFunctionManager
from exo2micro.custom.run_code import CustomCode, collect
from exo2micro.custom.step import FunctionStep

HALVE = """
@numpy(halo=0)
def halve(image, parts: int = 2):
    return image.astype(np.float32) / parts
"""
FRAIL = """
@numpy
def frail(image):
    if image.shape[1] > 300:
        return image[0, 0, 0, 0]
    return image
"""


@pytest.fixture
def store(tmp_path, monkeypatch) -> CustomFunctionManager:
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "store"))
    return CustomFunctionManager()


def in_worker(folder: str, task: Task) -> dict:
    """Run one pair in a process whose store lies in an empty folder."""
    os.environ["EXO2MICRO_CUSTOM_DIR"] = folder
    from exo2micro.custom import default_manager

    assert default_manager().list_custom_functions() == []
    return execute(task)


def task_of(place: Project, code: CustomCode) -> Task:
    options = {**place.dirs(), "threads": 1, "custom": code}
    return Task(SAMPLE, DYE, options, {"to_stage": 3})


@pytest.fixture
def pair_of_places(narrow, tmp_path) -> list[Project]:
    places = [Project(tmp_path / name, SPEC) for name in ("one", "two")]
    for place in places:
        shutil.copytree(narrow.root, place.root)
    return places


def test_loky_workers_need_no_store_and_never_use_old_code(store, pair_of_places, tmp_path):
    from joblib import Parallel, delayed

    empty = str(tmp_path / "empty")
    shas = []
    with Parallel(n_jobs=2) as parallel:
        for code in (HALVE, HALVE.replace("/ parts", "/ parts + 1")):
            store.register_from_code(code)
            travelling = collect([FunctionStep("halve")])
            results = parallel(
                delayed(in_worker)(empty, task_of(place, travelling)) for place in pair_of_places
            )
            assert [r["status"].partition(",")[0] for r in results] == ["complete"] * 2
            (first,), (second,) = (r["custom_stages"] for r in results)
            assert first["sha256"] == second["sha256"] == store.get("halve").sha256
            shas.append(first["sha256"])
            here = SampleDye(SAMPLE, DYE, **pair_of_places[0].dirs(), stages=["halve"])
            assert {row.action for row in here.plan(to_stage=3)} == {"cached"}
    assert len(set(shas)) == 2


def test_an_error_in_a_batch_shows_the_users_line(store, pair_of_places):
    store.register_from_code(FRAIL)
    (result,) = run_batch(**pair_of_places[0].dirs(), stages=["frail"], to_stage=3)
    assert result["error_type"] == "CustomStageError"
    assert "frail failed in line 5, `return image[0, 0, 0, 0]`: IndexError" in result["status"]


def test_the_traceback_shows_the_source(store):
    import traceback

    import numpy as np

    store.register_from_code(FRAIL)
    with pytest.raises(IndexError) as caught:
        store.get("frail").load()(np.zeros((1, 400, 400)))
    text = "".join(traceback.format_exception(caught.value))
    assert "line 5, in frail\n    return image[0, 0, 0, 0]" in text


SLOW = """
@numpy(halo=0)
def slow(image):
    import time

    if image.shape[2] > 400:
        time.sleep(0.6)
    return image + np.float32(1)
"""
RUN = """
import sys
from exo2micro import SampleDye
raw, processed = sys.argv[1:]
run = SampleDye("CD070", "SybrGld_microbe", processed, raw, stages=["slow"])
run.run(to_stage=3, progress=lambda event: print(event.state, event.title, flush=True))
"""


def test_a_killed_extra_stage_leaves_nothing_half_done(store, pair_of_places):
    store.register_from_code(
        SLOW.replace("import time", "from time import sleep").replace("time.sleep", "sleep")
    )
    disturbed, quiet = pair_of_places
    words = [sys.executable, "-c", RUN, str(disturbed.raw), str(disturbed.processed)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert any("start slow" in line for line in process.stdout)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert not list(disturbed.folder.glob("tiff/03_slow*.tiff"))
    images = []
    for place in (disturbed, quiet):
        result = SampleDye(SAMPLE, DYE, **place.dirs(), stages=["slow"]).run(to_stage=3)
        (path,) = result["custom_stages"][0]["files"]
        images.append((path.name, path.read_bytes()))
        assert not [p for p in path.parent.iterdir() if p.suffix != ".tiff"]
    assert images[0] == images[1]


def command(place: Project, *words: str) -> int:
    folders = ["--raw-dir", str(place.raw), "--output-dir", str(place.processed)]
    return main([*words, *folders])


def test_the_command_line_adds_stages(store, pair_of_places, capsys):
    place = pair_of_places[0]
    store.register_from_code(HALVE)
    step = ("--stage", "halve:after=3,parts=3")
    assert command(place, "status", SAMPLE, DYE, *step) == 0
    assert "halve(parts=3) on pre" in capsys.readouterr().out
    assert command(place, "run", SAMPLE, DYE, *step, "--to-stage", "3", "--json", "-q") == 3
    (told,) = json.loads(capsys.readouterr().out)["custom_stages"]
    assert told["parameters"] == {"parts": 3}
    assert command(place, "run", SAMPLE, DYE, "--stage", "hlave") == 1
    assert "halve" in capsys.readouterr().err
    assert command(place, "run", SAMPLE, DYE, "--stage", "halve:after=9") == 2


def test_a_batch_runs_them_too(store, pair_of_places, capsys):
    store.register_from_code(HALVE)
    words = ("batch", "--stage", "halve:parts=4", "--to-stage", "3", "--json", "-q")
    command(pair_of_places[0], *words)
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["custom_stages"][0]["parameters"] == {"parts": 4}
