"""What the name of an output file says: stage, image, label and parameters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import SuffixError
from exo2micro.raster.paths import PairPaths, is_hashed
from exo2micro.suffix import params_from_suffix

_NUMBERED = re.compile(r"(\d\d)_(.+)")
_KIND_FOLDERS = ("tiff", "fits", "pipeline_output", "records", "set_aside")
_TEXTS = {
    (1, "post"): "the post-stain image, one channel, on the canvas (the raw pixels, padded)",
    (1, "pre"): "the pre-stain image, one channel, on the canvas, not aligned yet",
    (2, "pre"): "the pre-stain image after the coarse alignment",
    (2, "coarse_pre"): "the pre-stain image as aligned before the outline refinement",
    (3, "pre"): "the pre-stain image in its final alignment",
    (4, "difference"): "the difference: post - scale * aligned pre - offset",
}
_LABELS = (
    (re.compile(r"percentile_p(.+)"), "with percentile {} of the local ratio as scale"),
    (re.compile(r"manual()"), "with the scale that was set by hand"),
    (re.compile(r"failed()"), "written although it is not to be trusted (verdict FAIL)"),
)


@dataclass(frozen=True)
class FileName:
    """The parts of a checkpoint's name.

    Attributes
    ----------
    stage : int
        Stage number.
    stage_name : str
        Stage name; empty if this installation knows no stage of that number and name.
    name : str
        Name of the image, with its label.
    params : dict
        Non-default parameters; empty if the name is hashed.
    is_hashed : bool
        Whether the parameters stand in the record only.
    """

    stage: int
    stage_name: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    is_hashed: bool = False

    @property
    def text(self) -> str:
        """What the image is, in words."""
        return describe_image(self.stage, self.name)


def parse_stem(stem: str) -> FileName | None:
    """Return what a checkpoint's file stem says, None if it is not such a name."""
    match = _NUMBERED.fullmatch(stem)
    if match is None:
        return None
    number, rest = int(match[1]), match[2]
    stage_name = STAGE_NAMES.get(number, "")
    if not stage_name or not rest.startswith(f"{stage_name}_"):
        return None
    rest = rest.removeprefix(f"{stage_name}_")
    if is_hashed(rest):
        return FileName(number, stage_name, rest.rpartition("~")[0], is_hashed=True)
    name, params = split_suffix(rest, {n for s, n in _TEXTS if s == number})
    return FileName(number, stage_name, name, params)


def split_suffix(text: str, known: Iterable[str] = ()) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of ``<name><suffix>``: the longest suffix that can be read.

    Parameters
    ----------
    text : str
        What to split.
    known : iterable of str, optional
        Names that are never split themselves.
    """
    least = max((len(name) for name in known if text.startswith(name)), default=1)
    for position in range(least, len(text)):
        if text[position] == "_":
            try:
                return text[:position], params_from_suffix(text[position:])
            except SuffixError:
                continue
    return text, {}


def describe_image(stage: int, name: str) -> str:
    """Return what the image of a stage is, in words."""
    for (number, base), text in _TEXTS.items():
        if number == stage and name == base:
            return text
        if number == stage and name.startswith(f"{base}_"):
            return ", ".join([text, describe_label(name.removeprefix(f"{base}_"))])
    return f"image {name!r} of stage {stage}"


def describe_label(label: str) -> str:
    """Return what a label behind an image's name says, in words."""
    for pattern, text in _LABELS:
        if match := pattern.fullmatch(label):
            return text.format(match[1])
    return f"labelled {label!r}"


def pair_of(path: Path) -> PairPaths | None:
    """Return the pair whose folder an output file lies in, None if it lies elsewhere."""
    parts = path.absolute().parts
    if len(parts) < 5 or parts[-2] not in _KIND_FOLDERS:
        return None
    return PairPaths(Path(*parts[:-4]), parts[-4], parts[-3])
