"""Calibration of the significance on clean background, on synthetic pairs with exact truth.

Run ``python benchmarks/significance.py --pixels 1e8`` for about that many clean pixels in all;
prints Markdown. Rock is made once per case, the camera's noise anew for every exposure; scale,
offset, gain and read noise are estimated anew from each pair of exposures. The registration is off
by as much as its stated error.
"""

import argparse
import math
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from astropy.io import fits

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster.base import ArrayRaster
from exo2micro.raster.fits import FitsWriter
from exo2micro.raster.stream import drain, feed, stream_bands
from exo2micro.stages.comparable import make_comparable
from exo2micro.stages.difference_planes import DifferenceSource, plane_specs
from exo2micro.stages.frames import QuantisedRaster
from exo2micro.subtraction.difference import DifferenceRaster, QualitySources
from exo2micro.subtraction.noise import CameraNoise, DifferenceNoise
from exo2micro.subtraction.noise_estimate import estimate_noise
from exo2micro.subtraction.scale import estimate_scales
from exo2micro.synthetic import PairSpec, make_pair
from exo2micro.synthetic.bodies import draw

SIDE = 1000
BASE = PairSpec(
    shape=(SIDE, SIDE), coverage=0.05, rotation_deg=2.5, magnification=1.02, shift_px=(12.3, -7.6)
)
NEAR_MICROBE_PX = 6
EDGE_FRACTION = 0.01
ONE_SIDED_5_SIGMA = 0.5 * math.erfc(5 / math.sqrt(2))


@dataclass(frozen=True)
class Case:
    """A named kind of pair, how far off its registration is, and which noise its camera has."""

    name: str
    spec: PairSpec
    error_px: float = 0.02
    is_poisson: bool = False
    scale_field: str = "off"


CASES = [
    *(Case(f"8 bit, ratio {r:g}", replace(BASE, ratio=r)) for r in (0.5, 1.0, 1.8, 4.0)),
    *(Case(f"16 bit, ratio {r:g}", replace(BASE, ratio=r, bits=16)) for r in (0.5, 1.0, 1.8, 4.0)),
    Case("15 % microbes", replace(BASE, ratio=1.8, coverage=0.15)),
    Case("16 bit, pedestals", replace(BASE, ratio=1.8, bits=16, pedestal=140, pre_pedestal=100)),
    Case("8 bit, equal pedestals", replace(BASE, ratio=1, pedestal=20, pre_pedestal=20)),
    Case(
        "16 bit, equal pedestals", replace(BASE, ratio=1, bits=16, pedestal=400, pre_pedestal=400)
    ),
    Case(
        "16 bit, pedestals that cancel",
        replace(BASE, ratio=1.8, bits=16, pedestal=720, pre_pedestal=400),
    ),
    Case("dim (a third)", replace(BASE, ratio=1.8, dim=0.3)),
    Case("low texture", replace(BASE, ratio=1.8, texture="low")),
    Case("no rotation", replace(BASE, ratio=1.8, rotation_deg=0, magnification=1)),
    Case("0.1 px off", replace(BASE, ratio=1.8), error_px=0.1),
    Case("Poisson, 10 e- per count", replace(BASE, ratio=1.8), is_poisson=True),
    Case(
        "Poisson, 1 e- per count, 20 counts",
        replace(BASE, ratio=1.0, brightness=20, gain=1.0, read_noise=1.0),
        is_poisson=True,
    ),
    *(
        Case(f"{bits} bit, {name}", replace(BASE, ratio=1.6, bits=bits, **changes), scale_field=how)
        for bits in (8, 16)
        for name, changes, how in (
            ("post blurrier (1.2, 1.8 px)", {"psf_px": 1.2, "post_psf_px": 1.8}, "off"),
            ("pre blurrier (1.8, 1.2 px)", {"psf_px": 1.8, "post_psf_px": 1.2}, "off"),
            ("ratio +-20 %, scale_field", {"ratio_gradient": 0.2}, "auto"),
        )
    ),
    *(
        Case(
            f"16 bit, ratio +-20 %, pedestals {post}/{pre}, scale_field",
            replace(BASE, ratio=r, bits=16, ratio_gradient=0.2, pedestal=post, pre_pedestal=pre),
            scale_field="auto",
        )
        for r, post, pre in ((1.8, 700, 120), (1.0, 400, 400))
    ),
]


@dataclass
class Tally:
    """Sums over clean pixels."""

    count: int = 0
    total: float = 0.0
    square: float = 0.0
    edge_count: int = 0
    edge_square: float = 0.0
    above: int = 0
    below: int = 0
    factors: list[float] = field(default_factory=list)

    def add(self, snr: np.ndarray, edge: np.ndarray) -> None:
        """Add the significance of clean pixels and which of them lie on steep edges."""
        values = snr.astype(np.float64)
        self.count += values.size
        self.total += values.sum()
        self.square += np.square(values).sum()
        self.edge_count += int(edge.sum())
        self.edge_square += np.square(values[edge]).sum()
        self.above += int((values > 5).sum())
        self.below += int((values < -5).sum())

    def __add__(self, other: "Tally") -> "Tally":
        names = ("count", "total", "square", "edge_count", "edge_square", "above", "below")
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Tally(**sums, factors=self.factors + other.factors)

    def row(self, name: str) -> str:
        """Return the Markdown row of a case."""
        mean = self.total / self.count
        spread = math.sqrt(self.square / self.count - mean**2)
        edge = math.sqrt(self.edge_square / max(1, self.edge_count))
        expected = self.count * ONE_SIDED_5_SIGMA
        cells = (
            f"{self.count / 1e6:.1f}",
            f"{mean:+.3f}",
            f"{spread:.3f}",
            f"{edge:.3f}",
            f"{self.above}",
            f"{self.below}",
            f"{expected:.1f}",
            f"{min(self.factors):.3f}-{max(self.factors):.3f}",
        )
        return f"| {name} | {' | '.join(cells)} |"


class Scene:
    """The light of a case, and what is clean in it."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.spec = replace(case.spec, seed=seed)
        truth = make_pair(self.spec).truth
        self.background = truth.background() - np.float32(self.spec.pedestal)
        microbes, _ = draw(truth.microbes, (0, 0), self.spec.shape)
        self.post = self.background + microbes
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
        points = np.stack([x.ravel(), y.ravel()], axis=1)
        self.pre = truth.pre_brightness(points).reshape(self.spec.shape)
        size = 2 * NEAR_MICROBE_PX + 1
        taken = (microbes > 1e-3 * self.spec.rock_brightness) | ~truth.overlap_mask()
        grown = cv2.dilate(taken.astype(np.uint8), np.ones((size, size), np.uint8))
        self.clean = grown == 0
        rows, cols = np.gradient(cv2.GaussianBlur(self.background, (0, 0), 0.7))
        slope = np.hypot(rows, cols)
        self.edge = slope > np.quantile(slope[self.clean], 1 - EDGE_FRACTION)
        angle = 2 * np.pi * (seed * 0.618 % 1)
        off = case.error_px * np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
        self.transform = Transform.from_matrix(truth.matrix) @ Transform.translation(*off)

    def expose(self, light: np.ndarray, pedestal: float, rng: np.random.Generator) -> ArrayRaster:
        """Return an image of the light with new noise."""
        gain, read_noise = self.spec.noise
        if self.case.is_poisson:
            counts = gain * rng.poisson(np.maximum(light, 0) / gain)
            counts = counts + rng.normal(0, read_noise, light.shape)
        else:
            spread = np.sqrt(gain * np.maximum(light, 0) + read_noise**2)
            counts = light + spread * rng.standard_normal(light.shape, np.float32)
        whole = np.clip(np.rint(counts + pedestal), 0, self.spec.full_scale)
        return ArrayRaster(whole.astype(np.uint8 if self.spec.bits == 8 else np.uint16))

    def measure(self, rng: np.random.Generator) -> Tally:
        """Return the calibration of one pair of exposures."""
        post = self.expose(self.post, self.spec.pedestal, rng)
        pre = self.expose(self.pre, self.spec.pre_pedestal, rng)
        warped = WarpedRaster(pre, self.transform, self.spec.shape)
        whole = (slice(0, SIDE), slice(0, SIDE))
        aligned = ArrayRaster(QuantisedRaster(warped).read(*whole))
        quality = QualitySources(
            valid=ArrayRaster(warped.read_validity(*whole)),
            saturation_post=self.spec.full_scale,
            saturation_pre=self.spec.full_scale,
        )
        params = {"psf_match": "auto", "scale_field": self.case.scale_field}
        pair = make_comparable(post, aligned, quality, params, threads=1)
        scale = next(iter(estimate_scales(pair.sample, {}).values()))
        start = DifferenceNoise(
            CameraNoise(0.0, 0.0, pedestal=pair.sample.pedestal.post),
            CameraNoise(0.0, 0.0, pedestal=pair.sample.pedestal.pre),
            scale_error=scale.half_width / 1.96,
            offset_error=pair.sample.pedestal.error,
            registration_px=self.case.error_px,
            post_factor=pair.post_noise_factor,
            sharpness_px2=pair.sharpness_error_px2,
        )
        factor = warped.read_noise_factor
        before = pair.unconvolved(post, aligned, scale.scale, factor)
        plain = pair.subtract(scale, factor)
        noise = estimate_noise(plain, start, unconvolved=before).noise
        planes = pair.subtract(scale, factor, noise).read_planes(*whole)
        good = self.clean & (planes["DQ"] == 0)
        tally = Tally(factors=[noise.factor])
        tally.add(planes["SNR"][good], self.edge[good])
        return tally


def measure_cost(side: int) -> None:
    """Print what writing a difference costs with and without error and significance."""
    scene = Scene(CASES[2], 1)
    rng = np.random.default_rng(1)
    repeat = -(-side // SIDE)
    post, pre = (
        ArrayRaster(np.tile(scene.expose(light, 0, rng).read_all(), (repeat, repeat)))
        for light in (scene.post, scene.pre)
    )
    warped = WarpedRaster(pre, Transform.from_matrix(scene.transform.matrix), post.shape)
    aligned = ArrayRaster(QuantisedRaster(warped).read_all())
    noise = DifferenceNoise(CameraNoise(0.1, 0.7), CameraNoise(0.1, 0.7), registration_px=0.02)
    sys.stdout.write(
        "| planes | processor s per Gpx | bytes per px | peak MB |\n|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, known in (("difference and DQ", None), ("all", noise)):
            raster = DifferenceRaster(
                post, aligned, scale=1.8, noise=known, resampling=warped.read_noise_factor
            )
            source, path = DifferenceSource(raster), Path(folder) / "difference.fits"
            specs = plane_specs(with_noise=known is not None)
            started = time.process_time()
            with FitsWriter(path, post.shape, raster.dtype, fits.Header(), specs) as writer:
                drain(feed(stream_bands(source, threads=2, encode=True), [writer]))
            seconds = (time.process_time() - started) / (post.shape[0] * post.shape[1]) * 1e9
            size = path.stat().st_size / (post.shape[0] * post.shape[1])
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            sys.stdout.write(f"| {name} | {seconds:.0f} | {size:.2f} | {peak:.0f} |\n")


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=float, default=1e8, help="clean pixels in all, about")
    parser.add_argument("--scenes", type=int, default=2, help="rocks per case")
    parser.add_argument("--only", default="", help="part of the name of the cases to run")
    parser.add_argument("--cost", type=int, default=0, help="side in px: only measure the cost")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.cost:
        measure_cost(options.cost)
        return
    cases = [case for case in CASES if options.only in case.name]
    write = sys.stdout.write
    write("| case | clean Mpx | mean | sd | sd on edges | > 5 | < -5 | Gaussian | factor |\n")
    write("|---|---|---|---|---|---|---|---|---|\n")
    everything = Tally()
    started = time.process_time()
    for number, case in enumerate(cases):
        tally = Tally()
        wanted = options.pixels / len(cases) / options.scenes
        for seed in range(1, options.scenes + 1):
            scene, rng = Scene(case, seed), np.random.default_rng([seed, number])
            part = Tally()
            while part.count < wanted:
                part += scene.measure(rng)
            tally += part
        everything += tally
        write(tally.row(case.name) + "\n")
        sys.stdout.flush()
    write(everything.row("all") + "\n")
    write(f"\n{time.process_time() - started:.0f} s of processor time\n")


if __name__ == "__main__":
    main()
