"""The numbers behind the pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.colors import to_rgba
from plot_scene import (
    MICROBE,
    PAD,
    SCALE,
    SHAPE,
    Scene,
    certificate,
    estimate,
    legend_texts,
    make_view,
)

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.errors import ParameterError
from exo2micro.plotting import DIAGNOSTICS
from exo2micro.plotting.captions import describe_diagnostics
from exo2micro.plotting.difference_histogram import plot_difference_histogram
from exo2micro.plotting.difference_image import difference_colours, plot_difference_image
from exo2micro.plotting.excess_heatmap import plot_excess_heatmap
from exo2micro.plotting.figure import figure_bytes
from exo2micro.plotting.fine_alignment import before_fine_step, plot_fine_alignment
from exo2micro.plotting.pair import image_pair
from exo2micro.plotting.places import textured_places
from exo2micro.plotting.pre_post_heatmap import plot_pre_post_heatmap
from exo2micro.plotting.pre_post_histograms import plot_pre_post_histograms
from exo2micro.plotting.ratio_histogram import plot_ratio_histogram_simple
from exo2micro.plotting.registration import plot_registration
from exo2micro.plotting.residual_map import NOT_MATCHED, plot_residual_map
from exo2micro.raster import ArrayRaster

TIMES = "\N{MULTIPLICATION SIGN}"
NAMES = [
    "difference_histogram",
    "difference_image",
    "excess_heatmap",
    "fine_alignment",
    "pre_post_heatmap",
    "pre_post_histograms",
    "ratio_histogram",
    "registration",
    "residual_map",
]
PLOTS = [
    plot_pre_post_heatmap,
    plot_excess_heatmap,
    plot_pre_post_histograms,
    plot_difference_histogram,
    plot_ratio_histogram_simple,
    plot_difference_image,
    plot_registration,
    plot_fine_alignment,
]
WITH_SCALE = PLOTS[:6]


def line(axes, label):
    return next(found for found in axes.lines if found.get_label() == label)


def counts_of(axes):
    return axes.images[0].get_array()


def all_texts(figure):
    texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return " | ".join(texts)


def test_the_diagnostics_are_found_and_explained():
    assert set(NAMES) <= set(DIAGNOSTICS)
    rows = {row.name: row.caption for row in describe_diagnostics()}
    assert set(rows) == set(DIAGNOSTICS)
    for name in NAMES:
        diagnostic = DIAGNOSTICS[name]()
        for part in (diagnostic.shows, diagnostic.good, diagnostic.bad, diagnostic.action):
            assert len(part) > 40
            assert part.endswith(".")
            assert part in rows[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_view_gives_the_same_bytes(name, scene):
    first, second = (figure_bytes(DIAGNOSTICS[name]().draw(make_view(scene))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_names_the_pair(name, view):
    title = DIAGNOSTICS[name]().draw(view).get_suptitle()
    assert title.startswith("CD070 · SybrGld_microbe: ")


@pytest.mark.parametrize("plot", PLOTS)
def test_pictures_of_nothing_say_so(plot, tmp_path):
    empty = np.zeros((70, 90), np.uint8)
    path = tmp_path / "x.png"
    figure = plot(empty, empty, sample="CD070", dye="DAPI", save_path=path)
    words = all_texts(figure)
    assert "no data" in words or "no overlap" in words
    assert path.read_bytes() == figure_bytes(figure)


@pytest.mark.parametrize("plot", WITH_SCALE)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 1), np.uint8), ((3, 2), np.float64), ((64, 50), np.uint16), ((9, 9), np.float32)],
)
def test_tiny_and_all_equal_images_of_any_depth_show_their_value(plot, shape, dtype):
    equal = np.full(shape, 7, dtype)
    axes = plot(2 * equal, equal, scale=1.5, sample="CD070", dye="DAPI").axes[0]
    if plot is plot_difference_image:
        assert (axes.images[0].get_array() == 3.5).all()
        return
    low, high = axes.get_xlim()
    expected = {plot_difference_histogram: 3.5, plot_ratio_histogram_simple: 2.0}.get(plot, 7)
    assert low < expected < high
    if axes.images:
        assert counts_of(axes).sum() == pytest.approx(equal.size, abs=1)


def test_heatmap_counts_every_pixel_and_draws_lines(scene):
    figure = plot_pre_post_heatmap(
        scene.post,
        scene.pre,
        scale=SCALE,
        scales=[("other", 1.2, 5.0), ("old habit", 1.5, "#00cc88")],
        sample="CD070",
        dye="DAPI",
    )
    axes = figure.axes[0]
    counts = counts_of(axes)
    assert counts.sum() == pytest.approx(scene.mask.sum(), rel=0.005)
    assert counts.mask.any()
    assert (counts.compressed() > 0).all()
    norm = axes.images[0].norm
    assert norm.vmin == 1
    assert norm.vmax == counts.max()
    ends = np.array(axes.get_xlim())
    np.testing.assert_allclose(line(axes, "scale 1.800").get_ydata(), SCALE * ends)
    np.testing.assert_allclose(line(axes, "other 1.200, offset 5").get_ydata(), 1.2 * ends + 5)
    np.testing.assert_allclose(line(axes, "post = pre").get_ydata(), ends)
    assert line(axes, "old habit 1.500").get_color() == "#00cc88"
    assert legend_texts(figure) == [
        "scale 1.800",
        "other 1.200, offset 5",
        "old habit 1.500",
        "post = pre",
    ]


def test_heatmap_ridge_lies_on_the_scale_line(scene):
    figure = plot_pre_post_heatmap(scene.post, scene.pre, scale=SCALE)
    image = figure.axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    counts = image.get_array().filled(0)
    row, col = np.unravel_index(counts.argmax(), counts.shape)
    pre = left + (col + 0.5) * (right - left) / counts.shape[1]
    post = bottom + (row + 0.5) * (top - bottom) / counts.shape[0]
    assert post == pytest.approx(SCALE * pre, abs=6)


def test_one_bright_pixel_does_not_eat_the_axes(scene):
    pre, post = scene.pre * 100, scene.post.astype(np.float32) * 100
    post[150, 200] = pre[150, 201] = 4e9
    for plot in WITH_SCALE:
        figure = plot(post, pre, scale=SCALE)
        axes = figure.axes[0]
        if plot is plot_difference_image:
            assert axes.images[0].norm.vmax < 2e4
            continue
        limit = 10 if plot is plot_ratio_histogram_simple else 4e4
        assert axes.get_xlim()[1] < limit
        if plot in (plot_pre_post_heatmap, plot_excess_heatmap):
            assert axes.get_ylim()[1] < 4e4
            assert "beyond the axes" in all_texts(figure)


def test_excess_is_flat_at_the_right_scale_and_tilted_at_a_wrong_one(scene):
    def median_slope(scale):
        axes = plot_excess_heatmap(scene.post, scene.pre, scale=scale).axes[0]
        found = line(axes, "median at this brightness")
        return np.polyfit(found.get_xdata(), found.get_ydata(), 1)[0]

    assert median_slope(SCALE) == pytest.approx(0, abs=0.02)
    assert median_slope(1.5) == pytest.approx(SCALE - 1.5, abs=0.02)


def test_excess_draws_every_active_scale_relative_to_the_first(scene):
    others = [estimate("percentile", "percentile_p70", 1.9), estimate("manual", "manual", 2.0)]
    figure = plot_excess_heatmap(scene.post, scene.pre, scales=[estimate(), *others])
    axes = figure.axes[0]
    ends = np.array(axes.get_xlim())
    np.testing.assert_allclose(line(axes, "moffat 1.800").get_ydata(), [0, 0])
    np.testing.assert_allclose(
        line(axes, "percentile_p70 1.900").get_ydata(), 0.1 * ends, atol=1e-12
    )
    np.testing.assert_allclose(line(axes, "manual 2.000").get_ydata(), 0.2 * ends, atol=1e-12)
    assert len({found.get_color() for found in axes.lines}) == 4
    assert len(legend_texts(figure)) == 4
    assert f"1.8 {TIMES} pre" in axes.get_ylabel()


def test_without_scale_the_ratio_is_drawn(scene):
    figure = plot_excess_heatmap(scene.post, scene.pre)
    axes = figure.axes[0]
    assert axes.get_ylabel() == "post / pre"
    assert np.median(line(axes, "median at this brightness").get_ydata()) == pytest.approx(
        SCALE, abs=0.02
    )


def test_histograms_hold_all_pixels_and_no_log_of_zero(scene):
    figure = plot_pre_post_histograms(scene.post, scene.pre, scale=SCALE)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["post-stain", "pre-stain, aligned", f"pre-stain {TIMES} 1.8"]
    for patch in axes.patches:
        values = patch.get_data().values
        assert values.min() == 0.5
        assert values[values > 0.5].sum() == pytest.approx(scene.mask.sum(), rel=0.005)


def test_difference_histogram_measures_background_and_tail(scene):
    figure = plot_difference_histogram(scene.post, scene.pre, difference=scene.difference)
    values = scene.difference[scene.mask]
    sigma = 1.4826 * np.median(np.abs(values - np.median(values)))
    text = next(t for t in legend_texts(figure) if t.startswith("background"))
    centre, width = (float(word.strip(",")) for word in text.split() if word[0] in "-0123456789")
    assert centre == pytest.approx(np.median(values), abs=0.05)
    assert width == pytest.approx(sigma, abs=0.02)
    tail = next(t for t in legend_texts(figure) if "above" in t)
    assert float(tail.split(":")[1].split()[0]) == pytest.approx(100 * 64 / values.size, rel=0.1)
    axes = figure.axes[0]
    curve = next(found for found in axes.lines if found.get_label() == text)
    bars = axes.patches[0].get_data().values
    assert curve.get_ydata().max() == pytest.approx(bars.max(), rel=0.1)
    low, high = axes.get_xlim()
    assert low < -5 * sigma
    assert 5 * sigma < high < 70 * sigma


def test_difference_histogram_without_scale_says_so(scene):
    figure = plot_difference_histogram(scene.post, scene.pre)
    assert "without scale" in figure.get_suptitle()


def test_ratio_histogram_prints_scale_and_interval(scene):
    figure = plot_ratio_histogram_simple(
        scene.post, scene.pre, scale_estimate=estimate(), scales=[estimate(), ("manual", 2.0)]
    )
    axes = figure.axes[0]
    assert axes.get_title("left") == (
        "scale 1.8000, 95 % interval 1.7900 to 1.8100 (±0.56 %), 77 tiles"
    )
    np.testing.assert_array_equal(line(axes, "fit").get_ydata(), estimate().curve["fitted"])
    assert line(axes, "moffat 1.800").get_xdata() == [SCALE, SCALE]
    assert line(axes, "manual 2.000").get_xdata() == [2.0, 2.0]
    low, high = axes.get_xlim()
    assert 1.3 < low < 1.7
    assert 2.0 < high < 2.3


def test_ratio_histogram_of_pixels_peaks_at_the_ratio(scene):
    figure = plot_ratio_histogram_simple(scene.post, scene.pre)
    axes = figure.axes[0]
    outline = axes.collections[0].get_paths()[0].vertices
    assert outline[outline[:, 1].argmax(), 0] == pytest.approx(SCALE, abs=0.05)
    assert axes.get_title("left") == "no scale estimated"


def test_a_scale_given_by_hand_has_no_interval(scene):
    given = estimate("manual", "manual", 2.0, half=0.0, curve=False)
    figure = plot_ratio_histogram_simple(scene.post, scene.pre, scales=[given])
    assert figure.axes[0].get_title("left") == "scale 2, given (manual)"
    assert "95 % interval" not in legend_texts(figure)


def test_difference_colours_are_black_at_zero_and_white_without_data():
    colours = difference_colours()
    assert colours(0.5) == to_rgba("black")
    assert tuple(colours.get_bad()) == to_rgba("white")
    blue, orange = colours(0.25), colours(0.75)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_difference_image_pixels(scene):
    figure = plot_difference_image(scene.post, scene.pre, difference=scene.difference)
    image = figure.axes[0].images[0]
    assert image.norm.vmin == -image.norm.vmax
    assert image.get_extent() == [-0.5, SHAPE[1] - 0.5, SHAPE[0] - 0.5, -0.5]
    rgba = image.to_rgba(image.get_array())
    assert (rgba[:, :20] == 1).all()
    clean = rgba[100:120, 100:120, :3]
    assert clean.mean() < 0.2
    assert rgba[MICROBE][0] > 0.8
    np.testing.assert_array_equal(image.get_array().mask, ~scene.mask)


def test_a_true_zero_is_black_and_not_taken_for_missing(scene):
    difference = scene.difference.copy()
    difference[100, 100] = 0
    figure = plot_difference_image(scene.post, scene.pre, difference=difference, valid=scene.mask)
    image = figure.axes[0].images[0]
    assert image.to_rgba(image.get_array())[100, 100].tolist() == [0, 0, 0, 1]


def test_difference_image_of_a_large_slide_is_reduced():
    post = np.full((2048, 4096), 90, np.uint16)
    post[:, 2048:] = 110
    figure = plot_difference_image(post, np.full_like(post, 50), scale=2.0)
    image = figure.axes[0].images[0]
    assert image.get_array().size <= 1_000_000
    assert set(np.unique(image.get_array())) == {-10, 10}
    assert f"4 {TIMES} 4 px" in figure.axes[0].get_title("left")


def test_registration_labels_each_state_and_measures_it(view):
    figure = DIAGNOSTICS["registration"]().draw(view)
    titles = [axes.get_title("left") for axes in figure.axes[:3]]
    names, numbers = zip(*(title.split("\n") for title in titles), strict=True)
    assert names == ("before alignment", "after coarse alignment", "final alignment")
    before, coarse, final = (float(n.split()[2]) for n in numbers)
    assert final > 0.97
    assert before < 0.3
    assert coarse < 0.8
    images = [axes.images[0].get_array().astype(int) for axes in figure.axes[:3]]
    colourfulness = [np.abs(rgb[..., 0] - rgb[..., 1])[50:-50, 50:-50].mean() for rgb in images]
    assert colourfulness[2] < 0.5 * colourfulness[1]


def test_registration_draws_only_the_states_given(scene):
    figure = plot_registration(scene.post, scene.pre)
    assert [axes.get_title("left").split("\n")[0] for axes in figure.axes] == [
        "final alignment",
        "marked detail, 300 px",
    ]


def test_fine_alignment_shows_final_below_the_state_before(view):
    axes = DIAGNOSTICS["fine_alignment"]().draw(view).axes
    columns = len(axes) // 2
    assert axes[0].get_ylabel() == "before the fine step"
    assert axes[columns].get_ylabel() == "final alignment"
    for before, final in zip(axes[:columns], axes[columns:], strict=True):
        assert float(final.get_xlabel().split()[2]) > 0.95
        assert float(before.get_xlabel().split()[2]) < 0.8


def test_details_lie_inside_the_post_image_and_apart(view):
    axes = DIAGNOSTICS["fine_alignment"]().draw(view).axes
    places = []
    for upper in axes[: len(axes) // 2]:
        words = upper.get_title("left").replace("(", " ").replace(")", " ").replace(",", " ")
        places.append(tuple(float(word) for word in words.split()[3:5]))
    for x, y in places:
        assert 79 <= x <= SHAPE[1] - 80
        assert 79 <= y <= SHAPE[0] - 80
    assert len(set(places)) == len(places)


def test_residual_map_draws_the_certificate(view):
    arrows_axes, lengths_axes = DIAGNOSTICS["residual_map"]().draw(view).axes
    arrows = arrows_axes.collections[0]
    expected = certificate()
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), expected.residuals)
    np.testing.assert_allclose(arrows.get_offsets(), expected.positions)
    measured, noise = (patch.get_data() for patch in lengths_axes.patches)
    assert measured.values.sum() == expected.tiles
    inside = 1 - np.exp(-0.5 * (noise.edges[-1] / 0.02) ** 2)
    assert noise.values.sum() == pytest.approx(inside * expected.tiles)
    middle = (noise.edges[:-1] + noise.edges[1:]) / 2
    assert (noise.values * middle).sum() / expected.tiles == pytest.approx(
        0.02 * np.sqrt(np.pi / 2), rel=0.1
    )
    assert lengths_axes.get_title("left") == "certificate: PASS"
    labels = legend_texts(lengths_axes.figure)
    assert {"median error 0.2 px", "95 % error 0.24 px", "its 95 % bound 0.3 px"} < set(labels)
    assert "measured, noise ±0.02 px in it" in labels


def test_a_residual_beyond_the_axis_is_told(scene):
    found = certificate(60)
    found.residuals[7] = 9.0, 0.0
    figure = plot_residual_map(scene.post, found)
    assert figure.axes[1].get_xlim()[1] < 1
    assert "longer than the axis: 1" in legend_texts(figure)


def test_without_certificate_the_residual_map_says_so(scene):
    figure = DIAGNOSTICS["residual_map"]().draw(make_view(scene, with_certificate=False))
    assert NOT_MATCHED in all_texts(figure)


def test_a_certificate_without_tiles_says_so(scene):
    figure = plot_residual_map(scene.post, certificate(0).to_dict())
    words = all_texts(figure)
    assert NOT_MATCHED in words
    assert "certificate: FAIL" in words
    assert "inf" not in words.replace("information", "")


def test_a_certificate_of_few_tiles_without_figures_is_drawn(scene):
    unknown = float("inf")
    failed = replace(certificate(3), median_px=unknown, p95_px=unknown, bound_px=unknown)
    figure = plot_residual_map(scene.post, failed.to_dict())
    assert figure.axes[1].patches
    assert not any("error" in text for text in legend_texts(figure))
    assert "residual on 3 held-out tiles" in all_texts(figure)


def test_details_avoid_where_there_is_only_noise():
    rng = np.random.default_rng(4)
    rock = np.kron(rng.uniform(20, 90, (16, 16)), np.ones((8, 8)))
    post, pre = (rng.normal(5, 2, (700, 800)).clip(1) for _ in range(2))
    post[120:248, 600:728] += 1.8 * rock
    pre[120:248, 600:728] += rock
    place = textured_places(image_pair(post, pre), 1, 160)[0]
    x, y = place.centre
    assert 540 < x < 790
    assert 60 < y < 310


def test_outlines_of_both_samples_are_drawn_where_they_lie():
    post, pre = (np.full((240, 320), 3.0) for _ in range(2))
    post[60:180, 100:260] = pre[60:180, 90:250] = 80.0
    figure = plot_registration(post, pre)
    lines = figure.axes[0].lines
    ends = [(line.get_xdata().min(), line.get_xdata().max()) for line in lines]
    np.testing.assert_allclose(ends, [(100, 260), (90, 250)], atol=4)
    assert legend_texts(figure) == ["outline of post", "outline of pre"]


def test_an_outline_that_shows_only_after_the_alignment_is_named():
    rng = np.random.default_rng(1)
    full = rng.normal(80, 5, (240, 320))
    part = np.full((240, 320), 3.0)
    part[60:180, 100:260] = 80.0
    figure = plot_registration(full, part, before_im=full)
    assert legend_texts(figure) == ["outline of pre"]


@pytest.mark.parametrize(
    ("pixel_size_um", "text"), [(0.65, "50 \N{MICRO SIGN}m"), (20.0, "2 mm"), (None, None)]
)
def test_a_scale_bar_is_drawn_where_the_pixel_size_is_known(scene, pixel_size_um, text):
    figure = plot_difference_image(scene.post, scene.pre, scale=SCALE, pixel_size_um=pixel_size_um)
    bars = [
        line for line in figure.axes[0].lines if line.get_transform() is figure.axes[0].transAxes
    ]
    if text is None:
        assert not bars
        return
    assert text in all_texts(figure)
    length_px = np.ptp(bars[0].get_xdata()) * SHAPE[1]
    number, unit = text.split()
    assert length_px * pixel_size_um == pytest.approx(float(number) * (1000 if unit == "mm" else 1))


def test_objects_are_ringed_on_the_difference(scene):
    table = Table({"id": [1, 2], "x": [300.0, 50.0], "y": [200.0, 60.0], "flags": [0, 32]})
    figure = plot_difference_image(scene.post, scene.pre, scale=SCALE, objects=table)
    counted, others = figure.axes[0].collections
    np.testing.assert_array_equal(counted.get_offsets(), [(300, 200)])
    np.testing.assert_array_equal(others.get_offsets(), [(50, 60)])
    assert legend_texts(figure) == ["objects: 1", "not counted: 1"]
    assert figure.get_suptitle() == "difference and the objects found in it"
    widths = [rings.get_linewidths()[0] for rings in figure.axes[0].collections]
    assert widths[1] > 2 * widths[0]


def test_no_scale_and_no_difference(scene):
    view = make_view(scene, scales=(), difference=False)
    for name in NAMES:
        if not DIAGNOSTICS[name].needs_difference:
            assert DIAGNOSTICS[name]().draw(view).axes
    assert {n for n in NAMES if DIAGNOSTICS[n].needs_difference} == {
        "difference_histogram",
        "difference_image",
    }


def test_diagnostics_look_at_the_post_window_only(scene):
    image = DIAGNOSTICS["difference_image"]().draw(make_view(scene)).axes[0].images[0]
    assert image.get_array().shape == SHAPE
    left, _, _, top = image.get_extent()
    assert (left, top) == (-0.5, -0.5)
    counts = counts_of(DIAGNOSTICS["pre_post_heatmap"]().draw(make_view(scene)).axes[0])
    assert counts.sum() <= scene.mask.sum()
    assert PAD > 0


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), "high"])
def test_a_scale_that_is_none_is_refused(scene, scale):
    with pytest.raises(ParameterError, match="scale 'scale' must be a finite number > 0"):
        plot_excess_heatmap(scene.post, scene.pre, scale=scale)


def test_another_seed_gives_another_picture(scene):
    first = figure_bytes(plot_excess_heatmap(scene.post, scene.pre, scale=SCALE))
    other = Scene(seed=4)
    assert first != figure_bytes(plot_excess_heatmap(other.post, other.pre, scale=SCALE))


def test_the_state_before_the_fine_step_is_resampled_as_the_final_one():
    scene = Scene()
    view = make_view(scene)
    found = Transform.translation(40.5, 0.0).to_dict()
    coarse = SimpleNamespace(transform=found, facts={"offset": [PAD, PAD]})
    seen = before_fine_step(replace(view, records={**view.records, 2: coarse}))
    inner = slice(PAD + 20, PAD + 280), slice(PAD + 40, PAD + 320)
    exact = WarpedRaster(ArrayRaster(scene.pre), Transform.translation(0.5, 0.0), SHAPE)
    there = exact.read(slice(20, 280), slice(40, 320))
    assert seen.read(*inner) == pytest.approx(there, abs=1e-3)
