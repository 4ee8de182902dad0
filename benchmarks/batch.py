"""Batches: speed-up by workers, overhead per task, memory over many tasks, a planning table.

Usage: python benchmarks/batch.py [--pairs 16] [--side 2000] [--small 200]
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from exo2micro import run_batch
from exo2micro.synthetic import PairSpec, write_pair

MACHINES = (1, 4, 16)
SLIDES = 1000


def make_pairs(raw: Path, count: int, side: int) -> None:
    for i in range(count):
        if not (raw / f"s{i:03d}").exists():
            spec = PairSpec(
                shape=(side, side), seed=i, rotation_deg=2.0, shift_px=(0.02 * side, 0.01 * side)
            )
            write_pair(spec, raw, f"s{i:03d}", "DAPI")


class MemoryWatch:
    """Resident memory of this process and of all its children, sampled in a thread."""

    def __enter__(self) -> "MemoryWatch":
        self.own: list[int] = []
        self.children: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.2):
            self.own.append(me.memory_info().rss)
            total = 0
            for child in me.children(recursive=True):
                try:
                    total = max(total, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            self.children.append(total)


def timed_batch(raw: Path, processed: Path, **how: object) -> float:
    start = time.perf_counter()
    results = run_batch(raw_dir=raw, output_dir=processed, force_run=True, **how)
    bad = [r["status"] for r in results if not r["status"].startswith("complete")]
    if bad:
        sys.exit(f"not complete: {bad}")
    return time.perf_counter() - start


def speed_up(root: Path, count: int, side: int) -> None:
    """Print the speed-up of two workers and the overhead per task."""
    raw = root / "raw"
    make_pairs(raw, count, side)
    (root / "exo2micro.toml").write_text("[output]\nthreads = 1\n")
    single = timed_batch(raw, root / "p1", parallel=True, n_workers=1)
    double = timed_batch(raw, root / "p2", parallel=True, n_workers=2)
    print(f"| {count} pairs of {side} px, 1 worker, 1 thread | {single:.1f} s |")
    print(f"| ... 2 workers, 1 thread each | {double:.1f} s, speed-up {single / double:.2f} |")
    again = timed_batch(raw, root / "p1", parallel="subprocess")
    print(f"| ... again, all valid: overhead per task | {again / count:.2f} s |")


def flat_memory(root: Path, count: int) -> None:
    """Print the memory of parent and children over many small tasks."""
    raw = root / "small"
    make_pairs(raw, count, 320)
    with MemoryWatch() as watch:
        seconds = timed_batch(raw, root / "ps", parallel=True, n_workers=2)
    quarter = max(1, len(watch.own) // 4)
    print(f"| {count} pairs of 320 px, 2 workers | {seconds:.0f} s |")
    for name, values in (("parent", watch.own), ("largest child", watch.children)):
        quarters = (values[i * quarter : (i + 1) * quarter] for i in range(4))
        peaks = ", ".join(f"{max(part) / 1e6:.0f}" for part in quarters)
        print(f"| ... {name}, peak of each quarter of the time | {peaks} MB |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--slide-seconds", type=float, help="measured time of one whole slide")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("| what | figure |")
    print("|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        speed_up(root, arguments.pairs, arguments.side)
        flat_memory(root, arguments.small)
    if arguments.slide_seconds:
        print(f"\n| {SLIDES} slides at {arguments.slide_seconds:.0f} s each, machines | days |")
        print("|---|---|")
        for machines in MACHINES:
            days = SLIDES * arguments.slide_seconds / machines / 86400
            print(f"| {machines} | {days:.1f} |")


if __name__ == "__main__":
    main()
