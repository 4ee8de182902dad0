"""The irregular outline of the rock, and the pieces that break off it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HARMONICS = np.arange(2, 10)
_OUTLINE_KEY = 0x5EED0001
_BREAK_KEY = 0x5EED0002
_SQUARENESS = 3.2
"""Exponent of the superellipse under the outline: 2 is an ellipse, large values a rectangle."""

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A closed curve in polar form about a centre.

    Attributes
    ----------
    centre : tuple of float
        (x, y) in pre-stain pixels.
    half_axes : tuple of float
        Half the extent along x and y, px.
    amplitudes, phases : numpy.ndarray
        Relative amplitude and phase of each harmonic, shape ``(8,)``.
    """

    centre: tuple[float, float]
    half_axes: tuple[float, float]
    amplitudes: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def random(cls, shape: tuple[int, int], border: float, seed: int) -> "Outline":
        """Return an outline whose bounding box keeps `border` times the shorter side free."""
        rng = np.random.default_rng((_OUTLINE_KEY, seed))
        amplitudes = 0.11 * rng.normal(size=_HARMONICS.size) / _HARMONICS
        phases = rng.uniform(0, 2 * np.pi, _HARMONICS.size)
        ny, nx = shape
        margin = border * min(shape)
        wanted = np.maximum(np.array([nx, ny]) / 2 - margin, 2.0)
        trial = cls((0.0, 0.0), (wanted[0], wanted[1]), amplitudes, phases)
        theta = np.linspace(0, 2 * np.pi, 2881)
        radius = trial.radius(theta)
        x, y = radius * np.cos(theta), radius * np.sin(theta)
        shrink = np.array([2 * wanted[0] / np.ptp(x), 2 * wanted[1] / np.ptp(y)])
        centre = (
            (nx - 1) / 2 - shrink[0] * (x.max() + x.min()) / 2,
            (ny - 1) / 2 - shrink[1] * (y.max() + y.min()) / 2,
        )
        half = wanted * shrink
        return cls(centre, (float(half[0]), float(half[1])), amplitudes, phases)

    def radius(self, theta: Grid) -> Grid:
        """Return the distance from the centre to the curve in the direction `theta`, px."""
        cos, sin = np.cos(theta) / self.half_axes[0], np.sin(theta) / self.half_axes[1]
        base = (np.abs(cos) ** _SQUARENESS + np.abs(sin) ** _SQUARENESS) ** (-1 / _SQUARENESS)
        waves = np.zeros_like(theta)
        bearing = np.arctan2(sin, cos)
        for k, amplitude, phase in zip(_HARMONICS, self.amplitudes, self.phases, strict=True):
            waves += amplitude * np.cos(k * bearing + phase)
        return np.asarray(base * (1.0 + waves), np.float64)

    def depth(self, x: Grid, y: Grid) -> Grid:
        """Return how far inside the curve points lie, px; negative outside, approximate."""
        dx = (x - self.centre[0]) / self.half_axes[0]
        dy = (y - self.centre[1]) / self.half_axes[1]
        bearing = np.arctan2(dy, dx)
        scaled = (np.abs(dx) ** _SQUARENESS + np.abs(dy) ** _SQUARENESS) ** (1 / _SQUARENESS)
        limit = np.ones_like(scaled)
        for k, amplitude, phase in zip(_HARMONICS, self.amplitudes, self.phases, strict=True):
            limit += amplitude * np.cos(k * bearing + phase)
        return np.asarray((limit - scaled) * min(self.half_axes), np.float64)


@dataclass(frozen=True)
class BreakLine:
    """A wavy straight line across the rock.

    Attributes
    ----------
    normal : tuple of float
        Unit vector (x, y) across the line.
    offset : float
        Distance of the line from the origin along the normal, px.
    waves : numpy.ndarray
        Rows of amplitude (px), wave number (rad/px) and phase.
    """

    normal: tuple[float, float]
    offset: float
    waves: NDArray[np.float64]

    @classmethod
    def through(cls, outline: Outline, beyond: float, seed: int) -> "BreakLine":
        """Return a line that leaves the fraction `beyond` of the rock's width on its far side."""
        rng = np.random.default_rng((_BREAK_KEY, seed))
        angle = rng.uniform(0.15, 0.45) * np.pi * rng.choice([-1.0, 1.0])
        normal = np.array([np.cos(angle), np.sin(angle)])
        theta = np.linspace(0, 2 * np.pi, 721)
        radius = outline.radius(theta)
        reach = radius * (np.cos(theta) * normal[0] + np.sin(theta) * normal[1])
        near, far = float(reach.min()), float(reach.max())
        offset = far - beyond * (far - near) + float(normal @ np.array(outline.centre))
        width = far - near
        waves = np.array(
            [
                (share * width, 2 * np.pi * turns / width, rng.uniform(0, 2 * np.pi))
                for share, turns in ((0.02, 1.3), (0.008, 4.7), (0.003, 15.0))
            ]
        )
        return cls((float(normal[0]), float(normal[1])), offset, waves)

    def beyond(self, x: Grid, y: Grid) -> Grid:
        """Return how far points lie beyond the line along its normal, px."""
        along = y * self.normal[0] - x * self.normal[1]
        distance = x * self.normal[0] + y * self.normal[1] - self.offset
        for amplitude, wave_number, phase in self.waves:
            distance = distance + amplitude * np.sin(wave_number * along + phase)
        return np.asarray(distance, np.float64)
