"""Time and memory of whole runs, beside plain reading and writing of the same bytes.

Usage: python benchmarks/pipeline.py [--shape 5000 6000] [--bits 8] [--threads 2] [--keep FOLDER]

A whole slide is ``--shape 25000 30000``; it takes 14 GB in FOLDER and a quarter of an hour to make.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from exo2micro import SampleDye
from exo2micro.synthetic import PairSpec, make_pair, write_pair

RUN = """
import json, resource, sys, time
start = time.perf_counter()
from exo2micro import SampleDye
run = SampleDye("bench", "DAPI", sys.argv[1], sys.argv[2], threads=int(sys.argv[3]))
events = []
result = run.run(progress=events.append)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
stages = {e.title: round(e.seconds, 2) for e in events if e.state == "done"}
keys = ("status", "scale_estimate", "scale_interval")
print(json.dumps({"seconds": time.perf_counter() - start, "peak": peak, "stages": stages,
                  "cpu_seconds": time.process_time(),
                  "certificate_px": (result["certificate"] or {}).get("p95_px"),
                  **{k: result[k] for k in keys}}))
"""
COPY_BLOCK = 1 << 24


def plain_io(raw: Path, processed: Path, scratch: Path) -> tuple[float, int]:
    """Return the time to read the raw bytes and write as many bytes as the run left on disk."""
    outputs = [p for p in processed.rglob("*") if p.is_file()]
    blocks = sum(p.stat().st_blocks * 512 for p in outputs)
    start = time.perf_counter()
    for path in raw.rglob("*.tif"):
        with path.open("rb") as file:
            while file.read(COPY_BLOCK):
                pass
    with scratch.open("wb") as file:
        left = blocks
        block = os.urandom(COPY_BLOCK)
        while left > 0:
            file.write(block[: min(left, COPY_BLOCK)])
            left -= COPY_BLOCK
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    scratch.unlink()
    return seconds, blocks


def true_errors(processed: Path, raw: Path, spec: PairSpec) -> np.ndarray:
    """Return the alignment's error in pixels at points all over the post image."""
    run = SampleDye("bench", "DAPI", processed, raw)
    ny, nx = spec.shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, 60), np.linspace(0, ny - 1, 50))
    points = np.column_stack([x.ravel(), y.ravel()])
    pad = run.params["pad"]
    found = run.transform()(points + pad) - pad
    return np.hypot(*(found - make_pair(spec).truth.mapping(points)).T)


def one_run(processed: Path, raw: Path, threads: int) -> dict:
    command = [sys.executable, "-c", RUN, str(processed), str(raw), str(threads)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=2, default=(5000, 6000), metavar=("NY", "NX"))
    parser.add_argument("--bits", type=int, default=8, choices=(8, 16))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    ny, nx = arguments.shape
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        raw, processed = root / "raw", root / "processed"
        spec = PairSpec(
            shape=(ny, nx),
            seed=5,
            rotation_deg=3.0,
            magnification=1.02,
            shift_px=(0.02 * nx, -0.015 * ny),
            bits=arguments.bits,
        )
        if not (raw / "bench").exists():
            write_pair(spec, raw, "bench", "DAPI")
        first = one_run(processed, raw, arguments.threads)
        again = one_run(processed, raw, arguments.threads)
        errors = true_errors(processed, raw, spec)
        io_seconds, size = plain_io(raw, processed, root / "scratch.bin")
    print(
        f"{nx} x {ny}, {arguments.bits} bit, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print("| what | figure |")
    print("|---|---|")
    print(
        f"| first run | {first['seconds']:.1f} s ({first['cpu_seconds']:.1f} s of processors), "
        f"peak {first['peak'] / 1e6:.0f} MB |"
    )
    for title, seconds in first["stages"].items():
        print(f"| ... {title} | {seconds:.2f} s |")
    print(f"| run again, nothing changed | {again['seconds']:.2f} s |")
    print(f"| plain read of raw, fsynced write of {size / 1e6:.0f} MB | {io_seconds:.1f} s |")
    print(f"| status | {first['status']} |")
    print(f"| scale | {first['scale_estimate']} in {first['scale_interval']} |")
    print(f"| certificate, 95 % of the sample | {first['certificate_px']:.4f} px |")
    median, p95 = np.quantile(errors, (0.5, 0.95))
    print(f"| true error: median, 95 %, largest | {median:.4f}, {p95:.4f}, {errors.max():.4f} px |")


if __name__ == "__main__":
    main()
