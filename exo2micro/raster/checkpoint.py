"""Writing and reading checkpoints: one raster plus its record, complete or not at all."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exo2micro.errors import CheckpointError
from exo2micro.raster.atomic import (
    explain_os_errors,
    flush_to_disk,
    make_folder,
    publish,
    remove_leftovers,
    set_aside,
    temporary_beside,
)
from exo2micro.raster.base import Raster
from exo2micro.raster.header import Card, fits_header, tiff_description
from exo2micro.raster.paths import EXTENSIONS, PairPaths
from exo2micro.raster.record import FileStamp, Record, read_record
from exo2micro.raster.stream import PlaneSource, Sink, drain, feed, stream_bands
from exo2micro.raster.windows import map_ordered
from exo2micro.verdict import Verdict

if TYPE_CHECKING:
    from exo2micro.raster.fits_table import TableSpec
    from exo2micro.raster.fits_tiles import PlaneSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Product:
    """An image that a stage hands to the runner to be written.

    Attributes
    ----------
    name, label : str
        Parts of the file name.
    source : PlaneSource
        The image, with companion planes if there are any.
    cards : mapping
        FITS cards, keyword -> (value, comment).
    planes : sequence of PlaneSpec
        Companion planes that go into FITS extensions.
    formats : tuple of str
        Formats that are always written, whatever ``checkpoint_format`` says.
    sinks : sequence of callable
        Called with each band in order, e.g. to gather statistics on the way.
    summary : callable, optional
        Called after the last band; its JSON values join the record's metrics.
    verdict : Verdict, optional
        Trust in this image, where it is another than that in the stage's result.
    """

    name: str
    source: PlaneSource
    label: str = ""
    cards: Mapping[str, Card] = field(default_factory=dict)
    planes: Sequence["PlaneSpec"] = ()
    formats: tuple[str, ...] = ()
    sinks: Sequence[Sink] = ()
    summary: Callable[[], Mapping[str, Any]] | None = None
    verdict: Verdict | None = None


class CheckpointStore:
    """The checkpoints of one pair on disk.

    Parameters
    ----------
    paths : PairPaths
        Where they lie.
    """

    def __init__(self, paths: PairPaths) -> None:
        self.paths = paths

    def record(self, base: str, suffix: str) -> Record | None:
        """Return a checkpoint's record, None if it has none.

        Raises
        ------
        CheckpointError
            If the record is damaged.
        """
        return read_record(self.paths.record(base, suffix))

    def known_raw(self, base: str, suffix: str) -> Mapping[str, FileStamp]:
        """Return the stamps of the raw files that a record knows; empty if there is none."""
        try:
            record = self.record(base, suffix)
        except CheckpointError:
            return {}
        return record.raw if record else {}

    def files(self, base: str, suffix: str) -> list[Path]:
        """Return the image files that exist under a checkpoint's name, TIFF first."""
        candidates = [self.paths.image(kind, base, suffix) for kind in EXTENSIONS]
        return [path for path in candidates if path.exists()]

    def open(self, record: Record) -> Raster:
        """Return a checkpoint as a raster, from whichever format exists.

        Raises
        ------
        CheckpointError
            If it has no readable file.
        """
        for path in self.files(record.base, record.suffix):
            with contextlib.suppress(ValueError, OSError):
                return open_image(path)
        msg = (
            f"{record.base}{record.suffix} of {record.sample}/{record.dye} has no readable file in "
            f"{self.paths.folder}; run from stage {record.stage} again"
        )
        raise CheckpointError(msg)

    def write(
        self,
        record: Record,
        product: Product,
        formats: Sequence[str],
        *,
        threads: int,
        measure: Callable[[], Mapping[str, Any]] = dict,
    ) -> Record:
        """Write a checkpoint's files and its record, and return the complete record.

        The record comes first: a file that does not match its record is made anew by the next run,
        while a file without a record would belong to nobody. `measure` is called when the images
        are written, and returns fields of the record that are known only then.

        Raises
        ------
        OutputError
            If a file cannot be written; nothing half-written is left.
        """
        record = replace(record, verdict=product.verdict or record.verdict)
        targets = {kind: self.paths.image(kind, record.base, record.suffix) for kind in formats}
        self.set_aside_foreign(record.base, record.suffix)
        with _temporaries(targets) as temporaries:
            with explain_os_errors(next(iter(targets.values())), "write"):
                _write_images(temporaries, record, product, threads)
            stamps = _stamps_of(temporaries, targets, threads)
            metrics = product.summary() if product.summary else {}
            complete = replace(
                record,
                files=stamps,
                metrics={**record.metrics, **metrics},
                **measure(),
            )
            complete.write(self.paths.record(record.base, record.suffix))
            for kind, target in targets.items():
                publish(temporaries[kind], target)
        self._remove_other_formats(record, formats)
        return complete

    def withhold(self, record: Record) -> Record:
        """Keep only the record of a result that is not to be used; older files are set aside."""
        for path in self.files(record.base, record.suffix):
            moved = set_aside(path, self.paths.aside)
            logger.warning("%s is no longer valid and was moved to %s", path.name, moved)
        complete = replace(record, files={})
        complete.write(self.paths.record(record.base, record.suffix))
        return complete

    def remove_images(self, record: Record) -> list[Path]:
        """Remove a checkpoint's images to save disk; its record says so and stays valid."""
        removed = self.files(record.base, record.suffix)
        replace(record, removed=True).write(self.paths.record(record.base, record.suffix))
        for path in removed:
            path.unlink()
        return removed

    def remove(self, record: Record) -> None:
        """Remove a checkpoint, its record last: a file without a record would belong to nobody."""
        for path in self.files(record.base, record.suffix):
            path.unlink()
        self.paths.record(record.base, record.suffix).unlink(missing_ok=True)

    def set_aside_foreign(self, base: str, suffix: str) -> list[Path]:
        """Move files away that bear a checkpoint's name but have no record."""
        if self.paths.record(base, suffix).exists():
            return []
        moved = [set_aside(path, self.paths.aside) for path in self.files(base, suffix)]
        for path in moved:
            logger.warning("a file without a record was in the way and was moved to %s", path)
        return moved

    def prepare(self) -> None:
        """Create the pair's folders and remove what a killed run left; needs the pair's lock."""
        for folder in (*(self.paths.folder / kind for kind in EXTENSIONS), self.paths.records):
            make_folder(folder)
            remove_leftovers(folder)
        make_folder(self.paths.pictures)
        remove_leftovers(self.paths.pictures)

    def _remove_other_formats(self, record: Record, formats: Sequence[str]) -> None:
        """Remove files of this checkpoint in a format that was not written now: they are stale."""
        for kind in set(EXTENSIONS) - set(formats):
            self.paths.image(kind, record.base, record.suffix).unlink(missing_ok=True)


def open_image(path: Path) -> Raster:
    """Return a TIFF or FITS checkpoint as a raster."""
    if path.suffix == EXTENSIONS["fits"]:
        from exo2micro.raster.fits import FitsRaster

        return FitsRaster(path)
    from exo2micro.raster.tiff_reader import TiffCheckpoint

    return TiffCheckpoint(path)


def _stamps_of(
    temporaries: Mapping[str, Path], targets: Mapping[str, Path], threads: int
) -> dict[str, FileStamp]:
    """Return the stamps of files under the names that they will have.

    They are flushed to disk in the meantime: hashing keeps the processor busy, not the disk.
    """
    with ThreadPoolExecutor(1) as pool:
        flushed = [pool.submit(flush_to_disk, path) for path in temporaries.values()]
        found = map_ordered(
            lambda kind: FileStamp.of(temporaries[kind], targets[kind].name), targets, threads
        )
        stamps = dict(zip(targets, found, strict=True))
        for kind, done in zip(temporaries, flushed, strict=True):
            with explain_os_errors(targets[kind], "write"):
                done.result()
    return stamps


def _tables_of(record: Record) -> "tuple[TableSpec, ...]":
    from exo2micro.raster.transform_table import transform_table

    if record.transform is None:
        return ()
    return (transform_table(record.transform, record.facts),)


@contextlib.contextmanager
def _temporaries(targets: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    temporaries = {kind: temporary_beside(path) for kind, path in targets.items()}
    try:
        for path in targets.values():
            make_folder(path.parent)
        yield temporaries
    finally:
        for path in temporaries.values():
            path.unlink(missing_ok=True)


def _write_images(
    temporaries: Mapping[str, Path], record: Record, product: Product, threads: int
) -> None:
    from exo2micro.raster.fits import FitsWriter
    from exo2micro.raster.tiff import write_tiff

    source = product.source
    with contextlib.ExitStack() as stack:
        sinks = list(product.sinks)
        if "fits" in temporaries:
            writer = FitsWriter(
                temporaries["fits"],
                source.shape,
                source.dtype,
                fits_header(record, product.cards),
                product.planes,
                _tables_of(record),
            )
            sinks.append(stack.enter_context(writer))
        bands = feed(stream_bands(source, threads=threads, encode="tiff" in temporaries), sinks)
        if "tiff" in temporaries:
            write_tiff(
                temporaries["tiff"],
                bands,
                source.shape,
                source.dtype,
                description=tiff_description(record, product.cards),
                pixel_size_um=record.facts.get("pixel_size_um"),
            )
        else:
            drain(bands)
