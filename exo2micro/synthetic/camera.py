"""The camera: light to counts, with noise that belongs to places, not to reading order."""

import numpy as np

from exo2micro._typing import FloatImage, Image
from exo2micro.synthetic.lattice import fold
from exo2micro.synthetic.spec import PairSpec

PRE_STREAM = 1
POST_STREAM = 2

QUANTISATION_VARIANCE = 1.0 / 12.0
"""Variance that rounding to whole counts adds to that of the camera's noise."""


def tile_generator(spec: PairSpec, stream: int, row: int, column: int) -> np.random.Generator:
    """Return the random generator of one tile: counter-based, so no tile depends on another.

    The key of the Philox generator (Salmon et al. 2011, SC'11) names the pair and the stream, its
    counter starts at the tile.
    """
    seed = (spec.seed & 0xFFFFFFFF) ^ (int(fold(spec.seed)) << 32)
    key = np.array([seed, (spec.variant << 8) + stream], np.uint64)
    counter = np.array([0, 0, column, row], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def noise_variance(signal: FloatImage, spec: PairSpec) -> FloatImage:
    """Return the variance of the camera's noise, counts^2, rounding left out.

    Parameters
    ----------
    signal : numpy.ndarray of float32
        Light in counts, pedestal left out.
    spec : PairSpec
        Gain and read noise.
    """
    gain, read_noise = spec.noise
    return np.asarray(gain * np.maximum(signal, 0) + read_noise**2, np.float32)


def expose(signal: FloatImage, pedestal: float, spec: PairSpec, rng: np.random.Generator) -> Image:
    """Return the pixels of a tile: signal plus pedestal plus noise, rounded and clipped."""
    counts = signal + np.float32(pedestal)
    if any(value > 0 for value in spec.noise):
        noise = rng.standard_normal(signal.shape, np.float32)
        counts += np.sqrt(noise_variance(signal, spec)) * noise
    np.rint(counts, out=counts)
    np.clip(counts, 0, spec.full_scale, out=counts)
    return counts.astype(np.uint8 if spec.bits == 8 else np.uint16)
