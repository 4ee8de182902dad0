"""Draw the README's picture from the results of the demonstration.

usage: python scripts/make_pictures.py [DEMO_FOLDER]      after `exo2micro demo`
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.figure import Figure
from PIL import Image

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "demo.png"
PAIR = Path("processed", "CD070", "SybrGld_microbe", "tiff")
PAD = 2000
ZOOM = (slice(380, 680), slice(330, 690))
"""Rows and columns of the post-stain image that the lower row shows."""
GRAYS = 80


def read(folder: Path, stem: str) -> np.ndarray:
    """Return an image of the pair without the border of the canvas."""
    image = tifffile.imread(folder / PAIR / f"{stem}.tiff")
    return image[PAD:-PAD, PAD:-PAD].astype(np.float32)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    post = read(folder, "01_padded_post")
    pre = read(folder, "03_interior_aligned_pre")
    difference = read(folder, "04_difference_difference")
    top = float(np.quantile(post[post > 0], 0.998))
    panels = (
        ("after staining", post, top),
        ("before staining, aligned", pre, top / 1.8),
        ("difference", difference, top / 2),
    )
    figure = Figure(figsize=(10.5, 6.1), dpi=100, layout="constrained", facecolor="white")
    for column, (title, image, white) in enumerate(panels):
        for row, window in enumerate(((slice(None), slice(None)), ZOOM)):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            axes.imshow(image[window], cmap="gray", vmin=0, vmax=white)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=12)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, metadata={"Software": None})
    picture = Image.open(TARGET).convert("L").quantize(GRAYS, dither=Image.Dither.NONE)
    picture.save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
