"""A raw folder with two small pairs, and the calm run that others are compared with."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from batch_lab import PAIRS, SMALL, digests

from exo2micro import run_batch
from exo2micro.synthetic import write_pair


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """Raw files of two pairs; no test may change them."""
    root = tmp_path_factory.mktemp("archive")
    for i, (sample, dye) in enumerate(PAIRS):
        write_pair(replace(SMALL, seed=10 + i), root / "raw", sample, dye)
    return root


@pytest.fixture(scope="session")
def calm(archive, tmp_path_factory) -> dict[str, dict[str, str]]:
    """Hashes of all images, by sample, of a batch that nothing disturbed."""
    processed = tmp_path_factory.mktemp("calm") / "processed"
    results = run_batch(raw_dir=archive / "raw", output_dir=processed)
    assert [r["status"].split(",")[0] for r in results] == ["complete"] * len(PAIRS)
    return {sample: digests(processed, sample) for sample, _ in PAIRS}


@pytest.fixture
def lab(archive, tmp_path) -> Path:
    """A copy of the raw files and an empty output folder."""
    shutil.copytree(archive / "raw", tmp_path / "raw")
    return tmp_path
