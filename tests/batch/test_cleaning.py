"""Giving disk back: what is removed, what stays valid, and that it is made again to the byte."""

import hashlib
import logging
import subprocess
import sys

from small_pair import DYE, SAMPLE

from exo2micro import SampleDye
from exo2micro.batch.cleaning import clean


def images(project) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in ("tiff", "fits")
        for path in sorted((project.folder / kind).iterdir())
    }


def dirs(project) -> dict:
    return {"output_dir": project.processed, "raw_dir": project.raw}


def test_removed_images_stay_valid_and_are_made_again_to_the_byte(done):
    before = images(done)
    table = clean(**dirs(done), images=True)
    gone = {row["file"] for row in table}
    assert gone == {name for name in before if not name.startswith("04")}
    assert all(name not in images(done) for name in gone)
    events = []
    run = SampleDye(SAMPLE, DYE, **dirs(done))
    assert all(row.action == "cached" for row in run.plan())
    assert "removed to save disk" in run.plan()[0].reason
    run.run(progress=events.append)
    assert {event.state for event in events} == {"cached"}
    run.set_params(manual_scale=1.7)
    run.run()
    after = images(done)
    assert {name: after[name] for name in before} == before


def test_a_run_that_keeps_only_what_is_final(done):
    SampleDye(SAMPLE, DYE, **dirs(done)).run(keep="final")
    assert {name[:2] for name in images(done)} == {"04"}
    assert (done.folder / "pipeline_output" / "excess_heatmap.png").exists()


def test_a_dry_run_removes_nothing_and_says_what_it_would(done):
    before = images(done)
    table = clean(**dirs(done), images=True, stale=True, dry_run=True)
    assert images(done) == before
    assert "would be removed" in str(table)
    assert {row["why"] for row in table} == {"can be made again"}
    assert sum(row["bytes"] for row in table) > 0


def test_stale_results_go_and_files_of_others_stay(done):
    (done.folder / "tiff" / "notes.txt").write_text("mine")
    foreign = done.folder / "tiff" / "02_icp_aligned_pre_bw33.tiff"
    foreign.write_bytes(b"made by another program")
    run = SampleDye(SAMPLE, DYE, **dirs(done))
    run.set_params(manual_scale=1.7)
    run.run()
    assert clean(**dirs(done), stale=True).rows == []
    (path,) = (done.raw / SAMPLE).glob("*Post*.tif")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    table = clean(**dirs(done), stale=True)
    assert {row["why"] for row in table} == {"stale"}
    left = {path.name for path in (done.folder / "tiff").iterdir()}
    assert left == {"notes.txt", foreign.name}
    assert not list((done.folder / "records").glob("0*.json"))


def test_a_pair_in_use_is_left_alone(done, caplog):
    before = images(done)
    with SampleDye(SAMPLE, DYE, **dirs(done))._lock.held(), caplog.at_level(logging.WARNING):
        clean(**dirs(done), images=True)
    assert images(done) == before
    assert "is in use by" in caplog.text


RUN = """
import logging, sys
logging.basicConfig(format="%(message)s")
from exo2micro import SampleDye
run = SampleDye(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])
run.run(memory_debug=True)
with run.planned() as (runner, _):
    peaks = {n: record.peak_memory_bytes for n, record in runner.main_records().items()}
print(peaks[1] < max(peaks[2], peaks[3], peaks[4]))
"""


def test_each_stage_has_a_peak_of_its_own_and_says_it_when_asked(project):
    words = [sys.executable, "-c", RUN, SAMPLE, DYE, str(project.processed), str(project.raw)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if "held after it" in line]
    assert [line.split()[1] for line in told] == ["1", "2", "3", "4"]
    assert done.stdout.split() == ["True"], "stage 1 streams; its peak is not the later ones'"
