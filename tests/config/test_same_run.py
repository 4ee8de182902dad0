"""The same run through Python, the command line and a file gives the same names and bytes."""

import json
import shutil
import subprocess
import sys

import pytest
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye, run_batch

VALUES = {"pad": 30, "interior_blur_base": 9.0, "manual_scale": 1.8, "scale_percentile": None}
COST = ("written", "seconds", "peak_memory_bytes", "fingerprint", "files", "params", "raw")


@pytest.fixture(scope="module")
def by_python(pristine, tmp_path_factory):
    """A finished project whose parameters were set in Python."""
    return finished_by(pristine, tmp_path_factory.mktemp("python"), in_python)


def finished_by(pristine, root, way):
    shutil.copytree(pristine.raw, root / "raw")
    way(root)
    return root


def in_python(root):
    run = SampleDye(SAMPLE, DYE, root / "processed", root / "raw")
    run.set_params(stage=3, interior_blur_base=9.0)
    run.set_params(pad=30, manual_scale=1.8)
    run.run()


def on_the_command_line(root):
    settings = [f"--set={n}={'off' if v is None else v}" for n, v in VALUES.items()]
    command = [sys.executable, "-m", "exo2micro.cli", "run", SAMPLE, DYE, *settings]
    subprocess.run(command, check=True, cwd=root, capture_output=True)


def in_a_file(root):
    text = 'pad = 30\nmanual_scale = 1.8\nscale_percentile = "off"\n'
    (root / "exo2micro.toml").write_text(text + "[stage.3]\ninterior_blur_base = 9\n")
    run_batch([SAMPLE], [DYE], output_dir=root / "processed", raw_dir=root / "raw")


def content(root):
    """Return every file but records and locks, and the records without time, cost and place."""
    files, records = {}, {}
    for path in (root / "processed" / SAMPLE).rglob("*"):
        name = str(path.relative_to(root))
        if path.suffix == ".json" and path.parent.name == "records":
            document = json.loads(path.read_text())
            if "params" in document:
                document["values"] = {n: p["value"] for n, p in document["params"].items()}
                document["hashes"] = {n: f["sha256"] for n, f in document["files"].items()}
                records[name] = {k: v for k, v in document.items() if k not in COST}
        elif path.is_file() and "lock" not in path.name:
            # A report tells who set a value, and how long it took.
            files[name] = b"" if path.suffix == ".html" else path.read_bytes()
    return files, records


@pytest.mark.parametrize("way", [on_the_command_line, in_a_file])
def test_same_names_records_and_bytes(way, by_python, pristine, tmp_path):
    root = finished_by(pristine, tmp_path, way)
    files, records = content(by_python)
    other_files, other_records = content(root)
    assert set(other_files) == set(files)
    assert [name for name in files if files[name] != other_files[name]] == []
    assert other_records == records
    assert "04_difference_difference_manual_pad30_iblur9_msc1.8" in str(list(files))
    paths = (root / "processed").rglob("04_difference_difference_pad30*.json")
    (record,) = (json.loads(path.read_text()) for path in paths)
    expected = {
        on_the_command_line: {"--set"},
        in_a_file: {f"project file {root / 'exo2micro.toml'}:{line}" for line in (1, 2, 3, 5)},
    }
    assert {p["source"] for p in record["params"].values()} - {"default"} == expected[way]
