"""Overviews from the pyramid that a TIFF file stores, where it holds true block averages."""

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.raster.tiff_segments import PageReader
from exo2micro.raster.windows import block_mean, row_bands

_PROBE_PX = 512
_MAX_BIAS = 0.05
"""Counts. Rounding to the nearest integer gives about 0; rounding half up 0.1 and more, cutting
off 0.4."""

_MAX_DEVIATION = 1.01
"""Counts. Averages that were rounded once or, level upon level, twice."""


class Pyramid:
    """The reduced-resolution levels of one page.

    A level is used only if it is found to be what `exo2micro.raster.Raster.overview` promises:
    averages of whole blocks, edge blocks included, without bias. That is probed in windows, once
    per level and channel, because programs also store every n-th pixel or smoothed copies.

    Parameters
    ----------
    full : PageReader
        The full-resolution page.
    levels : sequence of PageReader
        Candidates.
    """

    def __init__(self, full: PageReader, levels: list[PageReader]) -> None:
        self._full = full
        by_factor = {_block_side(full.shape, level.shape): level for level in levels}
        self._levels = {
            factor: level
            for factor, level in sorted(by_factor.items(), reverse=True)
            if factor > 1 and level.dtype == full.dtype and level.n_samples == full.n_samples
        }
        self._is_exact: dict[tuple[int, int], bool] = {}

    def overview(self, factor: int, sample: int) -> FloatImage | None:
        """Return the block average of one sample, or None where no level serves."""
        for side, level in self._levels.items():
            is_whole = side == factor or (
                factor % side == 0 and all(n % side == 0 for n in self._full.shape)
            )
            if is_whole and self._level_is_exact(side, sample):
                return _reduced(level, factor // side, sample)
        return None

    def _level_is_exact(self, side: int, sample: int) -> bool:
        """Tell whether a level holds block averages, as far as windows of it show."""
        key = (side, sample)
        if key not in self._is_exact:
            self._is_exact[key] = self._probe(side, sample)
        return self._is_exact[key]

    def _probe(self, side: int, sample: int) -> bool:
        """Compare a level with averages of the full-resolution page in windows of both."""
        level = self._levels[side]
        ny, nx = level.shape
        reach = max(1, _PROBE_PX // side)
        deviations = []
        for fy, fx in ((0.0, 0.0), (0.3, 0.3), (0.5, 0.5), (0.7, 0.4), (0.4, 0.7), (1.0, 1.0)):
            y, x = int(fy * max(0, ny - reach)), int(fx * max(0, nx - reach))
            rows, cols = slice(y, min(ny, y + reach)), slice(x, min(nx, x + reach))
            stored = level.read(rows, cols, (sample,))[0].astype(np.float64)
            pixels = self._full.read(
                slice(rows.start * side, min(rows.stop * side, self._full.shape[0])),
                slice(cols.start * side, min(cols.stop * side, self._full.shape[1])),
                (sample,),
            )[0]
            deviations.append((stored - block_mean(pixels, side)).ravel())
        deviation: NDArray[np.float64] = np.concatenate(deviations)
        if not np.isfinite(deviation).all():
            return False
        scale = 1.0 if level.dtype.kind == "u" else float(np.finfo(np.float32).eps) * 1e3
        return bool(
            np.abs(deviation).max() <= _MAX_DEVIATION * scale
            and abs(deviation.mean()) <= _MAX_BIAS * scale
        )


def _block_side(full: tuple[int, int], level: tuple[int, int]) -> int:
    """Return the block side that makes the level's shape, or 0 if none does."""
    side = round(full[1] / level[1])
    if side < 1 or any(-(-f // side) != n for f, n in zip(full, level, strict=True)):
        return 0
    return side


def _reduced(level: PageReader, factor: int, sample: int) -> FloatImage:
    """Return a level reduced further by block averages."""
    ny, nx = level.shape
    parts = [
        block_mean(level.read(rows, slice(0, nx), (sample,))[0], factor)
        for rows in row_bands(ny, factor * max(1, 512 // factor))
    ]
    return np.concatenate(parts)
