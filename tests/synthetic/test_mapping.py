import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.synthetic.mapping import Deformation, Mapping

POINTS = np.random.default_rng(1).uniform(-500, 30000, (2000, 2))


@settings(max_examples=50, deadline=None)
@given(
    rotation=st.floats(-180, 180),
    magnification=st.floats(0.8, 1.2),
    shear=st.floats(-0.1, 0.1),
    mirror=st.booleans(),
    shift=st.tuples(st.floats(-3000, 3000), st.floats(-3000, 3000)),
    perspective=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
)
def test_inverse_undoes_mapping(rotation, magnification, shear, mirror, shift, perspective):
    spec = PairSpec(
        shape=(25000, 30000),
        rotation_deg=rotation,
        magnification=magnification,
        shear=shear,
        mirror=mirror,
        shift_px=shift,
        perspective=perspective,
    )
    truth = make_pair(spec).truth
    back = truth.inverse(truth.mapping(POINTS))
    assert np.abs(back - POINTS).max() < 1e-9


def test_mapping_has_the_documented_sense():
    spec = PairSpec(
        shape=(200, 300),
        pre_shape=(180, 260),
        rotation_deg=90,
        magnification=2.0,
        shift_px=(5.0, -7.0),
    )
    truth = make_pair(spec).truth
    # A sample point 3 px right of the pre centre turns to 6 px below the post centre, then moves.
    pre = np.array([[129.5 + 3, 89.5]])
    np.testing.assert_allclose(truth.inverse(pre), [[149.5 + 5, 99.5 + 6 - 7]], atol=1e-12)


def test_mirror_comes_before_rotation():
    truth = make_pair(PairSpec(shape=(100, 100), mirror=True, rotation_deg=90)).truth
    pre = np.array([[49.5 + 4, 49.5]])
    np.testing.assert_allclose(truth.inverse(pre), [[49.5, 49.5 - 4]], atol=1e-12)


def test_matrix_is_the_mapping_without_deformation():
    spec = PairSpec(shape=(400, 500), rotation_deg=12, perspective=(0.02, -0.03))
    truth = make_pair(spec).truth
    points = POINTS / 60
    homogeneous = np.c_[points, np.ones(len(points))] @ truth.matrix.T
    np.testing.assert_allclose(
        truth.mapping(points), homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-10
    )


@pytest.mark.parametrize("amplitude", [2.0, 8.0, 20.0])
def test_deformation_has_its_amplitude_and_inverts(amplitude):
    spec = PairSpec(shape=(1500, 1800), deformation_px=amplitude, rotation_deg=7)
    truth = make_pair(spec).truth
    y, x = np.mgrid[0:1500:10, 0:1800:10].astype(float)
    points = np.c_[x.ravel(), y.ravel()]
    rigid = Mapping(truth.matrix)(points)
    moved = np.linalg.norm(truth.mapping(points) - rigid, axis=1)
    assert 0.97 * amplitude < moved.max() < 1.01 * amplitude
    assert np.abs(truth.inverse(truth.mapping(points)) - points).max() < 1e-6


def test_deformation_differs_by_seed():
    first, second = (Deformation.random((500, 500), 5.0, seed) for seed in (1, 2))
    x = y = np.linspace(0, 499, 50)
    assert np.abs(first.displacement(x, y)[0] - second.displacement(x, y)[0]).max() > 0.5
