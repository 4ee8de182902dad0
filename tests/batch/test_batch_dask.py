"""A batch on a cluster: a scheduler and workers as separate processes, as on several machines."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import psutil
import pytest
from batch_lab import PAIRS, digests

from exo2micro import run_batch
from exo2micro.batch import Journal
from exo2micro.cli.app import main
from exo2micro.cli.batch_cluster import on_cluster
from exo2micro.errors import ClusterError

distributed = pytest.importorskip(
    "distributed", reason="needs dask.distributed: pip install 'exo2micro[dask]'"
)


def command(*arguments: str, folder: Path) -> subprocess.Popen:
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers with one thread each, in folders of their own."""
    address = tmp_path / "scheduler.json"
    scheduler = command(
        "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(address), folder=tmp_path / "scheduler",
    )  # fmt: skip
    workers = [
        command(
            "dask_worker", "--scheduler-file", str(address), "--host", "127.0.0.1",
            "--nthreads", "1", "--no-dashboard", "--no-nanny",
            folder=tmp_path / f"worker{i}",
        )
        for i in range(2)
    ]  # fmt: skip
    try:
        yield address, workers, scheduler
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def test_a_cluster_that_loses_a_worker_finishes_the_batch(cluster, lab, calm):
    address, workers, _ = cluster
    killed = []

    def kill_a_worker(event) -> None:
        if event.kind == "stage" and event.detail["number"] == 3 and not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    with distributed.Client(scheduler_file=str(address), timeout="60s") as client:
        client.wait_for_workers(2, timeout=60)
        with joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
            results = run_batch(
                raw_dir=lab / "raw",
                output_dir=lab / "processed",
                parallel=True,
                n_workers=2,
                progress=kill_a_worker,
            )
    assert killed
    assert [r["status"].split(",")[0] for r in results] == ["complete"] * len(PAIRS)
    for sample, _ in PAIRS:
        assert digests(lab / "processed", sample) == calm[sample]


def test_relative_folders_mean_those_of_the_command_not_of_a_worker(
    cluster, lab, tmp_path, monkeypatch
):
    address, *_ = cluster
    with distributed.Client(scheduler_file=str(address), timeout="60s") as client:
        client.wait_for_workers(2, timeout=60)
    tcp = json.loads(address.read_text())["address"]
    monkeypatch.chdir(lab)
    assert main(["batch", "--scheduler", tcp, "--to-stage", "1", "-q"]) == 0
    assert {path.name for path in (lab / "processed").glob("A*")} == {s for s, _ in PAIRS}
    assert not list(tmp_path.glob("worker*/processed"))


def test_one_pair_and_its_retry_run_on_the_workers(cluster, lab, calm, monkeypatch):
    monkeypatch.setattr("exo2micro.batch.following._POLL_SECONDS", 0.01)
    address, workers, _ = cluster
    parents = []

    def kill_the_first(event) -> None:
        if event.kind == "started":
            parents.append(psutil.Process(event.detail["pid"]).ppid())
            if len(parents) == 1:
                os.kill(event.detail["pid"], signal.SIGKILL)

    with distributed.Client(scheduler_file=str(address), timeout="60s") as client:
        client.wait_for_workers(2, timeout=60)
        with joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
            (result,) = run_batch(
                raw_dir=lab / "raw",
                output_dir=lab / "processed",
                only="A1",
                progress=kill_the_first,
            )
    assert result["attempts"] == len(parents) == 2
    assert set(parents) <= {worker.pid for worker in workers}
    assert digests(lab / "processed", "A1") == calm["A1"]


def test_a_cluster_that_loses_its_scheduler_ends_the_batch_in_words(cluster, lab):
    address, _, scheduler = cluster
    pids = set()

    def kill_the_scheduler(event) -> None:
        if event.kind == "started":
            pids.add(event.detail["pid"])
        elif event.kind == "stage":
            scheduler.kill()

    with distributed.Client(scheduler_file=str(address), timeout="60s") as client:
        client.wait_for_workers(2, timeout=60)
        tcp = client.scheduler.address
    with (
        on_cluster(tcp),
        pytest.raises(ClusterError, match=r"were lost .* --resume` \(and --scheduler"),
    ):
        run_batch(raw_dir=lab / "raw", output_dir=lab / "processed", progress=kill_the_scheduler)
    journal = Journal.latest(lab / "processed")
    assert "error of the batch itself" in journal.ended
    assert journal.unfinished == PAIRS
    assert pids
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
