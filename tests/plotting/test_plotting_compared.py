"""Figures of a difference show the images as they were subtracted, not as they were read."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from plot_scene import PAD, SCALE, SHAPE, make_view, on_canvas

from exo2micro.plotting import DIAGNOSTICS
from exo2micro.plotting.compared import compared_pair
from exo2micro.plotting.excess_heatmap import plot_excess_heatmap
from exo2micro.subtraction.correction import FieldCorrection
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.field import SIDE, Frame, RatioField
from exo2micro.subtraction.matching import ConvolvedRaster
from exo2micro.subtraction.quality import DQ

TILT = RatioField(
    Frame((SHAPE[1] / 2 + PAD, SHAPE[0] / 2 + PAD), SHAPE[1] / 2),
    np.tile(0.2 * np.linspace(-1, 1, SIDE), (SIDE, 1)),
)


def view_of(scene, role="none", *, is_applied=True):
    """Return a view whose difference was made with a matched sharpness and a tilted scale."""
    view = make_view(scene)
    tilt = TILT.grid(np.arange(SHAPE[0]) + PAD, np.arange(SHAPE[1]) + PAD)
    post = on_canvas(np.rint(SCALE * scene.pre * tilt).astype(np.float32))
    images = {"post": post, "pre": view.pre}
    if role != "none":
        images[role] = ConvolvedRaster(images[role], 1.5, view.valid, None)
    correction = FieldCorrection(TILT, 0.0) if is_applied else None
    quality = QualitySources(valid=view.valid)
    difference = DifferenceRaster(**images, scale=SCALE, quality=quality, correction=correction)
    metrics = {
        "psf_match": {"role": role, "sigma_px": 1.5},
        "scale_field": {**TILT.to_dict(), "pre_pedestal": 0.0, "is_applied": is_applied},
    }
    records = {**view.records, 4: SimpleNamespace(metrics=metrics)}
    return replace(view, post=post, difference=difference, records=records)


@pytest.mark.parametrize("role", ["none", "post", "pre"])
@pytest.mark.parametrize("is_applied", [True, False])
def test_the_compared_images_and_the_scale_give_the_difference(scene, role, is_applied):
    view = view_of(scene, role, is_applied=is_applied)
    pair, words = compared_pair(view)
    post, pre, mask = pair.read(*view.window)
    left = post - np.float32(SCALE) * pre - view.difference.read(*view.window)
    assert np.abs(left[mask]).max() < 1e-3
    assert (f"{role} blurred by 1.50 px" in words) == (role != "none")
    assert ("surface" in words) == is_applied


def test_figures_of_a_scale_that_follows_a_surface_show_one_flat_band(scene):
    view = view_of(scene)
    axes = DIAGNOSTICS["excess_heatmap"]().draw(view).axes[0]
    median = next(found for found in axes.lines if "median" in found.get_label())
    assert np.abs(median.get_ydata()).max() < 3
    counts = axes.images[0].get_array()
    low, high = axes.get_ylim()
    rows = np.flatnonzero(counts.filled(0).sum(axis=1))
    assert (rows[-1] - rows[0]) * (high - low) / len(counts) < 12
    axes = DIAGNOSTICS["pre_post_heatmap"]().draw(view).axes[0]
    assert "surface" in axes.get_title("left")
    figure = DIAGNOSTICS["pre_post_histograms"]().draw(view)
    post, scaled = (figure.axes[0].patches[i].get_data().values for i in (0, -1))
    assert np.abs(np.cumsum(post - scaled)).max() < 0.01 * post.sum()


def test_a_difference_of_whole_numbers_draws_no_stripes(scene):
    rng = np.random.default_rng(8)
    pre = np.full(SHAPE, 40.0)
    post = np.rint(72 + rng.normal(0, 2, SHAPE)).astype(np.uint8)
    figure = plot_excess_heatmap(post, pre, scale=1.8, difference=post - 1.8 * pre)
    rows = figure.axes[0].images[0].get_array().filled(0).sum(axis=1)
    middle = rows[np.flatnonzero(rows)[20] : np.flatnonzero(rows)[-20]]
    assert (middle > 0).all()


def test_debris_does_not_set_the_axes_and_is_told(scene):
    post = scene.post.astype(np.uint16) * 10
    post[100:130, 100:130] = 65535
    flags = np.zeros(SHAPE, np.uint8)
    flags[90:140, 90:140] = DQ.DEBRIS
    view = replace(make_view(scene), post=on_canvas(post), quality=on_canvas(flags))
    for name, limits in (("pre_post_heatmap", "get_ylim"), ("pre_post_histograms", "get_xlim")):
        axes = DIAGNOSTICS[name]().draw(view).axes[0]
        assert getattr(axes, limits)()[1] < 4000
        assert "0.8 % of the pixels lie beyond" in axes.get_title("right")
