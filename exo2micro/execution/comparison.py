"""Running a pair with several settings, side by side: a table and a contact sheet."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exo2micro.config.options import unknown_name
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import Exo2microError, ParameterError
from exo2micro.execution.results import detections_of, pair_view
from exo2micro.execution.runner import StageRunner
from exo2micro.parameter import Value
from exo2micro.raster.paths import base_name
from exo2micro.raster.record import Record
from exo2micro.tables import Table

if TYPE_CHECKING:
    from exo2micro.plotting.contact_sheet import Tile

logger = logging.getLogger(__name__)

PICTURE = "comparison"
"""The contact sheet's name starts with this word; the names of the parameters follow."""

_DIFFERENCE_STAGE = 4
_SCALE_OF = {"scale_percentile": "percentile", "manual_scale": "manual"}
"""Parameter -> name of the scale, and of the difference, that it adds."""


class Comparison(Table):
    """The table of a comparison.

    Attributes
    ----------
    sheet : Path or None
        The contact sheet: a picture with the difference of each variant.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], title: str, sheet: Path | None) -> None:
        super().__init__(rows, title, f"contact sheet: {sheet}" if sheet else "")
        self.sheet = sheet


@dataclass(frozen=True)
class Variant:
    """One variant of a comparison.

    Attributes
    ----------
    changes : mapping
        The values that are special about it.
    result : mapping
        Result of its run; only the status where that failed.
    runner : StageRunner or None
        Its stages with their valid records; None where the run failed.
    """

    changes: Mapping[str, Value]
    result: Mapping[str, Any]
    runner: StageRunner | None

    @property
    def scale_name(self) -> str:
        """Name of the scale that its changes are about; empty for the pipeline's own."""
        named = [
            scale
            for parameter, scale in _SCALE_OF.items()
            if self.changes.get(parameter) is not None
        ]
        return named[-1] if named else ""

    @property
    def title(self) -> str:
        """What is special about it, in words."""
        return ", ".join(
            f"{n} {'off' if v is None else PARAMETER_REGISTRY[n].format(v)}"
            for n, v in self.changes.items()
        )

    def scale(self) -> Mapping[str, Any]:
        """Return the scale that its changes are about."""
        scales = self.result.get("scales") or [{}]
        return next((s for s in scales if s.get("name") == self.scale_name), scales[0])

    def record(self) -> Record | None:
        """Return the record of the difference that its changes are about."""
        runner = self.runner
        if runner is None or _DIFFERENCE_STAGE not in runner.stages:
            return None
        stage = runner.stages[_DIFFERENCE_STAGE]
        suffix = runner.request.suffix(stage)
        for name, label in stage.checkpoints(runner.request.params):
            if label.split("_")[0] == self.scale_name:
                base = base_name(_DIFFERENCE_STAGE, stage.stage_name, name, label)
                return runner.store.record(base, suffix)
        return runner.main_record(_DIFFERENCE_STAGE)

    def row(self) -> dict[str, Any]:
        """Return it as a row of the table."""
        certificate = self.result.get("certificate") or {}
        record, scale = self.record(), self.scale()
        statistics = record.metrics.get("statistics", {}) if record else {}
        return {
            **self.changes,
            "status": self.result["status"],
            "scale_estimate": scale.get("scale"),
            "scale_interval": scale.get("interval"),
            "residual_px": certificate.get("median_px"),
            "bound_px": certificate.get("bound_px"),
            "background_sigma": statistics.get("background_sigma"),
            "detections": self._detections(),
            "seconds": self.result.get("seconds"),
        }

    def _detections(self) -> int | None:
        """Return the number of objects found in the difference, None if it was not searched."""
        if self.runner is None:
            return None
        return detections_of(self.runner.store.paths, self.runner.main_record(_DIFFERENCE_STAGE))

    def tile(self) -> "Tile":
        """Return it as a tile of the contact sheet."""
        from exo2micro.plotting.contact_sheet import Tile, tile_picture

        record = self.record()
        picture = None
        if self.runner is not None and record is not None and record.files:
            raster = self.runner.store.open(record)
            picture = tile_picture(raster, pair_view(self.runner))
        return Tile(self.title, _text(self.row(), self.result), picture)


def compare_variants(
    run: Any,  # noqa: ANN401
    make: Callable[[Mapping[str, Value]], Any],
    grid: Mapping[str, Sequence[Any]],
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Comparison:
    """Run all combinations of values and return their table and contact sheet.

    Parameters
    ----------
    run : SampleDye
        The run that they are variants of.
    make : callable
        Returns a variant of it with some parameters changed.
    grid : mapping
        The values by parameter.
    progress : callable, optional
        Called with each row as it comes.

    Raises
    ------
    ParameterError
        For an unknown name or a value that is not allowed; nothing is run then.
    """
    for name, values in grid.items():
        if name not in PARAMETER_REGISTRY:
            raise ParameterError(unknown_name(name))
        if not len(values):
            msg = f"{name} has no values to compare; give at least one"
            raise ParameterError(msg)
    combinations = itertools.product(*grid.values())
    changes = [dict(zip(grid, values, strict=True)) for values in combinations]
    runs = [make(change) for change in changes]
    variants = []
    for change, other in zip(changes, runs, strict=True):
        variants.append(_variant(change, other))
        if progress is not None:
            progress(variants[-1].row())
    names = "_".join(grid)
    sheet = _sheet(run, variants, names)
    rows = [variant.row() for variant in variants]
    if all(row["detections"] is None for row in rows):
        for row in rows:
            del row["detections"]
    return Comparison(rows, f"{run.sample} / {run.dye}: {', '.join(grid)}", sheet)


def _variant(changes: Mapping[str, Any], run: Any) -> Variant:  # noqa: ANN401
    """Run one variant; an error ends this one only."""
    try:
        result = run.run()
    except Exo2microError as error:
        logger.warning("%s: %s", changes, error)
        return Variant(changes, {"status": f"error: {error}"}, None)
    runner = run._new_runner()
    runner.plan_all(runner.numbers(None), {})
    return Variant(changes, result, runner)


def _sheet(run: Any, variants: Sequence[Variant], names: str) -> Path | None:  # noqa: ANN401
    """Draw the contact sheet and return its path; None where no variant came to an end."""
    if all(variant.runner is None for variant in variants):
        return None
    from exo2micro.plotting.contact_sheet import plot_contact_sheet

    path: Path = run._check_path(f"{PICTURE}_{names}")
    tiles = [variant.tile() for variant in variants]
    plot_contact_sheet(
        tiles, kind=f"comparison of {names}", sample=run.sample, dye=run.dye, save_path=path
    )
    return path


def _text(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return the figures of a tile."""
    lines = [str(result.get("verdict") or row["status"])]
    if row["residual_px"] is not None:
        lines[0] += f", alignment {row['residual_px']:.2f} px"
    if row["scale_estimate"] is not None:
        low, high = row["scale_interval"]
        lines.append(f"scale {row['scale_estimate']:.4f} ({low:.4f} to {high:.4f})")
    if row["background_sigma"] is not None:
        lines.append(f"noise {row['background_sigma']:.2f}")
    if row["detections"] is not None:
        lines.append(f"{row['detections']} detections")
    lines[-1] += f", {row['seconds']:.1f} s" if row["seconds"] is not None else ""
    return "\n".join(lines)
