"""Walking over images by windows: bands, ordered threads, block averages."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

import numpy as np

from exo2micro._typing import FloatImage, Image

Item = TypeVar("Item")
Result = TypeVar("Result")


def row_bands(ny: int, height: int) -> Iterator[slice]:
    """Yield row slices of `height` pixels that cover ``0 .. ny``; the last may be shorter."""
    for start in range(0, ny, height):
        yield slice(start, min(start + height, ny))


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Apply a function in threads and yield results in order, holding few at a time.

    At most ``threads + 1`` results exist at once, so memory stays bounded however long the
    sequence is. The order of the results never depends on timing. Context variables are as in the
    thread that asks.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(copy_context().run, function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def single_threaded_libraries() -> Iterator[None]:
    """Let linear algebra and OpenCV use one thread; the work on windows has threads of its own.

    With several, OpenBLAS sums in another order, and the last bits of a result would depend on the
    number of cores. OpenCV would start a thread per core beside those that the run was given.
    """
    import cv2
    from threadpoolctl import threadpool_limits

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(threads)


def block_mean(window: Image, factor: int) -> FloatImage:
    """Return block averages over `factor` x `factor` pixels; edge blocks average what there is.

    Parameters
    ----------
    window : numpy.ndarray
        Shape ``(ny, nx)``.
    factor : int
        Block side in pixels.

    Returns
    -------
    numpy.ndarray of float32
        Shape ``(ceil(ny / factor), ceil(nx / factor))``.
    """
    if factor == 1:
        return window.astype(np.float32)
    ny, nx = window.shape
    if _sums_exactly(window, factor):
        import cv2

        small = (nx // factor, ny // factor)
        exact = cv2.resize(window.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        return np.asarray(exact, np.float32)
    accumulator = np.float32 if window.dtype.itemsize <= 4 else np.float64
    starts_y = np.arange(0, ny, factor)
    starts_x = np.arange(0, nx, factor)
    full_y, full_x = ny - ny % factor, nx - nx % factor
    if (full_y, full_x) == (ny, nx):
        blocks = window.reshape(ny // factor, factor, nx // factor, factor)
        sums = blocks.sum(axis=1, dtype=accumulator).sum(axis=-1)
    else:
        sums = np.add.reduceat(window, starts_y, axis=0, dtype=accumulator)
        sums = np.add.reduceat(sums, starts_x, axis=1)
    count_y = np.minimum(factor, ny - starts_y)
    count_x = np.minimum(factor, nx - starts_x)
    counts = (count_y[:, None] * count_x[None, :]).astype(np.float32)
    means: FloatImage = (sums / counts).astype(np.float32)
    return means


def _sums_exactly(window: Image, factor: int) -> bool:
    """Tell whether float32 holds the sum of any whole block, whatever the order of adding."""
    ny, nx = window.shape
    fits = window.dtype.kind in "ui" and window.dtype.itemsize <= 2 and factor in (2, 4, 8, 16)
    return fits and ny % factor == 0 == nx % factor and window.size > 0
