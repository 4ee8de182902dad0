import numpy as np
import pytest

from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.synthetic.bodies import BODY_DTYPE, FOOTPRINT_LEVEL, draw, flux_per_peak


def one_body(**values):
    body = np.zeros(1, BODY_DTYPE)
    for name, value in values.items():
        body[name] = value
    body["flux"] = body["peak"] * flux_per_peak(body["sigma"], body["length"])
    return body


@pytest.mark.parametrize("length", [0.0, 5.0, 20.0])
def test_a_body_has_its_flux_peak_and_centre(length):
    body = one_body(x=40.3, y=37.8, peak=50.0, sigma=1.4, length=length, angle=0.7)
    light, footprint = draw(body, (0, 0), (80, 80))
    y, x = np.mgrid[0:80, 0:80]
    assert light.sum() == pytest.approx(body["flux"][0], rel=2e-4)
    assert (x * light).sum() / light.sum() == pytest.approx(40.3, abs=2e-3)
    assert (y * light).sum() / light.sum() == pytest.approx(37.8, abs=2e-3)
    assert 0.9 * 50 < light.max() <= 50
    np.testing.assert_array_equal(footprint, light >= FOOTPRINT_LEVEL * 50)


def test_a_rod_lies_along_its_angle():
    body = one_body(x=40.0, y=40.0, peak=50.0, sigma=1.2, length=12.0, angle=0.5)
    light, _ = draw(body, (0, 0), (81, 81))
    y, x = np.mgrid[-40:41, -40:41]
    xx, yy, xy = ((a * light).sum() / light.sum() for a in (x * x, y * y, x * y))
    assert 0.5 * np.arctan2(2 * xy, xx - yy) == pytest.approx(0.5, abs=1e-3)
    largest = np.linalg.eigvalsh([[xx, xy], [xy, yy]])[1]
    assert largest == pytest.approx(12.0**2 / 12 + 1.2**2, rel=1e-2)


def test_drawing_by_windows_equals_drawing_at_once():
    rng = np.random.default_rng(3)
    bodies = np.zeros(60, BODY_DTYPE)
    bodies["x"], bodies["y"] = rng.uniform(-10, 130, (2, 60))
    bodies["peak"], bodies["sigma"] = 20.0, 1.5
    bodies["length"] = np.where(rng.random(60) < 0.5, 9.0, 0.0)
    light, footprint = draw(bodies, (0, 0), (120, 120))
    part, part_footprint = draw(bodies, (30, 50), (40, 30))
    np.testing.assert_array_equal(part, light[30:70, 50:80])
    np.testing.assert_array_equal(part_footprint, footprint[30:70, 50:80])


@pytest.mark.parametrize("coverage", [0.01, 0.05, 0.15])
def test_coverage_is_what_was_asked(coverage):
    spec = PairSpec(shape=(1100, 1200), seed=12, coverage=coverage, rotation_deg=5)
    truth = make_pair(spec).truth
    mask, rock = truth.microbe_mask(), truth.sample_mask()
    assert (mask & rock).sum() / rock.sum() == pytest.approx(coverage, rel=0.1)


def test_microbe_table_explains_all_light_above_the_background():
    spec = PairSpec(shape=(500, 600), seed=13, coverage=0.03, lost_piece=0.2, pedestal=4.0)
    pair = make_pair(spec)
    microbes = pair.truth.microbes
    excess = pair.post.noise_free() - pair.truth.background()
    light, footprint = draw(microbes, (0, 0), spec.shape)
    np.testing.assert_allclose(excess, light, atol=1e-3)
    np.testing.assert_array_equal(pair.truth.microbe_mask(), footprint)
    assert set(microbes["kind"].tolist()) == {"blob", "rod"}
    assert ((microbes["length"] > 0) == (microbes["kind"] == "rod")).all()


def test_microbes_lie_on_rock_in_clusters():
    spec = PairSpec(shape=(900, 900), seed=14, coverage=0.02, rotation_deg=-7)
    truth = make_pair(spec).truth
    microbes, rock = truth.microbes, truth.sample_mask()
    rows, cols = (np.clip(np.rint(microbes[n]).astype(int), 0, 899) for n in ("y", "x"))
    assert rock[rows, cols].mean() > 0.99
    counts, _, _ = np.histogram2d(microbes["y"], microbes["x"], bins=30, range=[[0, 900]] * 2)
    on_rock = rock.reshape(30, 30, 30, 30).mean(axis=(1, 3)) > 0.99
    # Scattered evenly the variance would equal the mean.
    assert counts[on_rock].var() > 3 * counts[on_rock].mean()


def test_debris_is_saturated_and_masked():
    pair = make_pair(PairSpec(shape=(600, 600), seed=15, saturated_debris=4, coverage=0))
    saturated, debris = pair.truth.saturated(), pair.truth.debris_mask()
    core = pair.post.noise_free() > 1.5 * 255
    assert core.sum() > 50
    assert saturated[core].all()
    assert debris[core].all()
    clean = ~debris
    np.testing.assert_allclose(
        pair.post.noise_free()[clean], pair.truth.background()[clean], atol=1.0
    )
    assert pair.truth.debris.size == 4
