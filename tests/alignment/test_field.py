import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.alignment.field import DisplacementField
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.errors import RegistrationError
from exo2micro.raster import ArrayRaster

GENERATOR = np.random.default_rng(3)
FIELD = DisplacementField((-80.0, -90.0), (80.0, 90.0), GENERATOR.uniform(-8, 8, (9, 10, 2)))
BENT = Transform.similarity(
    rotation_deg=11, magnification=1.07, shift=(9.3, -4.8), centre=(300, 300)
) @ Transform([[1, 0, 0], [0, 1, 0], [2e-5, -1e-5, 1]])
DEFORMED = Transform(BENT.matrix, FIELD)
POINTS = GENERATOR.uniform(0, 600, (200, 2))
SOURCE = GENERATOR.integers(0, 60000, (700, 620)).astype(np.uint16)


def test_field_is_the_tensor_product_spline():
    def cubic(t):
        t = np.abs(t)
        return np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))

    x, y = (POINTS[:, i, None] - FIELD.origin[i] for i in (0, 1))
    across, down = cubic(x / 80 - np.arange(10)), cubic(y / 90 - np.arange(9))
    expected = np.einsum("nj,jia,ni->na", down, FIELD.coefficients, across)
    np.testing.assert_allclose(FIELD(POINTS), expected, atol=1e-12)
    basis = FIELD.basis(POINTS)
    np.testing.assert_allclose(basis @ FIELD.coefficients.reshape(-1, 2), expected, atol=1e-12)


def test_grid_agrees_with_points():
    columns, rows = np.arange(-200.0, 900, 7), np.arange(-250.0, 950, 9)
    dx, dy = FIELD.grid(columns, rows)
    x, y = np.meshgrid(columns, rows)
    expected = FIELD(np.column_stack([x.ravel(), y.ravel()]))
    np.testing.assert_allclose(np.column_stack([dx.ravel(), dy.ravel()]), expected, atol=1e-12)


def test_beyond_the_grid_there_is_no_displacement_and_no_step():
    far = np.array([[-80 - 161.0, 100], [1e6, 1e6], [200, -300.0]])
    assert not FIELD(far).any()
    line = np.column_stack([np.linspace(-300, 1000, 5001), np.full(5001, 333.0)])
    assert np.abs(np.diff(FIELD(line), axis=0)).max() < 0.26 * 0.5
    assert np.abs(FIELD(line)).max() <= FIELD.reach_px


def test_json_round_trip_is_exact_and_keeps_the_matrix():
    record = json.loads(json.dumps(DEFORMED.to_dict()))
    assert record["matrix"] == DEFORMED.matrix.tolist()
    again = Transform.from_dict(record)
    assert again == DEFORMED
    assert hash(again) == hash(DEFORMED)
    np.testing.assert_array_equal(again(POINTS), DEFORMED(POINTS))
    assert again != Transform(BENT.matrix)
    other = replace(FIELD, coefficients=FIELD.coefficients + 1e-9)
    assert Transform(BENT.matrix, other) != DEFORMED


def test_inverse_goes_back_both_ways():
    back = DEFORMED.inverse
    np.testing.assert_allclose(back(DEFORMED(POINTS)), POINTS, atol=1e-6)
    np.testing.assert_allclose(DEFORMED(back(POINTS)), POINTS, atol=1e-6)
    np.testing.assert_allclose(back.inverse(POINTS), DEFORMED(POINTS), atol=1e-6)
    with pytest.raises(RegistrationError, match="no finite description"):
        back.to_dict()


def test_a_field_that_folds_is_not_inverted():
    folding = Transform(np.eye(3), replace(FIELD, coefficients=40 * FIELD.coefficients))
    with pytest.raises(RegistrationError, match="cannot be inverted"):
        folding.inverse(POINTS)


@pytest.mark.parametrize("left", [BENT, DEFORMED, DEFORMED.inverse], ids=["plain", "bent", "back"])
@pytest.mark.parametrize("right", [BENT, DEFORMED, Transform.translation(3, 7)])
def test_composition_applies_the_right_one_first(left, right):
    np.testing.assert_allclose((left @ right)(POINTS), left(right(POINTS)), atol=1e-6)


@given(st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_shifted_is_conjugation_and_can_be_stored(dx, dy):
    moved = DEFORMED.shifted(dx, dy)
    shift = np.array([dx, dy])
    np.testing.assert_allclose(moved(POINTS + shift), DEFORMED(POINTS) + shift, atol=1e-6)
    assert Transform.from_dict(moved.to_dict()) == moved


def test_overviews_carry_the_field():
    small = DEFORMED.scaled(4, 8)
    np.testing.assert_allclose(small(POINTS / 4), (DEFORMED(POINTS + 1.5) - 3.5) / 8, atol=1e-9)
    np.testing.assert_allclose(small.unscaled(4, 8)(POINTS), DEFORMED(POINTS), atol=1e-8)


@pytest.mark.parametrize("transform", [DEFORMED, DEFORMED.inverse])
def test_linear_is_the_derivative(transform):
    at, step = np.array([333.0, 270.0]), 0.05
    numeric = np.column_stack(
        [(transform([at + d])[0] - transform([at - d])[0]) / (2 * step) for d in np.eye(2) * step]
    )
    np.testing.assert_allclose(transform.linear(at), numeric, atol=2e-5)


@pytest.mark.parametrize("change", [{"coefficients": np.zeros((3, 3))}, {"spacing": (0.0, 1.0)}])
def test_wrong_fields_are_refused(change):
    with pytest.raises(RegistrationError):
        replace(FIELD, **change)


SHAPE = (650, 580)
WARPED = WarpedRaster(ArrayRaster(SOURCE), DEFORMED, SHAPE, offset=(-20, -35))
WHOLE, VALID = WARPED.read_with_validity(slice(0, SHAPE[0]), slice(0, SHAPE[1]))


def test_warp_follows_the_field():
    from scipy import ndimage

    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    points = DEFORMED(np.column_stack([x.ravel() - 35, y.ravel() - 20]))
    valid = ((points >= 0) & (points <= (619, 699))).all(1).reshape(SHAPE)
    values = ndimage.map_coordinates(SOURCE.astype(float), points.T[::-1], order=3, mode="mirror")
    np.testing.assert_array_equal(VALID, valid)
    np.testing.assert_allclose(WHOLE, np.where(valid, values.reshape(SHAPE), 0), atol=0.3)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_window_has_the_same_bits(data):
    rows = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[0])] * 2))))
    cols = slice(*sorted(data.draw(st.tuples(*[st.integers(0, SHAPE[1])] * 2))))
    values, valid = WARPED.read_with_validity(rows, cols)
    np.testing.assert_array_equal(values.view(np.int32), WHOLE[rows, cols].view(np.int32))
    np.testing.assert_array_equal(valid, VALID[rows, cols])
    np.testing.assert_array_equal(WARPED.read_validity(rows, cols), VALID[rows, cols])


@pytest.mark.parametrize("push", [-6.0, 6.0])
def test_validity_shortcut_allows_for_the_field(push):
    strong = DisplacementField((-256.0, -256.0), (256.0, 256.0), np.full((8, 8, 2), push))
    raster = ArrayRaster(np.zeros((1024, 1024), np.uint8))
    warped = WarpedRaster(raster, Transform(np.eye(3), strong), (1024, 1024))
    whole = (slice(0, 1024), slice(0, 1024))
    np.testing.assert_array_equal(
        warped.read_validity(*whole), warped.read_with_validity(*whole)[1]
    )
