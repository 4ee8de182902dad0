import numpy as np
import pytest

from exo2micro.alignment.overview import Overviews, make_overviews
from exo2micro.alignment.tiles import choose_tiles
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster

IMAGE = np.random.default_rng(4).integers(0, 255, (1201, 903)).astype(np.uint8)


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_overviews_equal_the_raster_s_own(factor):
    raster = ArrayRaster(IMAGE)
    overviews = Overviews.of(raster, factor, threads=2)
    np.testing.assert_array_equal(overviews.base, raster.overview(factor))
    whole = np.s_[: 1201 // 8, : 903 // 8]
    np.testing.assert_allclose(overviews.at(8)[whole], raster.overview(8)[whole], rtol=1e-5)
    with pytest.raises(ValueError, match="multiple"):
        Overviews.of(raster, 2, 1).at(3)


def test_both_images_share_the_base_factor(monkeypatch):
    monkeypatch.setattr("exo2micro.alignment.overview.LARGEST_OVERVIEW_PX", 500)
    post, pre = make_overviews(ArrayRaster(IMAGE[:400, :400]), ArrayRaster(IMAGE), 1)
    assert post.base_factor == pre.base_factor == 4
    assert post.at(4).shape == (100, 100)


@pytest.mark.parametrize(("size", "cells"), [(32, 200), (80, 320), (48, 60)])
def test_held_out_tiles_share_no_pixel_with_the_others(size, cells):
    post, pre = make_overviews(ArrayRaster(IMAGE), ArrayRaster(IMAGE), 1)
    choice = choose_tiles(post, pre, Transform.identity(), size=size, cells=cells)
    reach = size // 2 + 8
    assert 0.15 < choice.held_out.mean() < 0.35
    assert (choice.centres >= reach).all()
    assert (choice.centres <= np.array([903, 1201]) - reach).all()
    apart = np.abs(
        choice.centres[choice.held_out][:, None] - choice.centres[~choice.held_out][None]
    ).max(axis=2)
    assert apart.min() >= 2 * reach - 1
