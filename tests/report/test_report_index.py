"""The index of all pairs: whose results it shows, in which order, and from where."""

import csv
import io
import re
import shutil
from base64 import b64decode

import pytest
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye, run_batch
from exo2micro.batch.journal import Journal
from exo2micro.cli import main
from exo2micro.report import write_index


@pytest.fixture
def lab(finished, failed, tmp_path):
    """An output folder with a good pair, a failed one and one that ended with an error."""
    shutil.copytree(finished.processed, tmp_path / "processed")
    shutil.copytree(failed.folder, tmp_path / "processed" / "CD099" / DYE)
    name = f"CD099/{DYE}"
    for path in (tmp_path / "processed" / name / "records").glob("report.json"):
        path.write_text(path.read_text().replace(f'"{SAMPLE}"', '"CD099"'))
    journal = Journal.create(tmp_path / "processed", [("CD1", "X")], None)
    journal.start(journal.pairs)
    result = {"sample": "CD1", "dye": "X", "status": "error: disk <gone>", "verdict": None}
    journal.record({**result, "reason": "disk <gone>"}, 1)
    journal.end("done")
    return tmp_path


def csv_of(page):
    content = re.search(r"data:text/csv;base64,([A-Za-z0-9+/=]+)", page)[1]
    return list(csv.DictReader(io.StringIO(b64decode(content).decode())))


def rows_of(page):
    body = re.search(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[1]
    return re.findall(r'<tr data-verdict="(\w+)">', body)


def test_the_worst_comes_first_with_its_cause(lab):
    page = write_index(lab / "processed").read_text("utf-8")
    assert rows_of(page) == ["ERROR", "FAIL", "PASS"]
    assert "disk &lt;gone&gt;" in page
    problems = re.search(r'<section id="problems">(.*?)</section>', page, re.DOTALL)[1]
    assert problems.count("<li>") == 2
    assert f'href="CD099/{DYE}/report.html"' in problems
    assert (lab / "processed" / "CD099" / DYE / "report.html").exists()


def test_the_table_as_csv(lab):
    page = write_index(lab / "processed").read_text("utf-8")
    rows = csv_of(page)
    assert [row["sample"] for row in rows] == ["CD1", "CD099", SAMPLE]
    assert float(rows[2]["scale"]) == pytest.approx(1.8, abs=0.01)
    assert [row["verdict"] for row in rows] == ["ERROR", "FAIL", "PASS"]


def test_a_single_run_is_in_the_index_with_its_settings(done):
    index = done.processed / "index.html"
    before = index.read_text("utf-8")
    result = SampleDye(SAMPLE, DYE, **done.dirs(), params={"scale_percentile": 40.0}).run()
    page = index.read_text("utf-8")
    assert rows_of(before) == ["PASS"]
    assert rows_of(page) == ["PASS", result["verdict"]]
    assert f'href="{SAMPLE}/{DYE}/report_sp40.html"' in page
    assert [row["settings"] for row in csv_of(page)] == ["", "_sp40"]
    assert re.search(r"As of \d{4}-\d\d-\d\d \d\d:\d\d", page)


def test_a_damaged_record_of_a_report_does_not_cost_the_index(lab):
    (lab / "processed" / SAMPLE / DYE / "records" / "report.json").write_text("{")
    page = write_index(lab / "processed").read_text("utf-8")
    assert rows_of(page) == ["ERROR", "FAIL", "UNKNOWN"]
    assert "report.json cannot be read" in page


def test_a_pair_without_report_says_what_to_do(lab):
    for path in (lab / "processed" / SAMPLE / DYE).rglob("report*"):
        path.unlink()
    page = write_index(lab / "processed").read_text("utf-8")
    folder = lab / "processed"
    assert f"run `exo2micro report {SAMPLE} {DYE} --output-dir {folder}`" in page
    assert rows_of(page) == ["ERROR", "FAIL", "UNKNOWN"]


def test_a_report_of_older_results_is_not_taken_for_those_of_now(lab):
    path = lab / "processed" / SAMPLE / DYE / "records" / "04_difference_difference.json"
    path.write_text(re.sub(r'"fingerprint": "\w+"', '"fingerprint": "0"', path.read_text()))
    page = write_index(lab / "processed").read_text("utf-8")
    assert rows_of(page) == ["ERROR", "FAIL", "UNKNOWN"]
    assert "the results are newer than the last one" in page


def test_the_command_makes_missing_reports_and_the_index(done, capsys):
    (done.folder / "report.html").unlink()
    index = done.processed / "index.html"
    index.unlink()
    folders = ["--output-dir", str(done.processed), "--raw-dir", str(done.raw)]
    assert main(["report", *folders, "-q"]) == 0
    assert str(index) in capsys.readouterr().out
    assert rows_of(index.read_text("utf-8")) == ["PASS"]
    assert (done.folder / "report.html").exists()


def test_a_batch_ends_with_the_index(done):
    (done.processed / "index.html").unlink()
    run_batch(**done.dirs(), parallel=False)
    assert rows_of((done.processed / "index.html").read_text("utf-8")) == ["PASS"]
