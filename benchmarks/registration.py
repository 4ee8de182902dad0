"""Measure the registration on synthetic pairs with exact truth.

    python benchmarks/registration.py --output figures.jsonl
    python benchmarks/registration.py --main --seeds 3 --pairs FOLDER --output main.jsonl
    python benchmarks/registration.py --interpolation
    python benchmarks/registration.py --coverage 200

Every pair is one JSON line in ``--output``; pairs that are there already are not measured again, so
that a run that was stopped goes on where it was. The tables are Markdown, for ``RESULTS.md``.
"""

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from bound_coverage import table as coverage_table
from interpolation import table as interpolation_table
from registration_cases import cases, main_cases, placed, rasters_on_disk, true_error

from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.coarse import CoarseSettings, coarse_align_overviews
from exo2micro.alignment.functions import as_doubt
from exo2micro.alignment.interior import InteriorSettings, refine_interior_overviews
from exo2micro.alignment.overview import make_overviews
from exo2micro.raster import ArrayRaster, Raster
from exo2micro.synthetic import PairSpec, make_pair, unrelated_pair
from exo2micro.synthetic.truth import Truth
from exo2micro.verdict import Verdict

WRONG_PX = 2.0
LOOSE_FACTOR, LOOSE_PX = 3.0, 0.3
ERROR_NAMES = ("median", "p95", "largest")


@dataclass(frozen=True)
class Bench:
    """What all pairs of one run share."""

    shape: tuple[int, int]
    threads: int
    folder: Path | None


def align_timed(post: Raster, pre: Raster, threads: int) -> tuple[Any, Certificate, dict[str, Any]]:
    """Run both stages and return transform, certificate and figures."""
    start = time.perf_counter()
    overviews = make_overviews(post, pre, threads)
    first = coarse_align_overviews(*overviews, CoarseSettings(), threads=threads)
    middle = time.perf_counter()
    second = refine_interior_overviews(
        *overviews, first.transform, InteriorSettings(), threads=threads
    )
    end = time.perf_counter()
    verdict = Verdict.worst([as_doubt(first.verdict), second.verdict])
    figures = {
        "coarse_s": middle - start,
        "interior_s": end - middle,
        "verdict": verdict.level.name,
        "reasons": list(verdict.reasons),
        "field": second.transform.field is not None,
    }
    return second.transform, second.certificate, figures


def measure(name: str, spec: PairSpec | None, seed: int, bench: Bench) -> dict[str, Any]:
    """Align one pair and compare with the truth; `spec` None is a pair of different rocks."""
    truth: Truth | None = None
    figures: dict[str, Any] = {"case": name, "seed": seed, "shape": list(bench.shape)}
    if spec is None:
        spec = PairSpec(shape=bench.shape, seed=seed)
        images = unrelated_pair(spec)
    else:
        spec = replace(placed(name, spec, seed), seed=seed)
        pair = make_pair(spec)
        truth, images = pair.truth, (pair.post, pair.pre)
    post: Raster
    pre: Raster
    if bench.folder is None:
        post, pre = (ArrayRaster(image.read_all()) for image in images)
    else:
        post, pre, figures["read_s"], figures["write_s"] = rasters_on_disk(
            name, spec, images, bench.folder
        )
    before = peak_memory_mb()
    transform, certificate, found = align_timed(post, pre, bench.threads)
    figures |= found | {"peak_mb": peak_memory_mb(), "peak_before_mb": before}
    error = (np.inf,) * 3 if truth is None else true_error(transform, truth, bench.shape)
    figures |= dict(zip(ERROR_NAMES, error, strict=True))
    return figures | {
        "cert_median": certificate.median_px,
        "cert_p95": certificate.p95_px,
        "bound": certificate.bound_px,
        "tiles": certificate.tiles,
        "coverage": certificate.coverage,
    }


def measure_apart(name: str, spec: PairSpec | None, seed: int, bench: Bench) -> dict[str, Any]:
    """Do what `measure` does, pairs on disk each in a process whose peak memory is its own."""
    if bench.folder is None:
        return measure(name, spec, seed, bench)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, spec, seed, bench).result()


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


HEADER = (
    "| case | seed | median | 95 % | max | cert. median | cert. 95 % | bound | tiles | coverage "
    "| verdict | coarse s | interior s |\n|" + "---|" * 13
)


def row(pair: dict[str, Any]) -> str:
    """Return one pair as a row of a Markdown table."""
    names = (*ERROR_NAMES, "cert_median", "cert_p95", "bound")
    numbers = " | ".join(f"{pair[name]:.3f}" for name in names)
    return (
        f"| {pair['case']} | {pair['seed']} | {numbers} | {pair['tiles']} "
        f"| {pair['coverage']:.2f} | {pair['verdict']} | {pair['coarse_s']:.1f} "
        f"| {pair['interior_s']:.1f} |"
    )


CASE_HEADER = (
    "| case | pairs | median | 95 % | max | bound | PASS | bound covers | tight | coarse s "
    "| interior s |\n|" + "---|" * 11
)


def case_row(pairs: list[dict[str, Any]]) -> str:
    """Return all pairs of one case as a row: middle of the medians, worst of the others."""
    middle = float(np.median([p["median"] for p in pairs]))
    worst = " | ".join(f"{max(p[name] for p in pairs):.3f}" for name in ("p95", "largest", "bound"))
    times = " | ".join(
        f"{np.median([p[n] for p in pairs]):.1f}" for n in ("coarse_s", "interior_s")
    )
    return (
        f"| {pairs[0]['case']} | {len(pairs)} | {middle:.3f} | {worst} "
        f"| {sum(p['verdict'] == 'PASS' for p in pairs)} | {sum(map(covers, pairs))} "
        f"| {sum(map(tight, pairs))} | {times} |"
    )


def covers(pair: dict[str, Any]) -> bool:
    """Tell whether the bound of the certificate covers the true 95 % error."""
    return bool(pair["bound"] >= pair["p95"])


def tight(pair: dict[str, Any]) -> bool:
    """Tell whether the bound is as tight as the goal asks for."""
    return bool(pair["bound"] <= max(LOOSE_FACTOR * pair["p95"], LOOSE_PX))


def summary(pairs: list[dict[str, Any]]) -> str:
    """Return what the goals of the design ask for, in lines of text."""
    real = [p for p in pairs if np.isfinite(p["median"])]
    levels = [p["verdict"] for p in real]
    wrong = [p for p in pairs if p["p95"] > WRONG_PX and p["verdict"] == "PASS"]
    counts = ", ".join(f"{level} {levels.count(level)}" for level in ("PASS", "CHECK", "FAIL"))
    unrelated = [p["verdict"] for p in pairs if not np.isfinite(p["median"])]
    lines = [
        f"- related pairs: {len(real)}; {counts}",
        f"- unrelated pairs: FAIL {unrelated.count('FAIL')} of {len(unrelated)}",
        f"- the bound covers the true 95 % error in {sum(map(covers, real))} of {len(real)}",
        f"- bound <= max(3 x truth, 0.3 px) in {sum(map(tight, real))} of {len(real)}",
        f"- wrong by more than {WRONG_PX:g} px and PASS: {len(wrong)}",
        f"- median of the median errors: {np.median([p['median'] for p in real]):.4f} px",
        f"- largest memory of the process: {max(p['peak_mb'] for p in pairs):.0f} MB",
    ]
    disk = [p for p in pairs if "read_s" in p]
    if disk:
        read, write = (np.median([p[n] for p in disk]) for n in ("read_s", "write_s"))
        lines.append(f"- plain reading of a pair {read:.2f} s, fsynced writing {write:.2f} s")
    return "\n".join(lines)


def stored(path: Path | None) -> list[dict[str, Any]]:
    """Return the pairs that a file holds already."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(bench: Bench, wanted: dict[str, PairSpec | None], seeds: range, path: Path | None) -> None:
    """Measure all pairs that are not stored yet and print the tables."""
    pairs = stored(path)
    done = {(p["case"], p["seed"], tuple(p["shape"])) for p in pairs}
    print("\n".join([HEADER, *map(row, pairs)]))
    for seed in seeds:
        for name, spec in wanted.items():
            if (name, seed, bench.shape) in done:
                continue
            pairs.append(measure_apart(name, spec, seed, bench))
            print(row(pairs[-1]), flush=True)
            if path is not None:
                with path.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(pairs[-1]) + "\n")
    print(f"\n{CASE_HEADER}")
    for name in dict.fromkeys(p["case"] for p in pairs):
        print(case_row([p for p in pairs if p["case"] == name]))
    print(f"\n{summary(pairs)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=2, metavar=("NY", "NX"))
    parser.add_argument("--seeds", type=int, help="pairs of each case (default 3, --main 1)")
    parser.add_argument("--first-seed", type=int, default=40)
    parser.add_argument("--cases", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--main", action="store_true", help="main cases, 6000 x 5000, from disk")
    parser.add_argument("--pairs", type=Path, help="keep the files of --main here for another run")
    parser.add_argument("--output", type=Path, help="JSON lines, one per pair; read to go on")
    parser.add_argument("--interpolation", action="store_true", help="compare interpolators")
    parser.add_argument("--coverage", type=int, metavar="TRIALS", help="simulate the bound")
    options = parser.parse_args()
    if options.coverage:
        print(coverage_table(options.coverage))
        return
    if options.interpolation:
        print(interpolation_table())
        return
    shape = tuple(options.shape or ((5000, 6000) if options.main else (2000, 2000)))
    wanted: dict[str, PairSpec | None] = dict((main_cases if options.main else cases)(shape))
    wanted["unrelated"] = None
    if options.cases:
        wanted = {n: s for n, s in wanted.items() if any(part in n for part in options.cases)}
    count = options.seeds or (1 if options.main else 3)
    seeds = range(options.first_seed, options.first_seed + count)
    print(f"{platform.machine()}, {options.threads} threads, {shape[0]} x {shape[1]} px\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.pairs or Path(temporary)) if options.main else None
        run(Bench(shape, options.threads, folder), wanted, seeds, options.output)


if __name__ == "__main__":
    main()
