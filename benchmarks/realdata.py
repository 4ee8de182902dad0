"""Register real public image pairs: landmark errors, certificates and a picture of each pair.

Usage: python benchmarks/realdata.py FOLDER --output PICTURES

FOLDER holds ``bigstream`` and ``birl`` as their origins lay them out:

- bigstream: https://github.com/GFleishman/bigstream, maximum projections of ``resources/fix.n5``
  and ``mov.n5`` (EASI-FISH, two rounds of one tissue).
- birl: https://github.com/Borda/BIRL, ``data-images`` (artificial moving images with landmarks,
  and serial sections of rat kidney in two stains).

Images in colour are histology in transmitted light: they are turned into dark-field ones
(255 - luminance), which is what the package registers.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.figure import Figure
from PIL import Image

from exo2micro.alignment.functions import Alignment, align
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import ArrayRaster

ARTIFICIAL = "birl/{}/artificial_{}"
KIDNEY = "birl/rat-kidney_/scale-5pc/Rat-Kidney_{}"


@dataclass(frozen=True)
class Pair:
    """Two images of one field, and where their landmarks are."""

    name: str
    post: str
    pre: str
    landmarks: tuple[str, str] | None = None


PAIRS = (
    Pair("EASI-FISH rounds", "bigstream/fix_highres_mip.tif", "bigstream/mov_highres_mip.tif"),
    *(
        Pair(
            f"artificial {kind}",
            ARTIFICIAL.format("images", "reference") + ".jpg",
            ARTIFICIAL.format("images", f"moving-{kind}") + ".jpg",
            (
                ARTIFICIAL.format("landmarks", "reference") + ".csv",
                ARTIFICIAL.format("landmarks", f"moving-{kind}") + ".csv",
            ),
        )
        for kind in ("rigid", "affine", "elastic")
    ),
    Pair(
        "rat kidney, HE and PanCytokeratin",
        KIDNEY.format("HE") + ".jpg",
        KIDNEY.format("PanCytokeratin") + ".jpg",
        (KIDNEY.format("HE") + ".csv", KIDNEY.format("PanCytokeratin") + ".csv"),
    ),
)


def load(path: Path) -> np.ndarray:
    """Return one channel; colour is turned into dark field."""
    if path.suffix == ".tif":
        return np.squeeze(tifffile.imread(path))
    return (255 - np.asarray(Image.open(path).convert("L"))).astype(np.uint8)


def read_landmarks(path: Path) -> np.ndarray:
    """Return landmarks as ``(x, y)`` rows."""
    with path.open(newline="") as file:
        return np.array([(float(row["X"]), float(row["Y"])) for row in csv.DictReader(file)])


def affine_errors(post: np.ndarray, pre: np.ndarray) -> np.ndarray:
    """Return the error of each landmark under the best affine mapping through all others."""
    errors = []
    design = np.column_stack([post, np.ones(len(post))])
    for k in range(len(post)):
        others = np.arange(len(post)) != k
        mapping = np.linalg.lstsq(design[others], pre[others], rcond=None)[0]
        errors.append(np.hypot(*(design[k] @ mapping - pre[k])))
    return np.array(errors)


def figures_of(found: Alignment, landmarks: tuple[np.ndarray, np.ndarray] | None) -> list[str]:
    """Return the table's cells of one pair."""
    certificate = found.certificate
    cells = ["", "", ""]
    if landmarks is not None:
        post, pre = landmarks
        errors = np.hypot(*(found.transform(post) - pre).T)
        before = np.hypot(*(post - pre).T)
        cells = [
            f"{np.median(before):.1f}",
            f"{np.median(errors):.2f} / {errors.max():.1f}",
            f"{np.median(affine_errors(post, pre)):.2f}",
        ]
    residuals = np.hypot(*certificate.residuals.T)
    return [
        *cells,
        f"{np.median(residuals):.2f}" if len(residuals) else "",
        f"{certificate.median_px:.2f} / {certificate.p95_px:.2f}",
        f"{certificate.bound_px:.2f}",
        f"{certificate.tiles}",
        f"{certificate.coverage:.2f}",
        "yes" if found.transform.field is not None else "no",
        found.verdict.level.name,
    ]


def stretched(image: np.ndarray) -> np.ndarray:
    """Return an image between 0 and 1, its extremes cut."""
    low, high = np.percentile(image, (1, 99.7))
    return np.clip((image.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)


def picture(
    name: str,
    post: np.ndarray,
    pre: np.ndarray,
    found: Alignment,
    landmarks: tuple[np.ndarray, np.ndarray] | None,
) -> Figure:
    """Return overlay before and after, with residual vectors of tiles and landmarks."""
    ny, nx = post.shape
    warped = WarpedRaster(ArrayRaster(pre), found.transform, post.shape).read(
        slice(0, ny), slice(0, nx)
    )
    before = np.zeros(post.shape)
    height, width = min(ny, pre.shape[0]), min(nx, pre.shape[1])
    before[:height, :width] = stretched(pre)[:height, :width]
    figure = Figure(figsize=(15, 15 * ny / nx / 2 + 1.2), layout="constrained")
    for axes, other, title in zip(
        figure.subplots(1, 2),
        (before, stretched(warped)),
        ("before", f"after: {found.verdict.level.name}"),
        strict=True,
    ):
        axes.imshow(np.dstack([stretched(post), other, stretched(post)]))
        axes.set_title(f"{name}, {title} (post magenta, pre green)")
        axes.set_axis_off()
    certificate = found.certificate
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1 / 20, "width": 0.003}
    if certificate.tiles:
        axes.quiver(*certificate.positions.T, *certificate.residuals.T, color="yellow", **arrows)
    if landmarks is not None:
        errors = found.transform(landmarks[0]) - landmarks[1]
        axes.quiver(*landmarks[0].T, *errors.T, color="cyan", **arrows)
    figure.supxlabel("arrows, 20 times enlarged: held-out tiles (yellow), landmarks (cyan)")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("realdata_pictures"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(
        "| pair | landmarks before | landmark error, median / max | best affine, left out "
        "| tile residual | cert. median / 95 % | bound | tiles | coverage | field | verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    reasons = []
    for pair in PAIRS:
        post, pre = (load(arguments.folder / file) for file in (pair.post, pair.pre))
        landmarks = None
        if pair.landmarks:
            first, second = (read_landmarks(arguments.folder / file) for file in pair.landmarks)
            count = min(len(first), len(second))
            landmarks = first[:count], second[:count]
        found = align(post, pre)
        print("| " + " | ".join([pair.name, *figures_of(found, landmarks)]) + " |", flush=True)
        reasons += [f"- {pair.name}: {reason}" for reason in found.verdict.reasons]
        reasons += [f"- {pair.name}, note: {message}" for message in found.messages]
        name = "".join(c if c.isalnum() else "_" for c in pair.name)
        picture(pair.name, post, pre, found, landmarks).savefig(
            arguments.output / f"{name}.png", dpi=80
        )
    print("\n" + "\n".join(reasons))


if __name__ == "__main__":
    main()
