"""Fluorescing rock, tile by tile: grains, veins, cracks, specks, illumination, outline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro._typing import FloatImage, Mask
from exo2micro.synthetic.grains import find_grains
from exo2micro.synthetic.lattice import fine_octave, hash_lattice, octave, refine, uniform, white
from exo2micro.synthetic.outline import BreakLine, Outline
from exo2micro.synthetic.spec import PairSpec

TILE = 256
"""Side of a tile of the scene, px."""

MARGIN = 8
"""Pixels computed around a tile so that the blur of psf_px <= 4 is the same in every tile."""

KNOT = 4
"""Spacing of the coarse grid on which slowly varying fields are made, px."""

SPLINE_VARIANCE = 1.0 / 3.0
"""Variance of the cubic B-spline in px^2, a part of the point-spread function."""

DARK_LEVEL = 0.05
"""Brightness of the empty slide relative to rock."""

_GRAIN_PX = 128
_MATRIX_PX = 32
_SPECK_CELL_PX = 32
_REPEAT_PX = 256
_GAP_PX = 30.0
_WARP_LIMIT_PX = 60.0
_LOW_CONTRAST = 0.1
_LUMINANCE_FLOOR = 0.08

_MINERALS = np.array(
    [
        # share, brightness, spread, lamella contrast, weight of the fine matrix
        (0.30, 0.45, 0.12, 0.00, 0.35),
        (0.34, 0.90, 0.20, 0.10, 0.10),
        (0.20, 1.30, 0.25, 0.16, 0.05),
        (0.10, 1.00, 0.20, 0.00, 0.80),
        (0.06, 2.10, 0.35, 0.05, 0.10),
    ],
    np.float32,
)
"""Mineral classes: mafic, quartz, feldspar with twin lamellae, fine matrix, carbonate."""


@dataclass(frozen=True)
class SceneTile:
    """One tile of the scene.

    Attributes
    ----------
    coefficients : numpy.ndarray of float32
        Shape ``(256, 256)``, cubic B-spline coefficients of the brightness, counts.
    rock : numpy.ndarray of bool
        Shape ``(256, 256)``, True on rock.
    habitat : numpy.ndarray of float32
        Shape ``(64, 64)``, how likely microbes settle, in arbitrary units; 0 off the rock.
    """

    coefficients: FloatImage
    rock: Mask
    habitat: FloatImage


class RockMaker:
    """Makes tiles of the scene from a specification.

    Parameters
    ----------
    spec : PairSpec
        Seed, texture, outline and brightness.
    psf_px : float
        Standard deviation of the point-spread function that blurs the scene, px.
    """

    def __init__(self, spec: PairSpec, psf_px: float) -> None:
        self.spec = spec
        self.blur_px = float(np.sqrt(max(psf_px**2 - SPLINE_VARIANCE, 0.0)))
        self.outline = Outline.random(spec.full_pre_shape, spec.border, spec.seed)
        self.gap = BreakLine.through(self.outline, 0.45, spec.seed) if spec.pieces == 2 else None
        self.period = _REPEAT_PX if spec.texture == "repeated" else 0
        self.contrast = _LOW_CONTRAST if spec.texture == "low" else 1.0

    def make(self, row: int, column: int) -> SceneTile:
        """Return the tile whose first pixel is ``(256 * row, 256 * column)``."""
        window = _Window(row * TILE - MARGIN, column * TILE - MARGIN, self.spec.seed, self.period)
        depth_knots = self._depth(window)
        background = self._background(window, depth_knots)
        inner = slice(MARGIN, MARGIN + TILE)
        if depth_knots.max() < -4.0:
            rock = np.zeros((TILE, TILE), np.bool_)
            habitat = np.zeros((TILE // KNOT, TILE // KNOT), np.float32)
            return SceneTile(self._blur(background), rock, habitat)
        depth = refine(depth_knots, KNOT)
        value, habitat_full = self._mineral(window)
        cover = np.clip(depth / 3 + 0.5, 0, 1)
        value *= np.clip(0.75 + depth / 40, 0.75, 1)
        scene = background + cover * (value - background)
        rock = depth[inner, inner] > 0
        habitat = (habitat_full * (depth > 2))[inner, inner][KNOT // 2 :: KNOT, KNOT // 2 :: KNOT]
        return SceneTile(self._blur(scene), rock, habitat.astype(np.float32))

    def depth_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far inside the rock points lie, px, without the roughness of its edge."""
        depth = self.outline.depth(x, y)
        if self.gap is not None:
            depth = np.minimum(depth, np.abs(self.gap.beyond(x, y)) - _GAP_PX / 2)
        return depth

    def _depth(self, window: "_Window") -> FloatImage:
        """Return the depth inside the outline, px, on the knots."""
        x, y = window.knot_points()
        depth = self.depth_at(x, y).astype(np.float32)
        rough = min(1.0, min(self.spec.full_pre_shape) / 1500)
        depth += (9 * rough) * window.knots(128, 20) + (4 * rough) * window.knots(32, 21)
        depth += (1.8 * rough) * window.knots(16, 22)
        return depth

    def _background(self, window: "_Window", depth_knots: FloatImage) -> FloatImage:
        """Return the empty slide: a faint level, haze around the rock, some dust."""
        haze = DARK_LEVEL * (1 + 0.15 * window.knots(128, 30))
        haze += 0.05 * np.exp(np.clip(depth_knots, -400, 0) / 60)
        level = refine(haze.astype(np.float32), KNOT)
        level += window.specks(share=0.02, brightness=0.8, key=31)
        return level

    def _mineral(self, window: "_Window") -> tuple[FloatImage, FloatImage]:
        """Return the brightness of rock (mean about 1) and the habitat of microbes."""
        warp_x = 20 * window.knots(64, 1) + 5 * window.knots(16, 2)
        warp_y = 20 * window.knots(64, 3) + 5 * window.knots(16, 4)
        x_knots = np.clip(warp_x, -_WARP_LIMIT_PX, _WARP_LIMIT_PX)
        y_knots = np.clip(warp_y, -_WARP_LIMIT_PX, _WARP_LIMIT_PX)
        rough_x, rough_y = refine(x_knots, KNOT), refine(y_knots, KNOT)
        coarse = find_grains(rough_x, rough_y, window.origin, _GRAIN_PX, window.key(5), self.period)
        value = self._grain_brightness(window, coarse.owner, coarse.draws, rough_x, rough_y)
        # Strength of boundaries and cracks: most are faint, some stand out.
        strength = np.clip(0.5 + 0.6 * refine(window.knots(128, 6), KNOT), 0, 1)
        seam = strength * np.exp(-((coarse.edge_distance / 1.8) ** 2))
        vein = _bell(window.level_set((256, 64, 32), 7), 3.5)
        vein *= np.clip(0.2 + 0.8 * refine(window.knots(256, 8), KNOT), 0, 1)
        crack = _bell(window.level_set((128, 64, 32, 16), 9), 1.6)
        crack *= np.clip(0.3 + 0.9 * refine(window.knots(128, 10), KNOT), 0, 1)
        value += 1.5 * vein
        value *= 1 - 0.55 * seam
        value *= 1 - 0.75 * crack
        value += window.specks(share=0.30, brightness=1.6, key=11)
        value = self._settle(window, value)
        settled = 0.02 + np.exp(-((coarse.edge_distance / 6) ** 2)) * strength
        settled += _bell(window.level_set((128, 64, 32, 16), 9), 7.0)
        patches = np.exp(1.6 * window.knots(64, 12) + 0.9 * window.knots(16, 13))
        return value, settled * refine(patches.astype(np.float32), KNOT)

    def _grain_brightness(
        self,
        window: "_Window",
        owner: NDArray[np.intp],
        draws: NDArray[np.float32],
        warp_x: FloatImage,
        warp_y: FloatImage,
    ) -> FloatImage:
        """Return the brightness of each grain with its lamellae, fine matrix and texture."""
        classes = np.searchsorted(np.cumsum(_MINERALS[:-1, 0]), draws[0])
        level = _MINERALS[classes, 1] + _MINERALS[classes, 2] * (2 * draws[1] - 1)
        value: FloatImage = level[owner]
        texture = 0.10 * window.pixels(16, 40) + 0.10 * window.pixels(8, 41)
        if self.spec.texture != "smooth":
            texture += 0.12 * window.pixels(4, 42) + 0.14 * window.pixels(2, 43)
            texture += 0.10 * window.pixels(1, 44)
            texture += _MINERALS[classes, 4][owner] * self._matrix(window)
            angle = np.pi * draws[2]
            wave = 2 * np.pi / (7 + 9 * draws[3])
            x, y = window.full_points()
            if self.period:
                x, y = x % self.period, y % self.period
            phase = (wave * np.cos(angle))[owner] * (x + 0.2 * warp_x)
            phase += (wave * np.sin(angle))[owner] * (y + 0.2 * warp_y)
            texture += _MINERALS[classes, 3][owner] * np.sin(phase)
        value *= np.maximum(1 + texture, 0.2)
        return value

    def _matrix(self, window: "_Window") -> FloatImage:
        """Return the brightness of the fine matrix: small grains found at half resolution."""
        size = window.size // 2 + 3
        still = np.zeros((size, size), np.float32)
        origin = (window.origin[0] // 2 - 1, window.origin[1] // 2 - 1)
        grains = find_grains(
            still, still, origin, _MATRIX_PX // 2, window.key(45), self.period // 2, n_draws=1
        )
        brightness = 2 * grains.draws[0] - 1
        return refine(brightness[grains.owner], 2)

    def _settle(self, window: "_Window", value: FloatImage) -> FloatImage:
        """Apply contrast, blank half and illumination; keep the brightness above a floor."""
        value -= 1
        value *= self.contrast
        if self.spec.blank_half:
            x, _ = window.full_points()
            value *= np.clip((x - self.spec.full_pre_shape[1] / 2) / 8, 0, 1)
        value += 1
        low = 0.08 * window.knots(256, 50) if not self.period else np.zeros((1, 1), np.float32)
        if self.period == 0 and not self.spec.blank_half:
            value *= 1 + self.contrast * refine(low, KNOT)
        return np.maximum(value, np.float32(_LUMINANCE_FLOOR))

    def _blur(self, scene: FloatImage) -> FloatImage:
        """Blur by the point-spread function, cut the margin and scale to counts."""
        scaled = scene * np.float32(self.spec.rock_brightness)
        blurred = ndimage.gaussian_filter(
            scaled, self.blur_px, output=np.float32, mode="nearest", radius=MARGIN
        )
        return np.ascontiguousarray(blurred[MARGIN:-MARGIN, MARGIN:-MARGIN])


class _Window:
    """A tile with its margin, and the random fields on it."""

    def __init__(self, y: int, x: int, seed: int, period: int) -> None:
        self.origin = (y, x)
        self.size = TILE + 2 * MARGIN
        self.seed = seed
        self.period = period

    def key(self, field: int) -> int:
        """Return the key of a numbered random field."""
        return (self.seed * 1_000_003 + field) & 0xFFFFFFFFFFFFFFFF

    def knot_points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x and y of the knots, which start one spacing before the window."""
        steps = np.arange(-1, self.size // KNOT + 2) * float(KNOT)
        y, x = np.meshgrid(steps + self.origin[0], steps + self.origin[1], indexing="ij")
        return x, y

    def full_points(self) -> tuple[FloatImage, FloatImage]:
        """Return x (one row) and y (one column) of the pixels, exact below 2**24."""
        steps = np.arange(self.size)
        return (
            (steps + self.origin[1]).astype(np.float32)[None, :],
            (steps + self.origin[0]).astype(np.float32)[:, None],
        )

    def knots(self, step_px: int, field: int) -> FloatImage:
        """Return smooth noise with features of `step_px`, on the knots."""
        count = self.size // KNOT + 3
        y, x = (start // KNOT - 1 for start in self.origin)
        period = self.period // KNOT
        return octave(y, count, x, count, step_px // KNOT, self.key(field), period)

    def pixels(self, step_px: int, field: int) -> FloatImage:
        """Return smooth noise with features of `step_px` <= 8 (or 16), on the pixels."""
        y, x = self.origin
        if step_px == 1:
            return white(y, self.size, x, self.size, self.key(field), self.period)
        if step_px > MARGIN:
            return refine(self.knots(step_px, field), KNOT)
        return fine_octave(y, self.size, x, self.size, step_px, self.key(field), self.period)

    def level_set(self, steps_px: tuple[int, ...], field: int) -> FloatImage:
        """Return the approximate distance in px to the zero line of fractal noise."""
        noise = sum((0.5**k) * self.knots(step, 100 * field + k) for k, step in enumerate(steps_px))
        slope_y, slope_x = np.gradient(noise)
        slope = np.sqrt(slope_x**2 + slope_y**2) / KNOT
        distance = np.asarray(noise / (slope + 2e-3), np.float32)
        return refine(np.clip(distance, -60, 60), KNOT)

    def specks(self, share: float, brightness: float, key: int) -> FloatImage:
        """Return bright single pixels: a `share` of the 32 px cells holds one."""
        first = [start // _SPECK_CELL_PX for start in self.origin]
        count = self.size // _SPECK_CELL_PX + 2
        rows, cols = (np.arange(start, start + count) for start in first)
        period = self.period // _SPECK_CELL_PX
        bits = hash_lattice(rows, cols, self.key(key), period)
        y = rows[:, None] * _SPECK_CELL_PX + (uniform(bits, 1) * _SPECK_CELL_PX).astype(np.int64)
        x = cols[None, :] * _SPECK_CELL_PX + (uniform(bits, 2) * _SPECK_CELL_PX).astype(np.int64)
        # A speck's peak after the blur is about its height / (2 pi psf^2), hence the factor 9.
        height = 9 * brightness * np.exp(1.2 * (uniform(bits, 3) - 0.5)).astype(np.float32)
        y, x = y - self.origin[0], x - self.origin[1]
        kept = (uniform(bits) < share) & (y >= 0) & (x >= 0) & (y < self.size) & (x < self.size)
        out = np.zeros((self.size, self.size), np.float32)
        out[y[kept], x[kept]] = height[kept]
        return out


def _bell(distance: FloatImage, width: float) -> FloatImage:
    return np.asarray(np.exp(-((distance / np.float32(width)) ** 2)), np.float32)
