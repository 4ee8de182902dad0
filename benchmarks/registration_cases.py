"""Synthetic pairs of the registration benchmark, and their true errors."""

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.raw import load_image_pair
from exo2micro.synthetic import PairSpec, SyntheticRaster, write_image
from exo2micro.synthetic.truth import Truth

# Shifts, as parts of the image, that the seeds run through.
SEED_SHIFTS = ((0.01, -0.008), (-0.02, 0.015), (0.005, 0.02))
READ_ROWS = 512


def cases(shape: tuple[int, int]) -> dict[str, PairSpec]:
    """Return the named cases for one image shape."""
    ny, nx = shape
    usual = PairSpec(shape=shape, rotation_deg=3.2, magnification=1.02, border=0.1)
    return {
        "identity": PairSpec(shape=shape),
        "shift": PairSpec(shape=shape, shift_px=(0.1 * nx, -0.07 * ny), border=0.2),
        "similarity": usual,
        "rotation 25, x1.1": replace(usual, rotation_deg=25, magnification=1.1, border=0.2),
        "rotation -19, x0.9": replace(usual, rotation_deg=-19, magnification=0.9),
        "shear": replace(usual, shear=0.02),
        "perspective": replace(usual, perspective=(0.01, -0.015)),
        "low texture": replace(usual, texture="low"),
        "smooth texture": replace(usual, texture="smooth"),
        "repeated texture": replace(usual, texture="repeated"),
        "dim": replace(usual, dim=0.2),
        "torn": replace(usual, lost_piece=0.35),
        "15 % microbes": replace(usual, coverage=0.15),
        "saturated debris": replace(usual, saturated_debris=60),
        "small border": replace(usual, border=0.01),
        "sample beyond the frame": replace(usual, border=-0.1),
        "touching the border": replace(usual, border=0.0),
        "other canvas": replace(usual, pre_shape=(int(ny * 1.1), int(nx * 0.95))),
        "ratio 4, gradient": replace(usual, ratio=4.0, ratio_gradient=0.2),
        "ratio 0.5, bleached": replace(usual, ratio=0.5, bleaching=0.3),
        "vignetting": replace(usual, vignetting=0.5),
        "16 bit": replace(usual, bits=16, pedestal=200, pre_pedestal=150),
        "blank half": replace(usual, blank_half=True),
        "two pieces": replace(usual, pieces=2),
        "other focus": replace(usual, post_psf_px=1.8),
        "deformation 8 px": replace(usual, deformation_px=8.0),
        "rotation 133": replace(usual, rotation_deg=133),
        "mirror": replace(usual, mirror=True),
    }


def main_cases(shape: tuple[int, int]) -> dict[str, PairSpec]:
    """Return the cases that are also measured on large images."""
    names = (
        "identity",
        "shift",
        "similarity",
        "rotation 25, x1.1",
        "perspective",
        "deformation 8 px",
        "low texture",
        "15 % microbes",
        "torn",
        "small border",
    )
    every = cases(shape)
    return {name: every[name] for name in names}


def placed(name: str, spec: PairSpec, seed: int) -> PairSpec:
    """Return the spec with a shift that depends on the seed, where it has none."""
    if spec.shift_px != (0.0, 0.0) or name == "identity" or not seed:
        return spec
    ny, nx = spec.shape
    part = SEED_SHIFTS[seed % len(SEED_SHIFTS)]
    return replace(spec, shift_px=(part[0] * nx + 0.37, part[1] * ny - 0.21))


def true_error(
    transform: Transform, truth: Truth, shape: tuple[int, int]
) -> tuple[float, float, float]:
    """Return median, 95 % quantile and maximum of the error over the overlap, in pixels."""
    step = max(1, min(shape) // 200)
    overlap = np.concatenate(
        [
            truth.overlap_mask(slice(row, row + 1), slice(0, shape[1]))[:, ::step]
            for row in range(step // 2, shape[0], step)
        ]
    )
    rows, cols = np.nonzero(overlap)
    points = np.column_stack([cols * step, rows * step + step // 2]).astype(np.float64)
    error = np.hypot(*(transform(points) - truth.mapping(points)).T)
    return float(np.median(error)), float(np.quantile(error, 0.95)), float(error.max())


def rasters_on_disk(
    name: str, spec: PairSpec, images: tuple[SyntheticRaster, SyntheticRaster], folder: Path
) -> tuple[Raster, Raster, float, float]:
    """Return post and pre opened from TIFF files, and seconds of plain reading and writing.

    The files are written by windows where `folder` does not hold them yet.
    """
    raw = folder / hashlib.sha256(f"{name} {spec!r}".encode()).hexdigest()[:16]
    files = [raw / "bench" / f"bench_{role}Stain_dye.tif" for role in ("Post", "Pre")]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for image, file in zip(images, files, strict=True):
        if not file.exists():
            write_image(image, file, spec)
    start = time.perf_counter()
    contents = [file.read_bytes() for file in files]
    middle = time.perf_counter()
    scratch = raw / "scratch.bin"
    with scratch.open("wb") as copy:
        copy.writelines(contents)
        copy.flush()
        os.fsync(copy.fileno())
    end = time.perf_counter()
    scratch.unlink()
    pair = load_image_pair("bench", "dye", raw)
    return pair.post, pair.pre, middle - start, end - middle
