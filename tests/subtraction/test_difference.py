import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.errors import ScaleError
from exo2micro.raster.base import ArrayRaster
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.quality import DQ, NO_DATA, describe, header_cards

RNG = np.random.default_rng(3)
POST = RNG.integers(0, 200, (90, 110)).astype(np.uint8)
PRE = RNG.uniform(0, 150, (90, 110)).astype(np.float32)
VALID = np.zeros((90, 110), bool)
VALID[20:80, 25:100] = True
WINDOW = (slice(10, 85), slice(15, 105))


def make(post=POST, pre=PRE, *, scale=1.3, offset=0.7, **quality):
    sources = QualitySources(valid=ArrayRaster(VALID), post_window=WINDOW, **quality)
    return DifferenceRaster(
        ArrayRaster(post), ArrayRaster(pre), scale=scale, offset=offset, quality=sources
    )


def test_values_and_no_data():
    raster = make()
    data, flags = raster.read_with_quality(slice(0, 90), slice(0, 110))
    expected = POST.astype(np.float32) - np.float32(1.3) * PRE - np.float32(0.7)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data[VALID], expected[VALID])
    assert np.all(data[~VALID] == 0.0)
    border = np.ones(VALID.shape, bool)
    border[WINDOW] = False
    assert np.all(flags[border] == DQ.BORDER)
    assert np.all(flags[~border & ~VALID] == DQ.NO_OVERLAP)
    assert np.all(flags[VALID] & NO_DATA == 0)


@given(
    st.tuples(st.integers(0, 60), st.integers(0, 80)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_any_window_equals_the_same_part_of_the_whole(start, size):
    post = POST.copy()
    post[40, 50] = 255
    post[79, 99] = 255
    raster = make(post)
    whole = raster.read_with_quality(slice(0, 90), slice(0, 110))
    rows, cols = slice(start[0], start[0] + size[0]), slice(start[1], start[1] + size[1])
    for part, plane in zip(raster.read_with_quality(rows, cols), whole, strict=True):
        np.testing.assert_array_equal(part, plane[rows, cols])
    np.testing.assert_array_equal(raster.quality_raster().read(rows, cols), whole[1][rows, cols])


@given(
    st.integers(-2, 2).map(lambda power: 2.0**power),
    st.floats(0.25, 8.0, width=32),
    st.floats(-100, 100, width=32),
    st.integers(0, 2**32 - 1),
)
def test_light_added_to_post_appears_in_the_difference_as_it_is(factor, scale, offset, seed):
    post, pre = POST.astype(np.float32), np.rint(PRE)
    light = np.random.default_rng(seed).integers(0, 500, post.shape).astype(np.float32)
    plain, brighter, scaled = (
        make(one, other, scale=scale, offset=number).read_all()
        for one, other, number in (
            (post, pre, offset),
            (post + light, pre, offset),
            (factor * post, factor * pre, factor * offset),
        )
    )
    np.testing.assert_allclose(brighter - plain, light * VALID, atol=1e-3)
    np.testing.assert_array_equal(scaled, np.float32(factor) * plain)


def test_saturation_is_flagged_with_its_neighbours_but_keeps_its_value():
    post = POST.copy()
    post[40, 50] = 255
    data, flags = make(post).read_with_quality(slice(0, 90), slice(0, 110))
    hit = (flags & DQ.SATURATED) > 0
    expected = np.zeros_like(hit)
    expected[38:43, 48:53] = True
    np.testing.assert_array_equal(hit, expected)
    assert data[40, 50] == np.float32(255) - np.float32(1.3) * PRE[40, 50] - np.float32(0.7)


def test_saturated_float_pre_needs_a_level():
    pre = PRE.copy()
    pre[50, 60] = 255.0
    assert not (make(pre=pre).quality_raster().read_all() & DQ.SATURATED).any()
    flags = make(pre=pre, saturation_pre=255.0).quality_raster().read_all()
    assert ((flags & DQ.SATURATED) > 0).sum() == 25


def test_nan_becomes_no_overlap_and_zero():
    pre = PRE.copy()
    pre[50, 60] = np.nan
    data, flags = make(pre=pre).read_with_quality(slice(0, 90), slice(0, 110))
    assert np.isfinite(data).all()
    assert data[50, 60] == 0.0
    assert flags[50, 60] == DQ.NO_OVERLAP


def test_debris_and_confidence_masks_set_their_bits_inside_the_overlap_only():
    everywhere = ArrayRaster(np.ones(VALID.shape, bool))
    flags = make(debris=everywhere, low_confidence=everywhere).quality_raster().read_all()
    assert np.all(flags[VALID] == DQ.DEBRIS | DQ.LOW_CONFIDENCE)
    assert np.all(flags[~VALID] & ~np.uint8(NO_DATA) == 0)


def test_a_true_zero_is_told_from_missing_data_by_its_flag():
    post = np.full((8, 8), 3, np.uint8)
    pre = np.full((8, 8), 2.0, np.float32)
    raster = DifferenceRaster(ArrayRaster(post), ArrayRaster(pre), scale=1.5)
    data, flags = raster.read_with_quality(slice(0, 8), slice(0, 8))
    assert not data.any()
    assert not flags.any()


@pytest.mark.parametrize("change", [{"scale": 0.0}, {"scale": np.nan}, {"offset": np.inf}])
def test_values_out_of_range_are_refused(change):
    with pytest.raises(ScaleError, match="must be a finite number"):
        make(**change)


def test_every_bit_has_words_and_a_card():
    cards = list(header_cards())
    assert [value for _, value, _ in cards] == [bit.value for bit in DQ]
    assert [key for key, _, _ in cards] == ["DQBIT0", "DQBIT1", "DQBIT2", "DQBIT3", "DQBIT4"]
    assert all(len(text) < 48 for _, _, text in cards)
    assert describe(0) == "good"
    assert describe(DQ.SATURATED | DQ.DEBRIS) == f"{cards[2][2]}; {cards[3][2]}"
