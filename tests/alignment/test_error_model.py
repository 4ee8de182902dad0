import numpy as np
import pytest

from exo2micro.alignment.error_model import ErrorModel


def grid(count, size=2000.0):
    line = np.linspace(0, size, count)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def model(generator, positions, places, *, noise, error):
    shifts = error(positions) + generator.normal(0, noise, positions.shape)
    return ErrorModel(shifts, positions, np.full(len(positions), noise**2), places)


def slanted(points):
    return np.column_stack([0.1 + 1e-4 * points[:, 0], -5e-5 * points[:, 1]])


@pytest.mark.parametrize("tiles", [4, 6])
def test_bound_covers_the_true_quantile(tiles):
    generator = np.random.default_rng(4)
    places = grid(20)
    truth = np.quantile(np.hypot(*slanted(places).T), 0.95)
    covered = []
    for _ in range(60):
        measured = model(generator, grid(tiles), places, noise=0.1, error=slanted).quantiles()
        covered.append(measured[2] >= truth)
        assert measured[0] <= measured[1] <= measured[2]
    assert np.mean(covered) >= 0.93


def test_noise_alone_is_not_taken_for_error():
    generator = np.random.default_rng(6)
    quiet = [
        model(generator, grid(6), grid(20), noise=0.1, error=np.zeros_like).quantiles()[1]
        for _ in range(20)
    ]
    assert np.median(quiet) < 0.1


def test_the_bound_grows_where_the_sample_reaches_beyond_the_tiles():
    generator = np.random.default_rng(7)
    positions = grid(5, size=1000.0)
    near = model(generator, positions, grid(20, 1000.0), noise=0.1, error=np.zeros_like)
    far = model(generator, positions, grid(20, 3000.0), noise=0.1, error=np.zeros_like)
    assert far.quantiles()[2] > 2 * near.quantiles()[2]


def test_tiles_that_are_off_raise_the_quantile():
    generator = np.random.default_rng(8)
    positions = grid(6)
    shifts = generator.normal(0, 0.02, positions.shape)
    shifts[::6] += 5.0
    found = ErrorModel(shifts, positions, np.full(36, 0.02**2), grid(20)).quantiles()
    assert found[0] < 0.1
    assert found[1] > 4.0


def test_intervals_hold_the_figures_and_end_at_the_bound():
    generator = np.random.default_rng(9)
    found = model(generator, grid(6), grid(20), noise=0.1, error=slanted)
    median, upper, bound = found.quantiles()
    of_median, of_upper = found.intervals()
    assert of_median[0] < median < of_median[1] < bound
    assert of_upper[0] < upper < of_upper[1] == bound


@pytest.mark.parametrize(("tiles", "scatter"), [(3, 0.1), (6, 0.03)])
def test_bound_covers_scatter_that_few_tiles_hardly_show(tiles, scatter):
    generator = np.random.default_rng(10)
    places, covered = grid(20), []
    for _ in range(60):
        truth = generator.normal(0, scatter, places.shape)

        def error(points, scatter=scatter):
            return generator.normal(0, scatter, points.shape)

        found = model(generator, grid(tiles), places, noise=0.1, error=error)
        covered.append(found.quantiles()[2] >= np.quantile(np.hypot(*truth.T), 0.95))
    assert np.mean(covered) >= 0.9


def test_one_tile_does_not_show_how_far_off_its_like_may_be():
    generator = np.random.default_rng(11)
    positions = grid(4)
    shifts = generator.normal(0, 0.02, positions.shape)
    shifts[::6] += 2.0
    _, upper, bound = ErrorModel(shifts, positions, np.full(16, 0.02**2), grid(20)).quantiles()
    assert bound > 1.5 * upper > 3.0


def test_tiles_of_which_none_is_like_the_others_make_a_wide_bound():
    generator = np.random.default_rng(12)
    positions = grid(4)
    shifts = 5.0 * generator.normal(size=positions.shape)
    model = ErrorModel(shifts, positions, np.full(16, 0.02**2), grid(20))
    assert len(model.off_lengths) == 0
    assert model.quantiles()[2] > np.quantile(np.hypot(*shifts.T), 0.9)
