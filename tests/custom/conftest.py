"""A store of its own for each test, and sources to put into it."""

import pytest

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
