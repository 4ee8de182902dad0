import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.alignment.transform import Transform, overview_to_full
from exo2micro.errors import RegistrationError

POINTS = np.array([[0.0, 0.0], [1999.0, 0.0], [700.0, 1500.0], [-30.0, 12.5]])


@st.composite
def homographies(draw):
    similarity = Transform.similarity(
        rotation_deg=draw(st.floats(-180, 180)),
        magnification=draw(st.floats(0.5, 2)),
        shift=(draw(st.floats(-3000, 3000)), draw(st.floats(-3000, 3000))),
        centre=(1000, 800),
        mirrored=draw(st.booleans()),
    )
    bend = np.eye(3)
    bend[0, 1] = draw(st.floats(-0.2, 0.2))
    bend[2, :2] = draw(st.floats(-2e-5, 2e-5)), draw(st.floats(-2e-5, 2e-5))
    return similarity @ Transform(bend)


@given(homographies(), homographies())
def test_composition_applies_the_right_one_first(a, b):
    np.testing.assert_allclose((a @ b)(POINTS), a(b(POINTS)), rtol=1e-7, atol=1e-6)


@given(homographies())
def test_inverse_undoes(t):
    np.testing.assert_allclose(t.inverse(t(POINTS)), POINTS, atol=1e-5)
    np.testing.assert_allclose((t.inverse @ t)(POINTS), POINTS, atol=1e-5)


@given(homographies())
def test_json_round_trip_is_exact(t):
    assert Transform.from_dict(json.loads(json.dumps(t.to_dict()))) == t


@given(homographies(), st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_shifted_is_conjugation(t, dx, dy):
    shift = np.array([dx, dy])
    np.testing.assert_allclose(
        t.shifted(dx, dy)(POINTS + shift), t(POINTS) + shift, rtol=1e-6, atol=1e-5
    )


@given(homographies())
def test_linear_is_the_derivative(t):
    at, step = np.array([900.0, 700.0]), 1e-3
    numeric = np.column_stack(
        [(t([at + d])[0] - t([at - d])[0]) / (2 * step) for d in np.eye(2) * step]
    )
    np.testing.assert_allclose(t.linear(at), numeric, atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [-179, -90, -25.5, 0, 12, 180])
def test_description_of_a_similarity(angle, mirrored):
    t = Transform.similarity(
        rotation_deg=angle,
        magnification=1.05,
        shift=(30, -40),
        centre=(1000, 800),
        mirrored=mirrored,
    )
    told = t.describe((1000, 800))
    assert (told["rotation_deg"] - angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    assert told["magnification"] == pytest.approx(1.05)
    assert (told["shift_x_px"], told["shift_y_px"]) == pytest.approx((30, -40))
    assert told["mirrored"] is mirrored


def test_rotation_turns_x_towards_y():
    np.testing.assert_allclose(
        Transform.similarity(rotation_deg=90)([[1, 0]]), [[0, 1]], atol=1e-12
    )


def test_overview_coordinates_follow_block_centres():
    t = Transform.similarity(rotation_deg=5, magnification=1.1, shift=(40, 7))
    small = t.scaled(4, 8)
    post_points = POINTS / 4
    expected = (t(POINTS + 1.5) - 3.5) / 8
    np.testing.assert_allclose(small(post_points), expected, atol=1e-9)
    np.testing.assert_allclose(small.unscaled(4, 8).matrix, t.matrix, atol=1e-9)
    np.testing.assert_allclose(overview_to_full(3)([[0, 0]]), [[1, 1]])


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 3)),
        np.full((3, 3), np.nan),
        np.diag([1, 0, 1]),
        np.diag([1, 1, 0]),
        np.eye(4),
        np.diag([np.inf, 1, 1]),
    ],
)
def test_degenerate_matrices_are_refused(matrix):
    with pytest.raises(RegistrationError):
        Transform.from_matrix(matrix)


def test_matrix_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Transform.identity().matrix[0, 0] = 2
