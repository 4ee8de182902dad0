"""What was found: objects, what was searched, and how many may be false."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._version import __version__
from exo2micro.detection.difference import Difference
from exo2micro.detection.flags import NOT_COUNTED, Flag
from exo2micro.raster.base import Raster

if TYPE_CHECKING:
    from astropy.table import Table

_UNITS: Final = {
    "x": "pix",
    "y": "pix",
    "x_post": "pix",
    "y_post": "pix",
    "x_um": "um",
    "y_um": "um",
    "area_px": "pix2",
    "semi_major_px": "pix",
    "semi_minor_px": "pix",
    "theta_deg": "deg",
}

_TEXTS: Final = {
    "id": "number of the object, and its value in the label image",
    "x": "centre on the canvas; the first pixel's centre is 0",
    "x_post": "centre in the raw post-stain image",
    "x_um": "centre in the raw post-stain image; not a number where the pixel size is unknown",
    "area_px": "pixels down to about a fifth of the object's peak",
    "flux": "counts above the local level, skirt included",
    "flux_err": "standard deviation of flux: background noise and, if known, shot noise",
    "snr": "significance of the peak after the matched filter",
    "semi_major_px": "standard deviation of the light along the longer axis",
    "semi_minor_px": "standard deviation of the light along the shorter axis",
    "theta_deg": "direction of the longer axis, from +x towards +y",
    "ellipticity": "1 - semi_minor / semi_major",
    "bright_overlap": "part of the area on the brightest background; not a number if unknown",
    "flags": "sum of bits, 0 is good; see flag_bits",
}

_FLAG_TEXTS: Final = {
    1: "blended: shares light with another object",
    2: "edge: reaches pixels without data",
    4: "saturated",
    8: "on masked debris: not counted",
    16: "registration not certified there: not counted",
    32: "beside the sample: not counted",
}

_MANY_FALSE: Final = 3.0
"""Negative objects over those expected of noise from which on the table warns."""

_LEAST_FACTOR: Final = 0.5
_MUCH_MASKED: Final = 0.01
"""Noise factor, or its inverse, and part of the area masked from which on the table says so."""

_UM2_PER_MM2: Final = 1e6


@dataclass(frozen=True)
class SearchFacts:
    """How the search was done and what its noise amounts to.

    Attributes
    ----------
    threshold, width_px : float
        As given to `detect`.
    noise_source : str
        Where the noise of a pixel comes from.
    noise_factor : float
        Scatter of the filtered background over what independent noise of that size would give.
    pixels : int
        Pixels searched on which objects count.
    masked : int
        Pixels with data on which objects do not count, nor the area: masked debris, and where the
        registration is not certified.
    area_source : str
        Which pixels these are.
    expected_false : float
        False objects to expect of Gaussian noise.
    negatives : int
        Objects found in the negative image away from saturated and masked pixels: all false.
    cut : int
        Structures too long for microbes that were cut.
    level_range : tuple of float
        Least and largest local level that was subtracted, counts.
    bright_level : float or None
        Brightness before staining from which on a background is bright.
    """

    threshold: float
    width_px: float
    noise_source: str
    noise_factor: float
    pixels: int
    masked: int
    area_source: str
    expected_false: float
    negatives: int
    cut: int
    level_range: tuple[float, float]
    bright_level: float | None


@dataclass(frozen=True)
class Detections:
    """The objects of one difference.

    Attributes
    ----------
    columns : mapping
        Arrays of n rows, in the order of the objects' first pixels.
    facts : SearchFacts
        How they were found.
    difference : Difference
        Where.
    labels : Raster or None
        Label image, if it was kept: 0 or the row's ``id``.
    """

    columns: Mapping[str, NDArray[Any]]
    facts: SearchFacts
    difference: Difference
    labels: Raster | None = None

    def __len__(self) -> int:
        return len(self.columns["flux"])

    @cached_property
    def count(self) -> int:
        """Objects on the sample, neither on debris nor where the alignment is uncertified."""
        return int(np.count_nonzero((self.columns["flags"] & np.uint8(NOT_COUNTED)) == 0))

    @property
    def area_mm2(self) -> float | None:
        """Area that was searched; None where the pixel size is unknown."""
        size = self.difference.pixel_size_um
        return None if size is None else self.facts.pixels * size[0] * size[1] / _UM2_PER_MM2

    def density(self) -> tuple[float, float, float, str]:
        """Return objects per area, its 95 % Poisson interval, and the unit.

        The unit is ``mm-2``, or ``Mpx-1`` (per million pixels) where the pixel size is unknown. The
        numbers are NaN where all that was searched is masked, so that nothing counts.

        References
        ----------
        Garwood 1936, Biometrika 28, 437.
        """
        return self._per_area(self.count)

    def false_density(self) -> tuple[float, float, float, str]:
        """Return the same as `density` for the objects of the negative image: all false."""
        return self._per_area(self.facts.negatives)

    def _per_area(self, count: int) -> tuple[float, float, float, str]:
        from scipy.stats import chi2

        area, unit = self.area_mm2, "mm-2"
        if area is None:
            area, unit = self.facts.pixels / 1e6, "Mpx-1"
        if area == 0:
            return np.nan, np.nan, np.nan, unit
        low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
        high = float(chi2.ppf(0.975, 2 * count + 2)) / 2
        return count / area, low / area, high / area, unit

    def warnings(self) -> list[str]:
        """Return in words what makes the count less than certain."""
        facts, texts = self.facts, []
        if self.difference.noise is None:
            texts.append(f"the noise is {facts.noise_source}; significances are less certain")
        if self.difference.pixel_size_um is None:
            texts.append("the pixel size is unknown: densities are per million pixels")
        texts += self.difference.notes
        if not _LEAST_FACTOR <= facts.noise_factor <= 1 / _LEAST_FACTOR:
            texts.append(
                f"the background scatters {facts.noise_factor:.2g} times as much as its noise "
                "explains: structure is left in the difference, or the noise is not what it seems; "
                "errors and significances were corrected for it as a whole"
            )
        masked = facts.masked / (facts.pixels + facts.masked)
        if masked > _MUCH_MASKED:
            texts.append(
                f"on {100 * masked:.0f} % of the area objects do not count, nor the area itself: "
                "debris, or registration not certified"
            )
        if facts.negatives > 5 + _MANY_FALSE * facts.expected_false:
            texts.append(
                f"the negative image holds {facts.negatives} objects where noise alone gives "
                f"{facts.expected_false:.1f}: about as many of those found may be false"
            )
        saturated = np.count_nonzero(self.columns["flags"] & np.uint8(Flag.SATURATED))
        if saturated:
            texts.append(
                f"{saturated} objects hold saturated pixels: where the pre-stain image saturates, "
                "such an object may be rock"
            )
        if facts.cut:
            texts.append(f"{facts.cut} structures were too long for microbes and were cut")
        if self.difference.verdict in ("CHECK", "FAIL"):
            texts.append(f"verdict {self.difference.verdict}: {self.difference.reason}")
        return texts

    def summary(self) -> dict[str, Any]:
        """Return count, density and settings as JSON values."""
        value, low, high, unit = self.density()
        is_known = self.facts.pixels > 0
        facts = asdict(self.facts) | {"level_range": list(self.facts.level_range)}
        return {
            "objects": len(self),
            "counted": self.count,
            "density": value if is_known else None,
            "density_interval": [low, high] if is_known else None,
            "density_unit": unit,
            "area_mm2": self.area_mm2,
            **facts,
            "verdict": self.difference.verdict or "unknown",
            "reason": self.difference.reason,
            "warnings": self.warnings(),
        }

    def table(self) -> "Table":
        """Return the objects as a table whose metadata say how they were found."""
        from astropy.table import Table
        from astropy.units import Unit

        x, y = self.columns["x"], self.columns["y"]
        x_post, y_post = x - self.difference.offset[0], y - self.difference.offset[1]
        size = self.difference.pixel_size_um or (np.nan, np.nan)
        rest = {n: v for n, v in self.columns.items() if n not in ("x", "y")}
        table = Table(
            {
                "id": np.arange(1, len(self) + 1),
                "x": x,
                "y": y,
                "x_post": x_post,
                "y_post": y_post,
                "x_um": x_post * size[0],
                "y_um": y_post * size[1],
                **rest,
            }
        )
        for name in table.colnames:
            table[name].unit = _UNITS.get(name)
            if name in ("flux", "flux_err"):
                table[name].unit = Unit(self.difference.unit, parse_strict="silent")
            table[name].description = _TEXTS.get(name, _TEXTS.get(name.replace("y", "x", 1), ""))
            if table[name].dtype.kind == "f":
                table[name] = _rounded(table[name])
        table.meta = {
            "exo2micro": __version__,
            **self.difference.provenance,
            "pixel_size_um": list(size) if self.difference.pixel_size_um else "unknown",
            **self.summary(),
            "flag_bits": dict(_FLAG_TEXTS),
        }
        return table


def _rounded(column: Any) -> Any:  # noqa: ANN401 - an astropy column
    """Return a column with six significant digits in the file."""
    column.info.format = ".7g"
    return column
