"""SampleDye on real files: names, reuse, reasons, trust."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from small_pair import DYE, SAMPLE

from exo2micro import DEFAULTS, SampleDye, pipeline
from exo2micro.alignment.transform import Transform
from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES
from exo2micro.errors import (
    CheckpointError,
    Exo2microError,
    InsufficientDiskError,
    OutputError,
    OutputLockedError,
    ParameterError,
    RawFileNotFoundError,
    RawReadError,
)
from exo2micro.execution import preflight
from exo2micro.parameter import Parameter
from exo2micro.raster.lock import FolderLock
from exo2micro.raster.record import read_record
from exo2micro.stages import STAGES
from exo2micro.synthetic import PairSpec, make_pair, unrelated_pair, write_image, write_pair


def sample_dye(project, **options) -> SampleDye:
    return SampleDye(SAMPLE, DYE, **project.dirs(), **options)


def image_bytes(project) -> dict[str, bytes]:
    """Return the bytes of every image file."""
    return {
        path.relative_to(project.folder).as_posix(): path.read_bytes()
        for path in sorted(project.folder.rglob("*"))
        if path.suffix in (".tiff", ".fits", ".png")
    }


def snapshot(root: Path) -> dict[str, tuple]:
    """Return size and times of everything below a folder."""
    return {
        str(path): (status.st_size, status.st_mtime_ns, status.st_ino)
        for path in [root, *root.rglob("*")]
        if (status := path.stat())
    }


def actions(rows) -> dict[int, str]:
    return {row.number: row.action for row in rows}


def test_nothing_on_disk_before_run(project):
    run = sample_dye(project)
    run.set_params(boundary_width=20)
    run.plan()
    assert str(run.status()).count("to run") == 5
    assert not project.processed.exists()


def test_default_run_finds_the_truth(finished):
    run = sample_dye(finished)
    result = run.run()
    truth = finished.truth.truth
    assert result["status"] == "complete"
    assert result["verdict"] == "PASS"
    assert result["scale_estimate"] == pytest.approx(truth.scale, rel=0.01)
    low, high = result["scale_interval"]
    assert low < result["scale_estimate"] < high
    assert result["scale_percentile_value"] is None
    assert result["manual_scale"] is None
    ny, nx = finished.spec.shape
    points = np.random.default_rng(0).uniform((50, 50), (nx - 50, ny - 50), (200, 2))
    pad = DEFAULTS["pad"]
    mapped = run.transform()(points + pad) - pad
    error = np.linalg.norm(mapped - truth.mapping(points), axis=1)
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.95) < 0.3
    assert result["certificate"]["bound_px"] >= np.quantile(error, 0.95)
    back = run.transform().inverse(run.transform()(points))
    assert np.abs(back - points).max() < 1e-6


def test_files_have_the_contract_names(finished):
    for path in (
        "tiff/01_padded_post.tiff",
        "tiff/01_padded_pre.tiff",
        "tiff/02_icp_aligned_pre.tiff",
        "tiff/03_interior_aligned_pre.tiff",
        "tiff/04_difference_difference.tiff",
        "fits/04_difference_difference.fits",
        "pipeline_output/excess_heatmap.png",
        "records/04_difference_difference.json",
    ):
        assert (finished.folder / path).is_file(), path
    assert not list((finished.folder / "fits").glob("0[123]*"))


def test_all_planes_share_one_canvas(finished):
    pad = DEFAULTS["pad"]
    ny, nx = finished.spec.shape
    images = {p.stem: tifffile.imread(p) for p in (finished.folder / "tiff").iterdir()}
    shapes = {image.shape for image in images.values()}
    assert shapes == {(ny + 2 * pad, nx + 2 * pad)}
    raw = next((finished.raw / SAMPLE).glob("*PostStain*.tif"))
    post = images["01_padded_post"]
    assert np.array_equal(post[pad : pad + ny, pad : pad + nx], tifffile.imread(raw)[..., 1])
    outside = np.ones(post.shape, bool)
    outside[pad : pad + ny, pad : pad + nx] = False
    assert not any(image[outside].any() for image in images.values())


def test_difference_is_what_its_header_says(finished):
    folder = finished.folder
    with fits.open(folder / "fits/04_difference_difference.fits", checksum=True) as hdus:
        difference, header = hdus[0].data, hdus[0].header
        quality = hdus["DQ"].data
        hdus.verify("exception")
    post = tifffile.imread(folder / "tiff/01_padded_post.tiff").astype(np.float32)
    pre = tifffile.imread(folder / "tiff/03_interior_aligned_pre.tiff")
    expected = post - np.float32(header["SCALE"]) * pre - np.float32(header["OFFSET"])
    has_data = (quality & 3) == 0
    assert np.allclose(difference[has_data], expected[has_data], atol=1e-3)
    assert not difference[~has_data].any()
    assert np.isfinite(difference).all()
    assert np.array_equal(
        difference, tifffile.imread(folder / "tiff/04_difference_difference.tiff")
    )
    assert (header["SAMPLE"], header["DYE"], header["STAGE"]) == (SAMPLE, DYE, 4)
    assert header["SCALEK"] == "moffat"
    assert header["SCALELO"] < header["SCALE"] < header["SCALEHI"]
    assert header["VERDICT"] == "PASS"
    assert (header["CRPIX1"], header["CRVAL1"]) == (DEFAULTS["pad"] + 1, 0.0)
    assert "BW" not in header
    assert any("boundary_width = 15 (default)" in line for line in header["HISTORY"])
    assert len(header["SHAPOST"]) == 64


def test_rerun_writes_nothing(done):
    before = snapshot(done.root)
    events = []
    result = sample_dye(done).run(progress=events.append)
    assert {event.state for event in events} == {"cached"}
    assert snapshot(done.root) == before
    assert result["status"] == "complete"
    assert result["stages"][3]["reason"] == "cached"


@pytest.mark.parametrize("threads", [1, 3])
def test_same_bytes_in_another_process_at_other_thread_counts(finished, project, threads):
    code = (
        "import sys; from exo2micro import SampleDye\n"
        f"SampleDye({SAMPLE!r}, {DYE!r}, sys.argv[1], sys.argv[2], threads={threads}).run()"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(project.processed), str(project.raw)],
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
    )
    assert image_bytes(project) == image_bytes(finished)


@pytest.mark.slow
def test_smooth_deformation_is_followed_by_the_same_field_at_any_thread_count(tmp_path):
    spec = PairSpec(
        shape=(1200, 1200), seed=41, rotation_deg=2.0, shift_px=(9.0, 5.0), deformation_px=8.0
    )
    write_pair(spec, tmp_path / "raw", SAMPLE, DYE)
    code = (
        "import sys; from exo2micro import SampleDye\n"
        "output, raw, threads = sys.argv[1:]\n"
        f"run = SampleDye({SAMPLE!r}, {DYE!r}, output, raw, threads=int(threads))\n"
        "run.run(to_stage=3)"
    )
    records = []
    for threads in ("1", "2"):
        output = tmp_path / threads
        subprocess.run(
            [sys.executable, "-c", code, str(output), str(tmp_path / "raw"), threads],
            check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
        )
        path = output / SAMPLE / DYE / "records" / "03_interior_aligned_pre.json"
        records.append(read_record(path))
    assert records[0].transform == records[1].transform
    assert records[0].files["tiff"].sha256 == records[1].files["tiff"].sha256
    points = np.random.default_rng(0).uniform(200, 1000, (300, 2))
    error = Transform.from_dict(records[0].transform)(points) - make_pair(spec).truth.mapping(
        points
    )
    assert np.median(np.linalg.norm(error, axis=1)) < 0.2


def test_parameter_change_redoes_what_depends_on_it(done):
    run = sample_dye(done)
    run.set_params(manual_scale=1.5)
    rows = run.plan()
    assert actions(rows) == {1: "cached", 2: "cached", 3: "cached", 4: "run"}
    assert rows[3].reason == "missing"
    result = run.run()
    assert result["manual_scale"] == 1.5
    names = {path.name for path in (done.folder / "fits").iterdir()}
    assert names == {
        "04_difference_difference.fits",
        "04_difference_difference_msc1.5.fits",
        "04_difference_difference_manual_msc1.5.fits",
    }
    with fits.open(done.folder / "fits/04_difference_difference_manual_msc1.5.fits") as hdus:
        header = hdus[0].header
        assert (header["SCALE"], header["SCALEK"], header["MSC"]) == (1.5, "manual", 1.5)
    assert actions(sample_dye(done).plan()) == dict.fromkeys((1, 2, 3, 4), "cached")


def test_from_stage_computes_it_and_all_later_ones(done):
    run = sample_dye(done)
    before = image_bytes(done)
    rows = run.plan(from_stage=3)
    assert actions(rows) == {1: "cached", 2: "cached", 3: "run", 4: "run"}
    assert rows[2].reason == "from stage 3 on"
    states = {}
    run.run(from_stage=3, progress=lambda e: states.setdefault(e.number, e.state))
    assert states == {1: "cached", 2: "cached", 3: "start", 4: "start"}
    assert image_bytes(done) == before


def test_to_stage_stops_there(project):
    result = sample_dye(project).run(to_stage=2)
    assert result["difference"] is None
    assert (project.folder / "tiff/02_icp_aligned_pre.tiff").exists()
    assert not (project.folder / "tiff/03_interior_aligned_pre.tiff").exists()


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("tiff/01_padded_pre.tiff", 1),
        ("tiff/03_interior_aligned_pre.tiff", 3),
        ("fits/04_difference_difference.fits", 4),
    ],
)
def test_truncated_output_is_seen_and_redone(done, name, stage):
    before = image_bytes(done)
    path = done.folder / name
    size = path.stat().st_size
    os.truncate(path, size // 2)
    row = sample_dye(done).plan()[stage - 1]
    assert row.action == "run"
    assert row.reason == f"{path.name} has {size // 2} bytes instead of {size}"
    sample_dye(done).run()
    assert image_bytes(done) == before


def test_changed_content_of_equal_size_is_seen(done):
    path = done.folder / "tiff/02_icp_aligned_pre.tiff"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    row = sample_dye(done).plan()[1]
    assert (row.action, row.reason) == ("run", "content of 02_icp_aligned_pre.tiff changed")


def test_deep_check_sees_a_change_that_kept_the_time(done):
    path = done.folder / "tiff/02_icp_aligned_pre.tiff"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sample_dye(done).plan()[1].action == "cached"
    assert sample_dye(done).plan(deep=True)[1].action == "run"


def test_touched_but_equal_files_stay_valid(done):
    for path in [*done.folder.glob("tiff/*"), *(done.raw / SAMPLE).iterdir()]:
        path.touch()
    assert set(actions(sample_dye(done).plan()).values()) == {"cached"}


def test_swapped_raw_file_is_seen(done):
    post = next((done.raw / SAMPLE).glob("*PostStain*.tif"))
    pixels = tifffile.imread(post)
    pixels[300:310, 300:310, 1] //= 2
    tifffile.imwrite(post, pixels, photometric="rgb")
    rows = sample_dye(done).plan()
    assert rows[0].reason == "input changed: raw post"
    assert set(actions(rows).values()) == {"run"}
    assert rows[3].reason.startswith("depends on stage")


def test_a_plan_of_a_new_pair_does_not_hash_its_raw_files(project, monkeypatch):
    monkeypatch.setattr("exo2micro.raster.record.sha256_of", lambda _: 1 / 0)
    run = sample_dye(project)
    assert run.plan()[0].reason == "missing"
    assert run.preflight().memory_bytes
    with pytest.raises(RawFileNotFoundError, match="no sample 'CD07'"):
        SampleDye("CD07", DYE, **project.dirs()).plan()


def test_a_raw_file_that_changes_while_it_is_read_is_seen(project, monkeypatch):
    run = sample_dye(project)
    process = STAGES[1].process

    def meanwhile(stage, inputs):
        output = process(stage, inputs)
        (path,) = (project.raw / SAMPLE).glob("*Post*.tif")
        path.write_bytes(path.read_bytes() + b"\0")
        return output

    monkeypatch.setattr(STAGES[1], "process", meanwhile)
    run.run(to_stage=1)
    assert run.plan()[0].reason == "input changed: raw post"


def test_missing_raw_files_do_not_invalidate_results(done):
    shutil.rmtree(done.raw / SAMPLE)
    assert sample_dye(done).run()["status"] == "complete"
    with pytest.raises(RawFileNotFoundError, match=SAMPLE):
        sample_dye(done).run(force=True)


def test_changed_default_is_seen(done, monkeypatch):
    row = PARAMETER_REGISTRY["interior_blur_base"]
    changed = Parameter(9.0, row.abbreviation, row.stage, row.description)
    monkeypatch.setitem(PARAMETER_REGISTRY, "interior_blur_base", changed)
    rows = sample_dye(done).plan()
    assert actions(rows)[2] == "cached"
    assert rows[2].reason == "interior_blur_base 8→9"


def test_raised_revision_is_seen(done, monkeypatch):
    revision = STAGES[2].revision
    monkeypatch.setattr(STAGES[2], "revision", revision + 1)
    before = image_bytes(done)
    rows = sample_dye(done).plan()
    assert rows[1].reason == f"stage revision {revision}→{revision + 1}"
    sample_dye(done).run()
    after = image_bytes(done)
    fits_name = "fits/04_difference_difference.fits"
    assert before.pop(fits_name) != after.pop(fits_name), "its HISTORY names the new input"
    assert before == after


def test_upgrade_of_the_package_alone_changes_nothing(done):
    for path in (done.folder / "records").glob("0*.json"):
        record = json.loads(path.read_text())
        record["software"]["exo2micro"] = "0.0.1"
        path.write_text(json.dumps(record))
    assert set(actions(sample_dye(done).plan()).values()) == {"cached"}


def test_equal_result_of_an_earlier_stage_keeps_later_ones(done):
    (done.folder / "tiff/02_icp_aligned_pre.tiff").unlink()
    states = {}
    sample_dye(done).run(progress=lambda e: states.setdefault(e.number, e.state))
    assert states == {1: "cached", 2: "start", 3: "cached", 4: "cached"}


def test_damaged_record_is_made_anew(done):
    before = image_bytes(done)
    (done.folder / "records/03_interior_aligned_pre.json").write_text("{")
    assert sample_dye(done).plan()[2].reason == "record damaged"
    sample_dye(done).run()
    assert image_bytes(done) == before


def test_file_of_another_program_is_moved_aside(project):
    foreign = project.folder / "tiff/02_icp_aligned_pre.tiff"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"precious")
    run = sample_dye(project)
    run.run(to_stage=1)
    assert "made by another program" in run.plan()[1].reason
    run.run(to_stage=2)
    aside = project.folder / "set_aside/02_icp_aligned_pre.1.tiff"
    assert aside.read_bytes() == b"precious"
    assert foreign.read_bytes() != b"precious"


@pytest.mark.parametrize("kind", ["fits", "both"])
def test_formats_of_intermediates(done, kind):
    shutil.rmtree(done.folder)
    run = sample_dye(done, checkpoint_format=kind)
    assert run.run()["status"] == "complete"
    fits_names = {path.stem for path in (done.folder / "fits").iterdir()}
    assert {"01_padded_post", "03_interior_aligned_pre", "04_difference_difference"} <= fits_names
    tiff_names = {path.stem for path in (done.folder / "tiff").iterdir()}
    assert ("01_padded_post" in tiff_names) == (kind == "both")
    assert set(actions(sample_dye(done).plan()).values()) == {"cached"}


def test_mixed_formats_are_warned_about_once(done, caplog):
    run = sample_dye(done, checkpoint_format="fits")
    run.run()
    run.run()
    warnings = [r.getMessage() for r in caplog.records if "as tiff" in r.getMessage()]
    assert len(warnings) == 1
    assert "new ones are written as fits" in warnings[0]


def test_too_long_names_are_resolved_by_the_record(project):
    run = sample_dye(project)
    floats = {
        name: row.default + 1e-7 * (1 + row.default)
        for name, row in PARAMETER_REGISTRY.items()
        if isinstance(row.default, float) and row.bounds[1] not in (None, row.default)
    }
    run.set_params(**floats, boundary_width=14, boundary_smooth=9, stopit=499, pad=100)
    run.run(to_stage=3)
    path = run._tiff_path(3, "pre")
    assert re.fullmatch(r"03_interior_aligned_pre~[0-9a-f]{12}\.tiff", path.name)
    record = read_record(project.folder / "records" / f"{path.stem}.json")
    assert record.suffix.startswith("_pad100_bw14_bs9")
    assert actions(run.plan(to_stage=3)) == dict.fromkeys((1, 2, 3), "cached")


def test_locked_folder_names_the_owner(done):
    code = (
        "import sys, pathlib; from exo2micro.raster.lock import FolderLock\n"
        "with FolderLock(pathlib.Path(sys.argv[1])).held():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(done.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputLockedError, match=rf"process {other.pid} .*another output_dir"):
            sample_dye(done).run(force=True)
        assert sample_dye(done).run()["status"] == "complete"
        other.communicate("")
    with FolderLock(done.folder).held():
        pass


def test_output_folder_that_cannot_be_made(project):
    project.processed.write_text("a file")
    with pytest.raises(OutputError, match=r"processed.*move it away"):
        sample_dye(project).run()


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a read-only folder: Linux /sys")
def test_read_only_output(project):
    run = SampleDye(SAMPLE, DYE, output_dir="/sys/kernel/results", raw_dir=project.raw)
    with pytest.raises(OutputError, match=r"/sys/kernel/results.*choose another output_dir"):
        run.run(force_run=True)


def test_full_disk_leaves_nothing_half_written(done, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    before = snapshot(done.folder / "tiff")
    monkeypatch.setattr("exo2micro.raster.tiff.write_tiff", fail)
    with pytest.raises(OutputError, match=r"03_interior.*No space left.*the disk is full"):
        sample_dye(done).run(from_stage=3)
    after = snapshot(done.folder / "tiff")
    assert {k: v for k, v in after.items() if k.endswith("tiff")} == {
        k: v for k, v in before.items() if k.endswith("tiff")
    } or set(after) == set(before)
    monkeypatch.undo()
    assert sample_dye(done).run()["status"] == "complete"


def test_preflight_refuses_and_force_run_overrides(project, monkeypatch):
    usage = shutil.disk_usage(project.root)._replace(free=10**6)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InsufficientDiskError, match=r"1\.0 MB free .*force_run"):
        sample_dye(project).run(to_stage=1)
    assert sample_dye(project).run(to_stage=1, force_run=True)["status"] == "complete"


def make_unrelated(project):
    """Replace the post-stain image by one of another rock."""
    path = next((project.raw / SAMPLE).glob("*PostStain*.tif"))
    post, _ = unrelated_pair(project.spec)
    write_image(post, path, project.spec)


def test_bad_input_leaves_nothing_on_disk(project):
    post = next((project.raw / SAMPLE).glob("*PostStain*.tif"))
    os.truncate(post, post.stat().st_size // 2)
    with pytest.raises(RawReadError, match=rf"{post.name} is truncated"):
        sample_dye(project).run()
    assert not project.processed.exists()


@pytest.fixture
def unrelated(project):
    """A project whose post-stain image shows another rock."""
    make_unrelated(project)
    return project


def test_unrelated_pair_fails_and_writes_no_difference(unrelated):
    run = sample_dye(unrelated)
    result = run.run()
    assert result["verdict"] == "FAIL"
    assert result["status"] == f"failed: {result['reason']}"
    assert len(result["reason"]) > 20
    assert result["difference"] is None
    assert not list(unrelated.folder.rglob("04_*.tiff"))
    assert not list(unrelated.folder.rglob("04_*.fits"))
    assert run.plan()[3].action == "withheld"
    again = sample_dye(unrelated).run()
    assert again["status"] == result["status"]
    assert again["stages"][3]["action"] == "withheld"


def test_keep_failed_labels_header_and_name(unrelated):
    sample_dye(unrelated).run()
    result = sample_dye(unrelated).run(keep_failed=True)
    assert result["verdict"] == "FAIL"
    path = unrelated.folder / "fits/04_difference_difference_failed.fits"
    with fits.open(path) as hdus:
        assert hdus[0].header["VERDICT"] == "FAIL"
    assert not (unrelated.folder / "fits/04_difference_difference.fits").exists()
    before = snapshot(unrelated.folder)
    sample_dye(unrelated).run(keep_failed=True)
    assert snapshot(unrelated.folder) == before


def test_images_without_overlap_fail(project):
    spec = replace(project.spec, shape=(560, 1300), rotation_deg=0.0, magnification=1.0)
    pair = make_pair(replace(spec, shift_px=(0.0, 0.0)))
    post, pre = pair.post.read_all()[:, :600], pair.pre.read_all()[:, 700:]
    result = sample_dye(project, loader=lambda sample, dye: (post, pre)).run()
    assert result["verdict"] == "FAIL"
    assert result["difference"] is None


def test_stage_3_parameter_in_a_new_process_starts_from_the_record_of_stage_2(done):
    code = (
        "import sys, json; from exo2micro import SampleDye\n"
        f"run = SampleDye({SAMPLE!r}, {DYE!r}, output_dir=sys.argv[1], raw_dir=sys.argv[2])\n"
        "run.set_params(interior_blur_base=9.0)\n"
        "print(json.dumps([[s['number'], s['action']] for s in run.run()['stages']]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(done.processed), str(done.raw)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(output) == [[1, "cached"], [2, "cached"], [3, "run"], [4, "run"]]
    records = done.folder / "records"
    coarse = read_record(records / "02_icp_aligned_pre.json")
    refined = read_record(records / "03_interior_aligned_pre_iblur9.json")
    assert refined.inputs["2 pre"] == coarse.fingerprint
    first = read_record(records / "03_interior_aligned_pre.json")
    assert refined.transform != coarse.transform
    pad = DEFAULTS["pad"]
    centre = np.array([[pad + 320.0, pad + 280.0]])
    points = [Transform.from_dict(r.transform)(centre) for r in (first, refined)]
    assert np.abs(points[0] - points[1]).max() < 0.2


def test_older_difference_is_set_aside_on_fail(done):
    make_unrelated(done)
    old = (done.folder / "fits/04_difference_difference.fits").read_bytes()
    assert sample_dye(done).run()["verdict"] == "FAIL"
    assert not (done.folder / "fits/04_difference_difference.fits").exists()
    assert (done.folder / "set_aside/04_difference_difference.1.fits").read_bytes() == old


def test_params_api():
    run = SampleDye("a", "b")
    assert run.params == dict(DEFAULTS)
    run.set_params(boundary_width=20, scale_percentile=50)
    assert run.non_default_params() == {"boundary_width": 20, "scale_percentile": 50.0}
    assert run.non_default_params(stage=2) == {"boundary_width": 20}
    with pytest.raises(ParameterError, match="did you mean"):
        run.set_params(pad=10, boundary_widht=3)
    assert run.params["pad"] == 2000
    run.params["pad"] = 5
    assert run.params["pad"] == 2000
    run.reset_params()
    assert run.non_default_params() == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample": "a/b"}, "plain folder name"),
        ({"sample": ".."}, "plain folder name"),
        ({"checkpoint_format": "png"}, "tiff, fits or both"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ParameterError, match=words):
        SampleDye(**({"sample": "a", "dye": "b"} | arguments))


def test_bad_stage_numbers(done):
    with pytest.raises(ParameterError, match=r"from_stage must be one of \[1, 2, 3, 4\], got 9"):
        sample_dye(done).run(from_stage=9)
    with pytest.raises(ParameterError, match="to_stage"):
        sample_dye(done).run(to_stage=0)


def test_compare_leaves_other_results_untouched(done):
    before = {k: v for k, v in snapshot(done.folder).items() if Path(k).is_file()}
    table = sample_dye(done).compare("scale_percentile", [40, 60])
    assert [row["scale_percentile"] for row in table.rows] == [40, 60]
    assert all(row["status"].startswith("complete") for row in table.rows)
    after = snapshot(done.folder)
    kept = {k: v for k, v in before.items() if not k.endswith((".lock", ".lock-owner.json"))}
    assert kept.items() <= after.items()
    assert "scale_percentile" in str(table)


def test_transform_before_run_says_what_to_do(project):
    with pytest.raises(CheckpointError, match=r"call run\(\) first"):
        sample_dye(project).transform()


def test_loader_by_argument_and_by_assignment(project, monkeypatch):
    pair = project.truth
    post, pre = pair.post.read_all(), pair.pre.read_all()
    shutil.rmtree(project.raw)
    run = sample_dye(project, loader=lambda sample, dye: (post, pre))
    run.set_params(pad=50)
    assert run.run()["status"] == "complete"
    assert actions(run.plan()) == dict.fromkeys((1, 2, 3, 4), "cached")
    other = sample_dye(project, loader=lambda sample, dye: (post // 2, pre))
    other.set_params(pad=50)
    assert other.plan()[0].reason == "input changed: raw post"
    monkeypatch.setattr(pipeline, "load_image_pair", lambda sample, dye, raw_dir: (post, pre))
    assigned = sample_dye(project)
    assigned.set_params(pad=50)
    assert assigned.plan()[0].action == "cached"


@pytest.fixture
def stage_five():
    class Segmenting(SampleDye):
        def _run_stage_5_segment(self, force=False):
            difference = self._load_image(4, "difference")
            self._save_image((difference > 20).astype(np.uint8), 5, "mask", {"THRESH": 20})

    yield Segmenting
    STAGE_NAMES.pop(5, None)


def test_stage_added_by_a_subclass(done, stage_five):
    from exo2micro import defaults

    assert defaults.MAX_STAGE == 5
    run = stage_five(SAMPLE, DYE, **done.dirs())
    assert actions(run.plan()) == {1: "cached", 2: "cached", 3: "cached", 4: "cached", 5: "run"}
    run.run()
    mask = tifffile.imread(done.folder / "tiff/05_segment_mask.tiff")
    assert np.array_equal(mask, run._load_image(4, "difference") > 20)
    assert run._has_checkpoint(5, "mask")
    assert not run._has_checkpoint(5, "other")
    assert run._load_image(5, "other") is None
    assert stage_five(SAMPLE, DYE, **done.dirs()).plan()[4].action == "cached"


def test_overridden_stage_counts_as_code(done):
    class Dimmed(SampleDye):
        def _run_stage_3_fine(self, force=False):
            super()._run_stage_3_fine(force)
            self._save_image(self._load_image(3, "pre") / 2, 3, "pre")

    run = Dimmed(SAMPLE, DYE, **done.dirs())
    assert run.plan()[2].reason == "code changed: _run_stage_3_fine"
    scale = sample_dye(done).run()["scale_estimate"]
    assert run.run()["scale_estimate"] == pytest.approx(2 * scale, rel=0.02)
    assert Dimmed(SAMPLE, DYE, **done.dirs()).plan()[2].action == "cached"


def test_own_padding_stage(project):
    post, pre = (raster.read_all() for raster in (project.truth.post, project.truth.pre))

    class OwnFiles(SampleDye):
        def _run_stage_1_padding(self, force=False):
            self._save_image(np.pad(post, 100), 1, "post")
            self._save_image(np.pad(pre, 100), 1, "pre")

    run = OwnFiles(SAMPLE, DYE, **project.dirs(), params={"pad": 100})
    result = run.run()
    assert result["status"] == "complete"
    assert result["scale_estimate"] == pytest.approx(project.truth.truth.scale, rel=0.01)
    assert set(actions(run.plan()).values()) == {"cached"}


def test_check_upstream(project):
    run = sample_dye(project)
    with pytest.raises(CheckpointError, match="stage 3 .* needs stage 1 .*missing"):
        run._check_upstream(3)


def test_results_that_scripts_read(done):
    run = sample_dye(done)
    result = run.run()
    assert run._results["scale_estimate"] == result["scale_estimate"]
    assert run._results["warp_matrix"].shape == (3, 3)
    assert set(run._results["debug_data"]) == {1, 2, 3, 4}


def test_own_diagnostic_is_drawn_and_a_broken_one_costs_nothing(done):
    from matplotlib.figure import Figure

    def brightness(post_im, pre_im, sample, dye, save_path=None):
        figure = Figure()
        figure.subplots().hist(post_im.ravel())
        return figure

    def broken(post_im, pre_im, sample, dye, save_path=None):
        return 1 / 0

    result = sample_dye(done, diagnostics=[brightness, broken]).run()
    assert result["status"] == "complete"
    assert (done.folder / "pipeline_output/brightness.png").exists()
    assert "broken" not in result["diagnostics"]
    record = json.loads((done.folder / "records/diagnostics.json").read_text())
    assert record["pictures"]["broken"]["error"].startswith("ZeroDivisionError")


def test_every_error_is_typed():
    assert issubclass(OutputError, OSError)
    assert issubclass(ParameterError, ValueError)
    assert issubclass(RawFileNotFoundError, FileNotFoundError)
    assert issubclass(OutputError, Exo2microError)
