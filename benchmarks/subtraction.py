"""Error of the brightness scale and coverage of its interval on synthetic pairs with exact truth.

Run ``python benchmarks/subtraction.py --pairs 40`` for 40 pairs per case; prints Markdown.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from exo2micro.raster.base import ArrayRaster
from exo2micro.subtraction.sampling import PairSample, sample_pairs
from exo2micro.subtraction.scale import ScaleEstimate, estimate_scales
from exo2micro.synthetic import PairSpec, make_pair

PARAMS = {
    "scale_percentile": 50.0,
    "extra_estimators": "all",
}
COLUMNS = (
    "case",
    "bias %",
    "rms %",
    "max %",
    "within 0.5 %",
    "covered %",
    "half-width %",
    "CHECK %",
    "median rms %",
    "regression rms %",
    "least squares rms %",
)
BASE = PairSpec(shape=(600, 600), coverage=0.15, ratio=1.5)


@dataclass(frozen=True)
class Case:
    """A named kind of pair, and how far off its registration is, px."""

    name: str
    spec: PairSpec
    misregistration_px: float = 0.1


CASES = (
    *(Case(f"ratio {r:g}", replace(BASE, ratio=r)) for r in (0.5, 0.7, 1.0, 1.05, 1.8, 3.0, 4.0)),
    *(Case(f"16 bit, ratio {r:g}", replace(BASE, ratio=r, bits=16)) for r in (0.5, 1.0, 1.8, 4.0)),
    Case("no microbes", replace(BASE, coverage=0.0)),
    Case("faint microbes", replace(BASE, microbe_peak=0.15)),
    Case("pedestals 20 and 20", replace(BASE, pedestal=20.0, pre_pedestal=20.0)),
    Case("pedestals 10 and 0", replace(BASE, pedestal=10.0)),
    Case("pedestals 0 and 5", replace(BASE, pre_pedestal=5.0)),
    Case("pedestals 1 and 1", replace(BASE, pedestal=1.0, pre_pedestal=1.0)),
    Case("16 bit, pedestals 300 and 100", replace(BASE, bits=16, pedestal=300, pre_pedestal=100)),
    Case("fills the frame", replace(BASE, border=-0.3)),
    Case("fills the frame, pedestal 8", replace(BASE, border=-0.3, pedestal=8.0)),
    Case("low texture", replace(BASE, texture="low")),
    Case("dim by 2", replace(BASE, dim=0.5)),
    Case("ratio varies by 20 %", replace(BASE, ratio_gradient=0.2)),
    Case("ratio varies by 10 %, 16 bit", replace(BASE, ratio_gradient=0.1, bits=16)),
    Case("saturated debris", replace(BASE, saturated_debris=8)),
    Case("lost piece, two pieces", replace(BASE, lost_piece=0.15, pieces=2)),
    Case("0.3 px off", BASE, 0.3),
    Case("0.5 px off", BASE, 0.5),
    Case("post blurred, 1.2 to 1.8 px", replace(BASE, post_psf_px=1.8)),
    Case("bleached by 10 %", replace(BASE, bleaching=0.1)),
)


def aligned(case: Case, seed: int) -> tuple[ArrayRaster, ArrayRaster, ArrayRaster, PairSpec, float]:
    """Return post, aligned pre, their overlap, the spec and the true scale."""
    rng = np.random.default_rng(seed)
    spec = replace(
        case.spec,
        seed=seed,
        rotation_deg=float(rng.uniform(-5, 5)),
        magnification=float(rng.uniform(0.98, 1.02)),
        shift_px=(float(rng.uniform(-10, 10)), float(rng.uniform(-10, 10))),
    )
    pair = make_pair(spec)
    post, pre = pair.post.read_all(), pair.pre.read_all()
    yy, xx = np.mgrid[: post.shape[0], : post.shape[1]]
    points = pair.truth.mapping(np.stack([xx.ravel(), yy.ravel()], axis=1).astype(np.float64))
    points += rng.normal(0, case.misregistration_px, 2)
    where = points[:, ::-1].T.reshape(2, *post.shape)
    warped = ndimage.map_coordinates(pre.astype(np.float32), where, order=3, output=np.float32)
    limit = np.array(pre.shape)[:, None, None] - 1
    inside = np.all((where >= 1) & (where <= limit - 1), axis=0)
    warped[~inside] = 0
    return ArrayRaster(post), ArrayRaster(warped), ArrayRaster(inside), spec, pair.truth.scale


def measure(case: Case, seed: int) -> tuple[float, PairSample, dict[str, ScaleEstimate]]:
    """Return the true scale, the sample and all estimates of one pair."""
    cv2.setNumThreads(1)
    post, pre, valid, spec, truth = aligned(case, seed)
    sample = sample_pairs(post, pre, valid, saturation_pre=float(spec.full_scale))
    return truth, sample, estimate_scales(sample, PARAMS)


def row(case: Case, results: list[tuple[float, PairSample, dict[str, ScaleEstimate]]]) -> str:
    """Return one line of the table."""
    errors = np.array([100 * (found[""].scale / truth - 1) for truth, _, found in results])
    covered = [
        found[""].interval[0] <= truth <= found[""].interval[1] for truth, _, found in results
    ]
    width = np.median([100 * found[""].half_width for _, _, found in results])
    others = []
    for label in list(results[0][2])[1:]:
        values = np.array([100 * (found[label].scale / truth - 1) for truth, _, found in results])
        others.append(f"{np.sqrt(np.mean(values**2)):.2f}")
    check = np.mean([found[""].verdict.level > 0 for _, _, found in results])
    return (
        f"| {case.name} | {errors.mean():+.2f} | {np.sqrt(np.mean(errors**2)):.2f} | "
        f"{np.abs(errors).max():.2f} | {100 * np.mean(np.abs(errors) <= 0.5):.0f} | "
        f"{100 * np.mean(covered):.0f} | {width:.2f} | {100 * check:.0f} | "
        + " | ".join(others)
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="pairs per case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    start = time.perf_counter()
    total: list[tuple[float, PairSample, dict[str, ScaleEstimate]]] = []
    with ProcessPoolExecutor(options.workers) as pool:
        for number, case in enumerate(CASES):
            if options.only not in case.name:
                continue
            seeds = [options.first_seed + 1000 * number + k for k in range(options.pairs)]
            results = list(pool.map(measure, [case] * len(seeds), seeds))
            total += results
            print(row(case, results), flush=True)
    print(row(Case("all", BASE), total))
    print(f"\n{len(total)} pairs of {BASE.shape[0]} px in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
