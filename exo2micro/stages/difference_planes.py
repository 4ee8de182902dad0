"""The planes of a difference as they are written: image, error, significance, data quality."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from astropy.io import fits

from exo2micro._typing import FloatImage
from exo2micro.raster.fits_tiles import PlaneSpec, encode_quantised
from exo2micro.raster.header import Card
from exo2micro.raster.stream import TILE, EncodedTile, Plane
from exo2micro.subtraction.difference import DifferenceRaster
from exo2micro.subtraction.noise import DifferenceNoise
from exo2micro.subtraction.noise_estimate import NoiseEstimate
from exo2micro.subtraction.quality import DQ, header_cards

SNR_STEP: Final = 1 / 16
"""Step of the significance: adds 0.02 % to its standard deviation and leaves 7 bits a pixel."""

ERROR_PART: Final = 32
"""The error is rounded to at most this part of the smallest one of its tile: within 1.6 %."""


class DifferenceSource:
    """A difference and its companion planes as one source of planes.

    Parameters
    ----------
    difference : DifferenceRaster
        What is written; ``ERR`` and ``SNR`` come with it where it knows its noise.
    """

    def __init__(self, difference: DifferenceRaster) -> None:
        self.shape = difference.shape
        self.dtype = difference.dtype
        whole = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        self.extent = difference.quality.post_window or whole
        self._difference = difference

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Plane]:
        """Return the window: ``data`` and ``DQ`` as pixels, ``ERR`` and ``SNR`` encoded."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        data, quality = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        errors: list[EncodedTile] = []
        ratios: list[EncodedTile] = []
        for part, planes in self._difference.read_tiles(rows, cols, TILE):
            place = (slice(None), slice(part.start - cols.start, part.stop - cols.start))
            data[place], quality[place] = planes["data"], planes["DQ"]
            if "ERR" in planes:
                errors.append(encode_quantised(planes["ERR"], _error_step(planes["ERR"])))
                ratios.append(encode_quantised(planes["SNR"], SNR_STEP))
        result: dict[str, Plane] = {"data": data, "DQ": quality}
        if errors:
            result |= {"ERR": tuple(errors), "SNR": tuple(ratios)}
        return result


def plane_specs(*, with_noise: bool) -> tuple[PlaneSpec, ...]:
    """Return the extensions of a difference in their order."""
    flags = fits.Header()
    flags["BUNIT"] = ("1", "bits, see DQBIT0 to DQBIT4")
    for keyword, value, text in header_cards():
        flags[keyword] = (value, text)
    quality = PlaneSpec("DQ", np.dtype(np.uint8), int(DQ.BORDER), flags)
    if not with_noise:
        return (quality,)
    error, ratio = fits.Header(), fits.Header()
    error["BUNIT"] = ("count", "unit of the pixels")
    error["UTYPE"] = ("StdDevUncertainty", "standard deviation of background")
    error["ROUNDING"] = (0.5 / ERROR_PART, "largest relative rounding error, about")
    ratio["BUNIT"] = ("1", "difference in units of ERR")
    ratio["SNRSTEP"] = (SNR_STEP, "step of the pixel values")
    measured = np.dtype(np.float32)
    return (
        PlaneSpec("ERR", measured, 0, error),
        PlaneSpec("SNR", measured, 0, ratio),
        quality,
    )


def noise_cards(noise: DifferenceNoise) -> dict[str, Card]:
    """Return the noise model as cards of the primary header."""
    return {
        "GAINPOST": (noise.post.gain, "post: shot-noise variance per count"),
        "RDNPOST": (noise.post.dark_noise, "post: read noise and stray light in the dark"),
        "GAINPRE": (noise.pre.gain, "pre: shot-noise variance per count"),
        "RDNPRE": (noise.pre.dark_noise, "pre: read noise and stray light in the dark"),
        "REGERR": (noise.registration_px, "registration error per axis in px"),
        "SNRFACT": (noise.factor, "factor that fits ERR to clean background"),
    }


def describe_noise(estimate: NoiseEstimate) -> dict[str, Any]:
    """Return an estimate as JSON values."""
    noise = estimate.noise
    cameras = {
        role: {
            "gain": camera.gain,
            "gain_error": camera.gain_error,
            "dark_noise": camera.dark_noise,
            "dark_noise_error": camera.dark_noise_error,
            "dark_level": camera.pedestal,
            "variance_at_zero": camera.floor,
        }
        for role, camera in (("post", noise.post), ("pre", noise.pre))
    }
    return {
        **cameras,
        "registration_px": noise.registration_px,
        "scale_error": noise.scale_error,
        "offset_error": noise.offset_error,
        "factor": noise.factor,
        "goodness": estimate.goodness,
        "pixels": estimate.pixels,
        "messages": list(estimate.messages),
    }


def _error_step(error: FloatImage) -> float:
    """Return a power of two below the smallest error of a tile over `ERROR_PART`."""
    some = error[::4, ::4]
    positive = some[some > 0]
    smallest = float(positive.min()) if positive.size else float(error.max())
    return float(2.0 ** np.floor(np.log2(smallest / ERROR_PART))) if smallest > 0 else 1.0
