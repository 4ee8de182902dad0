from functools import cache

import numpy as np
import pytest

from exo2micro.synthetic import PairSpec, make_pair


@cache
def _images(spec):
    pair = make_pair(spec)
    return pair.post.read_all(), pair.pre.read_all(), pair.truth


@pytest.fixture(scope="session")
def images():
    """Return post, pre and truth of a spec, each pair made once."""
    return _images


@pytest.fixture(scope="session")
def usual():
    """A pair that every part must cope with."""
    return PairSpec(
        shape=(900, 1000), rotation_deg=5, magnification=1.04, shift_px=(23.4, -17.7), border=0.1
    )


@pytest.fixture(scope="session")
def true_error():
    """Return the length of the error of a transform on a grid over the overlap, pixels."""

    def error(transform, truth, step=25):
        overlap = truth.overlap_mask()[::step, ::step]
        points = np.argwhere(overlap)[:, ::-1] * float(step)
        return np.hypot(*(transform(points) - truth.mapping(points)).T)

    return error
