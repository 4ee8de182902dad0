"""The table, the journal, parameters per pair, the plan and the ledger of memory."""

import csv
import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import joblib
import pytest
from astropy.table import Table as AstropyTable
from batch_lab import PAIRS

from exo2micro import SampleDye, run_batch
from exo2micro.batch import BatchResults, EventReader, Journal, plan_batch, resume_batch
from exo2micro.batch.admission import Ledger, memory_reserved
from exo2micro.batch.events import EventLog, append_line, read_lines
from exo2micro.batch.needs import together
from exo2micro.batch.overrides import params_for, read_overrides
from exo2micro.batch.overview import batch_status, stop_batch
from exo2micro.batch.prepare import prepare
from exo2micro.batch.request import make_request
from exo2micro.batch.results import COLUMNS
from exo2micro.batch.task import Task, skipped_result, stop_file
from exo2micro.cli.app import main
from exo2micro.cli.exits import ExitCode, exit_code_of_batch
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import (
    CheckpointError,
    ClusterError,
    InsufficientMemoryError,
    ParameterError,
    RawFileNotFoundError,
    RawPairingError,
)
from exo2micro.execution.control_group import free_memory_bytes
from exo2micro.execution.preflight import PreflightReport

RESULTS = BatchResults(
    [
        {
            "sample": "A",
            "dye": "D",
            "status": "complete",
            "verdict": "PASS",
            "scale_estimate": 1.8,
            "scale_interval": [1.79, 1.81],
            "certificate": {"median_px": 0.05, "p95_px": 0.1, "bound_px": 0.2, "coverage": 1.0},
            "difference": {"fits": Path("p/x.fits")},
            "seconds": 3.0,
            "attempts": 1,
        },
        {"sample": "B", "dye": "D", "status": "error: no, really", "error_type": "OSError"},
    ]
)


def test_the_table_has_one_row_per_pair_and_names_the_problems():
    table = RESULTS.to_table()
    assert table.columns == list(COLUMNS)
    assert [row["scale_low"] for row in table] == [1.79, None]
    assert "PROBLEMS\n  B / D: error: no, really" in str(RESULTS)
    assert "A / D" not in RESULTS.problems()


@pytest.mark.parametrize("ending", [".csv", ".ecsv"])
def test_the_table_is_read_back(tmp_path, ending):
    path = RESULTS.write(tmp_path / f"t{ending}")
    if ending == ".csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert rows[1]["scale"] == ""
        assert rows[0]["difference_fits"] == "p/x.fits"
    else:
        rows = AstropyTable.read(path, format="ascii.ecsv")
        assert rows["scale"].mask.tolist() == [False, True]
    assert float(rows[0]["scale"]) == 1.8
    assert rows[1]["status"] == "error: no, really"


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"\.csv or \.ecsv"):
        RESULTS.write(tmp_path / "t.xlsx")


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "j.jsonl"
    for i in range(3):
        append_line(path, {"i": i})
    os.truncate(path, path.stat().st_size - 4)
    assert [entry["i"] for entry in read_lines(path)] == [0, 1]
    append_line(path, {"i": 3})
    assert [entry["i"] for entry in read_lines(path)] == [0, 1, 3]


def test_a_batch_that_was_killed_while_it_started_hides_no_other(tmp_path):
    journal = Journal.create(tmp_path, PAIRS, None)
    journal.start(PAIRS)
    torn = Journal.create(tmp_path, PAIRS, None).folder
    (torn / "journal.jsonl").write_bytes(b'{"event": "start", "pid": 1, "pa')
    assert Journal.latest(tmp_path).folder == journal.folder
    assert batch_status(tmp_path).title.startswith(str(journal.folder))
    with pytest.raises(CheckpointError, match="there is no batch"):
        Journal.find(tmp_path, torn.name)


@pytest.mark.parametrize("size", [0, 20])
def test_a_request_that_a_power_cut_tore_is_told(archive, tmp_path, size):
    how = {"checkpoint_format": None, "overrides": None, "call": {}}
    journal = Journal.create(tmp_path, PAIRS, make_request(tmp_path, archive / "raw", None, **how))
    journal.start(PAIRS)
    os.truncate(journal.folder / "request.pickle", size)
    with pytest.raises(CheckpointError, match="cannot be read .*; start a new batch"):
        resume_batch(tmp_path)


def test_overrides_go_from_wide_to_narrow(tmp_path):
    path = tmp_path / "o.csv"
    path.write_text("sample,dye,boundary_width,manual_scale\nA,D,7,\n,D,5,1.5\n,,3,2\nA,,6,off\n")
    rows = read_overrides(path)
    assert params_for(rows, "A", "D") == {"boundary_width": 7, "manual_scale": None}
    assert params_for(rows, "B", "D") == {"boundary_width": 5, "manual_scale": 1.5}
    assert params_for(rows, "B", "E") == {"boundary_width": 3, "manual_scale": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        "Sample;DYE;boundary_width\r\nA;D;7\r\n",
        "sample, dye, boundary_width\nA , D, 7\n",
        "sample,dye,boundary_width,\nA,D,7,\n",
    ],
)
def test_overrides_are_read_as_spreadsheets_write_them(tmp_path, text):
    path = tmp_path / "o.csv"
    path.write_text(text)
    assert params_for(read_overrides(path), "A", "D") == {"boundary_width": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,dye,boundary_widht\nA,,3\n", "line 2: .*boundary_width"),
        ("sample,dye,boundary_width\nA,,3\nB,,zero\n", "line 3: boundary_width: .*got 'zero'"),
        ("sample,dye,boundary_width\nA,D,3,4\n", "line 2 has a value without a name"),
        ("boundary_width\n3\n", "no column sample or dye in its first line"),
        ("sample,dye\n\xfc,D\n", "not in UTF-8 .*'CSV UTF-8'"),
    ],
)
def test_a_wrong_override_names_file_line_and_value(tmp_path, text, message):
    path = tmp_path / "o.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ParameterError, match=message) as caught:
        read_overrides(path)
    assert str(path) in str(caught.value)


def test_nothing_starts_where_an_argument_is_wrong(archive, tmp_path):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path / "processed"}
    wrong = [
        {"parallel": "thread"},
        {"on_error": "explode"},
        {"timeout_per_task": "600"},
        {"timeout_per_task": math.nan},
        {"retries": -1},
        {"retries": 1.5},
        {"n_workers": 0},
        {"n_workers": "2"},
        {"n_workers": 2.5},
        {"keep": "finall"},
        {"from_stage": 9},
        {"to_stage": 7},
        {"from_stage": 3, "to_stage": 2},
        {"params": {"boundary_widht": 3}},
        {"overrides": [{"sample": "nobody", "boundary_width": 3}]},
        {"overrides": [{"sample": "A1", "scale_min": 0.9, "scale_max": 0.1}]},
        {"stages": ["nosuchfunction:after=3"]},
    ]
    for arguments in wrong:
        with pytest.raises((ParameterError, ValueError), match="must be|boundary|scale_m|nosuch"):
            run_batch(**how, **arguments)
    for arguments in ({"samples": ["ZZ"]}, {"dyes": ["DAPl"]}, {"only": ["A9/*"]}):
        with pytest.raises(RawPairingError, match="survey"):
            run_batch(**how, **arguments)
    assert not (tmp_path / "processed").exists()


@pytest.fixture
def unknown_elsewhere():
    """A parameter that this process alone knows."""
    PARAMETER_REGISTRY["my_radius"] = (2.0, "xmr", 4, "for this test")
    yield "parameter my_radius"
    PARAMETER_REGISTRY.pop("my_radius", None)


def test_what_no_other_process_knows_is_refused_where_they_do_the_work(
    archive, tmp_path, monkeypatch, unknown_elsewhere
):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path / "p", "to_stage": 1}
    with pytest.raises(ParameterError, match=f"{unknown_elsewhere}: .* parallel=False"):
        run_batch(**how, parallel="subprocess")
    monkeypatch.setattr("exo2micro.pipeline.load_image_pair", lambda *_, **__: None)
    with pytest.raises(ParameterError, match="load_image_pair was replaced, parameter"):
        run_batch(**how, parallel=True)
    monkeypatch.undo()
    del PARAMETER_REGISTRY["my_radius"]
    monkeypatch.setattr(SampleDye, "_load_pair", lambda _: None)
    with pytest.raises(ParameterError, match=r"^SampleDye\._load_pair was replaced: this script"):
        run_batch(**how, parallel=True)
    monkeypatch.undo()
    row = PARAMETER_REGISTRY["boundary_width"]
    monkeypatch.setitem(PARAMETER_REGISTRY, "boundary_width", replace(row, default=7))
    with pytest.raises(ParameterError, match="^parameter boundary_width: this script"):
        run_batch(**how, parallel=True)
    assert not (tmp_path / "p").exists()


def test_an_old_call_with_a_timeout_that_has_no_effect_is_told_so(archive, tmp_path, caplog):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path / "p", "only": ["A1/*"]}
    run_batch(**how, to_stage=1, parallel=False, timeout_per_task=600)
    assert "timeout_per_task = 600 s has no effect" in caplog.text


def test_an_unknown_dye_is_only_warned_of_where_that_is_asked_for(archive, tmp_path, caplog):
    table = plan_batch(
        dyes=["DAPI", "FITC"], raw_dir=archive / "raw", output_dir=tmp_path, strict_dyes=False
    )
    assert [row["sample"] for row in table] == [sample for sample, _ in PAIRS]
    assert "FITC" in caplog.text


def test_an_unknown_sample_or_pattern_too(archive, tmp_path, caplog):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path, "samples": ["A1", "A9"]}
    with pytest.raises(RawPairingError, match="no complete pair for A9 in"):
        plan_batch(**how)
    assert [row["sample"] for row in plan_batch(**how, strict_dyes=False)] == ["A1"]
    assert "no complete pair for A9" in caplog.text
    with pytest.raises(RawPairingError, match=r"for only B\*/DAPI \(patterns are"):
        plan_batch(raw_dir=archive / "raw", output_dir=tmp_path, only=["A1/*", "B*/DAPI"])


def test_one_name_may_be_given_as_it_is(archive, tmp_path):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path}
    for chosen in ({"samples": "A1", "dyes": "DAPI"}, {"only": "A1"}, {"only": ["A1"]}):
        assert [row["sample"] for row in plan_batch(**how, **chosen)] == ["A1"]


def test_what_is_no_pair_is_a_problem_and_not_run_again(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", tell_where)
    for role in ("Pre", "Post"):
        (lab / "raw" / f"B{role}").mkdir()
        (lab / "raw" / f"B{role}" / f"x_{role}Stain_DAPI.tif").write_bytes(b"")
    how = {"raw_dir": lab / "raw", "output_dir": tmp_path / "p"}
    results = run_batch(**how, parallel="subprocess", samples=["A1", "BPre"], dyes=["DAPI", "Cy5"],
                        strict_dyes=False)  # fmt: skip
    assert [(r["sample"], r["dye"]) for r in results] == [
        ("A1", "DAPI"), ("A1", "Cy5"), ("BPre", "DAPI"), ("BPre", "Cy5"),
    ]  # fmt: skip
    assert "skipped: no complete pair: no raw file of dye 'Cy5'" in results[1]["status"]
    assert "has no post file beside x_PreStain_DAPI.tif" in results.problems()
    assert exit_code_of_batch(results) == ExitCode.ERROR
    journal = Journal.latest(tmp_path / "p")
    assert journal.unfinished == [PAIRS[0]]
    assert len(journal.failed) == 3
    plan = plan_batch(**how)
    assert [row["sample"] for row in plan] == ["A1", "A2", "BPost", "BPre"]
    assert plan[2]["why"].startswith("skipped: dye DAPI has no pre file")
    with pytest.raises(FileNotFoundError, match="BPre/DAPI: .*has no post file"):
        run_batch(**how, samples="BPre")


def test_names_with_two_underscores_have_logs_of_their_own(tmp_path):
    tasks = [Task("A__B", "C", {}, folder=tmp_path), Task("A", "B__C", {}, folder=tmp_path)]
    for task in tasks:
        EventLog(task).started(1)
    assert len({task.log for task in tasks}) == 2
    assert len({event.sample for event in EventReader(tmp_path).new()}) == 2


def boundary_widths(lab: Path, **how) -> list[int]:
    request = make_request(
        lab / "processed", lab / "raw", how.pop("params", None), call={}, parallel=None,
        checkpoint_format=None, **{"overrides": None} | how,
    )  # fmt: skip
    return [task.options["params"]["boundary_width"] for task in prepare(request, PAIRS).tasks]


def test_the_project_file_and_a_table_set_parameters_of_single_pairs(lab):
    file = lab / "exo2micro.toml"
    file.write_text(
        "boundary_width = 4\n[batch]\nparallel = true\n[[overrides]]\ndye = 'DAPI'\n"
        "boundary_width = 5\n[[overrides]]\nsample = 'A1'\nboundary_width = 7\n"
    )
    assert boundary_widths(lab) == [7, 5]
    assert boundary_widths(lab, overrides=[{"sample": "A2", "boundary_width": 9}]) == [7, 9]
    assert boundary_widths(lab, params={"boundary_width": 3}) == [3, 3]
    run = SampleDye("A1", "DAPI", lab / "processed", lab / "raw")
    assert run.params["boundary_width"] == 7, "every other command agrees"
    file.write_text(file.read_text().replace("'A1'", "'A7'"))
    with pytest.raises(ParameterError, match=r"toml:7: \[\[overrides\]\] of A7 concern none of"):
        boundary_widths(lab)


def test_a_full_disk_costs_a_line_of_the_journal_not_the_batch(tmp_path, monkeypatch, caplog):
    journal = Journal.create(tmp_path, PAIRS, None)
    journal.start(PAIRS)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("exo2micro.batch.journal.append_line", full)
    journal.record({"sample": "A1", "dye": "DAPI", "status": "complete"}, 1)
    assert "the disk is full" in caplog.text
    assert journal.unfinished == [PAIRS[1]]
    assert Journal.read(journal.folder).unfinished == PAIRS, "a resume runs it again"


def tell_where(task) -> dict:
    """Stand in for a supervisor: no pair is run, the result tells in which process it was."""
    return skipped_result(task, f"in process {os.getpid()}")


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:1]])
def test_a_backend_that_was_chosen_runs_the_supervisors(archive, tmp_path, monkeypatch, pairs):
    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", tell_where)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        results = run_batch(
            raw_dir=archive / "raw", output_dir=tmp_path, only=["/".join(pair) for pair in pairs]
        )
    assert len(results) == len(pairs)
    assert f"in process {os.getpid()}" not in str(results)


def test_a_backend_that_fails_ends_the_batch_in_words(archive, tmp_path, monkeypatch):
    def lost(_task):
        raise TimeoutError("no worker")

    how = {"raw_dir": archive / "raw", "output_dir": tmp_path}
    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", lost)
    with (
        joblib.parallel_config(backend="loky", n_jobs=2),
        pytest.raises(ClusterError, match=r"lost .*TimeoutError: no worker.* --resume"),
    ):
        run_batch(**how)
    journal = Journal.latest(tmp_path)
    assert "error of the batch itself" in journal.ended
    assert stop_file(journal.folder).exists(), "the tasks on other machines end, too"
    with (
        joblib.parallel_config(backend="multiprocessing"),
        pytest.raises(ParameterError, match="MultiprocessingBackend cannot .* loky"),
    ):
        run_batch(**how)


def journal_of(folder: Path, *statuses: str) -> Journal:
    """Return the journal of a batch that ended, with these results of its pairs."""
    journal = Journal.create(folder, PAIRS, Asked())
    journal.start(PAIRS)
    for (sample, dye), status in zip(PAIRS, statuses, strict=False):
        journal.record({"sample": sample, "dye": dye, "status": status}, 1)
    journal.end("done")
    return journal


class Asked:
    """Stands in for a request."""


def test_a_batch_that_is_not_the_latest_is_named_and_found(tmp_path):
    first = journal_of(tmp_path, "complete")
    latest = journal_of(tmp_path, "complete", "error: no")
    assert Journal.latest(tmp_path).folder == latest.folder
    assert Journal.find(tmp_path, first.folder.name).unfinished == [PAIRS[1]]
    assert f"not finished: {first.folder.name}, 1 of 2" in batch_status(tmp_path).footer
    why = latest.why_nothing_is_left()
    assert "--retry-failed" in why
    assert f"{first.folder.name} (1 pairs left); go on with --batch" in why
    assert "skipped" not in str(batch_status(tmp_path, first.folder.name))
    with pytest.raises(CheckpointError, match=f"no batch x in .*{latest.folder.name}"):
        Journal.find(tmp_path, "x")


def test_a_retry_hides_the_old_error_and_old_events_while_it_runs(tmp_path):
    journal = journal_of(tmp_path, "complete", "error: no")
    task = Task(*PAIRS[1], {}, folder=journal.folder)
    EventLog(task).finished({"status": "error: no"})
    journal.start([PAIRS[1]])
    with journal.lock.held():
        table = batch_status(tmp_path)
    assert [row["state"] for row in table] == ["complete", "waiting for its turn"]
    assert "1 of 2 done" in table.title
    assert "PROBLEMS" not in table.footer
    EventLog(task).started(1)
    assert batch_status(tmp_path)[1]["state"] == "error", "killed: the old result is the last"


def test_status_of_a_folder_that_may_only_be_read(tmp_path, monkeypatch):
    journal = journal_of(tmp_path, "complete", "complete")
    with journal.lock.held():
        pass

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.BaseFileLock.acquire", refused)
    assert ": done, 2 of 2 done" in batch_status(tmp_path).title


def test_the_table_is_checked_first_and_a_failed_write_does_not_hide_it(
    archive, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", tell_where)
    where = ["--raw-dir", str(archive / "raw"), "--output-dir", str(tmp_path / "p")]
    assert main(["batch", *where, "--table", "t.xlsx"]) == ExitCode.USAGE
    assert not (tmp_path / "p").exists()
    (tmp_path / "file").write_text("not a folder")
    table = str(tmp_path / "file" / "t.csv")
    assert main(["batch", *where, "--table", table]) == ExitCode.ERROR
    said = capsys.readouterr()
    assert "skipped: in process" in said.out
    assert "the table is not written" in said.err


def test_the_folder_of_a_batch_may_stand_before_status(tmp_path, capsys):
    journal_of(tmp_path, "complete", "complete")
    assert main(["batch", "--output-dir", str(tmp_path), "status"]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert main(["batch", "--sample", "A1", "status"]) == ExitCode.USAGE
    assert "--sample means nothing before status" in capsys.readouterr().err


def test_what_is_said_after_a_signal_is_how_to_go_on(archive, tmp_path, monkeypatch, capsys):
    def interrupted(_task):
        raise KeyboardInterrupt

    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", interrupted)
    where = ["--raw-dir", str(archive / "raw"), "--output-dir", str(tmp_path)]
    assert main(["batch", "--force", *where]) == ExitCode.INTERRUPTED
    assert "`exo2micro batch --resume` goes on" in capsys.readouterr().err


def test_a_resumed_batch_keeps_its_options_but_those_that_are_given(archive, tmp_path):
    how = {"checkpoint_format": None, "overrides": None, "call": {}}
    request = make_request(tmp_path, archive / "raw", None, **how, n_workers=3, parallel=True)
    resumed = request.but(parallel=True, n_workers=None, timeout_per_task=60)
    assert (resumed.n_workers, resumed.timeout_per_task) == (3, 60.0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--batch", "x"], "give --resume or --retry-failed"),
        (["--resume", "--set", "pad=3"], "--set would change nothing"),
        (["--retry-failed", "--sample", "A1"], "--sample would change nothing"),
        (["--where", "colour=red"], "the columns are sample, dye"),
        (
            ["--only", "A1/*", "--where", "sample=A2"],
            "no pair of the latest batch has sample=A2; sample is one of A1",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, capsys, words, text):
    journal = Journal.create(tmp_path, PAIRS, None)
    journal.start(PAIRS)
    for sample, dye in PAIRS:
        journal.record({"sample": sample, "dye": dye, "status": "complete"}, 1)
    assert main(["batch", *words, "--output-dir", str(tmp_path)]) == ExitCode.USAGE
    assert text in " ".join(capsys.readouterr().err.split())


def test_the_exit_code_is_that_of_the_gravest_pair():
    codes = [
        exit_code_of_batch([{"status": s, "verdict": v} for s, v in results])
        for results in (
            [("complete", "PASS")],
            [("complete", "PASS"), ("complete, check: x", "CHECK")],
            [("failed: x", "FAIL"), ("complete, check: x", "CHECK")],
            [("failed: x", "FAIL"), ("error: x", None)],
            [("complete", "PASS"), ("skipped: the batch was stopped", None)],
        )
    ]
    assert codes == [0, 3, 4, 1, 1]


def test_the_plan_says_what_would_run_and_why(archive, tmp_path):
    table = plan_batch(raw_dir=archive / "raw", output_dir=tmp_path / "p", only=["A1/*"])
    (row,) = table
    assert row["to run"] == "1, 2, 3, 4"
    assert row["why"] == "missing"
    assert row["memory"].endswith("MB")
    assert row["fits"] == "fine"
    assert "1 of 1 pairs have something to run: " in str(table)
    assert not (tmp_path / "p").exists()


def test_what_does_not_fit_is_refused_before_anything_starts(archive, tmp_path, monkeypatch):
    how = {"raw_dir": archive / "raw", "output_dir": tmp_path / "p"}
    monkeypatch.setattr("exo2micro.batch.dispatch.supervise", tell_where)
    told = []
    monkeypatch.setattr("exo2micro.batch.needs.available_memory_bytes", lambda: 10_000_000)
    with pytest.raises(InsufficientMemoryError, match=r"A1 / DAPI, A2 / DAPI\), 10.0 MB avail"):
        run_batch(**how)
    assert "(refuse)\nnot enough memory" in str(plan_batch(**how))
    assert not (tmp_path / "p").exists()
    run_batch(**how, parallel="subprocess", force_run=True, progress=told.append)
    assert "2 of 2 pairs have something to run: memory up to" in told[0].detail["text"]


def test_what_is_not_kept_takes_space_only_while_its_pair_runs(tmp_path):
    reports = [PreflightReport(1, 1, 10, 1, 1.0, (), 4), PreflightReport(1, 1, 30, 1, 1.0, (), 6)]
    tasks = [Task("A", "D", {}), Task("B", "D", {})]

    def disk(**how) -> int:
        return together(tasks, reports, tmp_path, **{"at_once": 1} | how).disk_bytes

    assert disk(keeps_all=True) == 40
    assert disk(keeps_all=False) == 4 + 6 + 24
    assert disk(keeps_all=False, at_once=2) == 40


@pytest.mark.parametrize("parallel", [False, "subprocess"])
def test_stop_on_the_first_error_and_go_on_later(lab, parallel):
    (path,) = (lab / "raw" / "A1").glob("*Pre*.tif")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    how = {"raw_dir": lab / "raw", "output_dir": lab / "processed", "to_stage": 1}
    results = run_batch(**how, on_error="stop", parallel=parallel)
    assert results[0]["status"].startswith("error: ")
    assert "log" not in results[1], "it was not even started"
    assert results[1]["status"] == "skipped: stopped after the error of A1 / DAPI"
    journal = Journal.latest(lab / "processed")
    assert journal.failed == [PAIRS[0]]
    assert journal.unfinished == [PAIRS[1]]
    table = batch_status(lab / "processed")
    assert [row["state"] for row in table] == ["error", "skipped"]
    assert "1 of 2 done, 1 of them with an error" in table.title
    assert "PROBLEMS\n  A1 / DAPI: error: " in table.footer
    assert "log: " in table.footer
    assert "is not running" in stop_batch(lab / "processed")
    path.write_bytes(whole)
    again = resume_batch(lab / "processed", retry_failed=True)
    assert [r["status"].split(",")[0] for r in again] == ["complete", "complete"]


def test_a_batch_goes_on_from_any_folder_but_not_without_its_raw_files(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(lab)
    run_batch(to_stage=1, on_error="stop", only=["A1/*"])
    journal = Journal.latest(Path("processed"))
    journal._append({"event": "start", "pid": 1, "host": "x", "time": "x", "pairs": PAIRS})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    results = resume_batch(lab / "processed")
    assert [r["status"] for r in results] == ["complete", "complete"]
    assert not list(Path().iterdir())
    (lab / "raw").rename(lab / "taken")
    with pytest.raises(RawFileNotFoundError, match="raw folder of this batch, is not there"):
        resume_batch(lab / "processed", retry_failed=True)


def test_without_a_batch_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="no batch was run"):
        resume_batch(tmp_path)


def test_memory_is_promised_once(tmp_path):
    ledger = Ledger(tmp_path)
    free = ledger.free()
    first = ledger.reserve(10 * free)
    assert first, "a task that runs alone starts in any case"
    assert ledger.reserve(free) == ""
    ledger.release(first)
    second = ledger.reserve(free // 4)
    assert ledger.reserve(free // 4)
    assert ledger.free() < free
    ledger.release(second)


@pytest.mark.parametrize(
    "content",
    [
        {"x": {"pid": 2**22 + 1, "born": 1.0, "need": 10**15}},
        {"x": {"pid": os.getpid(), "born": 1.0, "need": 10**15}},  # the number came again
        {"x": {"pid": os.getpid(), "need": 10**15}},
        {"x": 3},
        [1, 2],
    ],
)
def test_promises_of_dead_processes_and_what_is_none_do_not_count(tmp_path, content):
    ledger = Ledger(tmp_path)
    ledger._path.write_text(json.dumps(content))
    assert ledger.free() > 0
    assert ledger.reserve(1)


def test_without_a_ledger_a_task_starts_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "tmp"))
    (tmp_path / "file").write_text("not a folder")
    with memory_reserved(1, lambda: False, lambda *_: None) as may_start:
        assert may_start
    assert "memory cannot be shared out" in caplog.text


def test_a_task_says_once_that_it_waits_and_for_how_much(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("exo2micro.batch.admission._POLL_SECONDS", 0.01)
    Ledger().reserve(10**18)
    asked, told = iter([False, False, True]), []
    with memory_reserved(10**12, lambda: next(asked), lambda *how: told.append(how)) as may_start:
        assert not may_start
    ((need, free),) = told
    assert free == 0
    assert need == 10**12


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts(tmp_path, version):
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    if version == 2:
        group, names = root / "a" / "b", ("memory.max", "memory.current", "inactive_file")
        membership.write_text("0::/a/b\n")
    else:
        group = root / "memory" / "a"
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        membership.write_text("4:memory:/a\n")
    group.mkdir(parents=True)
    (group / names[0]).write_text("1000\n")
    (group / names[1]).write_text("700\n")
    (group / "memory.stat").write_text(f"anon 500\n{names[2]} 200\n")
    assert free_memory_bytes(root, membership) == 500
    (group / names[0]).write_text("max\n" if version == 2 else "9223372036854771712\n")
    assert free_memory_bytes(root, membership) is None


@pytest.mark.parametrize(
    ("memory", "disk", "problems", "band", "word"),
    [
        (10, 10, (), "fine", ""),
        (90, 10, (), "warning", "memory"),
        (10, 81, (), "warning", "disk"),
        (120, 90, ("not enough memory",), "refuse", ""),
    ],
)
def test_what_fits_is_told_in_three_bands(memory, disk, problems, band, word):
    report = PreflightReport(memory, 100, disk, 100, 1.0, problems)
    assert report.band == band
    assert [w.split()[1] for w in report.warnings] == [word][: bool(word)]
    assert report.ok == (band != "refuse")
