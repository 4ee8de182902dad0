"""Time and memory of whole runs, beside plain reading and writing of the same bytes.

Usage: python benchmarks/pipeline.py [--shape 5000 6000] [--bits 8] [--keep FOLDER]
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

from exo2micro.synthetic import PairSpec, write_pair

RUN = """
import json, resource, sys, time
start = time.perf_counter()
from exo2micro import SampleDye
run = SampleDye("bench", "DAPI", output_dir=sys.argv[1], raw_dir=sys.argv[2])
events = []
result = run.run(progress=events.append)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
stages = {e.title: round(e.seconds, 2) for e in events if e.state == "done"}
keys = ("status", "scale_estimate", "scale_interval")
print(json.dumps({"seconds": time.perf_counter() - start, "peak": peak, "stages": stages,
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


def one_run(processed: Path, raw: Path) -> dict:
    command = [sys.executable, "-c", RUN, str(processed), str(raw)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=2, default=(5000, 6000), metavar=("NY", "NX"))
    parser.add_argument("--bits", type=int, default=8, choices=(8, 16))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    ny, nx = arguments.shape
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or Path(temporary)
        raw, processed = root / "raw", root / "processed"
        if not (raw / "bench").exists():
            spec = PairSpec(
                shape=(ny, nx),
                seed=5,
                rotation_deg=3.0,
                magnification=1.02,
                shift_px=(0.02 * nx, -0.015 * ny),
                bits=arguments.bits,
            )
            write_pair(spec, raw, "bench", "DAPI")
        first = one_run(processed, raw)
        again = one_run(processed, raw)
        io_seconds, size = plain_io(raw, processed, root / "scratch.bin")
    print(
        f"{nx} x {ny}, {arguments.bits} bit, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print("| what | figure |")
    print("|---|---|")
    print(f"| first run | {first['seconds']:.1f} s, peak {first['peak'] / 1e6:.0f} MB |")
    for title, seconds in first["stages"].items():
        print(f"| ... {title} | {seconds:.2f} s |")
    print(f"| run again, nothing changed | {again['seconds']:.2f} s |")
    print(f"| plain read of raw, fsynced write of {size / 1e6:.0f} MB | {io_seconds:.1f} s |")
    print(f"| status | {first['status']} |")
    print(f"| scale | {first['scale_estimate']} in {first['scale_interval']} |")
    print(f"| certificate, 95 % of residuals | {first['certificate_px']} px |")


if __name__ == "__main__":
    main()
