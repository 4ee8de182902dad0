"""The difference with the objects that were found in it, drawn when a report is made."""

from pathlib import Path
from typing import Any, Final

from exo2micro.plotting.base import PairView
from exo2micro.plotting.difference_image import plot_difference_image
from exo2micro.plotting.figure import figure_pixels, mark_failed
from exo2micro.report.images import Fidelity, embed_figure, thumbnail_of

OBJECTS: Final = "detections"
"""Name of the figure in the report and on the contact sheets."""


def objects_figure(view: PairView, table: Path, fidelity: Fidelity) -> tuple[dict[str, Any], str]:
    """Return the figure as the template shows it, and its thumbnail as a data URI."""
    drawn = plot_difference_image(
        view.post,
        view.pre,
        difference=view.difference,
        objects=table,
        pixel_size_um=view.pixel_size_um,
        **view.keywords,
    )
    if view.has_failed:
        mark_failed(drawn)
    pixels = figure_pixels(drawn)
    figure = {
        "name": OBJECTS,
        "title": "detections",
        "image": embed_figure(pixels, fidelity),
        "file": "",
        "error": "",
        "shows": "The difference with a ring about every object that was found. Dotted rings are "
        "not counted: on debris, beside the sample, or where the alignment is not certified.",
        "good": "A ring about every orange spot, and none elsewhere.",
        "bad": "Rows of rings along grain edges (the alignment is off there), rings where nothing "
        "is to be seen (a threshold too low), or many spots without a ring (one too high).",
        "action": "Look at some of them with plot_zoom and object_id; change --threshold of "
        "exo2micro detect, and compare with the number of false objects among the key numbers.",
    }
    return figure, thumbnail_of(pixels)
