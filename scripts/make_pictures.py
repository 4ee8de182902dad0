"""Draw the pictures of the README and of the documentation from the results of the demonstration.

usage: python scripts/make_pictures.py [DEMO_FOLDER]      after `exo2micro demo`

Run by hand, and its output committed, when figures or reports look different. The pictures of the
pages need Chromium (scripts/browser.sh) and Playwright.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from exo2micro import SampleDye, detect_pair, plot_flicker
from exo2micro.report import report_pair, write_index

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images"
SAMPLE, DYE = "CD070", "SybrGld_microbe"
PAD = 2000
ZOOM = (slice(380, 680), slice(330, 690))
"""Rows and columns of the post-stain image that are shown enlarged."""

GRAYS, COLOURS = 80, 256
FIGURES = (
    "registration",
    "residual_map",
    "ratio_histogram",
    "scale_map",
    "snr_histogram",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    run = SampleDye(SAMPLE, DYE, folder / "processed", folder / "raw")
    run.run()
    detect_pair(run)
    pages = report_pair(run), write_index(folder / "processed")
    TARGET.mkdir(exist_ok=True)
    post, pre, difference = (
        read(folder, stem)
        for stem in ("01_padded_post", "03_interior_aligned_pre", "04_difference_difference")
    )
    draw_overview(post, pre, difference)
    rows, cols = ZOOM
    centre = (cols.start + cols.stop) / 2, (rows.start + rows.stop) / 2
    path = TARGET / "flicker.gif"
    plot_flicker(post, pre, centre=centre, size=300, sample=SAMPLE, dye=DYE, save_path=path)
    with Image.open(path) as blinking:
        smaller(blinking, path)
    pictures = folder / "processed" / SAMPLE / DYE / "pipeline_output"
    for name in FIGURES:
        palette(Image.open(pictures / f"{name}.png"), TARGET / f"{name}.png")
    photograph(*pages)


def read(folder: Path, stem: str) -> np.ndarray:
    """Return an image of the pair without the border of the canvas."""
    image = tifffile.imread(folder / "processed" / SAMPLE / DYE / "tiff" / f"{stem}.tiff")
    return image[PAD:-PAD, PAD:-PAD].astype(np.float32)


def draw_overview(post: np.ndarray, pre: np.ndarray, difference: np.ndarray) -> None:
    """Draw the README's picture."""
    top = float(np.quantile(post[post > 0], 0.998))
    panels = (
        ("after staining", post, top),
        ("before staining, aligned", pre, top / 1.8),
        ("difference", difference, top / 2),
    )
    figure = Figure(figsize=(10.5, 6.1), dpi=100, layout="constrained", facecolor="white")
    for column, (title, image, white) in enumerate(panels):
        for row, window in enumerate(((slice(None), slice(None)), ZOOM)):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            axes.imshow(image[window], cmap="gray", vmin=0, vmax=white)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=12)
    path = TARGET / "demo.png"
    figure.savefig(path, metadata={"Software": None})
    picture = Image.open(path).convert("L").quantize(GRAYS, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


def smaller(blinking: Image.Image, path: Path) -> None:
    """Write an animation at half its size, which a page loads in no time."""
    frames = []
    for index in range(getattr(blinking, "n_frames", 1)):
        blinking.seek(index)
        half = blinking.convert("L").reduce(2)
        frames.append(half.quantize(32, dither=Image.Dither.NONE))
    duration = blinking.info["duration"]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)


def palette(picture: Image.Image, path: Path) -> None:
    """Write a picture with few colours: a third of the bytes, and nobody sees the difference."""
    few = picture.convert("RGB").quantize(
        COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    few.save(path, optimize=True)


def photograph(report: Path, index: Path) -> None:
    """Photograph the pages in a browser."""
    browser = next(found for name in BROWSERS if (found := shutil.which(name)))
    shots: tuple[tuple[str, Path, Callable[[Page], Any]], ...] = (
        ("report", report, lambda page: page.wait_for_load_state()),
        ("report_blink", report, lambda page: page.locator("#blink").scroll_into_view_if_needed()),
        (
            "detections",
            report,
            lambda page: page.locator("#detections").scroll_into_view_if_needed(),
        ),
        ("index", index, lambda page: page.wait_for_load_state()),
    )
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, path, prepare in shots:
            page = started.new_page(viewport={"width": 1000, "height": 760})
            page.goto(path.resolve().as_uri())
            prepare(page)
            target = TARGET / f"{name}.png"
            if name == "detections":
                page.locator("#detections img").screenshot(path=target)
            elif name == "report_blink":
                page.keyboard.press("s")
                page.locator("#flicker").screenshot(path=target)
            else:
                page.screenshot(path=target)
            palette(Image.open(target), target)
            page.close()
        started.close()


if __name__ == "__main__":
    main()
