"""A detection limit as table, sentence and JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exo2micro._version import __version__
from exo2micro.detection import Detections
from exo2micro.detection.completeness import Completeness, Limit

if TYPE_CHECKING:
    from astropy.table import Table

_MISFIT: Final = 0.01
"""Probability of the deviations from one curve below which the limits are doubted: of 200 simulated
ones with 80 sources a flux none was; all were where a tenth of the sources is always lost."""


@dataclass(frozen=True)
class LimitResult:
    """What would have been found on a slide.

    Attributes
    ----------
    completeness : Completeness
        Recovered sources by flux.
    limits : tuple of Limit
        The 50 % and the 90 % limit.
    found : Detections
        The objects that the slide really shows, with the false ones of its negative image.
    sigma_px : float
        Width of the injected sources.
    sigma_source : str
        Where that width comes from.
    gain : float
        Shot-noise variance per count of the injected light.
    scale_change : float
        Relative change of the scale by the injected sources.
    seed : int
        Seed of places and noise.
    table_path, figure_path : Path or None
        Written files.
    """

    completeness: Completeness
    limits: tuple[Limit, Limit]
    found: Detections
    sigma_px: float
    sigma_source: str
    gain: float
    scale_change: float
    seed: int
    table_path: Path | None = None
    figure_path: Path | None = None

    @property
    def _has_plateau(self) -> bool:
        return self.completeness.misfit() < _MISFIT

    def sentence(self) -> str:
        """Return the result as one sentence for a paper."""
        half, ninety = self.limits
        density, low, high, unit = self.found.false_density()
        area = "mm^2" if unit == "mm-2" else "million pixels"
        facts = self.found.facts
        doubt = (
            " Some sources are lost or found whatever their flux, so that these limits hold for a "
            "part of the sample only."
        )
        return (
            f"Isolated point-like microbes (Gaussian, sigma {self.sigma_px:.2f} px) are detected "
            f"with 90 % probability {ninety} and with 50 % {half}, at a threshold of "
            f"{facts.threshold:g} sigma, according to {int(self.completeness.injected.sum())} "
            f"synthetic sources injected into the raw post-stain image, of which "
            f"{int(self.completeness.recovered.sum())} were recovered after scaling and "
            f"subtraction (exo2micro {__version__}); the negative image "
            f"holds {facts.negatives} false detections ({density:.3g} per {area}, 95 % interval "
            f"{low:.3g} to {high:.3g})."
            f"{doubt if self._has_plateau else ''}"
        )

    def warnings(self) -> list[str]:
        """Return in words what makes the limit less than certain."""
        texts = self.found.warnings()
        if self.gain <= 0:
            texts.append("the camera's gain is unknown: injected light carries no shot noise")
        if any(limit.flux is None for limit in self.limits):
            texts.append(
                "the injected fluxes do not bracket every limit: look at the table and the figure"
            )
        if self._has_plateau:
            texts.append(
                "the completeness does not follow one curve (probability "
                f"{self.completeness.misfit():.1g}): some sources are lost or found whatever their "
                "flux; look at the figure"
            )
        return texts

    def rows(self) -> list[tuple[float, int, int, float, float]]:
        """Return flux, injected, recovered, and the 95 % interval of the part, by flux."""
        c = self.completeness
        columns = c.flux, c.injected, c.recovered, *c.intervals().T
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        density, low, high, unit = self.found.false_density()
        return {
            **{k: self.found.difference.provenance.get(k) for k in ("sample", "dye")},
            "limits": [asdict(v) for v in self.limits],
            "rows": [list(row) for row in self.rows()],
            "sentence": self.sentence(),
            "threshold": self.found.facts.threshold,
            "width_px": self.found.facts.width_px,
            "sigma_px": self.sigma_px,
            "sigma_source": self.sigma_source,
            "gain": self.gain,
            "scale_change": self.scale_change,
            "seed": self.seed,
            "false_density": density,
            "false_density_interval": [low, high],
            "false_density_unit": unit,
            "negatives": self.found.facts.negatives,
            "expected_false": self.found.facts.expected_false,
            "verdict": self.found.difference.verdict,
            "warnings": self.warnings(),
            "table": self.table_path,
            "figure": self.figure_path,
        }

    def table(self) -> "Table":
        """Return completeness against flux as a table whose metadata hold everything else."""
        from astropy.table import Table

        low, high = self.completeness.intervals().T
        table = Table(
            {
                "flux": self.completeness.flux,
                "injected": self.completeness.injected,
                "recovered": self.completeness.recovered,
                "completeness": self.completeness.fraction,
                "low": low,
                "high": high,
            }
        )
        table["flux"].unit = "ct"
        for name in ("flux", "completeness", "low", "high"):
            table[name].info.format = ".6g"
        table["low"].description = table["high"].description = "95 % Wilson interval"
        meta = {k: v for k, v in self.to_dict().items() if k not in ("table", "figure", "rows")}
        table.meta = {"exo2micro": __version__, **self.found.difference.provenance, **meta}
        return table
