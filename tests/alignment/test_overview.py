import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exo2micro.alignment.held_out import HeldOutZones
from exo2micro.alignment.matching import tile_reach
from exo2micro.alignment.overview import Overviews, make_overviews
from exo2micro.alignment.tiles import choose_held_out, choose_tiles
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import tile_size, verify_factor
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
    zones = HeldOutZones.of(IMAGE.shape)
    hidden = zones.hidden(slice(0, IMAGE.shape[0]), slice(0, IMAGE.shape[1]))
    pair = (post, pre, Transform.identity())
    fitted = choose_tiles(*pair, size=size, cells=cells)
    held_out = choose_held_out(*pair, size=min(size, zones.largest_tile_px))
    reach = size // 2 + 8
    assert (fitted >= reach).all()
    assert (fitted <= np.array([903, 1201]) - reach).all()
    assert len(held_out) == len(zones.corners())
    inner = min(size, zones.largest_tile_px) // 2 + 8
    for x, y in held_out.astype(int):
        assert hidden[y - inner : y + inner, x - inner : x + inner].all()
    for x, y in fitted.astype(int):
        assert hidden[y - reach : y + reach, x - reach : x + reach].mean() < 0.5


@given(
    ny=st.integers(64, 3000),
    nx=st.integers(64, 3000),
    factor=st.integers(1, 9),
    top=st.integers(0, 50),
    left=st.integers(0, 50),
)
def test_an_overview_pixel_is_hidden_where_it_holds_a_pixel_of_a_zone(ny, nx, factor, top, left):
    zones = HeldOutZones.of((ny, nx))
    rows, cols = slice(top, top + 12), slice(left, left + 9)
    fine = zones.hidden(
        slice(top * factor, rows.stop * factor), slice(left * factor, cols.stop * factor)
    )
    blocks = fine.reshape(12, factor, 9, factor).any(axis=(1, 3))
    np.testing.assert_array_equal(zones.hidden(rows, cols, factor), blocks)


@given(ny=st.integers(64, 400), nx=st.integers(64, 3000), upright=st.booleans())
@example(ny=70, nx=3000, upright=False)
def test_tiles_of_every_shape_lie_in_the_overview_where_hypotheses_are_verified(ny, nx, upright):
    image = np.resize(IMAGE, (ny, nx))
    raster = ArrayRaster(image.T if upright else image)
    post, pre = make_overviews(raster, raster, 1)
    factor = verify_factor(post, pre)
    ny, nx = post.at(factor).shape
    size = tile_size((ny, nx))
    reach = tile_reach(size)
    for everywhere in (False, True):
        tiles = choose_tiles(
            post,
            pre,
            Transform.identity(),
            size=size,
            cells=110,
            factor=factor,
            everywhere=everywhere,
        )
        assert (tiles >= reach).all()
        assert (tiles <= np.array([nx, ny]) - reach).all()
    zones = HeldOutZones.of(post.raster.shape)
    for x, y in tiles.astype(int):
        window = slice(y - reach, y + reach), slice(x - reach, x + reach)
        assert zones.hidden(*window, factor).shape == post.level(factor).read(*window).shape


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((900, 1200), 2), ((300, 1800), 1), ((100, 1200), 1), ((600, 6000), 3), ((5000, 6000), 9)],
)
def test_long_thin_images_are_verified_on_larger_overviews(shape, factor):
    blank = ArrayRaster(np.broadcast_to(np.uint8(0), shape))
    pair = (Overviews(blank, 1, np.zeros((1, 1), np.float32)),) * 2
    assert verify_factor(*pair) == factor


@given(ny=st.integers(64, 3000), nx=st.integers(64, 3000))
def test_zones_fill_a_quarter_more_or_less_and_lie_inside(ny, nx):
    zones = HeldOutZones.of((ny, nx))
    corners, (rows, cols) = zones.corners(), zones.cells
    assert (corners >= 0).all()
    assert (corners + zones.side <= (ny, nx)).all()
    # Half the cells of every other row; both are rounded up.
    part = len(corners) * zones.side**2 / (ny * nx)
    assert part <= -(-rows // 2) * -(-cols // 2) / (rows * cols)
    if min(ny, nx) >= 400:
        assert part < 0.34
    if ny * nx <= 1_000_000:
        assert zones.hidden(slice(0, ny), slice(0, nx)).mean() == pytest.approx(part)
