import numpy as np
import pytest


def scene(ny, nx, seed=0, scale=100.0, noise=2.0):
    """A textured scene on a dark surround, as float counts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ny, :nx]
    inside = ((y - ny / 2) / (0.4 * ny)) ** 2 + ((x - nx / 2) / (0.4 * nx)) ** 2 < 1
    texture = 0.6 + 0.4 * np.sin(x / 9.0) * np.sin(y / 7.0)
    return np.clip(5 + inside * texture * scale + rng.normal(0, noise, (ny, nx)), 0, None)


@pytest.fixture
def make_scene():
    return scene


@pytest.fixture
def gray8():
    return scene(203, 157).astype(np.uint8)


@pytest.fixture
def rgb8():
    return np.stack([scene(203, 157, seed=k, scale=40.0 * (k + 1)) for k in range(3)], -1).astype(
        np.uint8
    )
