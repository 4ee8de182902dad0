"""The sample under the microscope: the light that reaches each pixel of both images."""

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.synthetic.bodies import draw
from exo2micro.synthetic.mapping import Deformation, Mapping, post_to_pre_matrix
from exo2micro.synthetic.microbes import Microbes, random_debris
from exo2micro.synthetic.outline import BreakLine
from exo2micro.synthetic.rock import DARK_LEVEL, KNOT, TILE
from exo2micro.synthetic.scene import Scene
from exo2micro.synthetic.spec import PairSpec
from exo2micro.synthetic.tiles import tile_points

_LOST_EDGE_PX = 1.5
_SPOT_RADIUS = 0.12
_FIELD_KEY = 0x5EED0005
_DEBRIS_LEVEL = 0.02
"""Debris counts as present where its light exceeds this part of the rock's mean brightness."""

Grid = NDArray[np.float64]


class Sample:
    """Scene, mapping, microbes and brightness ratio of a pair, evaluated tile by tile.

    Parameters
    ----------
    spec : PairSpec
        What the pair looks like.
    """

    def __init__(self, spec: PairSpec) -> None:
        self.spec = spec
        pre_psf, post_psf = spec.psf_pair
        self.pre_scene = Scene(spec, pre_psf)
        self.post_scene = self.pre_scene if post_psf == pre_psf else Scene(spec, post_psf)
        self.mapping = _make_mapping(spec)
        outline = self.pre_scene.rock.outline
        self.lost = BreakLine.through(outline, spec.lost_piece, spec.seed + 1)
        self.microbes = Microbes(spec, self._settling_weights)
        self.debris = random_debris(spec)
        rng = np.random.default_rng((_FIELD_KEY, spec.seed))
        self._gradient_angle = float(rng.uniform(0, 2 * np.pi))
        self._spot = rng.uniform(0.35, 0.65, 2)

    def pre_light(self, row: int, column: int) -> FloatImage:
        """Return the light of a tile of the pre image, counts, no pedestal."""
        x, y = tile_points(row, column)
        light = self.pre_scene.brightness(x, y)
        if self.spec.vignetting:
            light *= self._illumination(x, y, self.spec.full_pre_shape)
        return light

    def post_light(self, row: int, column: int) -> FloatImage:
        """Return all light of a tile of the post image, counts, no pedestal."""
        light = self.post_background(row, column)
        light += self.microbe_layers(row, column)[0]
        if self.debris.size:
            light += self.debris_layers(row, column)[0]
        return light

    def microbe_layers(self, row: int, column: int) -> tuple[FloatImage, Mask]:
        """Return light and footprint of the microbes on a tile of the post image."""
        return draw(self.microbes.around(row, column), (row * TILE, column * TILE), (TILE, TILE))

    def debris_layers(self, row: int, column: int) -> tuple[FloatImage, Mask]:
        """Return light of the debris on a tile of the post image, and where it can be noticed."""
        light, _ = draw(self.debris, (row * TILE, column * TILE), (TILE, TILE))
        return light, light > _DEBRIS_LEVEL * self.spec.rock_brightness

    def post_background(self, row: int, column: int) -> FloatImage:
        """Return ``ratio * B(M(x, y))`` of a tile of the post image, counts, no pedestal."""
        spec = self.spec
        x, y = tile_points(row, column)
        u, v = self.mapping.grids(x, y)
        light = self.post_scene.brightness(u, v)
        if spec.lost_piece:
            beyond = np.clip(self.lost.beyond(u, v) / _LOST_EDGE_PX, -30, 30)
            lost = (1 / (1 + np.exp(-beyond))).astype(np.float32)
            light += lost * (np.float32(DARK_LEVEL * spec.rock_brightness) - light)
        light *= self.plain_ratio(x, y)
        if spec.vignetting:
            light *= self._illumination(x, y, spec.shape)
        return light

    def plain_ratio(self, x: Grid, y: Grid) -> FloatImage:
        """Return the ratio post/pre at post points, vignetting left out."""
        return np.asarray(self._ratio(x, y), np.float32)

    def ratio(self, x: Grid, y: Grid) -> Grid:
        """Return the exact local ratio of the background, post over pre, at post points."""
        ratio = self._ratio(x, y)
        if self.spec.vignetting:
            u, v = self.mapping.grids(x, y)
            ratio = ratio * self._illumination(x, y, self.spec.shape)
            ratio = ratio / self._illumination(u, v, self.spec.full_pre_shape)
        return ratio

    @property
    def has_constant_ratio(self) -> bool:
        """True if the ratio is the same everywhere."""
        spec = self.spec
        return not (spec.ratio_gradient or spec.bleaching or spec.vignetting)

    def on_rock(self, x: Grid, y: Grid) -> Mask:
        """Tell for post points whether they lie on rock that is still there."""
        u, v = self.mapping.grids(x, y)
        return np.asarray(self.pre_scene.is_rock(u, v) & self._is_left(u, v), np.bool_)

    def in_overlap(self, x: Grid, y: Grid) -> Mask:
        """Tell for post points whether they lie on rock that the pre image shows."""
        u, v = self.mapping.grids(x, y)
        ny, nx = self.spec.full_pre_shape
        inside = (u >= 0) & (u <= nx - 1) & (v >= 0) & (v <= ny - 1)
        return np.asarray(inside & self.pre_scene.is_rock(u, v) & self._is_left(u, v), np.bool_)

    def in_outline(self, x: Grid, y: Grid) -> Mask:
        """Return what `in_overlap` does but for the roughness of the edge; makes no tiles."""
        u, v = self.mapping.grids(x, y)
        ny, nx = self.spec.full_pre_shape
        inside = (u >= 0) & (u <= nx - 1) & (v >= 0) & (v <= ny - 1)
        depth = self.pre_scene.rock.depth_at(u, v)
        return np.asarray(inside & (depth > 0) & self._is_left(u, v), np.bool_)

    def _is_left(self, u: Grid, v: Grid) -> Mask:
        if not self.spec.lost_piece:
            return np.ones(u.shape, np.bool_)
        return np.asarray(self.lost.beyond(u, v) < 0, np.bool_)

    def _settling_weights(self, row: int, column: int) -> FloatImage:
        """Return the habitat of each 4 px cell of a post tile; zero outside the image."""
        steps = np.arange(TILE // KNOT) * float(KNOT) + (KNOT - 1) / 2
        x, y = np.meshgrid(column * TILE + steps, row * TILE + steps)
        u, v = self.mapping.grids(x, y)
        weights = self.pre_scene.habitat(u, v)
        ny, nx = self.spec.shape
        weights *= (x < nx) & (y < ny) & self._is_left(u, v)
        return weights

    def _ratio(self, x: Grid, y: Grid) -> Grid:
        spec = self.spec
        ratio = np.full(x.shape, spec.ratio)
        ny, nx = spec.shape
        if spec.ratio_gradient:
            cos, sin = np.cos(self._gradient_angle), np.sin(self._gradient_angle)
            slope = cos * (2 * x / nx - 1) + sin * (2 * y / ny - 1)
            turn = np.pi / 2 * slope / (abs(cos) + abs(sin))
            ratio *= 1 + spec.ratio_gradient * np.sin(turn)
        if spec.bleaching:
            radius = _SPOT_RADIUS * min(spec.shape)
            dx, dy = x - self._spot[0] * nx, y - self._spot[1] * ny
            ratio *= 1 - spec.bleaching * np.exp(-(dx**2 + dy**2) / (2 * radius**2))
        return ratio

    def _illumination(self, x: Grid, y: Grid, shape: tuple[int, int]) -> Grid:
        """Return the light that vignetting leaves; held at a tenth far outside the frame."""
        half_y, half_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
        corner = half_x**2 + half_y**2 or 1.0
        squared = ((x - half_x) ** 2 + (y - half_y) ** 2) / corner
        return np.asarray(np.maximum(1 - self.spec.vignetting * squared, 0.1), np.float64)


def _make_mapping(spec: PairSpec) -> Mapping:
    matrix = post_to_pre_matrix(
        spec.shape,
        spec.full_pre_shape,
        rotation_deg=spec.rotation_deg,
        magnification=spec.magnification,
        shift_px=spec.shift_px,
        shear=spec.shear,
        perspective=spec.perspective,
        mirror=spec.mirror,
    )
    if spec.deformation_px == 0:
        return Mapping(matrix)
    return Mapping(matrix, Deformation.random(spec.shape, spec.deformation_px, spec.seed))
