"""Before a run: whether it fits into memory and onto the disk, and how long it will take."""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exo2micro.errors import InsufficientDiskError, InsufficientMemoryError
from exo2micro.execution.machine import available_memory_bytes

# Chosen to lie above measured peaks with two threads ("Memory of each stage" in RESULTS.md). The
# samples of brightness and noise grow with the image up to a size.
_BASE_BYTES = {8: 760_000_000, 16: 860_000_000, 32: 920_000_000}
_SAMPLE_BYTES_PER_PIXEL = 4
_MOST_SAMPLED_PIXELS = 30_000_000
_BYTES_PER_CANVAS_PIXEL = 0.25
_BYTES_PER_CANVAS_COLUMN = 5_000
_BYTES_PER_FURTHER_THREAD = 60_000_000
_MEASURED_THREADS = 2
# Share of the base that a run takes which ends with one of these stages; the last stage and the
# pictures, of small pairs too, need all of it.
_SHARE_OF_STAGE = {1: 0.25, 2: 0.5, 3: 0.65}
_LAST_STAGE = 4
_ALL_STAGES = (1, 2, 3, 4)

# Whole runs on two idle cores with two threads: 6000 x 5000 14 to 15 s, 30 000 x 25 000 115 s
# (stages 6.7, 11.7, 36 and 50 s, pictures and report 4 s). Stage 4 includes those.
_BASE_SECONDS = {1: 1.0, 2: 1.0, 3: 3.0, 4: 5.0}
_SECONDS_PER_MEGAPIXEL = {1: 0.009, 2: 0.015, 3: 0.045, 4: 0.068}

# Bytes on disk by bit depth, from the files of the same pairs. TIFF by stage: two padded images,
# the preview of stage 2, the aligned one. FITS: rows start and end within a disk block.
_TIFF_BYTES_PER_PIXEL = {8: 3.7, 16: 7.2, 32: 16.0}
_TIFF_SHARE_OF_STAGE = {1: 0.40, 2: 0.17, 3: 0.43}
_FITS_SHARE_OF_STAGE = {1: 0.5, 2: 0.25, 3: 0.25}
_DIFFERENCE_TIFF_BYTES_PER_PIXEL = {8: 3.4, 16: 3.8, 32: 4.1}
_FITS_BYTES_PER_PIXEL = {8: 3 * 1 + 4, 16: 3 * 4 + 4, 32: 3 * 4 + 4}
_FITS_IMAGES = 4
_DIFFERENCE_FITS_BYTES_PER_PIXEL = 6.7
_FITS_BYTES_PER_ROW = 8192
# The model is within some 10 % of measured peaks; from here on a run may fail by bad luck.
_TIGHT = 0.8
_DISK_RESERVE_BYTES = 200_000_000


@dataclass(frozen=True)
class PreflightReport:
    """What a run would need, and what there is.

    Attributes
    ----------
    memory_bytes, free_memory_bytes : int
        Expected peak and what is available now.
    disk_bytes, free_disk_bytes : int
        Expected output and what is free.
    seconds : float
        Expected time on two cores.
    problems : tuple of str
        Why the run should not start, with remedies; empty if it may.
    final_disk_bytes : int
        The part of the output that ``keep='final'`` leaves.
    """

    memory_bytes: int
    free_memory_bytes: int
    disk_bytes: int
    free_disk_bytes: int
    seconds: float
    problems: tuple[str, ...]
    final_disk_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether the run may start."""
        return not self.problems

    @property
    def band(self) -> str:
        """``fine``, ``warning`` (it fits, but there is little to spare) or ``refuse``."""
        return "refuse" if self.problems else "warning" if self.warnings else "fine"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is nearly used up, with the numbers and what to do."""
        return tuple(
            f"little {what} to spare: about {format_bytes(need)} of {format_bytes(free)}; {advice}"
            for what, need, free, advice in (
                (
                    "memory",
                    self.memory_bytes,
                    self.free_memory_bytes,
                    "close other programs, run fewer pairs at once or with fewer threads",
                ),
                (
                    "disk",
                    self.disk_bytes,
                    self.free_disk_bytes,
                    "free space, or keep only what is final (keep='final')",
                ),
            )
            if not self.problems and need > _TIGHT * free
        )

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        return [
            f"memory: about {format_bytes(self.memory_bytes)} at the peak, "
            f"{format_bytes(self.free_memory_bytes)} available",
            f"disk: about {format_bytes(self.disk_bytes)} of output, "
            f"{format_bytes(self.free_disk_bytes)} free",
            f"time: about {self.seconds:.0f} s on two cores",
            *self.problems,
            *self.warnings,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "memory_bytes": self.memory_bytes,
            "free_memory_bytes": self.free_memory_bytes,
            "disk_bytes": self.disk_bytes,
            "free_disk_bytes": self.free_disk_bytes,
            "seconds": self.seconds,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "band": self.band,
            "ok": self.ok,
        }


def estimate_pipeline_memory(
    canvas_shape: Sequence[int],
    post_shape: Sequence[int] | None = None,
    bits: int = 8,
    threads: int = _MEASURED_THREADS,
    stages: Collection[int] = _ALL_STAGES,
) -> int:
    """Return the expected peak memory in bytes.

    Parameters
    ----------
    canvas_shape : sequence of int
        ``(ny, nx)`` with the border.
    post_shape : sequence of int, optional
        The same without it.
    bits : int
        Bits per pixel and channel.
    threads : int
        Threads of the run.
    stages : collection of int
        The stages that run.
    """
    ny, nx = canvas_shape
    inner_ny, inner_nx = post_shape or canvas_shape
    share = _SHARE_OF_STAGE.get(max(stages, default=_LAST_STAGE), 1.0)
    return int(
        share * _BASE_BYTES[_known_depth(bits)]
        + _SAMPLE_BYTES_PER_PIXEL * min(inner_ny * inner_nx, _MOST_SAMPLED_PIXELS)
        + _BYTES_PER_CANVAS_PIXEL * ny * nx
        + _BYTES_PER_CANVAS_COLUMN * nx
        + _BYTES_PER_FURTHER_THREAD * max(0, threads - _MEASURED_THREADS)
    )


def estimate_pipeline_output_size(
    post_shape: Sequence[int],
    checkpoint_format: str = "tiff",
    differences: int = 1,
    bits: int = 8,
    stages: Collection[int] = _ALL_STAGES,
) -> int:
    """Return the expected bytes on disk; the border of the canvas costs nothing.

    Parameters
    ----------
    post_shape : sequence of int
        ``(ny, nx)`` of the post image in pixels.
    checkpoint_format : str
        ``tiff``, ``fits`` or ``both``.
    differences : int
        Number of scales, each of which has a difference of its own.
    bits : int
        Bits per pixel and channel.
    stages : collection of int
        The stages that write.
    """
    depth = _known_depth(bits)
    per_pixel = per_row = 0.0
    if _LAST_STAGE in stages:
        both = _DIFFERENCE_FITS_BYTES_PER_PIXEL + _DIFFERENCE_TIFF_BYTES_PER_PIXEL[depth]
        per_pixel = both * differences
        per_row = _FITS_BYTES_PER_ROW * differences
    if checkpoint_format in ("tiff", "both"):
        share = sum(_TIFF_SHARE_OF_STAGE.get(stage, 0.0) for stage in set(stages))
        per_pixel += share * _TIFF_BYTES_PER_PIXEL[depth]
    if checkpoint_format in ("fits", "both"):
        share = sum(_FITS_SHARE_OF_STAGE.get(stage, 0.0) for stage in set(stages))
        per_pixel += share * _FITS_BYTES_PER_PIXEL[depth]
        per_row += share * _FITS_BYTES_PER_ROW * _FITS_IMAGES
    return int(post_shape[0] * (post_shape[1] * per_pixel + per_row))


def _known_depth(bits: int) -> int:
    """Return the smallest bit depth with figures that holds `bits`."""
    return next((depth for depth in _BASE_BYTES if bits <= depth), max(_BASE_BYTES))


def get_available_memory() -> int:
    """Return the bytes of memory that are available now, container limits respected."""
    return available_memory_bytes()


def preflight_check(
    post_shape: Sequence[int],
    pre_shape: Sequence[int],
    params: Mapping[str, Any],
    output_dir: str | os.PathLike[str] = "processed",
    checkpoint_format: str = "tiff",
    *,
    bits: int = 8,
    threads: int = _MEASURED_THREADS,
    custom_bytes: int = 0,
    stages: Collection[int] = _ALL_STAGES,
) -> PreflightReport:
    """Compare what a run needs with what there is.

    Parameters
    ----------
    post_shape, pre_shape : sequence of int
        ``(ny, nx)`` of the raw images in pixels.
    params : mapping
        All effective parameters.
    output_dir : path
        Where the results go.
    checkpoint_format : str
        ``tiff``, ``fits`` or ``both``.
    bits : int
        Bits per pixel and channel of the raw images, the larger of both.
    threads : int
        Threads of the run.
    custom_bytes : int
        Memory for extra stages and for plots at full resolution.
    stages : collection of int
        The stages that would run.
    """
    pad = 2 * int(params["pad"])
    canvas = [max(a, b) + pad for a, b in zip(post_shape, pre_shape, strict=True)]
    from exo2micro.subtraction.scale import active_estimators

    differences = len(active_estimators(params))
    memory = estimate_pipeline_memory(canvas, post_shape, bits, threads, stages) + custom_bytes
    disk, final = (
        estimate_pipeline_output_size(post_shape, checkpoint_format, differences, bits, written)
        for written in (stages, {_LAST_STAGE} & set(stages))
    )
    free_memory = get_available_memory()
    free_disk = shutil.disk_usage(existing_folder(Path(output_dir))).free
    problems = []
    if memory > free_memory:
        problems.append(
            f"not enough memory: about {format_bytes(memory)} needed, "
            f"{format_bytes(free_memory)} available; close other programs, use a smaller pad, "
            "or start all the same with force_run"
        )
    if disk + _DISK_RESERVE_BYTES > free_disk:
        problems.append(
            f"not enough disk: about {format_bytes(disk)} needed, {format_bytes(free_disk)} free "
            f"in {output_dir}; free space, choose another output_dir, "
            "or start all the same with force_run"
        )
    megapixels = post_shape[0] * post_shape[1] / 1e6
    seconds = sum(
        base + _SECONDS_PER_MEGAPIXEL[stage] * megapixels
        for stage, base in _BASE_SECONDS.items()
        if stage in stages
    )
    return PreflightReport(memory, free_memory, disk, free_disk, seconds, tuple(problems), final)


def require(report: PreflightReport) -> None:
    """Raise the error that fits a report with problems.

    Raises
    ------
    InsufficientMemoryError, InsufficientDiskError
        If the run should not start.
    """
    if report.ok:
        return
    message = "; ".join(report.problems)
    if report.memory_bytes > report.free_memory_bytes:
        raise InsufficientMemoryError(message)
    raise InsufficientDiskError(message)


def format_bytes(number: float) -> str:
    """Return a number of bytes for people, e.g. ``1.5 GB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def existing_folder(path: Path) -> Path:
    """Return the nearest folder that exists already."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path
