"""Detection against exact truth, beside an oracle and the hand-written recipe; and its limits.

Run ``python benchmarks/detection.py --pairs 3``; prints Markdown. The oracle is the same detection
on a difference made with the true alignment, scale and noise.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import measure, morphology

from exo2micro import SampleDye
from exo2micro.census import detection_limit
from exo2micro.detection import Detections, Difference, detect, open_difference
from exo2micro.detection.completeness import Completeness
from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.windows import row_bands
from exo2micro.synthetic import PairSpec, SyntheticPair, make_pair, write_pair

PAD = 200
BASE = PairSpec(
    shape=(1000, 1000), rotation_deg=2.0, magnification=1.01, shift_px=(12.0, -7.0), ratio=1.8
)
CASES = {
    "bright": replace(BASE, microbe_peak=0.8, coverage=0.01),
    "faint": replace(BASE, microbe_peak=0.25, coverage=0.01),
    "crowded": replace(BASE, microbe_peak=0.8, coverage=0.10),
    "faint and crowded": replace(BASE, microbe_peak=0.25, coverage=0.10),
    "16 bit": replace(BASE, bits=16, coverage=0.02),
    "bright rock": replace(BASE, ratio=1.0, brightness=80.0, coverage=0.01, microbe_peak=0.5),
}


@dataclass(frozen=True)
class Score:
    """Objects matched one to one, found and true."""

    matched: int
    found: int
    true: int

    @property
    def purity(self) -> float:
        """Part of what was found that is true."""
        return self.matched / max(self.found, 1)

    @property
    def completeness(self) -> float:
        """Part of what is true that was found."""
        return self.matched / max(self.true, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.matched / max(self.found + self.true, 1)

    def __add__(self, other: "Score") -> "Score":
        return Score(self.matched + other.matched, self.found + other.found, self.true + other.true)


NOTHING = Score(0, 0, 0)


def in_overlap(
    pair: SyntheticPair, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which points of the post image lie on rock that both images show."""
    mask = pair.truth.overlap_mask()
    row, col = np.rint(y).astype(int), np.rint(x).astype(int)
    inside = (row >= 0) & (col >= 0) & (row < mask.shape[0]) & (col < mask.shape[1])
    inside[inside] = mask[row[inside], col[inside]]
    return inside


def match(
    pair: SyntheticPair, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[Score, NDArray[np.intp], NDArray[np.intp]]:
    """Match found centres with microbes one to one, the nearest first, within 3 px; rods more."""
    microbes = pair.truth.microbes
    microbes = np.flatnonzero(in_overlap(pair, microbes["x"], microbes["y"]))
    bodies = pair.truth.microbes[microbes]
    found = np.flatnonzero(in_overlap(pair, x, y))
    if found.size == 0 or bodies.size == 0:
        return Score(0, found.size, bodies.size), found[:0], microbes[:0]
    tree = cKDTree(np.stack([bodies["x"], bodies["y"]], axis=1))
    points = np.stack([x[found], y[found]], axis=1)
    distance, body = tree.query(points, k=min(6, bodies.size), distance_upper_bound=12)
    rows = np.repeat(np.arange(found.size), distance.shape[1])
    distance, body = distance.ravel(), body.ravel()
    near = np.isfinite(distance)
    near[near] = distance[near] <= 3 + bodies["length"][body[near]] / 4
    pairs = sorted(zip(distance[near], rows[near], body[near], strict=True))
    free_found, free_body = np.ones(found.size, bool), np.ones(bodies.size, bool)
    one, two = [], []
    for _, i, j in pairs:
        if free_found[i] and free_body[j]:
            free_found[i] = free_body[j] = False
            one.append(found[i])
            two.append(microbes[j])
    return Score(len(one), found.size, bodies.size), np.array(one, int), np.array(two, int)


def oracle_difference(pair: SyntheticPair) -> Difference:
    """Return the difference with the true alignment, scale and noise."""
    spec = pair.spec
    post, pre = pair.post.read_all().astype(np.float32), pair.pre.read_all().astype(np.float32)
    yy, xx = np.mgrid[: post.shape[0], : post.shape[1]]
    points = pair.truth.mapping(np.stack([xx.ravel(), yy.ravel()], axis=1).astype(np.float64))
    where = points[:, ::-1].T.reshape(2, *post.shape)
    aligned = ndimage.map_coordinates(pre, where, order=3, output=np.float32)
    variance = ndimage.map_coordinates(pair.pre.variance(), where, order=1) + 1 / 12
    limit = np.array(pre.shape)[:, None, None] - 1
    inside = np.all((where >= 1) & (where <= limit - 1), axis=0)
    ratio = pair.truth.ratio(np.stack([xx.ravel(), yy.ravel()], axis=1)).reshape(post.shape)
    difference = post - spec.pedestal - ratio * (aligned - spec.pre_pedestal)
    noise = np.sqrt(pair.post.variance() + 1 / 12 + ratio**2 * variance)
    quality = np.where(inside, 0, 1).astype(np.uint8)
    planes = (difference.astype(np.float32), noise.astype(np.float32), quality)
    return Difference(*(ArrayRaster(plane) for plane in planes), gain=pair.truth.gain)


def run_pair(spec: PairSpec, root: Path) -> Path:
    """Run the whole pipeline on a pair and return its difference."""
    write_pair(spec, root / "raw", "S", "D")
    run = SampleDye("S", "D", root / "processed", root / "raw", threads=1, params={"pad": PAD})
    result = run.run()
    if result["difference"] is None:
        raise SystemExit(f"{spec}: {result['status']}")
    return Path(result["difference"]["fits"])


def recipe(path: Path) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]:
    """Return the centres (x, y) and the mask that the hand-written snippet finds."""
    diff = fits.getdata(path).astype(np.float32)
    mask = diff > 5 * diff[diff != 0].std()
    mask = morphology.remove_small_objects(mask, max_size=19)
    places = np.array([p.centroid for p in measure.regionprops(measure.label(mask))])
    y, x = places.reshape(-1, 2).T
    return (x - PAD, y - PAD), mask[PAD:-PAD, PAD:-PAD]


def centres(found: Detections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres in raw post pixels."""
    x, y = found.difference.offset
    return found.columns["x"] - x, found.columns["y"] - y


def footprint_f1(pair: SyntheticPair, mask: NDArray[np.bool_]) -> float:
    """Return the F1 of pixels against those where a microbe has a fifth of its peak."""
    on_rock = pair.truth.overlap_mask()
    true, found = pair.truth.microbe_mask() & on_rock, mask & on_rock
    return 2 * np.count_nonzero(true & found) / max(int(true.sum() + found.sum()), 1)


def accuracy(pairs: int, first_seed: int) -> None:
    """Print F1, completeness and purity of recipe, pipeline and oracle."""
    print(
        "| case | microbes | recipe F1 | F1 | completeness | purity | oracle F1 "
        "| oracle completeness | oracle purity | F1 of oracle's | pixel F1: recipe, ours, oracle |"
    )
    print("|---" * 11 + "|")
    for name, case in CASES.items():
        scores = dict.fromkeys(("recipe", "ours", "oracle"), NOTHING)
        pixels: dict[str, list[float]] = {kind: [] for kind in scores}
        for number in range(pairs):
            spec = replace(case, seed=first_seed + number)
            for kind, score, pixel in compared(spec):
                scores[kind] += score
                pixels[kind].append(pixel)
        ours, oracle = scores["ours"], scores["oracle"]
        print(
            f"| {name} | {ours.true} | {scores['recipe'].f1:.3f} | {ours.f1:.3f} | "
            f"{ours.completeness:.3f} | {ours.purity:.3f} | {oracle.f1:.3f} | "
            f"{oracle.completeness:.3f} | {oracle.purity:.3f} | {ours.f1 / oracle.f1:.3f} | "
            + ", ".join(f"{np.mean(values):.3f}" for values in pixels.values())
            + " |",
            flush=True,
        )


def compared(spec: PairSpec) -> list[tuple[str, Score, float]]:
    """Return score and pixel F1 of recipe, pipeline and oracle on one pair."""
    pair = make_pair(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = run_pair(spec, Path(folder))
        by_recipe, mask = recipe(path)
        scratch = Path(folder)
        found = detect(open_difference(path), scratch=scratch)
        best = detect(oracle_difference(pair), scratch=scratch)
        rows = [("recipe", match(pair, *by_recipe)[0], footprint_f1(pair, mask))]
        for name, result in (("ours", found), ("oracle", best)):
            score, ours, true = match(pair, *centres(result))
            PULLS.setdefault(name, []).append(pulls(pair, result, ours, true))
            labels = raw_window(result.labels.read_all(), result.difference, spec)
            rows.append((name, score, footprint_f1(pair, labels > 0)))
    return rows


PULLS: dict[str, list[NDArray[np.float64]]] = {}
"""Rows of (significance, flux / truth, pull) of isolated objects, by kind of difference."""


def pulls(
    pair: SyntheticPair, found: Detections, ours: NDArray[np.intp], true: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return significance, relative flux and pull of objects that no other microbe touches."""
    bodies = pair.truth.microbes
    tree = cKDTree(np.stack([bodies["x"], bodies["y"]], axis=1))
    nearest = tree.query(tree.data[true], k=2)[0][:, 1]
    alone = (nearest > 14 + bodies["length"][true]) & (found.columns["flags"][ours] == 0)
    columns = {name: found.columns[name][ours][alone] for name in ("snr", "flux", "flux_err")}
    flux = bodies["flux"][true][alone]
    pull = (columns["flux"] - flux) / columns["flux_err"]
    return np.stack([columns["snr"], columns["flux"] / flux, pull], axis=1)


def raw_window(
    image: NDArray[np.generic], difference: Difference, spec: PairSpec
) -> NDArray[np.generic]:
    """Return the part of a canvas that the raw post image covers."""
    x, y = map(int, difference.offset)
    return image[y : y + spec.shape[0], x : x + spec.shape[1]]


def fluxes() -> None:
    """Print bias and pull of the isolated objects met so far."""
    print("\n| difference | snr | objects | flux / truth | pull: mean | pull: scatter |")
    print("|---" * 6 + "|")
    for name, rows in PULLS.items():
        table = np.concatenate(rows)
        for low, high in ((5, 10), (10, 30), (30, 1e9)):
            _, ratio, pull = table[(table[:, 0] >= low) & (table[:, 0] < high)].T
            spread = 0.7413 * np.subtract(*np.percentile(pull, (75, 25)))
            print(
                f"| {name} | {low} to {high:g} | {ratio.size} | {np.median(ratio):.3f} | "
                f"{np.mean(pull):+.2f} | {spread:.2f} |",
                flush=True,
            )


def false_objects(pairs: int, first_seed: int) -> None:
    """Print false objects of pairs without microbes against those expected of noise."""
    thresholds = (3.5, 4.0, 4.5, 5.0)
    print(
        "\n| case | threshold | pixels of rock | expected | found, all false "
        "| in the negative image | found / expected |"
    )
    print("|---" * 7 + "|")
    for name in ("bright", "16 bit", "bright rock"):
        counts = np.zeros((len(thresholds), 4))
        for number in range(pairs):
            spec = replace(CASES[name], coverage=0.0, seed=first_seed + number)
            rock = ArrayRaster(np.pad(make_pair(spec).truth.overlap_mask(), PAD))
            with tempfile.TemporaryDirectory() as folder:
                difference = open_difference(run_pair(spec, Path(folder)))
                for row, threshold in enumerate(thresholds):
                    found = detect(difference, threshold=threshold, region=rock)
                    facts = found.facts
                    counts[row] += facts.pixels, facts.expected_false, found.count, facts.negatives
        for threshold, row in zip(thresholds, counts, strict=True):
            ratio, error = row[2] / row[1], np.sqrt(max(row[2], 1)) / row[1]
            print(
                f"| {name} | {threshold:g} | {row[0]:.3g} | {row[1]:.1f} | {row[2]:.0f} | "
                f"{row[3]:.0f} | {ratio:.2f} +- {error:.2f} |",
                flush=True,
            )


def limits(pairs: int, first_seed: int) -> None:
    """Print limits from injection beside those of the microbes that are really there."""
    print("\n| seed | sigma px | 50 % limit | 90 % limit | true 50 % | true 90 % | microbes |")
    print("|---" * 7 + "|")
    for number in range(pairs):
        spec = replace(BASE, coverage=0.006, microbe_peak=0.12, seed=first_seed + number)
        with tempfile.TemporaryDirectory() as name:
            run_pair(spec, Path(name))
            run = SampleDye("S", "D", f"{name}/processed", f"{name}/raw", params={"pad": PAD})
            result = detection_limit(run)
            true = true_completeness(make_pair(spec), result.found, result.sigma_px)
        texts = [f"{v.flux:.0f} ({v.interval[0]:.0f}-{v.interval[1]:.0f})" for v in result.limits]
        texts += [
            f"{v.flux:.0f} ({v.interval[0]:.0f}-{v.interval[1]:.0f})" if v.flux else "none"
            for v in true.limits((0.5, 0.9))
        ]
        print(
            f"| {spec.seed} | {result.sigma_px:.2f} | {' | '.join(texts)} | {true.flux.size} |",
            flush=True,
        )


def true_completeness(pair: SyntheticPair, found: Detections, sigma: float) -> Completeness:
    """Return which isolated round microbes of about one width were found, one row each."""
    bodies = pair.truth.microbes
    tree = cKDTree(np.stack([bodies["x"], bodies["y"]], axis=1))
    nearest = tree.query(tree.data, k=2)[0][:, 1]
    chosen = (bodies["length"] == 0) & (np.abs(bodies["sigma"] / sigma - 1) < 0.2) & (nearest > 14)
    chosen &= in_overlap(pair, bodies["x"], bodies["y"])
    points = np.stack(centres(found), axis=1)
    distance = cKDTree(points).query(tree.data[chosen])[0]
    order = np.argsort(bodies["flux"][chosen])
    ones = np.ones(order.size, np.int64)
    return Completeness(
        bodies["flux"][chosen][order], ones, (distance[order] < 2.5).astype(np.int64)
    )


def cost(side: int) -> None:
    """Print time and memory of detection alone on noise with microbes, file reading included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "difference.fits"
        write_noise(path, side)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, spent = time.perf_counter(), time.process_time()
        found = detect(open_difference(path), scratch=Path(folder))
        spent = time.process_time() - spent
        print(
            f"\n{side} x {side} px, {len(found)} objects: {spent:.1f} s of CPU "
            f"({time.perf_counter() - started:.1f} s wall), peak "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB "
            f"({before / 1024:.0f} MB before)"
        )


def write_noise(path: Path, side: int) -> None:
    """Write noise with a microbe on every 2500 pixels, band by band."""
    rng = np.random.default_rng(0)
    header = fits.Header(
        {"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side}
    )
    stream = fits.StreamingHDU(path, header)
    for rows in row_bands(side, 400):
        data = rng.normal(0, 3, (rows.stop - rows.start, side)).astype(">f4")
        for _ in range(data.size // 2500):
            row, col = rng.integers(4, data.shape[0] - 4), rng.integers(4, side - 4)
            data[row - 1 : row + 2, col - 1 : col + 2] += 40
        stream.write(data)
    stream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2, help="pairs per case")
    parser.add_argument("--first-seed", type=int, default=7000)
    parser.add_argument("--only", default="", help="accuracy, false, limits or cost")
    parser.add_argument("--side", type=int, default=6000, help="image side for the cost, px")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.only in ("", "accuracy"):
        accuracy(options.pairs, options.first_seed)
        fluxes()
    if options.only in ("", "false"):
        false_objects(options.pairs, options.first_seed)
    if options.only in ("", "limits"):
        limits(options.pairs, options.first_seed)
    if options.only in ("", "cost"):
        cost(options.side)


if __name__ == "__main__":
    main()
