"""What may happen to one pair, by real processes and signals; the others never notice."""

import os
import re
import resource
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from batch_lab import PAIRS, digests

from exo2micro import CustomFunctionManager, SampleDye, run_batch
from exo2micro.batch import resume_batch

VICTIM, OTHERS = PAIRS[0], PAIRS[1:]


class Saboteur:
    """Does something to the process of the first pair when it reaches stages, once in each."""

    def __init__(self, deed, *stages: int) -> None:
        self.stages, self.deed, self.done = list(stages), deed, []
        self.pid = None

    def __call__(self, event) -> None:
        if (event.sample, event.dye) != VICTIM:
            return
        if event.kind == "started":
            self.pid = event.detail["pid"]
        wanted = event.kind == "stage" and event.detail["state"] == "start"
        if wanted and event.detail["number"] in self.stages:
            try:
                self.deed(self.pid)
            except ProcessLookupError:
                return  # too late; the events of the next attempt come
            self.stages.remove(event.detail["number"])
            self.done.append(event.detail["number"])


@pytest.fixture(autouse=True)
def attentive(monkeypatch):
    """Let the saboteur hear of a stage while it still runs."""
    monkeypatch.setattr("exo2micro.batch.following._POLL_SECONDS", 0.01)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def batch(lab: Path, **how):
    how = {"parallel": "subprocess"} | how
    return run_batch(raw_dir=lab / "raw", output_dir=lab / "processed", **how)


def assert_others_are_calm(lab: Path, calm, results) -> None:
    for result in results[1:]:
        assert result["status"].startswith("complete"), result["status"]
    for sample, _ in OTHERS:
        assert digests(lab / "processed", sample) == calm[sample]


def test_a_pair_killed_in_each_stage_is_retried_alone_with_the_same_bytes(lab, calm):
    saboteur = Saboteur(kill, 1, 2, 3, 4)
    results = batch(lab, retries=4, progress=saboteur)
    assert saboteur.done == [1, 2, 3, 4]
    assert results[0]["attempts"] == 5
    assert "out of memory" in results[0]["messages"][-1]
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]
    assert_others_are_calm(lab, calm, results)


def test_a_pair_that_is_killed_each_time_is_named_with_its_cause(lab, calm):
    results = batch(lab, parallel=True, n_workers=2, progress=Saboteur(kill, 2, 3))
    assert results[0]["status"].startswith("error: killed by the system (SIGKILL), probably out of")
    assert results[0]["attempts"] == 2
    assert "--retry-failed`); attempt 2, alone and" in results[0]["status"]
    assert f"    log: {results[0]['log']}" in str(results)
    assert_others_are_calm(lab, calm, results)
    again = resume_batch(lab / "processed", retry_failed=True)
    assert [r["status"] for r in again] == [r["status"] for r in again if "complete" in r["status"]]
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]


def test_a_child_that_dies_within_a_line_is_that_pairs_error(lab, monkeypatch):
    torn = 'import os; os.write(1, b\'{"result": "gASV\'); os._exit(3)'
    monkeypatch.setattr("exo2micro.batch.supervisor._BOOTSTRAP", torn)
    results = batch(lab)
    assert [r["error_type"] for r in results] == ["TaskCrashedError"] * len(PAIRS)
    assert "exit code 3" in results[0]["status"]


def test_whatever_fails_in_a_supervisor_is_that_pairs_error(lab, monkeypatch):
    monkeypatch.setattr("exo2micro.batch.supervisor.memory_reserved", lambda *_: 1 / 0)
    results = batch(lab)
    assert [r["error_type"] for r in results] == ["ZeroDivisionError"] * len(PAIRS)


HUNGRY = '''
@numpy
def hungry(image, limit: int = 300):
    """Need 800 MB for any image larger than a trial's."""
    if image.shape[-1] > limit:
        np.ones(100_000_000).sum()
    return image
'''


def test_memory_that_runs_out_is_retried_alone(lab, calm, tmp_path, monkeypatch):
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "store"))
    CustomFunctionManager().register_from_code(HUNGRY)

    def starve(pid):
        most = psutil.Process(pid).memory_info().vms + 400_000_000
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))

    results = batch(lab, stages=["hungry:after=4"], progress=Saboteur(starve, 4))
    assert results[0]["attempts"] == 2, results[0]["status"]
    assert "ran out of memory at first" in results[0]["messages"][-1]
    made = digests(lab / "processed", VICTIM[0])
    assert calm[VICTIM[0]].items() <= made.items()
    assert results[1]["attempts"] == 1


def test_a_pair_that_hangs_is_ended_with_all_its_processes(lab, calm):
    pids = []

    def freeze(pid):
        os.kill(pid, signal.SIGSTOP)
        pids.extend([pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))])

    results = batch(
        lab, parallel=True, n_workers=2, timeout_per_task=40, progress=Saboteur(freeze, 2)
    )
    assert results[0]["status"].startswith("error: took longer than timeout_per_task = 40 s")
    assert results[0]["error_type"] == "TimeoutError"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert_others_are_calm(lab, calm, results)


def test_a_disk_that_is_full_is_said_and_the_next_run_ends_with_the_same_bytes(lab, calm):
    def fill(pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    results = batch(lab, progress=Saboteur(fill, 2))
    assert re.match(r"error: .*cannot write .*/tiff/0[23]_.*too large", results[0]["status"])
    assert_others_are_calm(lab, calm, results)
    assert resume_batch(lab / "processed")[0]["status"].startswith("error: ")
    resume_batch(lab / "processed", retry_failed=True)
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]


def test_what_can_never_run_is_each_pairs_own_error(lab, calm):
    """A folder that cannot be made, a truncated raw file, a pair that somebody else works on."""
    raw, processed = lab / "raw", lab / "processed"
    writable = not os.geteuid()  # the superuser writes into any folder
    wrong = ["A0", "A1", "B2"] if writable else ["A0", "A1", "B1", "B2"]
    for sample in {*wrong} - {"A1"}:
        shutil.copytree(raw / VICTIM[0], raw / sample)
    processed.mkdir()
    (processed / "A0").write_text("not a folder")
    (path,) = (raw / VICTIM[0]).glob("*Pre*.tif")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    if not writable:
        (processed / "B1").mkdir(mode=0o555)
    with SampleDye("B2", "DAPI", processed, raw)._lock.held():
        results = {r["sample"]: r for r in batch(lab, parallel=True, n_workers=2)}
    assert list(results) == sorted([*wrong, "A2"])
    assert "processed/A0" in results["A0"]["status"]
    assert path.name in results["A1"]["status"]
    assert f"is in use by process {os.getpid()}" in results["B2"]["status"]
    if not writable:
        assert "no permission" in results["B1"]["status"]
    for sample in wrong:
        assert results[sample]["status"].startswith("error: ")
        assert results[sample]["error_type"]
    assert_others_are_calm(lab, calm, [results["A0"], results["A2"]])


CRASHING = '''
@numpy
def crash(image, limit: int = 300):
    """Bring the interpreter down on any image larger than a trial's."""
    if image.shape[-1] > limit:
        np.lib.stride_tricks.as_strided(image, (2**30,), (2**20,)).sum()
    return image
'''


LEAVING = '''
@numpy
def leave(image, limit: int = 300):
    """Leave the program on any image larger than a trial's."""
    if image.shape[-1] > limit:
        raise SystemExit(7)
    return image
'''


@pytest.mark.parametrize("parallel", [False, "subprocess"])
def test_a_custom_function_that_leaves_the_program_is_that_pairs_error(
    lab, tmp_path, monkeypatch, parallel
):
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "store"))
    CustomFunctionManager().register_from_code(LEAVING)
    results = batch(lab, parallel=parallel, stages=["leave:after=1"], to_stage=1)
    assert [r["error_type"] for r in results] == ["SystemExit", "SystemExit"]
    assert "called exit(7)" in results[0]["status"]
    assert "SystemExit: 7" in Path(results[0]["log"]).read_text()


def test_a_custom_function_that_crashes_the_interpreter_is_that_pairs_error(
    lab, calm, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "store"))
    CustomFunctionManager().register_from_code(CRASHING)
    results = batch(lab, only=["A1/*"], stages=["crash:after=4"])
    assert results[0]["error_type"] == "TaskCrashedError"
    assert "SIGSEGV" in results[0]["status"]
    assert "in crash" in Path(results[0]["log"]).read_text(), "the log shows the function"
    assert_others_are_calm(lab, calm, [*results, *batch(lab, only=["A2/*"])])


def test_two_batches_on_one_folder_share_the_work_and_agree(lab, calm):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: batch(lab), range(2))
    for mine, other in zip(first, second, strict=True):
        assert "complete" in (mine["status"], other["status"])
        for result in (mine, other):
            assert result["status"] == "complete" or "is in use by process" in result["status"]
    for sample, _ in PAIRS:
        assert digests(lab / "processed", sample) == calm[sample]
