"""Small pairs with exact truth, made once and copied for each test."""

import shutil

import pytest
from browser_tab import browser, failed, tab  # noqa: F401 - fixtures
from hypothesis import HealthCheck, settings
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro.synthetic import write_pair

# Random examples are judged by their results, not by how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def no_user_file(tmp_path_factory):
    """Keep the files of whoever runs the tests out of them, in child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXO2MICRO_CONFIG_DIR", str(tmp_path_factory.mktemp("no_user_file")))
        patch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path_factory.mktemp("no_functions")))
        yield


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
