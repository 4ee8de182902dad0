"""The detection limit of a pair: synthetic microbes into the raw image, and who is found again."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.census.files import write_table
from exo2micro.census.limit_result import LimitResult
from exo2micro.census.pairs import (
    detection_options,
    finished_runner,
    sample_region,
    valid_record,
)
from exo2micro.census.places import spread_places
from exo2micro.census.sample import SampleRegion
from exo2micro.detection import Detections, detect, open_difference
from exo2micro.detection.completeness import Completeness
from exo2micro.detection.injection import InjectedRaster
from exo2micro.errors import DetectionError, FailedVerdictError, ParameterError
from exo2micro.execution.machine import single_threaded_libraries
from exo2micro.execution.runner import StageRunner
from exo2micro.pipeline import SampleDye
from exo2micro.raster.checkpoint import CheckpointStore
from exo2micro.raster.paths import PairPaths
from exo2micro.raster.record import Record
from exo2micro.stages.base import StageOutput
from exo2micro.verdict import Level

FLUXES: Final = 10
SOURCES: Final = 80
"""Sources per flux: a fraction of one half is known to 11 %, the limits to 2-4 %."""

_DIFFERENCE: Final = 4
_POST: Final = (1, "post")

_RANGE: Final = (0.4, 3.0)
"""Fluxes relative to the one expected to be found half the time."""

_NEAR_PX: Final = 2.0
"""A source counts as found where an object lies this near, or one and a half of its widths."""

_LEAST_OBJECTS: Final = 20
_LEAST_PER_FLUX: Final = 10
_CLEAR_SNR: Final = 10.0
_SPACING_WIDTHS: Final = 14.0


def detection_limit(
    run: SampleDye,
    *,
    threshold: float | None = None,
    width_px: float | None = None,
    sigma_px: float | None = None,
    sources: int = SOURCES,
    seed: int = 0,
) -> LimitResult:
    """Measure what would have been found on a slide, by injecting synthetic microbes.

    Sources of ten fluxes are added to the raw post-stain image, spread over the sample away from
    its own objects and from each other; scale, subtraction and detection are done again with the
    alignment as it is. Table and figure are written to the pair's folder:
    ``detection_limit<suffix>.ecsv`` and ``pipeline_output/detection_limit<suffix>.png``.

    Parameters
    ----------
    run : SampleDye
        A pair that has been run with the parameters that it has now.
    threshold, width_px : float, optional
        As for `exo2micro.detect`; by default as the configuration of the run says.
    sigma_px : float, optional
        Width of the injected sources; by default that of the slide's own clear objects.
    sources : int, optional
        Sources per flux; fewer where the sample has no room.
    seed : int, optional
        Equal seeds give equal results.

    Raises
    ------
    CheckpointError
        If the pair has no valid difference.
    FailedVerdictError
        If its verdict is FAIL.
    DetectionError
        If the sample has no room for sources.
    """
    if sources < _LEAST_PER_FLUX:
        msg = f"sources must be a whole number >= {_LEAST_PER_FLUX}, got {sources}"
        raise ParameterError(msg)
    if sigma_px is not None and not 0.3 <= sigma_px <= 20:
        msg = f"sigma_px must be a number from 0.3 to 20, got {sigma_px}"
        raise ParameterError(msg)
    runner = finished_runner(run)
    _refuse_altered_post(runner)
    record = valid_record(runner, _DIFFERENCE)
    if record.verdict.level is Level.FAIL:
        msg = f"{run.sample}/{run.dye} failed ({record.verdict.reason}): it has no detection limit"
        raise FailedVerdictError(msg)
    options = detection_options(run, threshold, width_px)
    with run._lock.held():
        sample = sample_region(runner)
        path = runner.store.paths.image("fits", record.base, record.suffix)
        found = detect(open_difference(path), **options, region=sample, threads=run.threads)
        if found.facts.pixels == 0:
            msg = (
                f"{path}: all of the sample is masked (debris, or registration not certified), so "
                "that no limit can be measured; look at the plane DQ"
            )
            raise DetectionError(msg)
        sigma, sigma_source = (sigma_px, "given") if sigma_px else _measured_width(found)
        plan = _plan(sample, found, sigma, sources, seed)
        centres, scale = _detect_again(runner, plan, found, sample)
        change = scale / float(record.metrics["scales"][0]["scale"]) - 1
        return _written(_result(plan, found, centres, sigma_source, change), runner)


@dataclass(frozen=True)
class _Plan:
    """The sources to inject, canvas px, and the counts per electron of their light."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    sigma_px: float
    gain: float
    seed: int


def _refuse_altered_post(runner: StageRunner) -> None:
    """Raise DetectionError if injected sources would miss an extra stage on their way."""
    used = runner.source(runner.stages[_DIFFERENCE], _POST)
    if used is not runner.records[_POST]:
        msg = (
            "an extra stage alters the post-stain image before the difference, and injected "
            "sources would not pass through it; measure the limit without that stage"
        )
        raise DetectionError(msg)


def _measured_width(found: Detections) -> tuple[float, str]:
    """Return the width of the slide's own clear and round objects, else that of the filter."""
    columns = found.columns
    clear = (columns["flags"] == 0) & (columns["snr"] > _CLEAR_SNR) & (columns["ellipticity"] < 0.3)
    if np.count_nonzero(clear) < _LEAST_OBJECTS:
        return found.facts.width_px, "width of the filter, since the slide shows too few objects"
    width = np.median(np.sqrt(columns["semi_major_px"] * columns["semi_minor_px"])[clear])
    return float(width), f"median of {np.count_nonzero(clear)} clear objects of the slide"


def _plan(sample: SampleRegion, found: Detections, sigma: float, sources: int, seed: int) -> _Plan:
    """Choose places and fluxes of the sources."""
    difference = found.difference
    spacing = _SPACING_WIDTHS * max(sigma, found.facts.width_px)
    places, noise = spread_places(
        difference, sample, found.columns, spacing, seed, FLUXES * sources
    )
    each = len(places) // FLUXES
    if each < _LEAST_PER_FLUX:
        msg = (
            f"{difference.name}: the sample has room for {len(places)} sources of {sigma:.2f} px "
            f"besides its own objects, {FLUXES * _LEAST_PER_FLUX} are needed; it is too small or "
            "too crowded for a limit, or take a smaller sigma_px"
        )
        raise DetectionError(msg)
    places = places[: each * FLUXES]
    width = found.facts.width_px
    per_flux = width / (np.sqrt(np.pi) * (width**2 + sigma**2)) / found.facts.noise_factor
    half = found.facts.threshold * noise / per_flux
    steps = half * np.geomspace(*_RANGE, FLUXES)
    return _Plan(places[:, 0], places[:, 1], np.tile(steps, each), sigma, difference.gain, seed)


def _detect_again(
    runner: StageRunner, plan: _Plan, found: Detections, sample: SampleRegion
) -> tuple[Points, float]:
    """Scale, subtract and detect with the sources in the image; return centres and scale."""
    stage, upstream = runner.stages[_DIFFERENCE], runner.main_records()
    upstream = {n: record for n, record in upstream.items() if n < _DIFFERENCE}
    inputs = runner._stage_inputs(stage, upstream)
    injected = InjectedRaster(
        inputs.rasters[_POST],
        plan.x,
        plan.y,
        plan.flux,
        sigma_px=plan.sigma_px,
        gain=plan.gain,
        top=valid_record(runner, _DIFFERENCE).facts["saturation"]["post"],
        seed=plan.seed,
    )
    inputs = replace(inputs, rasters={**inputs.rasters, _POST: injected})
    with single_threaded_libraries():
        output = stage.process(inputs)
    facts = found.facts
    with tempfile.TemporaryDirectory(dir=runner.store.paths.folder, prefix=".limit-") as name:
        path = _write_difference(runner, output, upstream, Path(name))
        columns = detect(
            open_difference(path, accept_failed=True),
            threshold=facts.threshold,
            width_px=facts.width_px,
            region=sample,
            threads=runner.threads,
        ).columns
        centres = np.stack([columns["x"], columns["y"]], axis=1)
    return centres, float(output.metrics["scales"][0]["scale"])


def _write_difference(
    runner: StageRunner,
    output: StageOutput,
    upstream: Mapping[int, Record],
    folder: Path,
) -> Path:
    """Write the main difference of an output where it disturbs nobody, and return its path."""
    product, stage = output.products[0], runner.stages[_DIFFERENCE]
    paths = runner.store.paths
    store = CheckpointStore(PairPaths(folder, paths.sample, paths.dye))
    record = runner.describe(stage, output, upstream, product.name, product.label)
    written = store.write(record, product, ("fits",), threads=runner.threads)
    return store.paths.image("fits", written.base, written.suffix)


def _result(
    plan: _Plan, found: Detections, centres: Points, sigma_source: str, scale_change: float
) -> LimitResult:
    """Compare the sources with what was found."""
    from scipy.spatial import cKDTree

    reach = max(_NEAR_PX, 1.5 * plan.sigma_px)
    is_found = np.zeros(plan.x.size, np.bool_)
    if len(centres):
        tree = cKDTree(centres)
        distance, _ = tree.query(np.stack([plan.x, plan.y], axis=1), distance_upper_bound=reach)
        is_found = np.isfinite(distance)
    flux, which = np.unique(plan.flux, return_inverse=True)
    completeness = Completeness(
        flux,
        np.bincount(which).astype(np.int64),
        np.bincount(which, is_found).astype(np.int64),
    )
    half, ninety = completeness.limits((0.5, 0.9), plan.seed)
    return LimitResult(
        completeness,
        (half, ninety),
        found,
        plan.sigma_px,
        sigma_source,
        plan.gain,
        scale_change=scale_change,
        seed=plan.seed,
    )


def _written(result: LimitResult, runner: StageRunner) -> LimitResult:
    """Write table and figure, and return the result with their paths."""
    from exo2micro.plotting.limit_curve import plot_limit_curve

    paths, suffix = runner.store.paths, runner.request.suffix_at(_DIFFERENCE)
    table_path = paths.folder / f"{paths.stem('detection_limit', suffix)}.ecsv"
    figure_path = paths.picture("detection_limit", suffix)
    write_table(result.table(), table_path)
    plot_limit_curve(
        result.completeness,
        result.limits,
        sample=paths.sample,
        dye=paths.dye,
        save_path=figure_path,
    )
    return replace(result, table_path=table_path, figure_path=figure_path)
