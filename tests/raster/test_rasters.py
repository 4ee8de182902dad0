import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.raster import ArrayRaster, OffsetRaster, as_raster
from exo2micro.raster.windows import block_mean, map_ordered, row_bands, single_threaded_libraries


def image(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(-20, 30), st.integers(-20, 30)),
    st.data(),
)
def test_offset_raster_equals_placing_the_array(shape, canvas, offset, data):
    pixels = image(shape) + 1
    expected = np.zeros(canvas, np.float32)
    for y in range(canvas[0]):
        for x in range(canvas[1]):
            row, col = y - offset[0], x - offset[1]
            if 0 <= row < shape[0] and 0 <= col < shape[1]:
                expected[y, x] = pixels[row, col]
    raster = OffsetRaster(ArrayRaster(pixels), canvas, offset)
    rows, cols = (
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in canvas
    )
    assert np.array_equal(raster.read(rows, cols), expected[rows, cols])
    outside = np.ones(canvas, bool)
    outside[raster.extent] = False
    assert not expected[outside].any()


@settings(max_examples=60)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 9))
def test_block_mean_averages_what_there_is(ny, nx, factor):
    pixels = image((ny, nx))
    got = block_mean(pixels, factor)
    for i in range(got.shape[0]):
        for j in range(got.shape[1]):
            block = pixels[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            assert got[i, j] == pytest.approx(block.mean(), rel=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
def test_block_mean_of_whole_numbers_is_exact(dtype, factor):
    highest = np.iinfo(dtype).max
    pixels = np.random.default_rng(factor).integers(highest // 2, highest + 1, (96, 160))
    blocks = pixels.reshape(96 // factor, factor, 160 // factor, factor)
    exact = (blocks.sum(axis=(1, 3)) / factor**2).astype(np.float32)
    assert np.array_equal(block_mean(pixels.astype(dtype), factor), exact)


@pytest.mark.parametrize("factor", [1, 3, 4, 100, 600])
def test_overview_by_bands_equals_overview_at_once(factor):
    pixels = image((1100, 70))
    assert np.array_equal(ArrayRaster(pixels).overview(factor), block_mean(pixels, factor))


def test_array_raster_refuses_colour():
    with pytest.raises(ValueError, match=r"2-D .* shape \(3, 4, 3\)"):
        ArrayRaster(np.zeros((3, 4, 3)))


def test_as_raster_passes_rasters_and_fixes_byte_order():
    raster = ArrayRaster(image((4, 4)))
    assert as_raster(raster) is raster
    assert as_raster(image((4, 4)).astype(">f4")).dtype.isnative


def test_row_bands_cover_all_rows_once():
    rows = [r for band in row_bands(1000, 300) for r in range(band.start, band.stop)]
    assert rows == list(range(1000))


def test_map_ordered_keeps_order_and_few_results():
    alive = set()
    most = []
    lock = threading.Lock()

    def work(item):
        with lock:
            alive.add(item)
            most.append(len(alive))
        return item

    results = []
    for item in map_ordered(work, range(50), threads=3):
        results.append(item)
        with lock:
            alive.discard(item)
    assert results == list(range(50))
    assert max(most) <= 5


def test_map_ordered_raises_the_workers_error():
    def work(item):
        if item == 3:
            msg = "third"
            raise ValueError(msg)
        return item

    with pytest.raises(ValueError, match="third"):
        list(map_ordered(work, range(10), threads=2))


def test_libraries_use_one_thread_inside_and_as_many_as_before_after():
    import cv2
    from threadpoolctl import threadpool_info

    cv2.setNumThreads(2)
    before = cv2.getNumThreads()
    with single_threaded_libraries():
        assert cv2.getNumThreads() == 1
        blas = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
        assert set(blas) <= {1}
    assert cv2.getNumThreads() == before
