"""What a synthetic pair shall look like."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from exo2micro.errors import ParameterError

Texture = Literal["normal", "low", "smooth", "repeated"]
ChannelName = Literal["red", "green", "blue"]

TEXTURES = ("normal", "low", "smooth", "repeated")
CHANNELS = ("red", "green", "blue")

_NOISE_DEFAULTS = {8: (0.1, 0.8), 16: (1.5, 12.0)}
"""Gain and read noise per bit depth: about 5 % and 2 % noise at the mean brightness of rock."""

_BRIGHTNESS = {8: (38.0, 80.0), 16: (3000.0, 15000.0)}
"""Mean brightness of rock in the pre image, and the largest allowed in the post image."""


@dataclass(frozen=True, kw_only=True)
class PairSpec:
    """All choices that define a synthetic pre/post pair; equal specs give equal pixels.

    Attributes
    ----------
    shape, pre_shape : tuple of int
        ``(ny, nx)`` of the post and the pre image; `pre_shape` None means the same.
    seed : int
        Chooses rock, microbes and noise.
    variant : int
        Chooses other microbes and noise on the same rock (another dye of one sample).
    rotation_deg, magnification, shift_px, shear, perspective, mirror
        How the post image shows the sample, compared with the pre image; see
        `exo2micro.synthetic.mapping.post_to_pre_matrix`. `shift_px` and `perspective` are (x, y).
    deformation_px : float
        Largest displacement of an additional smooth deformation, px.
    ratio : float
        Brightness of the background in the post image over that in the pre image.
    ratio_gradient : float
        The ratio varies smoothly by ``+-`` this fraction across the post image.
    bleaching : float
        Fraction by which the ratio is lower in the middle of a bleached spot.
    vignetting : float
        Fraction of light lost in the corners of both images, each about its own centre.
    pedestal, pre_pedestal : float
        Counts that the camera adds to the post and the pre image, free of shot noise.
    bits : int
        8 or 16.
    rgb : bool or None
        Write RGB files; None means RGB for 8 bits and grayscale for 16.
    channel : str
        The RGB channel that carries the signal: red, green or blue.
    leakage : float
        Fraction of the pixel values that shows in the other RGB channels.
    texture : str
        ``normal``; ``low`` (a tenth of the contrast); ``smooth`` (no detail below 32 px);
        ``repeated`` (the rock repeats every 256 px, only the outline is unique).
    brightness : float or None
        Mean counts of rock in the pre image; None chooses by bit depth and ratio.
    dim : float
        Factor on the brightness, for dim images.
    border : float
        Dark margin around the rock as a fraction of the pre image's shorter side; 0 touches the
        frame, negative values make the rock larger than the frame.
    pieces : int
        1, or 2 for rock broken in two with a dark gap.
    blank_half : bool
        The left half of the rock has no texture at all.
    lost_piece : float
        Fraction of the rock's width that is missing in the post image.
    saturated_debris : int
        Number of saturated dust grains and fibres in the post image.
    coverage : float
        Fraction of the sample's pixels in the post image that microbes cover.
    microbe_peak : float
        Median height of a microbe over the mean post brightness of rock.
    psf_px, post_psf_px : float
        Standard deviation of the point-spread function of the pre and the post image, px; None
        means the same. At least 0.7.
    gain : float or None
        Shot-noise variance per count of signal; 0 is free of shot noise; None chooses.
    read_noise : float or None
        Standard deviation in counts; None chooses.
    pixel_size_um : float or None
        Written to the files' resolution tags if given.
    """

    shape: tuple[int, int] = (1500, 1800)
    pre_shape: tuple[int, int] | None = None
    seed: int = 0
    variant: int = 0
    rotation_deg: float = 0.0
    magnification: float = 1.0
    shift_px: tuple[float, float] = (0.0, 0.0)
    shear: float = 0.0
    perspective: tuple[float, float] = (0.0, 0.0)
    mirror: bool = False
    deformation_px: float = 0.0
    ratio: float = 1.8
    ratio_gradient: float = 0.0
    bleaching: float = 0.0
    vignetting: float = 0.0
    pedestal: float = 0.0
    pre_pedestal: float = 0.0
    bits: int = 8
    rgb: bool | None = None
    channel: ChannelName = "green"
    leakage: float = 0.0
    texture: Texture = "normal"
    brightness: float | None = None
    dim: float = 1.0
    border: float = 0.06
    pieces: int = 1
    blank_half: bool = False
    lost_piece: float = 0.0
    saturated_debris: int = 0
    coverage: float = 0.01
    microbe_peak: float = 0.8
    psf_px: float = 1.2
    post_psf_px: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        """Raise `ParameterError` for the first value that is not allowed."""
        for name, value, allowed, is_allowed in self._rules():
            if not is_allowed:
                msg = f"PairSpec.{name} must be {allowed}, got {value!r}; choose another value"
                raise ParameterError(msg)

    @property
    def full_pre_shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the pre image."""
        return self.pre_shape or self.shape

    @property
    def full_scale(self) -> int:
        """The largest pixel value."""
        return (1 << self.bits) - 1

    @property
    def is_rgb(self) -> bool:
        """True if the files hold three channels."""
        return self.bits == 8 if self.rgb is None else self.rgb

    @property
    def rock_brightness(self) -> float:
        """Mean counts of rock in the pre image."""
        if self.brightness is not None:
            return self.brightness * self.dim
        level, post_limit = _BRIGHTNESS[self.bits]
        return min(level, post_limit / self.ratio) * self.dim

    @property
    def noise(self) -> tuple[float, float]:
        """Gain (counts) and read noise (counts)."""
        gain, read_noise = _NOISE_DEFAULTS[self.bits]
        return (
            gain if self.gain is None else self.gain,
            read_noise if self.read_noise is None else self.read_noise,
        )

    @property
    def psf_pair(self) -> tuple[float, float]:
        """Standard deviation of the point-spread function of the pre and the post image, px."""
        post = self.psf_px if self.post_psf_px is None else self.post_psf_px
        return self.psf_px, post

    def _rules(self) -> Iterator[tuple[str, object, str, bool]]:
        """Yield name, value, what is allowed in words, and whether the value is."""
        for name in ("shape", "pre_shape"):
            shape = getattr(self, name)
            sides = shape is None or (len(shape) == 2 and min(shape) >= 1)
            yield name, shape, "(ny, nx), both whole numbers >= 1", sides
        yield "bits", self.bits, "8 or 16", self.bits in _NOISE_DEFAULTS
        yield "texture", self.texture, f"one of {TEXTURES}", self.texture in TEXTURES
        yield "channel", self.channel, f"one of {CHANNELS}", self.channel in CHANNELS
        yield "pieces", self.pieces, "1 or 2", self.pieces in (1, 2)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            inside = math.isfinite(value) and low <= value <= high
            yield name, value, f"a number from {low:g} to {high:g}", inside
        for name, limit in (("shift_px", 1e6), ("perspective", 0.5)):
            pair = getattr(self, name)
            inside = len(pair) == 2 and all(abs(v) <= limit for v in pair)
            yield name, pair, f"(x, y), each within +-{limit:g}", inside


_OPTIONAL = ("brightness", "post_psf_px", "gain", "read_noise", "pixel_size_um")

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, 2**63),
    ("variant", 0, 2**31),
    ("rotation_deg", -360, 360),
    ("magnification", 0.1, 10),
    ("shear", -1, 1),
    ("deformation_px", 0, 200),
    ("ratio", 0.01, 100),
    ("ratio_gradient", 0, 0.9),
    ("bleaching", 0, 0.9),
    ("vignetting", 0, 0.9),
    ("pedestal", 0, 65535),
    ("pre_pedestal", 0, 65535),
    ("leakage", 0, 1),
    ("brightness", 0.1, 65535),
    ("dim", 0.001, 10),
    ("border", -2, 0.45),
    ("lost_piece", 0, 0.9),
    ("saturated_debris", 0, 10000),
    ("coverage", 0, 0.6),
    ("microbe_peak", 0.01, 1000),
    ("psf_px", 0.7, 4),
    ("post_psf_px", 0.7, 4),
    ("gain", 0, 1000),
    ("read_noise", 0, 10000),
    ("pixel_size_um", 1e-4, 1e4),
)
