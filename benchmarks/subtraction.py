"""Error of the brightness scale and coverage of its interval on synthetic pairs with exact truth.

Run ``python benchmarks/subtraction.py --pairs 18`` for 18 pairs per case; prints Markdown.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro.raster.base import ArrayRaster
from exo2micro.stages.comparable import make_comparable
from exo2micro.subtraction.difference import QualitySources
from exo2micro.subtraction.scale import ScaleEstimate, estimate_scales
from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.synthetic.truth import Truth

PARAMS = {
    "scale_percentile": 50.0,
    "extra_estimators": "all",
}
COLUMNS = (
    "case",
    "pairs",
    "bias %",
    "rms %",
    "max %",
    "within 0.5 %",
    "covered %",
    "half-width %",
    "half-width <= 1 %",
    "CHECK %",
    "matched %",
    "left by the field %",
    "median rms %",
    "regression rms %",
    "least squares rms %",
)
BASE = PairSpec(shape=(440, 440), coverage=0.15, ratio=1.5)


@dataclass(frozen=True)
class Case:
    """A named kind of pair.

    Attributes
    ----------
    misregistration_px : float
        How far off its registration is, px.
    unit : float
        Value of a count; images of another unit than 1 are floats without a known limit.
    full_scale : float
        Limit of the camera in counts, where it is below that of the file.
    """

    name: str
    spec: PairSpec
    misregistration_px: float = 0.1
    unit: float = 1.0
    full_scale: float = np.inf


@dataclass(frozen=True)
class Outcome:
    """What was found on one pair.

    Attributes
    ----------
    truth : float
        The true scale.
    estimates : dict
        All estimates by label.
    role : str
        The image that was convolved to match the other's sharpness, ``none``, ``post``, ``pre``.
    left : float
        95 % quantile over the sample of the error of scale times field, relative.
    """

    truth: float
    estimates: dict[str, ScaleEstimate]
    role: str
    left: float


CASES = (
    *(Case(f"ratio {r:g}", replace(BASE, ratio=r)) for r in (0.5, 0.7, 1.0, 1.05, 1.8, 3.0, 4.0)),
    *(Case(f"16 bit, ratio {r:g}", replace(BASE, ratio=r, bits=16)) for r in (0.5, 1.0, 1.8, 4.0)),
    Case("no microbes", replace(BASE, coverage=0.0)),
    Case("5 % microbes", replace(BASE, coverage=0.05)),
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
    Case("saturated debris", replace(BASE, saturated_debris=8)),
    Case("lost piece, two pieces", replace(BASE, lost_piece=0.15, pieces=2)),
    Case(
        "lost piece, 16 bit, pedestals 140 and 100",
        replace(BASE, bits=16, ratio=2.4, pedestal=140, pre_pedestal=100, lost_piece=0.1),
    ),
    Case("0.3 px off", BASE, 0.3),
    Case("0.5 px off", BASE, 0.5),
    Case("16 bit, 0.5 px off", replace(BASE, bits=16), 0.5),
    Case("post blurred, 1.2 to 1.8 px", replace(BASE, post_psf_px=1.8)),
    Case("16 bit, post blurred, 1.2 to 1.8 px", replace(BASE, post_psf_px=1.8, bits=16)),
    Case("pre blurred, 1.2 to 1.8 px", replace(BASE, psf_px=1.8, post_psf_px=1.2)),
    Case("ratio varies by 20 %", replace(BASE, ratio_gradient=0.2)),
    Case("ratio varies by 20 %, 16 bit", replace(BASE, ratio_gradient=0.2, bits=16)),
    Case("ratio varies by 10 %, 16 bit", replace(BASE, ratio_gradient=0.1, bits=16)),
    Case("bleached by 10 %", replace(BASE, bleaching=0.1)),
    Case("floats 0 to 1", BASE, unit=1 / 255),
    Case("floats 0 to 1, pedestal 10", replace(BASE, pedestal=10.0), unit=1 / 255),
    Case("floats 0 to 1, 16 bit", replace(BASE, bits=16), unit=1 / 65535),
    Case("rock of 2 counts", replace(BASE, brightness=2.0, coverage=0.05)),
    Case("rock of 3 counts", replace(BASE, brightness=3.0, coverage=0.05)),
    Case("rock of 4 counts, ratio 4", replace(BASE, brightness=4.0, coverage=0.05, ratio=4.0)),
    Case("rock saturated in post", replace(BASE, brightness=60.0, coverage=0.05, ratio=4.0)),
    Case(
        "rock saturated in post, 12 bit",
        replace(BASE, bits=16, brightness=900.0, ratio=4.0, gain=1.5, read_noise=12.0),
        full_scale=4095.0,
    ),
)


def aligned(case: Case, seed: int) -> tuple[ArrayRaster, ArrayRaster, ArrayRaster, Truth]:
    """Return post, aligned pre, their overlap and the truth; the shift has a random direction."""
    rng = np.random.default_rng(seed)
    spec = replace(
        case.spec,
        seed=seed,
        rotation_deg=float(rng.uniform(-5, 5)),
        magnification=float(rng.uniform(0.98, 1.02)),
        shift_px=(float(rng.uniform(-10, 10)), float(rng.uniform(-10, 10))),
    )
    pair = make_pair(spec)
    limit = int(min(case.full_scale, spec.full_scale))
    post, pre = (np.clip(image.read_all(), 0, limit) for image in (pair.post, pair.pre))
    yy, xx = np.mgrid[: post.shape[0], : post.shape[1]]
    points = pair.truth.mapping(np.stack([xx.ravel(), yy.ravel()], axis=1).astype(np.float64))
    direction = rng.uniform(0, 2 * np.pi)
    points += case.misregistration_px * np.array([np.cos(direction), np.sin(direction)])
    where = points[:, ::-1].T.reshape(2, *post.shape)
    warped = ndimage.map_coordinates(pre.astype(np.float32), where, order=3, output=np.float32)
    last = np.array(pre.shape)[:, None, None] - 1
    inside = np.all((where >= 1) & (where <= last - 1), axis=0)
    warped[~inside] = 0
    if case.unit != 1.0:
        post, warped = (image * np.float32(case.unit) for image in (post, warped))
    return ArrayRaster(post), ArrayRaster(warped), ArrayRaster(inside), pair.truth


def measure(case: Case, seed: int) -> Outcome:
    """Return what is found on one pair, as stage 4 does it."""
    cv2.setNumThreads(1)
    post, pre, valid, truth = aligned(case, seed)
    limit = None if case.unit != 1.0 else float(min(case.full_scale, case.spec.full_scale))
    quality = QualitySources(valid=valid, saturation_post=limit, saturation_pre=limit)
    params = {"psf_match": "auto", "scale_field": "off"}
    pair = make_comparable(post, pre, quality, params, threads=1)
    estimates = estimate_scales(pair.sample, PARAMS)
    area, field = pair.sample.area, pair.sample.field
    expected = truth.ratio(np.stack([area.x, area.y], axis=1))
    found = estimates[""].scale * field.at(area.x, area.y)
    left = float(np.quantile(np.abs(found / expected - 1.0), 0.95))
    assert pair.match is not None
    return Outcome(truth.scale, estimates, pair.match.role, left)


def row(case: Case, results: list[Outcome]) -> str:
    """Return one line of the table."""

    def errors(label: str) -> NDArray[np.float64]:
        return np.array([100 * (r.estimates[label].scale / r.truth - 1) for r in results])

    def rms(values: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    found = [r.estimates[""] for r in results]
    error = errors("")
    half = np.array([100 * e.half_width for e in found])
    cells = [
        case.name,
        f"{len(results)}",
        f"{error.mean():+.2f}",
        f"{rms(error):.2f}",
        f"{np.abs(error).max():.2f}",
        f"{100 * np.mean(np.abs(error) <= 0.5):.0f}",
        f"{100 * np.mean(np.abs(error) <= half):.0f}",
        f"{np.median(half):.2f}",
        f"{100 * np.mean(half <= 1.0):.0f}",
        f"{100 * np.mean([e.verdict.level > 0 for e in found]):.0f}",
        f"{100 * np.mean([r.role != 'none' for r in results]):.0f}",
        f"{100 * np.median([r.left for r in results]):.2f}",
        *(f"{rms(errors(label)):.2f}" for label in list(results[0].estimates)[1:]),
    ]
    return f"| {' | '.join(cells)} |"


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
    total: list[Outcome] = []
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
