"""A finished pair with a table of objects, and a viewer of it."""

import shutil

import pytest
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro import SampleDye, detect_pair, view


@pytest.fixture(scope="session")
def searched(finished, tmp_path_factory):
    """A finished project with a table of objects; no test may change it."""
    root = tmp_path_factory.mktemp("searched") / "project"
    shutil.copytree(finished.root, root)
    project = Project(root, SPEC)
    detect_pair(SampleDye(SAMPLE, DYE, **project.dirs()))
    return project


@pytest.fixture(scope="session")
def viewer(searched):
    with view(SampleDye(SAMPLE, DYE, **searched.dirs()), open_browser=False) as viewer:
        yield viewer
