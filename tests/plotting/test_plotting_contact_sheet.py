"""The contact sheet of a comparison."""

import numpy as np
import pytest

from exo2micro.plotting.contact_sheet import Tile, plot_contact_sheet
from exo2micro.plotting.difference_image import symmetric_limit


def picture(seed: int, sigma: float) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, sigma, (60, 80)).astype(np.float32)
    values[:10] = np.nan
    return values


@pytest.mark.parametrize("number", [1, 4, 6])
def test_all_tiles_share_one_colour_scale(number, tmp_path):
    pictures = [picture(n, 1.0 + n) for n in range(number)]
    tiles = [Tile(f"pad {n}", f"PASS\nscale {n}", p) for n, p in enumerate(pictures)]
    path = tmp_path / "sheet.png"
    figure = plot_contact_sheet(tiles, kind="comparison", sample="S", dye="D", save_path=path)
    images = [image for axes in figure.axes for image in axes.images]
    limit = symmetric_limit(np.concatenate([p.ravel() for p in pictures]))
    assert [image.get_clim() for image in images[:number]] == [(-limit, limit)] * number
    assert [axes.get_title(loc="left") for axes in figure.axes[:number]] == [t.title for t in tiles]
    assert all(image.get_array().mask[:10].all() for image in images[:number])
    assert path.stat().st_size > 10_000


def test_a_tile_without_difference_says_so():
    tiles = [Tile("pad 1", "PASS", picture(1, 2.0)), Tile("pad 2", "error: too small", None)]
    figure = plot_contact_sheet(tiles, kind="comparison")
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == ["no difference", "error: too small"]
    assert not figure.axes[1].images


def test_a_sheet_without_any_difference():
    figure = plot_contact_sheet([Tile("pad 1", "failed", None)], kind="comparison")
    assert len(figure.axes) == 1
