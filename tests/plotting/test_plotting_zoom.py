import numpy as np
import pytest
from astropy.table import Table
from plot_scene import MICROBE, SCALE, SHAPE

from exo2micro.errors import ParameterError
from exo2micro.plotting.zoom import plot_zoom, plot_zoom_multi

CENTRE = (MICROBE[1], MICROBE[0])


def panels(figure):
    return [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]


def test_three_panels_show_full_resolution_pixels(scene):
    figure = plot_zoom(
        scene.post, scene.pre, scene.difference, centre=CENTRE, size=50, sample="A", dye="B"
    )
    post, pre, difference = panels(figure)
    rows, cols = slice(MICROBE[0] - 24, MICROBE[0] + 26), slice(MICROBE[1] - 24, MICROBE[1] + 26)
    np.testing.assert_array_equal(post.images[0].get_array(), scene.post[rows, cols])
    np.testing.assert_array_equal(pre.images[0].get_array(), scene.pre[rows, cols])
    np.testing.assert_array_equal(
        difference.images[0].get_array(), scene.difference[rows, cols].astype(np.float32)
    )
    assert post.images[0].get_extent() == [
        cols.start - 0.5,
        cols.stop - 0.5,
        rows.stop - 0.5,
        rows.start - 0.5,
    ]
    assert difference.images[0].norm.vmin == -difference.images[0].norm.vmax
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["x (px)"] * 3 + ["counts", "counts", "difference (counts)"]
    figure.canvas.draw()
    heading, panel = figure._suptitle.get_window_extent(), post._left_title.get_window_extent()
    assert heading.y0 > panel.y1
    titles = [axes.get_title("left") for axes in (post, pre, difference)]
    assert titles == ["post-stain", "pre-stain, aligned", "difference"]


def test_difference_follows_from_a_scale_or_is_left_out(scene):
    with_scale = panels(plot_zoom(scene.post, scene.pre, centre=CENTRE, size=20, scale=SCALE))
    assert len(with_scale) == 3
    expected = scene.post - np.float32(SCALE) * scene.pre
    rows, cols = slice(MICROBE[0] - 10, MICROBE[0] + 10), slice(MICROBE[1] - 10, MICROBE[1] + 10)
    shown = with_scale[2].images[0].get_array()
    assert shown.shape == (20, 20)
    assert np.isin(np.round(shown, 3), np.round(expected[195 - 10 : 225, 290 - 10 : 325], 3)).all()
    assert rows.stop - rows.start == cols.stop - cols.start == 20
    assert len(panels(plot_zoom(scene.post, scene.pre, centre=CENTRE, size=20))) == 2


def test_no_data_is_white_in_the_difference(scene):
    image = panels(plot_zoom(scene.post, scene.pre, scene.difference, centre=(10, 100), size=60))[
        2
    ].images[0]
    rgba = image.to_rgba(image.get_array())
    assert (rgba[:, :20] == 1).all()
    assert (rgba[:, 20:, :3].mean()) < 0.3


def test_a_window_at_the_border_is_moved_inside(scene):
    corner = panels(plot_zoom(scene.post, scene.pre, centre=(0, 0), size=64))[0]
    assert corner.images[0].get_array().shape == (64, 64)
    assert corner.images[0].get_extent()[0] == -0.5
    huge = panels(plot_zoom(scene.post, scene.pre, centre=(0, 0), size=5000))[0]
    assert huge.images[0].get_array().shape == SHAPE


def test_several_places_share_one_limit(scene):
    figure = plot_zoom_multi(
        scene.post, scene.pre, scene.difference, centres=[CENTRE, (100, 50), (60, 60)], size=40
    )
    shown = panels(figure)
    assert len(shown) == 9
    assert len({axes.images[0].norm.vmax for axes in shown[2::3]}) == 1


@pytest.mark.parametrize("centre", [(-1, 5), (5, SHAPE[0]), (SHAPE[1], 5), (float("nan"), 1)])
def test_a_centre_outside_is_refused(scene, centre):
    with pytest.raises(ParameterError, match=r"centre must be \(x, y\) inside the image"):
        plot_zoom(scene.post, scene.pre, centre=centre)


def test_a_place_in_um_counts_from_the_corner_of_the_window(scene):
    window = (slice(20, 300), slice(40, 400))
    point = ((CENTRE[0] - 40) * 0.5, (CENTRE[1] - 20) * 0.5)
    in_um = plot_zoom(
        scene.post, scene.pre, centre_um=point, pixel_size_um=0.5, window=window, size=30
    )
    in_px = plot_zoom(scene.post, scene.pre, centre=CENTRE, size=30)
    for first, second in zip(panels(in_um), panels(in_px), strict=True):
        np.testing.assert_array_equal(first.images[0].get_array(), second.images[0].get_array())
        counted = np.array(second.images[0].get_extent()) - (40, 40, 20, 20)
        assert first.images[0].get_extent() == counted.tolist()


def test_an_object_is_found_by_its_number_in_a_table_or_its_file(scene, tmp_path):
    table = Table({"id": [3, 7], "x": [100.0, 300.0], "y": [50.0, 200.0], "flags": [0, 0]})
    table.write(tmp_path / "found.ecsv")
    expected = panels(plot_zoom(scene.post, scene.pre, centre=CENTRE, size=30))[0]
    for objects in (table, tmp_path / "found.ecsv"):
        figure = plot_zoom(scene.post, scene.pre, object_id=7, objects=objects, size=30)
        shown = panels(figure)[0]
        assert shown.images[0].get_extent() == expected.images[0].get_extent()
        assert shown.get_ylabel() == "object 7\ny (px)"
        assert all(axes.patches[0].center == (300.0, 200.0) for axes in panels(figure))
    several = plot_zoom_multi(scene.post, scene.pre, object_ids=[7, 3], objects=table, size=30)
    assert len(panels(several)) == 4
    with pytest.raises(ParameterError, match="no object 9; it holds 2 objects"):
        plot_zoom(scene.post, scene.pre, object_id=9, objects=table)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({}, "give the place in one way"),
        ({"centre": CENTRE, "centre_um": CENTRE}, "give the place in one way"),
        ({"centre_um": CENTRE}, "needs pixel_size_um"),
        ({"object_id": 1}, "needs objects"),
    ],
)
def test_a_place_is_given_in_one_way(scene, place, message):
    with pytest.raises(ParameterError, match=message):
        plot_zoom(scene.post, scene.pre, **place)


def test_senseless_calls_are_refused(scene):
    with pytest.raises(ParameterError, match="size must be"):
        plot_zoom(scene.post, scene.pre, centre=(5, 5), size=0)
    with pytest.raises(ParameterError, match="at least one"):
        plot_zoom_multi(scene.post, scene.pre, centres=[])
