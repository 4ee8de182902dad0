"""Confirmation: certify an alignment that was found elsewhere, on all tiles of this pair."""

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Points
from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.certify import WRONG_PX, certify
from exo2micro.alignment.held_out import CELLS, HeldOutZones
from exo2micro.alignment.interior import InteriorSettings, tile_size
from exo2micro.alignment.matching import COARSE_SIGMA_PX, FINE_SIGMA_PX
from exo2micro.alignment.overview import make_overviews
from exo2micro.alignment.refine import FINAL_SEARCH_PX
from exo2micro.alignment.subpixel import MAD_TO_SIGMA, MatchPlan
from exo2micro.alignment.tiles import choose_tiles
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.verdict import Level

# A tile whose band-passed texture has this many times the variance of its noise in both images
# would correlate by 0.8 if it were in place.
CLEAR_TEXTURE = 4.0
# An alignment is contradicted by this many tiles, and this part of them all, that have clear
# texture without supporting it, or by so many that match elsewhere.
CONTRADICTING_TILES = 10
CONTRADICTING_PART = 0.25

_LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def confirm_alignment(
    post: Raster,
    pre: Raster,
    transform: Transform,
    settings: InteriorSettings,
    *,
    threads: int = 1,
) -> tuple[Certificate, bool]:
    """Certify an alignment that no tile of this pair was used for.

    Parameters
    ----------
    post, pre : Raster
        The raw images.
    transform : Transform
        Post to pre, raw pixels.
    settings : InteriorSettings
        Its `interior_blur_base` sets the size of the tiles.
    threads : int
        Threads to use; the result does not depend on it.

    Returns
    -------
    certificate : Certificate
        What the tiles say, with a verdict as for an alignment of the pair's own.
    says_nothing : bool
        Whether there is too little texture for either support or contradiction, so that the
        verdict FAIL means only that nothing was measured.
    """
    overviews = make_overviews(post, pre, threads)
    size = tile_size(*overviews, settings)
    centres = choose_tiles(*overviews, transform, size=size, cells=CELLS, everywhere=True)
    certificate = certify(
        *overviews,
        transform,
        centres,
        MatchPlan(size, search=FINAL_SEARCH_PX, steps=4),
        spacing_px=HeldOutZones.of(post.shape).cell_px,
        threads=threads,
    )
    if certificate.verdict.level is not Level.FAIL:
        return certificate, False
    agreeing = int((np.hypot(*certificate.residuals.T) < WRONG_PX).sum())
    limit = max(CONTRADICTING_TILES, CONTRADICTING_PART * len(centres))
    clear = sum(
        _is_clear(post, centre, size) and _is_clear(pre, transform(centre[None])[0], size)
        for centre in centres
    )
    return certificate, max(clear, certificate.tiles - agreeing) < limit


def _is_clear(image: Raster, centre: Points, size: int) -> bool:
    """Tell whether the texture of a tile stands out from its noise."""
    starts = np.rint(centre[::-1] - size / 2).astype(int)
    rows, cols = (
        slice(max(0, start), min(start + size, length))
        for start, length in zip(starts, image.shape, strict=True)
    )
    if rows.stop - rows.start < size // 2 or cols.stop - cols.start < size // 2:
        return False
    window = image.read(rows, cols).astype(np.float32)
    noise = float(np.abs(cv2.filter2D(window, cv2.CV_32F, _LAPLACE)).mean() * np.sqrt(np.pi / 72))
    texture = MAD_TO_SIGMA * float(np.median(np.abs(_texture_band(window))))
    return texture**2 > CLEAR_TEXTURE * noise**2 * _NOISE_IN_BAND


def _texture_band(window: FloatImage) -> FloatImage:
    """Return the band of the texture that matching compares."""
    fine = cv2.GaussianBlur(window, (0, 0), FINE_SIGMA_PX)
    return np.asarray(fine - cv2.GaussianBlur(window, (0, 0), COARSE_SIGMA_PX), np.float32)


def _energy_of_band() -> float:
    """Return the variance of unit white noise after `_texture_band`."""
    impulse = np.zeros((81, 81), np.float32)
    impulse[40, 40] = 1.0
    return float((_texture_band(impulse) ** 2).sum())


_NOISE_IN_BAND = _energy_of_band()
