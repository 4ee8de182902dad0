"""Compare interpolation kernels by centroid shift, noise factor and time."""

import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import ArrayRaster

FWHM_PX = 2.0
PHASES = np.linspace(0.0, 1.0, 9)
STARS = 12
SPACING_PX = 40
WINDOW_PX = 9
SIDE_PX = 1024

Image = NDArray[np.float32]
Warp = Callable[[Image, Transform], Image]


def _opencv(kernel: int) -> Warp:
    def warp(image: Image, transform: Transform) -> Image:
        ny, nx = image.shape
        flags = kernel | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpPerspective(image, transform.matrix, (nx, ny), flags=flags))

    return warp


def _ours(image: Image, transform: Transform) -> Image:
    return WarpedRaster(ArrayRaster(image), transform, image.shape).read_all()


def _scipy(order: int) -> Warp:
    def warp(image: Image, transform: Transform) -> Image:
        rows, cols = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
        points = transform(np.column_stack([cols.ravel(), rows.ravel()]))
        places = points[:, ::-1].T.reshape(2, *image.shape)
        return np.asarray(ndimage.map_coordinates(image, places, order=order, mode="mirror"))

    return warp


KERNELS: dict[str, Warp] = {
    "cubic B-spline (`WarpedRaster`)": _ours,
    "bilinear (OpenCV)": _opencv(cv2.INTER_LINEAR),
    "bicubic (OpenCV)": _opencv(cv2.INTER_CUBIC),
    "Lanczos 4 (OpenCV)": _opencv(cv2.INTER_LANCZOS4),
    "cubic B-spline (SciPy)": _scipy(3),
    "quintic B-spline (SciPy)": _scipy(5),
}


def _stars(shift: float) -> tuple[Image, NDArray[np.float64]]:
    """Return an image of stars moved by a shift along both axes, and where they are, ``(x, y)``."""
    generator = np.random.default_rng(1)
    grid = (np.stack(np.meshgrid(np.arange(STARS), np.arange(STARS)), -1) + 0.5) * SPACING_PX
    places = grid.reshape(-1, 2) + generator.uniform(-0.5, 0.5, (STARS**2, 2)) - shift
    pixels = np.arange(STARS * SPACING_PX)
    image = np.zeros((pixels.size, pixels.size))
    for x, y in places:
        across, down = (np.exp(-4 * np.log(2) * (pixels - n) ** 2 / FWHM_PX**2) for n in (x, y))
        image += down[:, None] * across
    return image.astype(np.float32), places


def star_errors(warp: Warp) -> tuple[float, float]:
    """Return the largest error of a centroid along an axis, px, and of a pixel, per cent of a peak.

    Over all phases.
    """
    shift, pixel = 0.0, 0.0
    image, _ = _stars(0.0)
    for phase in PHASES:
        exact, places = _stars(float(phase))
        warped = warp(image, Transform.translation(float(phase), float(phase))).astype(np.float64)
        inner = np.s_[WINDOW_PX:-WINDOW_PX, WINDOW_PX:-WINDOW_PX]
        pixel = max(pixel, float(np.abs(warped - exact)[inner].max()))
        for place in places:
            left, top = np.rint(place).astype(int) - WINDOW_PX
            part = warped[top : top + 2 * WINDOW_PX + 1, left : left + 2 * WINDOW_PX + 1]
            rows, cols = np.mgrid[: part.shape[0], : part.shape[1]]
            found = np.array([(part * cols).sum(), (part * rows).sum()]) / part.sum()
            corner = np.array([left, top])
            shift = max(shift, float(np.abs(found + corner - place).max()))
    return shift, 100 * pixel


def noise_factors(warp: Warp) -> tuple[float, float]:
    """Return the smallest and the largest variance of white noise of variance 1 over all phases."""
    noise = np.random.default_rng(2).normal(size=(SIDE_PX, SIDE_PX)).astype(np.float32)
    inner = np.s_[32:-32, 32:-32]
    found = [
        float(warp(noise, Transform.translation(float(phase), float(phase)))[inner].var())
        for phase in PHASES
    ]
    return min(found), max(found)


def nanoseconds_per_pixel(warp: Warp) -> float:
    """Return the CPU time of a rotation, best of three."""
    image = np.random.default_rng(3).normal(size=(SIDE_PX, SIDE_PX)).astype(np.float32)
    turn = Transform.similarity(rotation_deg=3.2, magnification=1.02, centre=(512.0, 512.0))
    times = []
    for _ in range(3):
        start = time.process_time()
        warp(image, turn)
        times.append(time.process_time() - start)
    return 1e9 * min(times) / image.size


def table() -> str:
    """Return the comparison as a Markdown table."""
    cv2.setNumThreads(1)
    lines = [
        f"| kernel | centroid of stars, {FWHM_PX:g} px FWHM | pixels of them | noise factor "
        "| CPU ns/px |",
        "|---|---|---|---|---|",
    ]
    for name, warp in KERNELS.items():
        shift, pixel = star_errors(warp)
        low, high = noise_factors(warp)
        lines.append(
            f"| {name} | {shift:.4f} px | {pixel:.1f} % | {low:.2f} - {high:.2f} "
            f"| {nanoseconds_per_pixel(warp):.0f} |"
        )
    return "\n".join(lines)
