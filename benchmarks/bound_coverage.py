"""How often the bound of the certificate covers the true error, in simulation."""

import numpy as np
from numpy.typing import NDArray

from exo2micro.alignment.error_model import ErrorModel

Array = NDArray[np.float64]

# Fit tiles per held-out tile, error of a tile, spread of the errors' logarithm, places.
FIT_TILES, PRECISION_PX, SPREAD, PLACES = 3, 0.03, 0.4, 400
# Scatter beyond the tiles' errors, and size of what no homography follows, in units of that error.
TRUTHS = ((0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.0, 0.3), (0.0, 1.0))
TILES = (12, 30, 55)
SEED = 7


def table(trials: int) -> str:
    """Return coverage and tightness of the bound as a Markdown table."""
    rows = [
        "| held-out tiles | scatter | quadratic part | bound covers % | bound / true 95 % "
        "| estimate / true 95 % |\n|---|---|---|---|---|---|"
    ]
    generator = np.random.default_rng(SEED)
    for count in TILES:
        for scatter, bend in TRUTHS:
            found = np.array([_trial(generator, count, scatter, bend) for _ in range(trials)])
            bound, estimate = np.median(found, axis=0)
            rows.append(
                f"| {count} | {scatter:g} | {bend:g} | {100 * np.mean(found[:, 0] >= 1):.1f} "
                f"| {bound:.2f} | {estimate:.2f} |"
            )
    return "\n".join(rows)


def _trial(
    generator: np.random.Generator, count: int, scatter: float, bend: float
) -> tuple[float, float]:
    """Fit a homography to noisy tiles, judge it on others; return bound and estimate over truth."""
    fitted, held, places = (
        generator.uniform(-1, 1, (n, 2)) for n in (FIT_TILES * count, count, PLACES)
    )
    bending = bend * PRECISION_PX * generator.normal(size=(3, 2))

    def field(points: Array) -> Array:
        x, y = points.T
        return np.column_stack([x * x, x * y, y * y]) @ bending

    def local(points: Array) -> Array:
        return scatter * PRECISION_PX * generator.normal(size=points.shape)

    def noise(points: Array) -> tuple[Array, Array]:
        sigma = PRECISION_PX * np.exp(SPREAD * generator.normal(size=len(points)))
        return sigma, sigma[:, None] * generator.normal(size=points.shape)

    sigma, noisy = noise(fitted)
    weights = np.tile(1 / sigma, 2)
    measured = (noisy + local(fitted) + field(fitted)).T.ravel()
    found = np.linalg.lstsq(_homography(fitted) * weights[:, None], measured * weights, rcond=None)

    def error(points: Array) -> Array:
        return field(points) - (_homography(points) @ found[0]).reshape(2, -1).T

    sigma, noisy = noise(held)
    shifts = error(held) + local(held) + noisy
    _, estimate, bound = ErrorModel(shifts, held, sigma**2, places).quantiles()
    truth = float(np.quantile(np.hypot(*(error(places) + local(places)).T), 0.95))
    return bound / truth, estimate / truth


def _homography(points: Array) -> Array:
    """Return the design matrix of a small homography, x above y."""
    (x, y), one = points.T, np.ones(len(points))
    none = np.zeros_like(one)
    across = [x, y, one, none, none, none, x * x, x * y]
    down = [none, none, none, x, y, one, x * y, y * y]
    return np.concatenate([np.column_stack(across), np.column_stack(down)])
