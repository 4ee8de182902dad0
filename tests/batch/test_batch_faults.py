"""What may happen to one pair, by real processes and signals; the others never notice."""

import os
import resource
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
    """Does something to the process of the first pair when it reaches a stage."""

    def __init__(self, stage: int, deed, times: int = 1) -> None:
        self.stage, self.deed, self.left = stage, deed, times
        self.pid = None

    def __call__(self, event) -> None:
        if (event.sample, event.dye) != VICTIM:
            return
        if event.kind == "started":
            self.pid = event.detail["pid"]
        wanted = event.kind == "stage" and event.detail["state"] == "start"
        if wanted and event.detail["number"] == self.stage and self.left:
            self.left -= 1
            try:
                self.deed(self.pid)
            except ProcessLookupError:
                self.left += 1  # too late; the events of the next attempt come


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


@pytest.mark.parametrize("stage", [2, 3, 4])
def test_a_pair_killed_in_a_stage_is_retried_alone_with_the_same_bytes(lab, calm, stage):
    results = batch(lab, progress=Saboteur(stage, kill))
    assert results[0]["attempts"] == 2
    assert "out of memory" in results[0]["messages"][-1]
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]
    assert_others_are_calm(lab, calm, results)


def test_a_pair_that_is_killed_each_time_is_named_with_its_cause(lab, calm):
    results = batch(lab, parallel=True, n_workers=2, progress=Saboteur(3, kill, times=9))
    assert results[0]["status"].startswith("error: killed by the system (SIGKILL), probably out of")
    assert results[0]["attempts"] == 2
    assert "PROBLEMS" in str(results)
    assert_others_are_calm(lab, calm, results)
    again = resume_batch(lab / "processed", retry_failed=True)
    assert [r["status"] for r in again] == [r["status"] for r in again if "complete" in r["status"]]
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]


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

    results = batch(lab, stages=["hungry:after=4"], progress=Saboteur(4, starve))
    assert results[0]["attempts"] == 2, results[0]["status"]
    assert "ran out of memory at first" in results[0]["messages"][-1]
    made = digests(lab / "processed", VICTIM[0])
    assert calm[VICTIM[0]].items() <= made.items()
    assert results[1]["attempts"] == 1


def test_a_pair_that_hangs_is_ended_with_all_its_processes(lab, calm):
    pids = []

    def freeze(pid):
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    results = batch(lab, timeout_per_task=40, progress=Saboteur(2, freeze))
    assert results[0]["status"].startswith("error: took longer than timeout_per_task = 40 s")
    assert results[0]["error_type"] == "TimeoutError"
    assert not psutil.pid_exists(pids[0])
    assert_others_are_calm(lab, calm, results)


def test_a_disk_that_is_full_is_said_and_the_next_run_ends_with_the_same_bytes(lab, calm):
    def fill(pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    results = batch(lab, progress=Saboteur(2, fill))
    assert results[0]["status"].startswith("error: ")
    assert "02_icp_aligned_pre.tiff" in results[0]["status"]
    assert_others_are_calm(lab, calm, results)
    resume_batch(lab / "processed", retry_failed=True)
    assert digests(lab / "processed", VICTIM[0]) == calm[VICTIM[0]]


def test_an_output_folder_that_cannot_be_made_is_that_pairs_error(lab, calm):
    (lab / "processed").mkdir()
    (lab / "processed" / VICTIM[0]).write_text("not a folder")
    results = batch(lab, parallel=False)
    assert results[0]["status"].startswith("error: ")
    assert f"processed/{VICTIM[0]}" in results[0]["status"]
    assert_others_are_calm(lab, calm, results)


def test_a_truncated_raw_file_is_that_pairs_error(lab, calm):
    (path,) = (lab / "raw" / VICTIM[0]).glob("*Pre*.tif")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    results = batch(lab, parallel=True, n_workers=2)
    assert results[0]["status"].startswith("error: ")
    assert path.name in results[0]["status"]
    assert_others_are_calm(lab, calm, results)


def test_a_pair_in_use_by_another_process_is_named_with_the_owner(lab, calm):
    results = []
    with SampleDye(*VICTIM, lab / "processed", lab / "raw")._lock.held():
        results = batch(lab)
    assert f"is in use by process {os.getpid()}" in results[0]["status"]
    assert_others_are_calm(lab, calm, results)


CRASHING = '''
@numpy
def crash(image, limit: int = 300):
    """Bring the interpreter down on any image larger than a trial's."""
    if image.shape[-1] > limit:
        np.lib.stride_tricks.as_strided(image, (2**30,), (2**20,)).sum()
    return image
'''


def test_a_custom_function_that_crashes_the_interpreter_is_that_pairs_error(
    lab, calm, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path / "store"))
    CustomFunctionManager().register_from_code(CRASHING)
    results = batch(lab, only=["A1/*"], stages=["crash:after=4"])
    assert results[0]["error_type"] == "TaskCrashedError"
    assert "SIGSEGV" in results[0]["status"]
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
