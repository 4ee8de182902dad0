"""``exo2micro view``: the whole slide at any magnification."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exo2micro.cli import options
from exo2micro.cli.terminal import Terminal
from exo2micro.config import Layer

if TYPE_CHECKING:
    from exo2micro.custom.step import FunctionStep


@click.command(
    epilog="""\b
Examples:
  exo2micro view CD070 DAPI
  exo2micro view CD070 DAPI --no-browser    print the address only
  exo2micro view CD070 DAPI --napari        in napari, if it is installed

\b
On another machine (ssh), forward the port that the address names and open the address at home:
  ssh -L 40123:127.0.0.1:40123 SERVER

\b
Fiji and QuPath open the TIFF files in processed/SAMPLE/DYE/tiff as they are.
"""
)
@click.argument("sample")
@click.argument("dye")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@click.option("--napari", "in_napari", is_flag=True, help="Open napari instead of a browser.")
@options.settings
@options.extra_stages
@options.folders
@options.speaking()
def view(
    terminal: Terminal,
    sample: str,
    dye: str,
    browser: bool,
    in_napari: bool,
    settings: Layer,
    stages: "tuple[FunctionStep, ...]",
    output_dir: Path,
    raw_dir: Path,
) -> None:
    """Look at SAMPLE and DYE: post, pre, difference, significance and quality at any zoom.

    The page is served on this machine only, at an address that nobody can guess, until Ctrl-C.
    Nothing is computed anew and nothing is written.
    """
    from exo2micro import SampleDye
    from exo2micro.viewer import Viewer
    from exo2micro.viewer.napari import open_in_napari
    from exo2micro.viewer.slide import Slide

    run = SampleDye(sample, dye, output_dir, raw_dir, params=settings, stages=stages)
    slide = Slide.of(run)
    if in_napari:
        open_in_napari(slide)
        return
    with Viewer(slide) as viewer, _stopping(viewer.stop):
        terminal.result({"url": viewer.url, "layers": list(slide.layers)}, lambda: viewer.url)
        if browser and not viewer.open_browser():
            terminal.say("no browser could be opened here: open the address above in one")
        terminal.say("Ctrl-C ends it")
        viewer.wait()


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the terminal asks for an end or goes away."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def handle(_number: int, _frame: Any) -> None:  # noqa: ANN401
        stop()

    before = {
        number: signal.signal(number, handle)
        for number in numbers
        # nohup lets programs live on; Ctrl-C is always meant.
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
