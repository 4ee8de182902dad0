"""Certificate: what tiles that were held out of the fit say about an alignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.verdict import Level, Verdict


@dataclass(frozen=True, eq=False)
class Certificate:
    """Residuals of an alignment on held-out tiles, and the verdict they support.

    Attributes
    ----------
    positions : numpy.ndarray
        Centres of the held-out tiles, shape ``(n, 2)``, ``(x, y)`` in post pixels.
    residuals : numpy.ndarray
        Measured minus predicted position in pre, shape ``(n, 2)``, pixels.
    precisions : numpy.ndarray
        One-sigma error of each measurement, shape ``(n,)``, pixels per axis.
    median_px, p95_px : float
        Median and 95 % quantile of the alignment error over the sample, corrected for the noise
        of the measurements.
    bound_px : float
        Upper limit, at 95 % confidence, of the 95 % quantile.
    coverage : float
        Fraction of the sample, 0 to 1, that lies near a significant held-out tile.
    forward_backward_px : float
        Median distance between a point and itself after matching post to pre and back.
    median_interval_px, p95_interval_px : tuple of float
        90 % intervals of the two; the second ends at `bound_px`.
    verdict : Verdict
        PASS, CHECK or FAIL, with the reasons in words.
    """

    positions: Points
    residuals: Points
    precisions: NDArray[np.float64]
    median_px: float
    p95_px: float
    bound_px: float
    coverage: float
    forward_backward_px: float
    verdict: Verdict
    median_interval_px: tuple[float, float] = (np.inf, np.inf)
    p95_interval_px: tuple[float, float] = (np.inf, np.inf)

    @property
    def tiles(self) -> int:
        """Number of held-out tiles with a significant match."""
        return len(self.positions)

    @property
    def summary(self) -> str:
        """The figures in words."""
        if not np.isfinite(self.bound_px):
            return f"certificate: {self.tiles} held-out tiles match, too few for figures"
        return (
            f"certificate: alignment error {self.median_px:.3f} px (median), {self.p95_px:.3f} px "
            f"(95 % of the sample), at most {self.bound_px:.3f} px; {self.tiles} held-out tiles "
            f"vouch for {100 * self.coverage:.0f} % of the sample"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` restores the same bits. No value is NaN."""
        return {
            "positions": self.positions.tolist(),
            "residuals": self.residuals.tolist(),
            "precisions": self.precisions.tolist(),
            "median_px": _json_number(self.median_px),
            "p95_px": _json_number(self.p95_px),
            "bound_px": _json_number(self.bound_px),
            "median_interval_px": [_json_number(end) for end in self.median_interval_px],
            "p95_interval_px": [_json_number(end) for end in self.p95_interval_px],
            "coverage": self.coverage,
            "forward_backward_px": _json_number(self.forward_backward_px),
            "tiles": self.tiles,
            "level": self.verdict.level.name,
            "reasons": list(self.verdict.reasons),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Certificate":
        """Return the certificate that `to_dict` described."""
        return cls(
            positions=np.asarray(record["positions"], np.float64).reshape(-1, 2),
            residuals=np.asarray(record["residuals"], np.float64).reshape(-1, 2),
            precisions=np.asarray(record["precisions"], np.float64),
            median_px=_number(record["median_px"]),
            p95_px=_number(record["p95_px"]),
            bound_px=_number(record["bound_px"]),
            coverage=float(record["coverage"]),
            forward_backward_px=_number(record["forward_backward_px"]),
            verdict=Verdict(Level[record["level"]], tuple(record["reasons"])),
            median_interval_px=_interval(record["median_interval_px"]),
            p95_interval_px=_interval(record["p95_interval_px"]),
        )


def _json_number(value: float) -> float | None:
    """Return None for a number that JSON cannot hold (nothing was measured)."""
    return value if np.isfinite(value) else None


def _number(value: float | None) -> float:
    """Return infinity for a number that was not measured."""
    return float("inf") if value is None else float(value)


def _interval(ends: Sequence[float | None]) -> tuple[float, float]:
    """Return both ends of an interval, infinite where nothing was measured."""
    low, high = (_number(end) for end in ends)
    return low, high
