"""A store of its own for each test, sources to put into it, and a project with quick runs."""

import shutil

import pytest
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro.custom import CustomFunctionManager, functions_changed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that a manager takes by default; it does not exist yet."""
    path = tmp_path / "custom_functions"
    monkeypatch.setenv("EXO2MICRO_CUSTOM_DIR", str(path))
    return path


@pytest.fixture
def manager(folder) -> CustomFunctionManager:
    return CustomFunctionManager()


@pytest.fixture
def told(manager):
    """What the listeners of the manager and of the global signal were told, in order."""
    told = []
    manager.function_added.connect(lambda name, func: told.append(("added", name, func)))
    manager.function_updated.connect(lambda name, func: told.append(("updated", name, func)))
    manager.function_removed.connect(lambda name: told.append(("removed", name)))

    def changed():
        told.append("changed")

    functions_changed.connect(changed)
    yield told
    functions_changed.disconnect(changed)


@pytest.fixture(scope="session")
def narrow(pristine, tmp_path_factory) -> Project:
    """A finished project whose file asks for a narrow border: runs are quick; not to be changed."""
    from exo2micro import SampleDye

    root = tmp_path_factory.mktemp("narrow")
    shutil.copytree(pristine.raw, root / "raw")
    (root / "exo2micro.toml").write_text("pad = 40\n")
    project = Project(root, SPEC)
    SampleDye(SAMPLE, DYE, **project.dirs()).run()
    return project
