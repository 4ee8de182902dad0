"""Time and peak memory of all figures and of the report of a finished pair, written elsewhere.

usage: python benchmarks/figures.py SAMPLE DYE PROCESSED_FOLDER RAW_FOLDER
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from exo2micro import SampleDye
from exo2micro.execution.pictures import gallery_of
from exo2micro.execution.results import pair_view, result_of
from exo2micro.plotting.figure import figure_pixels, png_bytes
from exo2micro.report import pair as report


def row(what: str, start: tuple[float, float]) -> None:
    """Print a line of the table."""
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sys.stdout.write(f"| {what} | {wall:.2f} s | {cpu:.2f} s | {peak:.0f} MB |\n")
    sys.stdout.flush()


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main() -> None:
    sample, dye, processed, raw = sys.argv[1:]
    run = SampleDye(sample, dye, processed, raw)
    runner = run._new_runner()
    rows = runner.plan_all(runner.numbers(None), {})
    sys.stdout.write("| what | clock | processors | peak so far |\n|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as folder:
        view, gallery = pair_view(runner), gallery_of(runner, ())
        start = now()
        for picture in gallery.pictures():
            began = now()
            pixels = figure_pixels(picture.diagnostic.draw(view))
            Path(folder, f"{picture.diagnostic.name}.png").write_bytes(png_bytes(pixels))
            row(f"... {picture.diagnostic.name}", began)
        row("all figures", start)
        start = now()
        census = report.census_files(runner.store.paths, runner.main_records()[4])
        result = result_of(runner, rows, {})
        text, _ = report._small_enough(runner, gallery, result, Path(raw), census)
        Path(folder, "report.html").write_text(text, encoding="utf-8")
        row(f"report, {len(text.encode()) / 1e6:.1f} MB", start)


if __name__ == "__main__":
    main()
