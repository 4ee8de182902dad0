"""Pictures that blink: what each state shows, and what is in the file."""

import numpy as np
import pytest
from PIL import Image
from plot_scene import MICROBE

from exo2micro.errors import ParameterError
from exo2micro.plotting.animation import plot_flicker

CENTRE = (MICROBE[1], MICROBE[0])


def states(path):
    found = []
    with Image.open(path) as picture:
        for index in range(picture.n_frames):
            picture.seek(index)
            found.append(np.asarray(picture.convert("L")).astype(int))
        return picture.info, found


@pytest.mark.parametrize("extension", ["gif", "png"])
def test_the_file_shows_post_then_pre(scene, tmp_path, extension):
    path = tmp_path / f"blink.{extension}"
    figure = plot_flicker(
        scene.post, scene.pre, centre=CENTRE, size=60, seconds=0.4, sample="A", save_path=path
    )
    info, (post, pre) = states(path)
    assert info["duration"] == 400
    assert info["loop"] == 0
    first, second = figure.frame_pixels()
    np.testing.assert_array_equal(post, first)
    np.testing.assert_array_equal(pre, second)
    height, width = post.shape
    middle = tuple(slice(int(0.47 * n), int(0.53 * n)) for n in (height, width))
    assert (post[middle] - pre[middle]).max() > 40


def test_the_background_looks_the_same_in_both(scene):
    (_, post), (_, pre) = plot_flicker(scene.post, scene.pre).frames
    both = scene.mask & (np.arange(scene.post.shape[1]) < 280)
    assert np.median(np.abs(post[both] - pre[both])) < 0.05


def test_the_same_call_gives_the_same_bytes(scene, tmp_path):
    for name in ("a.gif", "b.gif", "a.png", "b.png"):
        plot_flicker(scene.post, scene.pre, centre=CENTRE, size=40, save_path=tmp_path / name)
    for extension in ("gif", "png"):
        first, second = ((tmp_path / f"{n}.{extension}").read_bytes() for n in "ab")
        assert first == second


def test_a_notebook_gets_the_animation(scene, tmp_path):
    figure = plot_flicker(scene.post, scene.pre, centre=CENTRE, size=40)
    (tmp_path / "shown.png").write_bytes(figure._repr_png_())
    assert len(states(tmp_path / "shown.png")[1]) == 2


def test_senseless_calls_are_refused(scene, tmp_path):
    with pytest.raises(ParameterError, match=r"saved as one of \.gif, \.png"):
        plot_flicker(scene.post, scene.pre, save_path=tmp_path / "x.pdf")
    with pytest.raises(ParameterError, match="size must be"):
        plot_flicker(scene.post, scene.pre, centre=CENTRE, size=0)
