"""Measure the registration on synthetic pairs with exact truth.

Run ``python benchmarks/registration.py --help``. The table is Markdown, for ``RESULTS.md``.
"""

import argparse
import platform
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from exo2micro.alignment.functions import Alignment, align
from exo2micro.raster import ArrayRaster, Raster
from exo2micro.synthetic import PairSpec, make_pair, unrelated_pair
from exo2micro.synthetic.truth import Truth
from exo2micro.verdict import Level

# Magnifications, rotations and shifts (as parts of the image) that the seeds run through.
SEED_SHIFTS = ((0.01, -0.008), (-0.02, 0.015), (0.005, 0.02))


def cases(shape: tuple[int, int]) -> dict[str, PairSpec]:
    """Return the named cases for one image shape."""
    ny, nx = shape
    usual = PairSpec(shape=shape, rotation_deg=3.2, magnification=1.02, border=0.1)
    return {
        "identity": PairSpec(shape=shape),
        "shift": PairSpec(shape=shape, shift_px=(0.1 * nx, -0.07 * ny), border=0.2),
        "similarity": usual,
        "rotation 25, x1.1": replace(usual, rotation_deg=25, magnification=1.1, border=0.2),
        "rotation -19, x0.9": replace(usual, rotation_deg=-19, magnification=0.9),
        "shear": replace(usual, shear=0.02),
        "perspective": replace(usual, perspective=(0.01, -0.015)),
        "low texture": replace(usual, texture="low"),
        "smooth texture": replace(usual, texture="smooth"),
        "repeated texture": replace(usual, texture="repeated"),
        "dim": replace(usual, dim=0.2),
        "torn": replace(usual, lost_piece=0.35),
        "15 % microbes": replace(usual, coverage=0.15),
        "saturated debris": replace(usual, saturated_debris=60),
        "small border": replace(usual, border=0.01),
        "sample beyond the frame": replace(usual, border=-0.1),
        "touching the border": replace(usual, border=0.0),
        "other canvas": replace(usual, pre_shape=(int(ny * 1.1), int(nx * 0.95))),
        "ratio 4, gradient": replace(usual, ratio=4.0, ratio_gradient=0.2),
        "ratio 0.5, bleached": replace(usual, ratio=0.5, bleaching=0.3),
        "vignetting": replace(usual, vignetting=0.5),
        "16 bit": replace(usual, bits=16, pedestal=200, pre_pedestal=150),
        "blank half": replace(usual, blank_half=True),
        "two pieces": replace(usual, pieces=2),
        "other focus": replace(usual, post_psf_px=1.8),
        "deformation 8 px": replace(usual, deformation_px=8.0),
        "rotation 133": replace(usual, rotation_deg=133),
        "mirror": replace(usual, mirror=True),
    }


@dataclass(frozen=True)
class Outcome:
    """One case and seed, measured."""

    name: str
    seed: int
    error: tuple[float, float, float]
    alignment: Alignment
    seconds: float

    @property
    def row(self) -> str:
        """The outcome as one row of a Markdown table."""
        certificate = self.alignment.certificate
        median, p95, largest = self.error
        numbers = " | ".join(
            f"{value:.3f}"
            for value in (
                median,
                p95,
                largest,
                certificate.median_px,
                certificate.p95_px,
                certificate.bound_px,
            )
        )
        return (
            f"| {self.name} | {self.seed} | {numbers} | {certificate.tiles} "
            f"| {certificate.coverage:.2f} | {self.alignment.verdict.level.name} "
            f"| {self.seconds:.1f} |"
        )


HEADER = (
    "| case | seed | median | 95 % | max | cert. median | cert. 95 % | bound | tiles | coverage "
    "| verdict | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def true_error(alignment: Alignment, truth: Truth, shape: tuple[int, int]) -> tuple[float, ...]:
    """Return median, 95 % quantile and maximum of the error over the overlap, in pixels."""
    step = max(1, min(shape) // 200)
    overlap = np.concatenate(
        [
            truth.overlap_mask(slice(row, row + 1), slice(0, shape[1]))[:, ::step]
            for row in range(step // 2, shape[0], step)
        ]
    )
    rows, cols = np.nonzero(overlap)
    points = np.column_stack([cols * step, rows * step + step // 2]).astype(np.float64)
    error = np.hypot(*(alignment.transform(points) - truth.mapping(points)).T)
    return float(np.median(error)), float(np.quantile(error, 0.95)), float(error.max())


def in_memory(raster: Raster) -> Raster:
    """Return the raster as an array, so that generating pixels is not timed."""
    return ArrayRaster(raster.read_all())


def measure(name: str, spec: PairSpec, seed: int, threads: int) -> Outcome:
    """Align one pair and compare with the truth."""
    ny, nx = spec.shape
    if seed and spec.shift_px == (0.0, 0.0) and name != "identity":
        part = SEED_SHIFTS[seed % len(SEED_SHIFTS)]
        spec = replace(spec, shift_px=(part[0] * nx + 0.37, part[1] * ny - 0.21))
    pair = make_pair(replace(spec, seed=seed))
    post, pre = in_memory(pair.post), in_memory(pair.pre)
    start = time.perf_counter()
    alignment = align(post, pre, threads=threads)
    seconds = time.perf_counter() - start
    error = true_error(alignment, pair.truth, spec.shape)
    return Outcome(name, seed, (error[0], error[1], error[2]), alignment, seconds)


def measure_unrelated(shape: tuple[int, int], seed: int, threads: int) -> Outcome:
    """Align two images of different rocks; any alignment is wrong."""
    post, pre = unrelated_pair(PairSpec(shape=shape, seed=seed))
    start = time.perf_counter()
    alignment = align(in_memory(post), in_memory(pre), threads=threads)
    seconds = time.perf_counter() - start
    return Outcome("unrelated", seed, (np.inf, np.inf, np.inf), alignment, seconds)


def summary(outcomes: list[Outcome]) -> str:
    """Return what the goals of the design ask for, in lines of text."""
    real = [o for o in outcomes if np.isfinite(o.error[0])]
    covered = [o.alignment.certificate.bound_px >= o.error[1] for o in real]
    passed = [o.alignment.verdict.level is Level.PASS for o in real]
    wrong = [o for o in outcomes if o.error[1] > 2 and o.alignment.verdict.level is Level.PASS]
    tight = [
        o.alignment.certificate.bound_px <= max(3 * o.error[1], 0.3)
        for o, ok in zip(real, passed, strict=True)
        if ok
    ]
    lines = [
        f"- runs: {len(outcomes)}; PASS: {sum(passed)} of {len(real)} related pairs",
        f"- bound covers the true 95 % error: {np.mean(covered):.3f}",
        f"- of the PASS, bound <= max(3 x truth, 0.3 px): {np.mean(tight):.3f}",
        f"- wrong by more than 2 px and PASS: {len(wrong)}",
        f"- median of the median errors: {np.median([o.error[0] for o in real]):.4f} px",
        f"- with a deformation field: {sum(o.alignment.transform.field is not None for o in real)}",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=2, default=(2000, 2000), metavar=("NY", "NX"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    shape = (options.shape[0], options.shape[1])
    print(f"{platform.machine()}, {options.threads} threads, {shape[0]} x {shape[1]} px\n")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    print(HEADER)
    outcomes = []
    for name, spec in cases(shape).items():
        if options.cases and not any(part in name for part in options.cases):
            continue
        for seed in seeds:
            outcomes.append(measure(name, spec, seed, options.threads))
            print(outcomes[-1].row, flush=True)
            for reason in outcomes[-1].alignment.verdict.reasons:
                print(f"{name} {seed}: {reason}", file=sys.stderr, flush=True)
    if not options.cases or "unrelated" in options.cases:
        for seed in seeds:
            outcomes.append(measure_unrelated(shape, seed, options.threads))
            print(outcomes[-1].row, flush=True)
    print(f"\n{summary(outcomes)}")


if __name__ == "__main__":
    main()
