"""The image of a coarse alignment: fast, in the raw pixel type, right to a fraction of a pixel."""

import numpy as np
import pytest

from exo2micro.alignment.preview import PreviewRaster
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import ArrayRaster


def smooth(shape, dtype):
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = 100 + 60 * np.sin(x / 9.0) * np.cos(y / 11.0)
    return ArrayRaster(wave.astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_preview_shows_what_the_exact_warp_shows(dtype):
    source = smooth((400, 500), dtype)
    transform = Transform.similarity(rotation_deg=3, magnification=1.03, shift=(7.3, -4.6))
    preview = PreviewRaster(source, transform, (380, 520))
    exact, valid = WarpedRaster(source, transform, (380, 520)).read_with_validity(
        slice(0, 380), slice(0, 520)
    )
    seen = preview.read(slice(0, 380), slice(0, 520))
    assert seen.dtype == preview.dtype == dtype
    assert not seen[~valid].any()
    assert np.abs(seen[valid] - exact[valid]).max() < 1.6
    window = slice(100, 290), slice(130, 411)
    assert np.array_equal(preview.read(*window), seen[window])


def test_a_preview_without_a_shift_is_the_image_itself():
    source = smooth((300, 300), np.uint8)
    preview = PreviewRaster(source, Transform.identity(), (300, 300))
    assert np.array_equal(preview.read_all(), source.read_all())
