import pytest
from plot_scene import Scene, make_view


@pytest.fixture(scope="session")
def scene():
    return Scene()


@pytest.fixture
def view(scene):
    return make_view(scene)
