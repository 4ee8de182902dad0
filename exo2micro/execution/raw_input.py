"""Where a run gets its raw pair from: files through the readers, or a user's own loader."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exo2micro.errors import RawFileNotFoundError, RawPairingError
from exo2micro.raster.base import Raster, as_raster
from exo2micro.raster.record import FileStamp
from exo2micro.raster.windows import map_ordered, row_bands
from exo2micro.raw import ChannelChoice, find_pair
from exo2micro.raw.pair import sample_folder

_ROLES = ("post", "pre")
_BAND = 512


@dataclass(frozen=True)
class LoadedPair:
    """A pair that a user's loader returned.

    Attributes
    ----------
    post, pre : Raster
        The images.
    pixel_size_um : tuple of float or None
        Pixel size ``(x, y)``.
    channel : ChannelChoice
        Says that the loader chose.
    warnings : tuple of str
        Always empty.
    """

    post: Raster
    pre: Raster
    pixel_size_um: tuple[float, float] | None
    channel: ChannelChoice
    warnings: tuple[str, ...] = ()


def channel_of(name: str) -> int | str | None:
    """Return a channel as readers take it: None for auto, a number or a colour."""
    if name == "auto":
        return None
    return int(name) if name.isdigit() else name


def call_loader(
    loader: Callable[..., Any], sample: str, dye: str, options: Mapping[str, Any]
) -> Any:  # noqa: ANN401
    """Call a loader with those options that it knows; plain arrays are wrapped."""
    known = inspect.signature(loader).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
    pair = loader(sample, dye, **{k: v for k, v in options.items() if takes_all or k in known})
    if hasattr(pair, "channel"):
        return pair
    post, pre, *_ = pair  # older loaders add the two paths
    choice = ChannelChoice(0, "as loaded", "the images came from a user's loader", (), ())
    return LoadedPair(as_raster(post), as_raster(pre), None, choice)


def stamps_of_files(
    raw_dir: Path,
    sample: str,
    dye: str,
    known: Mapping[str, FileStamp],
    *,
    deep: bool,
    threads: int = 1,
) -> Callable[[], Mapping[str, FileStamp]]:
    """Find the raw files of a pair, and return what takes their stamps: that reads them once.

    Parameters
    ----------
    raw_dir : Path
        Folder of the samples.
    sample, dye : str
        The pair.
    known : mapping
        Stamps of the last run; a file of the same name, size and time is not hashed again. They
        also serve where the raw files were taken away.
    deep : bool
        Hash in any case.
    threads : int
        Threads to use.
    """
    try:
        files = find_pair(sample_folder(raw_dir, sample), dye)
    except (RawFileNotFoundError, RawPairingError):
        if known:
            return lambda: known
        raise
    paths = dict(zip(_ROLES, (files.post[0], files.pre[0]), strict=True))

    def stamp(role: str) -> FileStamp:
        name = paths[role].relative_to(raw_dir).as_posix()
        return _stamp(paths[role], name, known.get(role), deep=deep)

    return lambda: dict(zip(_ROLES, map_ordered(stamp, _ROLES, threads), strict=True))


def _stamp(path: Path, name: str, known: FileStamp | None, *, deep: bool) -> FileStamp:
    if known is not None and not deep:
        status = path.stat()
        if (known.name, known.size, known.mtime_ns) == (name, status.st_size, status.st_mtime_ns):
            return known
    return FileStamp.of(path, name)


def stamps_of_pixels(pair: Any, loader: str) -> dict[str, FileStamp]:  # noqa: ANN401
    """Return stamps made from the pixels themselves, for a pair that is no pair of files."""
    stamps = {}
    for role in _ROLES:
        raster: Raster = getattr(pair, role)
        digest = hashlib.sha256(repr((raster.shape, raster.dtype.str)).encode())
        for rows in row_bands(raster.shape[0], _BAND):
            digest.update(raster.read(rows, slice(0, raster.shape[1])).tobytes())
        size = raster.shape[0] * raster.shape[1] * raster.dtype.itemsize
        stamps[role] = FileStamp(f"{role} from {loader}", size, 0, digest.hexdigest())
    return stamps
