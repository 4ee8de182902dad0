import numpy as np
import pytest

from exo2micro.alignment.deformation import fit_deformation
from exo2micro.alignment.error_model import ErrorModel, field_variances
from exo2micro.alignment.matching import TileMatches

SIDE, NOISE = 1000.0, 0.03


def wavy(generator):
    """Return a smooth displacement of some 3 px, other waves each time."""
    waves = (
        2 * np.pi / SIDE * generator.uniform(0.6, 1.6, (4, 2)) * generator.choice([-1, 1], (4, 2))
    )
    phases, sizes = generator.uniform(0, 6, 4), generator.normal(0, 1.5, (4, 2))
    return lambda points: np.sin(points @ waves.T + phases) @ sizes


def fitted(generator, truth, *, edge=60.0, count=70):
    """Return a fit to tiles that keep away from the edge of the sample."""
    centres = generator.uniform(edge, SIDE - edge, (count, 2))
    shifts = truth(centres) + generator.normal(0, NOISE, centres.shape)
    ones = np.ones(count)
    covariances = np.tile(np.eye(2) * NOISE**2, (count, 1, 1))
    tiles = TileMatches(centres, shifts, covariances, ones, ones, 50 * ones, ones > 0)
    return fit_deformation(tiles, (int(SIDE), int(SIDE)))


def test_the_uncertainty_is_largest_beyond_the_tiles():
    generator = np.random.default_rng(3)
    error = fitted(generator, wavy(generator)).error
    middle, rim = (error.variance(np.array([[x, 500.0]]))[0] for x in (500.0, 990.0))
    assert rim > 4 * middle > 0


def test_few_modes_keep_the_variance():
    generator = np.random.default_rng(4)
    error = fitted(generator, wavy(generator)).error
    places = generator.uniform(0, SIDE, (300, 2))
    few = error.over(places)
    assert few.root.shape[1] < error.root.shape[1]
    kept = few.variance(places).sum() / error.variance(places).sum()
    assert 0.98 <= kept <= 1.0


def test_without_a_field_nothing_is_uncertain():
    assert field_variances(None, np.zeros((3, 2))).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("knows_the_field", [True, False])
def test_the_bound_covers_what_lies_beyond_the_tiles(knows_the_field):
    generator = np.random.default_rng(5)
    line = np.linspace(5, SIDE - 5, 20)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    covered, tight = [], []
    for _ in range(20):
        truth = wavy(generator)
        fit = fitted(generator, truth)
        held_out = generator.uniform(60, SIDE - 60, (25, 2))
        wrong = {p: fit.transform(q) - q - truth(q) for p, q in (("t", held_out), ("s", places))}
        shifts = -wrong["t"] + generator.normal(0, NOISE, held_out.shape)
        variances = np.full(25, NOISE**2)
        field = fit.error if knows_the_field else None
        bound = ErrorModel(shifts, held_out, variances, places, field).quantiles()[2]
        p95_px = np.quantile(np.hypot(*wrong["s"].T), 0.95)
        covered.append(bound >= p95_px)
        tight.append(bound <= 3 * p95_px)
    assert (np.mean(covered) >= 0.9) == knows_the_field
    assert np.mean(tight) >= 0.9
