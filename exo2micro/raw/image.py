"""RawImage: one chosen page of a raw file, read by window and channel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Image
from exo2micro.errors import ImageContentError, RawPagesError
from exo2micro.raster import Raster

PageChoice = int | str | None
"""Which page: its index, its name, or None where the choice is plain."""

COLOUR_NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class PageInfo:
    """One page (or channel, or plane) of a raw file.

    Attributes
    ----------
    index : int
        What ``page=`` takes.
    shape : tuple of int
        ``(ny, nx)``, or ``(ny, nx, samples)`` for colour.
    dtype : str
        Type of the pixels, as in ``uint16``.
    name : str
        Name of the channel, focal plane or page, where the file tells one.
    kind : {'image', 'reduced', 'thumbnail', 'mask'}
        Only ``image`` pages compete for the choice.
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    kind: str = "image"

    def __str__(self) -> str:
        size = " x ".join(str(n) for n in self.shape)
        name = f" {self.name!r}" if self.name else ""
        kind = f" ({self.kind})" if self.kind != "image" else ""
        return f"page {self.index}: {size} {self.dtype}{name}{kind}"


class RawImage(ABC):
    """One page of a raw file; its pixels are read by window and by channel.

    Attributes
    ----------
    path : Path
        The file.
    shape : tuple of int
        ``(ny, nx)`` in pixels.
    dtype : numpy.dtype
        Type of the pixels, in native byte order, as stored: nothing is scaled or clipped.
    channel_names : tuple of str
        Channels that carry signal: ``('gray',)`` or ``('red', 'green', 'blue')``. An alpha
        channel is none of them.
    pixel_size_um : tuple of float or None
        ``(x, y)`` in micrometres where the file tells it.
    page : PageInfo
        The page that was chosen.
    notes : tuple of str
        What was left aside (alpha channel, thumbnails), in words.
    saturation_level : float
        The highest value that a pixel can hold; infinite for floats.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    channel_names: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None = None
    page: PageInfo
    notes: tuple[str, ...] = ()
    saturation_level: float = float("inf")

    @abstractmethod
    def read(self, rows: slice, cols: slice, channels: Sequence[int]) -> NDArray[Any]:
        """Return a window of some channels.

        Parameters
        ----------
        rows, cols : slice
            Start and stop in pixels, both given, inside the image; no step.
        channels : sequence of int
            Indices into `channel_names`.

        Returns
        -------
        numpy.ndarray
            Shape ``(len(channels), rows, cols)``, of `dtype`. Safe to call from several threads.
        """

    def stored_overview(self, factor: int, channel: int) -> FloatImage | None:  # noqa: ARG002
        """Return the block average from a stored pyramid, or None where there is none to trust."""
        return None

    def channel(self, index: int) -> "ChannelRaster":
        """Return one channel as a raster."""
        if not 0 <= index < len(self.channel_names):
            msg = (
                f"{self.path} has {len(self.channel_names)} channels "
                f"({', '.join(self.channel_names)}), channel {index} was asked for"
            )
            raise RawPagesError(msg)
        return ChannelRaster(self, index)

    def close(self) -> None:  # noqa: B027 - most readers have nothing to close
        """Release the file."""


class ChannelRaster(Raster):
    """One channel of a raw image.

    Parameters
    ----------
    image : RawImage
        The image.
    index : int
        Index into its `channel_names`.
    """

    def __init__(self, image: RawImage, index: int) -> None:
        self.image = image
        self.index = index
        self.shape = image.shape
        self.dtype = image.dtype
        if np.isfinite(image.saturation_level):
            self.saturation = image.saturation_level

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window; pixels that are not finite are an ImageContentError."""
        window: Image = self.image.read(rows, cols, (self.index,))[0]
        if self.dtype.kind == "f":
            n_bad = int(window.size - np.count_nonzero(np.isfinite(window)))
            if n_bad:
                msg = (
                    f"{self.image.path} holds {n_bad} pixels that are NaN or infinite in rows "
                    f"{rows.start}-{rows.stop - 1}, columns {cols.start}-{cols.stop - 1}; raw "
                    "scans must be finite: export the image again without masking or scaling"
                )
                raise ImageContentError(msg)
        return window

    def overview(self, factor: int) -> FloatImage:
        """Return the block average, from the file's pyramid where that is exact enough."""
        stored = self.image.stored_overview(factor, self.index)
        return super().overview(factor) if stored is None else stored


def choose_page(path: Path, pages: Sequence[PageInfo], page: PageChoice) -> PageInfo:
    """Return the page that was asked for, or the only image page.

    Parameters
    ----------
    path : Path
        The file, for the message.
    pages : sequence of PageInfo
        All pages.
    page : int, str or None
        Index or name; None where the choice is plain.

    Raises
    ------
    RawPagesError
        If several image pages compete, or the page that was asked for does not exist. The
        message lists the pages.
    """
    if page is None:
        images = [p for p in pages if p.kind == "image"]
        if len(images) == 1:
            return images[0]
        reason = f"holds {len(images)} images; choose one with page="
    elif isinstance(page, str):
        named = [p for p in pages if p.name.casefold() == page.casefold()]
        if len(named) == 1:
            return named[0]
        reason = f"holds {len(named)} pages of the name {page!r}; choose one with page="
    else:
        indexed = [p for p in pages if p.index == page]
        if indexed:
            return indexed[0]
        reason = f"has no page {page}; choose one with page="
    listing = "\n".join(f"  {p}" for p in pages[:_MAX_LISTED])
    if len(pages) > _MAX_LISTED:
        listing += f"\n  ... and {len(pages) - _MAX_LISTED} more"
    msg = f"{path} {reason}:\n{listing}"
    raise RawPagesError(msg)


_MAX_LISTED = 40
