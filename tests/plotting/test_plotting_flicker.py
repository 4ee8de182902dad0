"""Details to blink, and the significance against the unit Gaussian: the numbers behind them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from plot_scene import MICROBE, PAD, SHAPE, legend_texts, make_view, on_canvas

from exo2micro.plotting.flicker import flicker_frames, spots_of
from exo2micro.plotting.snr_histogram import core_width, plot_snr_histogram
from exo2micro.subtraction.quality import DQ


def test_frames_share_one_range_and_final_pre_looks_like_post(view):
    frames = {frame.name: frame for frame in flicker_frames(view, view.window)}
    assert list(frames) == ["post", "before", "coarse", "final", "difference"]
    assert frames["before"].limits == frames["final"].limits
    inner = (slice(50, -50), slice(80, -80))
    post = frames["post"].pixels[inner].astype(int)
    apart = {n: np.abs(frames[n].pixels[inner] - post).mean() for n in ("coarse", "final")}
    assert apart["final"] < 0.3 * apart["coarse"]
    assert (frames["difference"].pixels[:, :10] == 255).all()


def test_frames_have_a_scale_bar_where_the_pixel_size_is_known(scene):
    view = make_view(scene)
    plain = flicker_frames(view, view.window)
    view.records[1] = SimpleNamespace(facts={"pixel_size_um": (0.5, 0.5)})
    for frame, other in zip(flicker_frames(view, view.window), plain, strict=True):
        changed = np.argwhere((frame.pixels != other.pixels).reshape(*SHAPE, -1).any(axis=2))
        assert changed[:, 0].min() > 0.85 * SHAPE[0]
        assert changed[:, 1].max() < 0.4 * SHAPE[1]
        row = SHAPE[0] - 1 - round(0.045 * SHAPE[0])
        line = frame.pixels[row].reshape(SHAPE[1], -1).min(axis=1)
        assert (line[16:116] == 255).all()  # 50 um of 0.5 um per pixel, a quarter of the width
        assert line[15] == line[116] == 0


def test_a_withheld_difference_is_not_shown(scene):
    view = make_view(scene, difference=False)
    assert "difference" not in [frame.name for frame in flicker_frames(view, view.window)]


def test_the_strongest_signal_is_among_the_places_and_all_lie_inside(view):
    record = view.records[3]
    record.facts = {"offset": (PAD, PAD), "post_shape": (300, 400)}
    spots = spots_of(view, 60)
    row, col = (place + PAD for place in MICROBE)
    assert any(
        spot.window[0].start <= row < spot.window[0].stop
        and spot.window[1].start <= col < spot.window[1].stop
        for spot in spots
        if "signal" in spot.title or "excess" in spot.title
    )
    for spot in spots:
        for part, full in zip(spot.window, view.window, strict=True):
            assert part.stop - part.start == 60
            assert full.start <= part.start
            assert part.stop <= full.stop


def test_the_strongest_signal_is_no_debris(scene):
    difference, flags = scene.difference.copy(), np.zeros(SHAPE, np.uint8)
    difference[60:64, 100:140] = 250
    flags[50:74, 90:150] = DQ.DEBRIS
    view = replace(make_view(scene), difference=on_canvas(difference), quality=on_canvas(flags))
    view.records[3].facts = {"offset": (PAD, PAD), "post_shape": SHAPE}
    for word in ("densest signal", "strongest excess"):
        (rows, cols) = next(s.window for s in spots_of(view, 60) if word in s.title)
        assert rows.start <= MICROBE[0] + PAD < rows.stop
        assert cols.start <= MICROBE[1] + PAD < cols.stop


def test_a_place_keeps_the_titles_of_all_that_show_the_same(scene):
    view = make_view(scene)
    view.records[3].facts = {"offset": (PAD, PAD), "post_shape": SHAPE}
    few = [spot.title for spot in spots_of(view, 290)]
    for word in ("centre", "largest residual", "densest signal", "strongest excess", "upper left"):
        assert sum(word in title for title in few) == 1
    assert len(few) < 5
    assert "strongest excess" in few[-1]


def test_the_core_of_pure_noise_has_width_one():
    rng = np.random.default_rng(2)
    values = rng.normal(0.0, 1.0, (700, 800)).astype(np.float32)
    centre, width = core_width(values.ravel())
    assert centre == pytest.approx(0.0, abs=0.01)
    assert width == pytest.approx(1.0, abs=0.01)
    values[:10, :10] = 9.0
    figure = plot_snr_histogram(values)
    assert any(text.startswith("above +5 sigma: 100 of 560000") for text in legend_texts(figure))


def test_an_empty_border_is_not_taken_for_no_significance():
    plane = np.zeros((5000, 5000), np.float32)
    assert "no data" in plot_snr_histogram(plane).axes[0].texts[0].get_text()
    plane[2200:2500, 2100:2600] = 1.5
    figure = plot_snr_histogram(plane)
    assert any("above +5 sigma: 0 of 150000" in text for text in legend_texts(figure))
    plane[:] = 1.5
    figure = plot_snr_histogram(plane)
    assert "% sample" in figure.axes[0].get_ylabel()
    assert any(" sampled " in text for text in legend_texts(figure))


def test_without_significance_the_figure_says_so(view):
    assert view.snr is None
    figure = plot_snr_histogram(view.snr)
    assert "not known" in figure.axes[0].texts[0].get_text()
