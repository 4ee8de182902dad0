"""A finished pair as the viewer knows it."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exo2micro.census.pairs import command_of, difference_path, finished_runner
from exo2micro.errors import FailedVerdictError, ParameterError
from exo2micro.execution.plan import is_kept
from exo2micro.execution.results import objects_path, shown_records, verdict_of_run
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.colour_tables import DIVERGING, SEQUENTIAL, colour_table
from exo2micro.raster.fits_planes import open_fits_planes
from exo2micro.report.census import belongs_to
from exo2micro.stages.frames import post_window
from exo2micro.subtraction.quality import DQ, describe, header_cards
from exo2micro.verdict import Level, Verdict
from exo2micro.viewer.layers import Layer, layers_of
from exo2micro.viewer.objects import objects_document
from exo2micro.viewer.tiles import FLAG_COLOURS, TILE_PX, Look, highest_level, tile_picture

if TYPE_CHECKING:
    from exo2micro.pipeline import SampleDye

_WORDS: Final = {
    Level.PASS: "PASS: all checks passed, the result can be used",
    Level.CHECK: "CHECK: usable, but look first",
    Level.FAIL: "FAIL: not to be trusted",
}


@dataclass(frozen=True)
class Slide:
    """One pair with all that can be looked at.

    Attributes
    ----------
    sample, dye : str
        The pair.
    verdict : Verdict
        How far the result can be trusted.
    layers : mapping
        The images by short name, in the order of their making.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    window : tuple of slice
        Rows and columns of the canvas that the post-stain image covers.
    pixel_size_um : tuple of float or None
        ``(x, y)`` in micrometres.
    difference_note : str
        What is to be said about the difference beside the verdict: that it was withheld.
    notes : tuple of str
        What cannot be shown and why, in words.
    objects : Path or None
        Table of detections.
    """

    sample: str
    dye: str
    verdict: Verdict
    layers: Mapping[str, Layer]
    shape: tuple[int, int]
    window: tuple[slice, slice]
    pixel_size_um: tuple[float, float] | None
    difference_note: str
    notes: tuple[str, ...]
    objects: Path | None

    @classmethod
    def of(cls, run: "SampleDye") -> "Slide":
        """Open a finished pair.

        Raises
        ------
        CheckpointError
            If a stage is not valid: the message says what to run.
        """
        runner = finished_runner(run)
        records = runner.main_records()
        difference, difference_note = _difference(run, runner)
        layers, missing = layers_of(
            runner, difference, command_of(run, "run", "--from-stage", "1", "--keep", "all")
        )
        objects, told = _objects(run, runner, difference)
        size = records[1].facts.get("pixel_size_um")
        return cls(
            sample=run.sample,
            dye=run.dye,
            verdict=verdict_of_run(runner),
            layers={layer.name: layer for layer in layers},
            shape=tuple(records[1].facts["canvas_shape"]),
            window=post_window(records[1].facts),
            pixel_size_um=None if size is None else (float(size[0]), float(size[1])),
            difference_note=difference_note,
            notes=(*missing, *told),
            objects=objects,
        )

    def describe(self) -> dict[str, Any]:
        """Return all that the page needs to know, as JSON values."""
        rows, cols = self.window
        return {
            "sample": self.sample,
            "dye": self.dye,
            "verdict": self.verdict.level.name,
            "verdict_words": _WORDS[self.verdict.level],
            "reasons": list(self.verdict.reasons),
            "difference_note": self.difference_note,
            "notes": list(self.notes),
            "shape": list(self.shape),
            "window": [cols.start, rows.start, cols.stop, rows.stop],
            "pixel_size_um": self.pixel_size_um,
            "tile_px": TILE_PX,
            "highest_level": highest_level(self.shape),
            "layers": [_described(layer) for layer in self.layers.values()],
            "colours": {name: _stops(name) for name in {*SEQUENTIAL, *DIVERGING}},
            "flags": [
                {"bit": bit, "text": text, "colour": list(FLAG_COLOURS[DQ(bit)])}
                for _, bit, text in header_cards()
            ],
            "has_objects": self.objects is not None,
        }

    def tile(self, name: str, level: int, place: tuple[int, int], look: Look) -> bytes:
        """Return one tile of a layer as PNG; see `tile_picture`."""
        quality = self.layers.get("dq")
        return tile_picture(self._layer(name), quality, level, place, look)

    def values(self, x: int, y: int) -> dict[str, Any]:
        """Return the value of every layer at a pixel of the canvas, and where that lies.

        Parameters
        ----------
        x, y : int
            Pixel of the canvas, from 0.

        Raises
        ------
        ParameterError
            If it lies outside.
        """
        ny, nx = self.shape
        if not (0 <= x < nx and 0 <= y < ny):
            msg = f"pixel ({x}, {y}) lies outside the canvas of {nx} x {ny} px"
            raise ParameterError(msg)
        pixel = slice(y, y + 1), slice(x, x + 1)
        values = {name: layer.raster.read(*pixel)[0, 0] for name, layer in self.layers.items()}
        rows, cols = self.window
        post = x - cols.start, y - rows.start
        size = self.pixel_size_um
        return {
            "canvas": [x, y],
            "post": list(post) if x in _range(cols) and y in _range(rows) else None,
            "um": None if size is None else [post[0] * size[0], post[1] * size[1]],
            "values": {name: _json_number(value) for name, value in values.items()},
            "quality": describe(int(values["dq"])) if "dq" in values else None,
        }

    @functools.cached_property
    def objects_json(self) -> bytes:
        """The objects as JSON; empty columns where there is no table."""
        if self.objects is None:
            return json.dumps({"columns": {}, "flag_bits": {}}).encode()
        return objects_document(self.objects)

    def _layer(self, name: str) -> Layer:
        if name not in self.layers:
            msg = f"there is no layer {name!r}; there are {', '.join(self.layers)}"
            raise ParameterError(msg)
        return self.layers[name]


def _difference(run: "SampleDye", runner: StageRunner) -> tuple[Path | None, str]:
    """Return the difference in FITS, and what is to be said about it."""
    try:
        path = difference_path(run, runner, accept_failed=True)
    except FailedVerdictError:
        command = command_of(run, "run", "--keep-failed")
        return None, f"The difference was withheld. `{command}` writes it all the same."
    if runner.main_records()[4].verdict.level is Level.FAIL:
        return (
            path,
            "FAILED: the difference was written all the same (keep_failed); it is no result.",
        )
    return path, ""


def _objects(
    run: "SampleDye", runner: StageRunner, difference: Path | None
) -> tuple[Path | None, list[str]]:
    """Return the table of detections of the difference, and why there is none."""
    if difference is None:
        return None, []
    record = shown_records(runner)[4]
    table = objects_path(runner.store.paths, record)
    command = f"`{command_of(run, 'detect', *(['--accept-failed'] if is_kept(record) else []))}`"
    if not table.is_file():
        return None, [f"No table of objects yet: {command} makes one."]
    if not belongs_to(table, open_fits_planes(difference).header):
        return None, [f"The table of objects is of an older difference: {command} makes it anew."]
    return table, []


def _described(layer: Layer) -> dict[str, Any]:
    """Return a layer without its pixels."""
    return {
        "name": layer.name,
        "title": layer.title,
        "kind": layer.kind,
        "unit": layer.unit,
        "limits": list(layer.limits),
        "extremes": list(layer.extremes),
        "colours": list(layer.colours),
    }


def _stops(name: str) -> list[str]:
    """Return colours along a table, for a ramp on the page."""
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colour_table(name)[::15].tolist()]


def _range(part: slice) -> range:
    return range(part.start, part.stop)


def _json_number(value: Any) -> float | int | None:  # noqa: ANN401 - any NumPy scalar
    """Return a pixel's value exactly; None where it is not finite."""
    number: float | int = value.item()
    return number if number - number == 0 else None
