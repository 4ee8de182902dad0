"""The diagnostic family: a named picture with a caption, drawn from checkpoints."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from exo2micro._typing import Mask
from exo2micro.raster.base import Raster
from exo2micro.registry import AutoRegisterMeta
from exo2micro.verdict import Level

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from exo2micro.plotting.statistics import PixelSample
    from exo2micro.raster.record import Record
    from exo2micro.subtraction.scale import ScaleEstimate


@dataclass(frozen=True)
class PairView:
    """What diagnostics may look at: the checkpoints of one pair.

    Attributes
    ----------
    sample, dye : str
        The pair.
    post, pre : Raster
        Post-stain and finally aligned pre-stain image, one canvas, raw counts.
    before : Raster
        Pre-stain image on the canvas, not aligned.
    coarse : Raster
        Pre-stain image after the coarse alignment (stage 2).
    difference : Raster or None
        The difference; None where it was withheld.
    window : tuple of slice
        Rows and columns of the canvas that the post-stain image covers.
    valid : callable
        ``valid(rows, cols)`` tells where both images have data.
    scales : tuple of ScaleEstimate
        All active scales, the canonical one first; empty where none could be estimated.
    records : mapping
        Main record of each stage, by number.
    params : mapping
        All effective parameters.
    snr : Raster or None
        Significance of the difference; None where it was not written.
    quality : Raster or None
        DQ flags of the difference; None where they were not written.
    """

    sample: str
    dye: str
    post: Raster
    pre: Raster
    before: Raster
    coarse: Raster
    difference: Raster | None
    window: tuple[slice, slice]
    valid: Callable[[slice, slice], Mask]
    scales: "tuple[ScaleEstimate, ...]"
    records: "Mapping[int, Record]"
    params: Mapping[str, Any]
    snr: Raster | None = None
    quality: Raster | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the pair failed, so that its difference is none to be used."""
        record = self.records.get(4)
        return record is not None and record.verdict.level is Level.FAIL

    @property
    def pixel_size_um(self) -> float | None:
        """Width of a pixel of the post-stain image in um, None where its file does not tell."""
        record = self.records.get(1)
        size = record.facts.get("pixel_size_um") if record is not None else None
        return None if size is None else float(size[0])

    @property
    def keywords(self) -> dict[str, Any]:
        """What every plot function of a pair takes by keyword."""
        return {
            "valid": self.valid,
            "window": self.window,
            "sample": self.sample,
            "dye": self.dye,
        }

    @cached_property
    def pixels(self) -> "PixelSample":
        """Full-resolution pixels of post and pre as subtracted, and of the difference.

        They are read once for all histograms.
        """
        from exo2micro.plotting.compared import compared_pair
        from exo2micro.plotting.statistics import sample_pixels

        pair, adapted = compared_pair(self)
        return replace(sample_pixels(pair, self.difference, self.quality), adapted=adapted)


class Diagnostic(metaclass=AutoRegisterMeta):
    """One diagnostic picture. A subclass in this folder registers itself under its name.

    Attributes
    ----------
    name : str
        File name without suffix and extension, e.g. ``excess_heatmap``.
    revision : int
        Raised when the picture changes.
    shows, good, bad, action : str
        The caption: what the picture shows, what good and bad look like, what to do.
    needs_difference : bool
        Whether it can be drawn only where the difference was written.
    code_hash : str
        Hash of a user's code; empty for the built-in ones, which have a revision.
    """

    __registry_key__ = "name"
    __registry_name__ = "diagnostic"
    __registry_policy__ = "error"
    __skip_if_no_key__ = True

    name: ClassVar[str | None] = None
    revision: ClassVar[int] = 1
    shows: ClassVar[str] = ""
    good: ClassVar[str] = ""
    bad: ClassVar[str] = ""
    action: ClassVar[str] = ""
    needs_difference: ClassVar[bool] = False
    code_hash: str = ""

    @abstractmethod
    def draw(self, view: PairView) -> "Figure":
        """Return the picture.

        Parameters
        ----------
        view : PairView
            The pair's checkpoints. Read overviews and samples, never whole images.
        """

    @property
    def caption(self) -> str:
        """The caption as one paragraph."""
        parts = [self.shows]
        for word, text in (("Good", self.good), ("Bad", self.bad), ("What to do", self.action)):
            if text:
                parts.append(f"{word}: {text}")
        return " ".join(parts)
