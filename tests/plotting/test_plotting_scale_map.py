from types import SimpleNamespace

import numpy as np
import pytest
from plot_scene import Scene, estimate, make_view

from exo2micro.plotting import DIAGNOSTICS
from exo2micro.plotting.figure import figure_bytes
from exo2micro.plotting.scale_lines import scale_lines
from exo2micro.plotting.scale_map import TileRatios, plot_scale_map
from exo2micro.subtraction.field import SIDE, Frame, RatioField
from exo2micro.subtraction.scale import SCALE_ESTIMATORS

RNG = np.random.default_rng(2)
X, Y = (
    v.ravel().astype(float) for v in np.meshgrid(np.arange(50, 400, 60), np.arange(40, 300, 60))
)
SLOPE = 1.0 + 0.1 * (X - X.mean()) / np.ptp(X)
NOISE = RNG.normal(0, 0.003, len(X))
TILES = TileRatios(X, Y, SLOPE + NOISE, np.full(len(X), 0.003))


def tilted():
    frame = Frame((225.0, 150.0), 225.0)
    along = np.linspace(-1, 1, SIDE)
    return RatioField(frame, np.tile(0.06 * along, (SIDE, 1)))


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes[:2]]


def test_without_a_surface_both_maps_show_the_tiles():
    figure = plot_scale_map(TILES)
    assert "no smooth variation" in titles(figure)[0]
    left, right = (axes.collections[0].get_array() for axes in figure.axes[:2])
    np.testing.assert_allclose(left, right)
    np.testing.assert_allclose(left, 100 * (TILES.ratio - 1))
    assert not figure.axes[0].images


@pytest.mark.parametrize(("is_applied", "words"), [(True, "followed by"), (False, "not corrected")])
def test_the_surface_is_drawn_and_taken_off_on_the_right(is_applied, words):
    figure = plot_scale_map(TILES, tilted(), is_applied=is_applied)
    assert words in titles(figure)[0]
    left, right = (axes.collections[0].get_array() for axes in figure.axes[:2])
    assert np.std(right) < 0.5 * np.std(left)
    assert len(figure.axes[0].images) == 1
    assert figure.axes[0].yaxis_inverted()
    assert figure.axes[1].yaxis_inverted()


def test_no_dot_is_cut_and_the_size_is_that_of_the_verdict():
    figure = plot_scale_map(TILES, tilted(), variation=0.0726)
    assert "±7.3 %" in titles(figure)[0]
    low, high = figure.axes[0].get_xlim()
    assert low < TILES.x.min() - 10
    assert high > TILES.x.max() + 10
    figure.canvas.draw()
    boxes = [axes._left_title.get_window_extent() for axes in figure.axes[:2]]
    assert boxes[0].x1 < boxes[1].x0


def test_the_diagnostic_reads_the_record_and_is_the_same_twice():
    view = make_view(Scene())
    described = {**tilted().to_dict(), "pre_pedestal": 0.0, "is_applied": True}
    tiles = {key: getattr(TILES, key).tolist() for key in ("x", "y", "ratio", "error")}
    view.records[4] = SimpleNamespace(metrics={"tile_scales": tiles, "scale_field": described})
    first, second = (DIAGNOSTICS["scale_map"]().draw(view) for _ in range(2))
    assert "followed by" in titles(first)[0]
    assert figure_bytes(first) == figure_bytes(second)
    assert first.get_suptitle().startswith("CD070 · SybrGld_microbe: ")


def test_without_a_record_it_says_so():
    figure = DIAGNOSTICS["scale_map"]().draw(make_view(Scene()))
    assert "no tile" in figure.axes[0].texts[0].get_text()


def test_every_estimator_draws_in_its_own_colour_and_none_is_used_twice():
    own = {name: cls.colour for name, cls in SCALE_ESTIMATORS.items() if cls.colour}
    assert len(set(own.values())) == len(own)
    names = ("moffat", "manual", "robust_regression")
    found = scale_lines(scales=[estimate(name, label=name) for name in names])
    assert [line.colour for line in found] == [own[name] for name in names]
    twice = scale_lines(scales=[estimate("moffat"), estimate("moffat", label="again"), ("mine", 2)])
    assert len({line.colour for line in twice}) == 3
