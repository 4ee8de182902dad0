"""Small pairs with exact truth, made once and copied for each test."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from exo2micro.synthetic import PairSpec, SyntheticPair, make_pair, write_pair

SAMPLE, DYE = "CD070", "SybrGld_microbe"
SPEC = PairSpec(
    shape=(560, 640),
    seed=3,
    rotation_deg=4.0,
    magnification=1.03,
    shift_px=(15.0, -11.0),
    ratio=1.8,
)


@dataclass(frozen=True)
class Project:
    """A folder with raw files, as a user has it."""

    root: Path
    spec: PairSpec

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def processed(self) -> Path:
        return self.root / "processed"

    @property
    def folder(self) -> Path:
        return self.processed / SAMPLE / DYE

    @property
    def truth(self) -> SyntheticPair:
        return make_pair(self.spec)

    def dirs(self) -> dict:
        return {"output_dir": self.processed, "raw_dir": self.raw}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Project:
    """Raw files that no test may change."""
    root = tmp_path_factory.mktemp("pristine")
    write_pair(SPEC, root / "raw", SAMPLE, DYE)
    return Project(root, SPEC)


@pytest.fixture(scope="session")
def finished(pristine, tmp_path_factory) -> Project:
    """A project whose pair has been run with default parameters; no test may change it."""
    from exo2micro import SampleDye

    root = tmp_path_factory.mktemp("finished")
    shutil.copytree(pristine.raw, root / "raw")
    project = Project(root, SPEC)
    SampleDye(SAMPLE, DYE, **project.dirs()).run()
    return project


@pytest.fixture
def project(pristine, tmp_path) -> Project:
    """A fresh project with raw files only."""
    shutil.copytree(pristine.raw, tmp_path / "raw")
    return Project(tmp_path, SPEC)


@pytest.fixture
def done(finished, tmp_path) -> Project:
    """A copy of the finished project that a test may change; times are kept."""
    shutil.copytree(finished.root, tmp_path / "done")
    return Project(tmp_path / "done", SPEC)
