"""A handful of figures as pictures, compared with small ones that people have looked at.

After a change that is meant, look at the new figures and store them with

    python tests/plotting/test_plotting_images.py

What is compared is the inside of every panel without letters, brought to one width: it does not
depend on the version of FreeType or on a margin that moves, while a colour, a line, a ring or a
picture that is missing or lies elsewhere stands out. Words are tested as words.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from astropy.table import Table
from PIL import Image
from plot_scene import MICROBE, Scene, certificate, estimate

from exo2micro.plotting.difference_image import plot_difference_image
from exo2micro.plotting.excess_heatmap import plot_excess_heatmap
from exo2micro.plotting.figure import figure_pixels
from exo2micro.plotting.registration import plot_registration
from exo2micro.plotting.residual_map import plot_residual_map
from exo2micro.plotting.scale_map import TileRatios, plot_scale_map

BASELINES = Path(__file__).parent / "baselines"
WIDTH_PX = 160
EDGE_PX = 4
"""Frame and ticks of a panel."""

FAR = 32
"""Grey levels by which a pixel may differ without being counted."""

MOST_FAR = 0.005
"""Part of the pixels that may differ by more."""

NAMES = {"sample": "CD070", "dye": "SybrGld_microbe"}


def registration(scene):
    before = np.roll(scene.pre, 40, axis=1)
    images = {"before_im": before, "coarse_im": scene.shifted}
    return plot_registration(scene.post, scene.pre, **images, pixel_size_um=0.65, **NAMES)


def difference_image(scene):
    table = Table(
        {"id": [1, 2], "x": [MICROBE[1], 90.0], "y": [MICROBE[0], 60.0], "flags": [0, 32]}
    )
    options = {"difference": scene.difference, "objects": table, "pixel_size_um": 0.65}
    return plot_difference_image(scene.post, scene.pre, **options, **NAMES)


def residual_map(scene):
    return plot_residual_map(scene.post, certificate(), pixel_size_um=0.65, **NAMES)


def excess_heatmap(scene):
    scales = [estimate(), ("manual", 1.9)]
    return plot_excess_heatmap(scene.post, scene.pre, scales=scales, **NAMES)


def scale_map(scene, slope=1 / 4000):
    x, y = (v.ravel() for v in np.meshgrid(np.arange(40.0, 400, 60), np.arange(30.0, 300, 60)))
    return plot_scale_map(TileRatios(x, y, 1 + slope * (x - 200), np.full(len(x), 0.003)), **NAMES)


FIGURES = (registration, difference_image, residual_map, excess_heatmap, scale_map)


def panels(figure):
    """Return the insides of all panels below each other."""
    for axes in figure.axes:
        for words in (*axes.texts, axes.get_legend()):
            if words is not None:
                words.set_visible(False)
    pixels = figure_pixels(figure)
    parts = []
    for axes in figure.axes:
        box = axes.get_window_extent()
        top, bottom = (len(pixels) - round(y) for y in (box.y1, box.y0))
        inside = pixels[
            top + EDGE_PX : bottom - EDGE_PX, round(box.x0) + EDGE_PX : round(box.x1) - EDGE_PX
        ]
        height = max(1, round(WIDTH_PX * axes.bbox.height / axes.bbox.width / 8)) * 8
        size = (WIDTH_PX, height) if axes.get_label() != "<colorbar>" else (WIDTH_PX, 64)
        small = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
        parts.append(cv2.blur(small, (3, 3)))
    return np.concatenate(parts)


def part_that_differs(figure, name):
    found = panels(figure).astype(int)
    with Image.open(BASELINES / f"{name}.png") as stored:
        expected = np.asarray(stored.convert("RGB")).astype(int)
    if abs(len(found) - len(expected)) > 8 * len(figure.axes):
        return 1.0
    height = min(len(found), len(expected))
    # A line that moves by one pixel is not told from one that stays.
    steps = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    near = [np.roll(expected, step, (0, 1))[:height] for step in steps]
    apart = np.min([np.abs(found[:height] - other).max(axis=2) for other in near], axis=0)
    return float(np.mean(apart > FAR))


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_figures_look_as_they_did(draw, scene):
    assert part_that_differs(draw(scene), draw.__name__) < MOST_FAR


def test_the_comparison_sees_a_missing_line_a_wrong_panel_and_a_turned_slope(scene):
    one_line = plot_excess_heatmap(scene.post, scene.pre, scales=[estimate()], **NAMES)
    assert part_that_differs(one_line, "excess_heatmap") > MOST_FAR
    not_aligned = Scene()
    not_aligned.pre = not_aligned.shifted
    assert part_that_differs(registration(not_aligned), "registration") > MOST_FAR
    assert part_that_differs(scale_map(scene, slope=-1 / 4000), "scale_map") > MOST_FAR


def store() -> None:
    BASELINES.mkdir(exist_ok=True)
    scene = Scene()
    for draw in FIGURES:
        path = BASELINES / f"{draw.__name__}.png"
        Image.fromarray(panels(draw(scene))).save(path, optimize=True)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    store()
