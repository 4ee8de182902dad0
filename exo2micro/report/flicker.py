"""The details that a report lets people blink."""

from typing import Any, Final

from exo2micro.plotting.base import PairView
from exo2micro.plotting.flicker import Frame, flicker_frames, spots_of
from exo2micro.plotting.overviews import display_factor
from exo2micro.plotting.pair import Window
from exo2micro.report.images import BEST, Fidelity, embed

SPOT_PX: Final = 360
"""Side of a detail at full resolution: seven of them in five states stay under 5 MB."""

OVERVIEW_PX: Final = 1_000_000
"""Pixels of the whole slide's picture at most: about those of the place where it is shown."""

_WORDS: Final = {
    "post": "post-stain",
    "before": "pre-stain before alignment",
    "coarse": "pre-stain after coarse alignment",
    "final": "pre-stain, final alignment",
    "difference": "difference",
}


def flicker_places(view: PairView, fidelity: Fidelity = BEST) -> list[dict[str, Any]]:
    """Return the places with their pictures as JSON values: the whole slide first."""
    shape = tuple(part.stop - part.start for part in view.window)
    factor = display_factor((shape[0], shape[1]), OVERVIEW_PX)
    places = [_place("whole slide", view, view.window, factor, fidelity)]
    size = min(SPOT_PX, *shape)
    if factor > 1 or size < min(shape):
        spots = spots_of(view, size)
        # The last ones are those with the largest residual and the most signal.
        spots = spots[-fidelity.places :] if fidelity.places < len(spots) else spots
        places += [_place(spot.title, view, spot.window, 1, fidelity) for spot in spots]
    return places


def _place(
    title: str, view: PairView, window: Window, factor: int, fidelity: Fidelity
) -> dict[str, Any]:
    rows, cols = window
    top, left = (part.start - full.start for part, full in zip(window, view.window, strict=True))
    size = f"{cols.stop - cols.start} x {rows.stop - rows.start} px"
    where = (
        f"{size}, each dot the mean of {factor} x {factor} px"
        if factor > 1
        else f"{size} at full resolution, upper left at ({left}, {top}) of the post-stain scan"
    )
    frames = {
        f.name: _frame(f, title, fidelity, _words_of(f, view))
        for f in flicker_frames(view, window, factor)
    }
    return {"title": title, "where": where, "frames": frames}


def _words_of(frame: Frame, view: PairView) -> str:
    """Return what a frame shows; of a pair that failed, that its difference is none to be used."""
    failed = view.has_failed and frame.name == "difference"
    return _WORDS[frame.name] + (" (FAILED, not to be trusted)" if failed else "")


def _frame(frame: Frame, title: str, fidelity: Fidelity, words: str) -> dict[str, str]:
    low, high = frame.limits
    shown = f"{low:.4g} to {high:.4g} counts"
    if frame.name == "difference":
        legend = f"{words}: blue {low:.4g}, black 0, yellow {high:.4g} counts"
    else:
        legend = f"{words}: {shown}, square root"
    picture = embed(frame.pixels, fidelity.quality)
    return {"uri": picture.uri, "alt": f"{title}: {words}", "range": legend}
