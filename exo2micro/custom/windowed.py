"""A custom function applied to rasters: window by window where it declares a halo, else at once."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exo2micro._typing import Image
from exo2micro.custom.failure import failure
from exo2micro.custom.memory import Outcome, contract_of, convert, run_function
from exo2micro.custom.step import ResolvedStep
from exo2micro.errors import CustomStageError, Exo2microError
from exo2micro.raster.base import Raster

_STORED = ("uint8", "uint16", "float32")
"""Types of pixels that checkpoints hold as they are; others become float32."""

_PROBE_PX = 64
_TOLERANCE = 1e-5  # of the largest value: filters by recursion or FFT differ in the last digits


class AppliedFunction:
    """The result of a function on one image or a pair, computed when it is read.

    Calls of the function follow one another, as a user's function need not be safe in threads.

    Parameters
    ----------
    resolved : ResolvedStep
        Function and values.
    sources : sequence of Raster
        One image, or post and pre; of one shape.
    """

    def __init__(self, resolved: ResolvedStep, sources: Sequence[Raster]) -> None:
        self._resolved = resolved
        self._function = resolved.function.load()
        self._sources = sources
        self._lock = threading.Lock()
        self._whole: Image | None = None
        self.shape = sources[0].shape
        self.halo_px = contract_of(self._function).halo_px(resolved.values)
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._remarks: set[str] = set()
        self.computed_dtype = self._probe()
        name = self.computed_dtype.name
        self.dtype = np.dtype(name if name in _STORED else "float32")

    def read(self, plane: int, rows: slice, cols: slice) -> Image:
        """Return a window of one plane of the result."""
        with self._lock:
            if self.halo_px is None:
                if self._whole is None:
                    self._whole = self._checked(self._call(self._stack(*self._everything())))
                window: Image = self._whole[plane, rows, cols]
            else:
                window = self._window(rows, cols, self.halo_px)[plane]
        return window

    def summary(self) -> dict[str, Any]:
        """Return what the function told beside its images, as JSON values."""
        told = dict(sorted(self._metadata.items()))
        found: dict[str, Any] = {"halo_px": self.halo_px}
        if told:
            found["metadata"] = next(iter(told.values())) if self.halo_px is None else told
        if self._remarks:
            found["remarks"] = sorted(self._remarks)
        return found

    def _everything(self) -> tuple[slice, slice]:
        return slice(0, self.shape[0]), slice(0, self.shape[1])

    def _stack(self, rows: slice, cols: slice) -> Image:
        """Return a window of all sources, ``(C, Y, X)``, which the function may write to."""
        return np.stack([source.read(rows, cols) for source in self._sources])

    def _window(self, rows: slice, cols: slice, halo: int) -> Image:
        """Return a window of the result, computed with a halo."""
        wide = tuple(
            slice(max(0, part.start - halo), min(size, part.stop + halo))
            for part, size in zip((rows, cols), self.shape, strict=True)
        )
        result = self._checked(self._call(self._stack(*wide), rows))
        core = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip((rows, cols), wide, strict=True)
        )
        return result[:, core[0], core[1]]

    def _call(self, image: Image, rows: slice | None = None) -> Image:
        outcome = self._run(image)
        result: Image = np.asarray(convert(outcome.image, "numpy"))
        if result.shape != image.shape:
            self._refuse(f"returned an image of shape {result.shape}, not {image.shape}")
        if result.dtype.kind not in "uif":
            self._refuse(f"returned pixels of type {result.dtype}; return real numbers")
        if result.dtype.kind == "f" and not np.isfinite(result).all():
            bad = int(np.count_nonzero(~np.isfinite(result)))
            self._refuse(f"returned {bad} pixels that are NaN or infinite; replace them, e.g. by 0")
        self._remarks.update(outcome.remarks)
        if outcome.metadata:
            where = "image" if rows is None else f"rows {rows.start:06d} to {rows.stop:06d}"
            self._metadata[where] = plain(outcome.metadata)
        return result

    def _run(self, image: Image) -> Outcome:
        """Call the function; an error of the user's code tells the line."""
        try:
            return run_function(self._function, image, **self._resolved.values)
        except (Exo2microError, MemoryError):
            raise
        except Exception as error:
            msg = f"the extra stage {failure(self._resolved.function, error)}"
            raise CustomStageError(msg) from error

    def _checked(self, result: Image) -> Image:
        """Return a result in the type that is stored."""
        if result.dtype != self.computed_dtype:
            self._refuse(
                f"returned {result.dtype} for one part of the image and {self.computed_dtype} for "
                "another; return one type always"
            )
        return result.astype(self.dtype, copy=False)

    def _probe(self) -> "np.dtype[Any]":
        """Return the type of the result, from a small window; check a declared halo on it."""
        side = _PROBE_PX + 2 * (self.halo_px or 0)
        rows, cols = (
            slice(max(0, (size - side) // 2), min(size, (size + side) // 2)) for size in self.shape
        )
        result = self._call(self._stack(rows, cols))
        self._metadata.clear()
        if self.halo_px is not None:
            self.computed_dtype = result.dtype
            self.dtype = result.dtype
            self._check_halo(rows, cols, result)
            self._metadata.clear()
        return result.dtype

    def _check_halo(self, rows: slice, cols: slice, result: Image) -> None:
        """Refuse a function whose result depends on more than its declared halo."""
        halo = self.halo_px or 0
        inner = [
            slice(part.start + halo, part.stop - halo)
            if part.stop - part.start > 2 * halo + 1
            else part
            for part in (rows, cols)
        ]
        narrow = self._window(inner[0], inner[1], halo).astype(np.float64)
        wide = self._window(inner[0], inner[1], 2 * halo + _PROBE_PX).astype(np.float64)
        apart = float(np.max(np.abs(narrow - wide), initial=0.0))
        if apart > _TOLERANCE * max(1.0, float(np.max(np.abs(result.astype(np.float64))))):
            self._refuse(
                f"declares a halo of {halo} px, but its result changes by up to {apart:.3g} with "
                "what lies beyond; declare a larger halo, or none to get the whole image"
            )

    def _refuse(self, problem: str) -> None:
        msg = f"the extra stage {self._resolved.name} {problem}"
        raise CustomStageError(msg)


class AppliedRaster(Raster):
    """One plane of an `AppliedFunction`."""

    def __init__(self, applied: AppliedFunction, plane: int) -> None:
        self._applied = applied
        self._plane = plane
        self.shape = applied.shape
        self.dtype = applied.dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window of the plane."""
        return self._applied.read(self._plane, rows, cols)


def working_bytes(resolved: ResolvedStep, shape: tuple[int, int]) -> int:
    """Return the expected memory in bytes that a step needs for images of a shape.

    Input, its copy, the result as float64 and as it is stored, and as much again for what the
    function makes on its way: 32 bytes per pixel and image.
    """
    planes = 2 if resolved.step.applies_to == "pair" else 1
    halo = contract_of(resolved.function.load()).halo_px(resolved.values)
    rows = shape[0] if halo is None else min(shape[0], 512 + 2 * halo)
    return 32 * planes * rows * shape[1]


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return what a function told as JSON values; what is none becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
