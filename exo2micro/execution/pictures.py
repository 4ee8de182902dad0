"""The diagnostics of a run: which there are, which are stale, drawing them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exo2micro.execution.events import StageEvent
from exo2micro.execution.results import pair_view, shown_records
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting import DIAGNOSTICS
from exo2micro.plotting.base import Diagnostic
from exo2micro.plotting.gallery import Gallery
from exo2micro.raster.lock import FolderLock

_DRAWN_FROM = (3, 4)


def gallery_of(runner: StageRunner, own: Sequence[Diagnostic]) -> Gallery:
    """Return the gallery of a pair: all diagnostics of the package, of plugins and of the user."""
    known = [DIAGNOSTICS[name]() for name in sorted(DIAGNOSTICS)]
    suffix = runner.request.final_suffix()
    return Gallery(runner.store.paths, suffix, [*known, *own], shown_records(runner))


def draw_stale(
    runner: StageRunner,
    own: Sequence[Diagnostic],
    lock: FolderLock,
    tell: Callable[[StageEvent], None],
) -> dict[str, Path]:
    """Draw the diagnostics that are not valid and return the paths of all valid ones."""
    if any(runner.main_record(number) is None for number in _DRAWN_FROM):
        return {}
    gallery = gallery_of(runner, own)
    stale = gallery.stale()
    if stale:
        started = time.perf_counter()
        tell(StageEvent(0, "diagnostics", "start", f"{len(stale)} pictures"))
        with lock.held():
            errors = gallery.draw(stale, pair_view(runner))
        seconds = time.perf_counter() - started
        tell(StageEvent(0, "diagnostics", "done", "; ".join(errors), seconds))
    return gallery.files()
