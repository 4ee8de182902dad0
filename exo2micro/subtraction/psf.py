"""How sharp post and pre are compared with each other, and matching the sharper to the blurrier.

A focus mismatch leaves a ring around every grain, because one image carries light away from an
edge that the other keeps there. On patches of texture the cross-spectrum of post and pre over the
power of pre is the transfer function between them; for Gaussian point-spread functions its
logarithm falls as ``-2 pi**2 (sigma_post**2 - sigma_pre**2) k**2``. The cross-spectrum holds no
noise on average, nor microbes, which have no counterpart in pre.

References
----------
Alard and Lupton 1998, Astrophys. J. 503, 325 (matching point-spread functions before
subtraction); Bendat and Piersol 2010, Random Data, section 6.1 (transfer function and coherence).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.subtraction.patches import HALO_PX, PATCH_PX, PatchStack
from exo2micro.subtraction.statistics import Vector, bootstrap_counts

LOWEST: Final = 2.5 / PATCH_PX
"""Lowest frequency used, cycles per px: below, the taper mixes in the patch's mean."""

HIGHEST: Final = 0.36
"""Highest frequency used: above, the interpolation of pre damps as well."""

NOISE_BAND: Final = (0.38, 0.46)
"""Frequencies that hold the noise but hardly any light: optics end below."""

NOISE_RISE: Final = 1.21
NOISE_RISE_ERROR: Final = 0.21
"""Power of pre's noise at the frequencies used over that in `NOISE_BAND`: 1 where pre is not
resampled, 1.42 after cubic interpolation at all phases alike, as a rotation by 3 degrees gives."""

MIN_SIGNAL: Final = 5.0
"""Power of pre over its noise in a ring that is used."""

RINGS: Final = 20
SECTORS: Final = 4

MEAN_OVER_SECTOR: Final = 2.0 / np.pi
"""Part of the difference between two perpendicular directions that sectors of 90 degrees show."""

ELONGATED_SIGMA: Final = 3.3
"""Standard errors from which the difference depends on direction: the largest of 129 round pairs
was 2.4."""

MIN_COHERENCE: Final = 0.02
"""Coherence of post and pre below which a ring of frequencies holds more noise than texture."""

MIN_RINGS: Final = 4
MIN_PATCHES: Final = 6

SIGNIFICANT_SIGMA: Final = 3.3
"""Standard errors from which the sharpness of the images differs: the largest of 359 equally sharp
pairs was 3.0."""

NOTICED_PX2: Final = 0.3
"""Least difference of squared widths that is matched; below, rings drown in the noise."""

INFLATION: Final = 1.3
"""Factor on the bootstrap error, which keeps the choice of rings; from pairs with known widths."""

FLOOR_PX2: Final = 0.06
"""Error that no bootstrap sees, px squared: the interpolation of pre blurs by about that much."""

MIN_TEXTURE: Final = 4.0
"""Power of a patch's texture over that of its noise from which it tells anything."""


@dataclass(frozen=True)
class SharpnessGap:
    """Difference in sharpness between post and pre.

    Attributes
    ----------
    difference : float
        ``sigma_post**2 - sigma_pre**2`` of the Gaussian point-spread functions, px squared; > 0
        where post is the blurrier one.
    error : float
        Its standard error: from a bootstrap over patches, and from the noise of pre, whose
        spectrum after resampling is known to a fifth.
    n_patches : int
        Patches that contributed; 0 where nothing could be measured.
    elongation : tuple of float
        What that difference is more along x than along y, and along the diagonal on which x and y
        grow together than across it, px squared; 0 for round point-spread functions.
    elongation_error : float
        The larger of their standard errors.
    """

    difference: float = 0.0
    error: float = np.inf
    n_patches: int = 0
    elongation: tuple[float, float] = (0.0, 0.0)
    elongation_error: float = np.inf

    @property
    def sigma_px(self) -> float:
        """Width of the kernel that would make the sharper image as blurred as the other, px."""
        return float(np.sqrt(abs(self.difference)))

    def after_matching(self) -> "SharpnessGap":
        """Return what may be left once a round kernel made up for the difference.

        It is not measured again: a convolved image shows no noise at high frequencies by which
        to tell its noise at the others.
        """
        return replace(self, difference=self.error)

    @property
    def elongation_message(self) -> str:
        """How the sharpness differs by direction, in words; empty where it does not."""
        size = float(np.hypot(*self.elongation))
        if not size > max(NOTICED_PX2, ELONGATED_SIGMA * self.elongation_error):
            return ""
        angle = np.degrees(np.arctan2(self.elongation[1], self.elongation[0])) / 2.0 % 180.0
        return (
            f"compared with pre, post is blurred along {angle:.0f} deg (from x towards y) more "
            f"than across, by a Gaussian of {np.sqrt(size):.1f} px (astigmatism or motion); no "
            "round kernel matches that, and rings are left at two sides of each grain"
        )


def measure_sharpness(stack: PatchStack) -> SharpnessGap:
    """Compare the sharpness of post and pre on the patches that are usable throughout."""
    post, pre = _whole_patches(stack)
    if len(post) < MIN_PATCHES:
        return SharpnessGap()
    spectra = [np.fft.rfft2(_tapered(image)) for image in (post, pre)]
    cross = spectra[0] * np.conj(spectra[1])
    cross = cross * _without_shift(cross)
    powers = [np.abs(spectrum) ** 2 for spectrum in spectra]
    ring, k = _rings()
    noise = [np.median(power[:, ring == RINGS], axis=1) / np.log(2.0) for power in powers]
    noise[1] *= NOISE_RISE
    sums = [_sector_sums(values, ring) for values in (cross.real, *powers)]
    count = _sector_sums(np.ones((1, *ring.shape)), ring)[0]
    signal = [s - n[:, None, None] * count for s, n in zip(sums[1:], noise, strict=True)]
    total = signal[1].sum(axis=(1, 2))
    use = total > MIN_TEXTURE * noise[1] * count.sum() / RINGS
    if use.sum() < MIN_PATCHES:
        return SharpnessGap()
    weight = (1.0 / total[use])[:, None, None]
    floor = noise[1][:, None, None] * count
    parts = [weight * values[use] for values in (sums[0], signal[0], signal[1], floor)]
    number = len(weight)
    drawn = np.vstack([np.ones((1, number)), bootstrap_counts(number)])
    flat = [part.sum(axis=2) for part in parts]
    difference = _slope(drawn, flat, count.sum(axis=1), k)
    if not np.isfinite(difference[0]):
        return SharpnessGap()
    by_noise = [
        _slope(drawn[:1], flat, count.sum(axis=1), k, more_noise=sign * NOISE_RISE_ERROR)[0]
        for sign in (-1.0, 1.0)
    ]
    systematic = np.hypot(FLOOR_PX2, (by_noise[1] - by_noise[0]) / 2.0)
    error = np.hypot(_spread(difference[1:]), systematic)
    gap = SharpnessGap(float(difference[0]), float(error), number)
    return _with_elongation(gap, drawn, parts, count, k)


def _with_elongation(
    gap: SharpnessGap, drawn: Vector, parts: list[Vector], count: Vector, k: Vector
) -> SharpnessGap:
    """Add how the difference depends on direction, from sectors of 90 degrees."""
    found = []
    for along, across in (((0, 1), (2, 3)), ((1, 3), (0, 2))):
        slopes = [
            _slope(drawn, [p[:, :, side].sum(axis=2) for p in parts], count[:, side].sum(axis=1), k)
            for side in (along, across)
        ]
        found.append((slopes[0] - slopes[1]) / MEAN_OVER_SECTOR)
    if not np.isfinite([values[0] for values in found]).all():
        return gap
    error = max(float(np.hypot(_spread(values[1:]), FLOOR_PX2)) for values in found)
    size = (float(found[0][0]), float(found[1][0]))
    return replace(gap, elongation=size, elongation_error=error)


def _spread(drawn: Vector) -> float:
    """Return the standard error that redrawn values show."""
    low, high = np.nanquantile(drawn, [0.16, 0.84])
    return INFLATION * float(high - low) / 2.0


def is_significant(gap: SharpnessGap) -> bool:
    """Tell whether post and pre differ in sharpness so that it matters."""
    size = abs(gap.difference)
    return bool(size > max(NOTICED_PX2, SIGNIFICANT_SIGMA * gap.error))


def _slope(
    drawn: Vector, parts: list[Vector], count: Vector, k: Vector, more_noise: float = 0.0
) -> Vector:
    """Return the difference in squared widths for each row of how often patches are drawn.

    `more_noise` is taken off the power of pre, in units of the noise before it was raised.
    """
    cross, pre = drawn @ parts[0], drawn @ parts[2]
    first = [part.sum(axis=0) for part in parts]
    coherence = np.clip(first[0], 0, None) ** 2 / np.maximum(first[1] * first[2], 1e-30)
    coherence = np.clip(coherence, 0.0, 0.999)
    good = (coherence > MIN_COHERENCE) & (first[2] > MIN_SIGNAL * first[3]) & (first[0] > 0)
    good &= np.cumprod(good).astype(np.bool_)
    if good.sum() < MIN_RINGS:
        return np.full(len(drawn), np.nan)
    pre = pre - more_noise / NOISE_RISE * (drawn @ parts[3])
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.log(cross[:, good] / pre[:, good])
    weights = (count * coherence / (1.0 - coherence))[good]
    x = -2.0 * np.pi**2 * k[good] ** 2
    x = x - np.sum(weights * x) / weights.sum()
    return np.asarray(values @ (weights * x) / np.sum(weights * x * x), dtype=np.float64)


def _whole_patches(stack: PatchStack) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cores of the patches without a missing pixel, ``(n, PATCH_PX, PATCH_PX)``."""
    side, core = stack.side, slice(HALO_PX, HALO_PX + PATCH_PX)
    whole = stack.usable.reshape(-1, side, side)[:, core, core].all(axis=(1, 2))
    images = (stack.post, stack.pre)
    post, pre = (i.reshape(-1, side, side)[whole][:, core, core].astype(np.float64) for i in images)
    return post, pre


def _tapered(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return patches without their mean, faded out to their edges (Hann window)."""
    taper = np.hanning(PATCH_PX + 2)[1:-1]
    window = taper[:, None] * taper[None, :]
    mean = np.sum(images * window, axis=(1, 2)) / window.sum()
    return np.asarray((images - mean[:, None, None]) * window, dtype=np.float64)


def _frequencies() -> tuple[Vector, Vector]:
    """Return the frequencies along y and x of a half spectrum, cycles per px."""
    ky, kx = np.meshgrid(np.fft.fftfreq(PATCH_PX), np.fft.rfftfreq(PATCH_PX), indexing="ij")
    return ky, kx


def _rings() -> tuple[NDArray[np.intp], Vector]:
    """Return the ring of each frequency (`RINGS`: only noise; above: unused), and their means."""
    ky, kx = _frequencies()
    radius = np.hypot(ky, kx)
    position = (radius - LOWEST) / (HIGHEST - LOWEST) * RINGS
    ring = np.where((position >= 0) & (position < RINGS), position, RINGS + 1).astype(np.intp)
    ring[(radius > NOISE_BAND[0]) & (radius < NOISE_BAND[1])] = RINGS
    inside = ring < RINGS
    number = np.bincount(ring[inside], minlength=RINGS)
    mean = np.bincount(ring[inside], weights=radius[inside] ** 2, minlength=RINGS) / number
    return ring, np.sqrt(mean)


def _sector_sums(values: NDArray[np.float64], ring: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sums over each ring and sector, ``(n, RINGS, SECTORS)``.

    Sectors 0 and 1 lie about the x axis, 2 and 3 about the y axis; in 1 and 3 x and y grow
    together.
    """
    ky, kx = _frequencies()
    sector = 2 * (np.abs(ky) > np.abs(kx)) + (kx * ky > 0)
    inside = ring < RINGS
    chosen = np.zeros((int(inside.sum()), RINGS * SECTORS))
    chosen[np.arange(len(chosen)), (ring * SECTORS + sector)[inside]] = 1.0
    sums = values[:, inside] @ chosen
    return np.asarray(sums.reshape(-1, RINGS, SECTORS), dtype=np.float64)


def _without_shift(cross: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the factors that take each patch's own small displacement out of its phases."""
    ky, kx = _frequencies()
    radius = np.hypot(ky, kx)
    low = (radius >= LOWEST) & (radius < 0.2)
    terms = 2.0 * np.pi * np.stack([ky[low], kx[low]], axis=1)
    phase = np.ones((1, *ky.shape), np.complex128)
    for values in (cross.sum(axis=0, keepdims=True), cross):
        turned = (values * phase)[:, low]
        strength = np.abs(turned) + 1e-30
        normal = np.einsum("nk,ki,kj->nij", strength, terms, terms)
        right = np.einsum("nk,ki->ni", strength * np.angle(turned), terms)
        shift = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        angle = 2.0 * np.pi * (shift[:, 0, None, None] * ky + shift[:, 1, None, None] * kx)
        phase = phase * np.exp(-1j * angle)
    return np.asarray(phase, dtype=np.complex128)
