"""What looking at a finished slide costs: processor seconds per image and the peak of memory.

Usage: python benchmarks/viewer.py SAMPLE DYE [--output-dir processed] [--raw-dir raw]
"""

import argparse
import resource
import time

from exo2micro import SampleDye
from exo2micro.viewer.slide import Slide
from exo2micro.viewer.tiles import TILE_PX, Look, highest_level

SCREEN_PX = 1024
"""Longer side of the whole slide on the screen."""


def show_whole(slide: Slide, name: str) -> None:
    """Make all tiles of a picture of the whole slide."""
    highest = highest_level(slide.shape)
    factor = 1
    while max(slide.shape) > factor * SCREEN_PX:
        factor *= 2
    layer = slide.layers[name]
    look = Look(*layer.limits, layer.colours[0] if layer.colours else "")
    rows, cols = (-(-size // (factor * TILE_PX)) for size in slide.shape)
    for row in range(rows):
        for column in range(cols):
            slide.tile(name, highest - factor.bit_length() + 1, (column, row), look)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample")
    parser.add_argument("dye")
    parser.add_argument("--output-dir", default="processed")
    parser.add_argument("--raw-dir", default="raw")
    chosen = parser.parse_args()
    print(f"imports: {time.process_time():.2f} s")
    started = time.process_time()
    slide = Slide.of(SampleDye(chosen.sample, chosen.dye, chosen.output_dir, chosen.raw_dir))
    print(f"opening: {time.process_time() - started:.2f} s")
    for name in slide.layers:
        for what in ("whole slide, first look", "again"):
            started = time.process_time()
            show_whole(slide, name)
            print(f"{name}, {what}: {time.process_time() - started:.2f} s")
    started = time.process_time()
    slide.values(slide.shape[1] // 2, slide.shape[0] // 2)
    print(f"values of one pixel: {time.process_time() - started:.3f} s")
    print(f"peak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
