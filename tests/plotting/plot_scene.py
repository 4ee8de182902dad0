from types import SimpleNamespace

import numpy as np

from exo2micro.alignment.certificate import Certificate
from exo2micro.plotting import PairView
from exo2micro.raster import ArrayRaster, OffsetRaster
from exo2micro.subtraction.scale import ScaleEstimate
from exo2micro.verdict import Verdict

PAD = 30
SHAPE = (300, 400)
SCALE = 1.8
MICROBE = (200, 300)


class Scene:
    """Textured rock, post = 1.8 x pre, one bright square microbe, no data in the left columns."""

    def __init__(self, seed=3):
        rng = np.random.default_rng(seed)
        blocks = rng.uniform(40, 110, (SHAPE[0] // 10, SHAPE[1] // 10))
        rock = np.kron(blocks, np.ones((10, 10)))
        self.pre = np.rint(rock + rng.normal(0, 1, SHAPE)).astype(np.float32)
        self.pre[:, :20] = 0
        post = SCALE * rock + rng.normal(0, 2, SHAPE)
        row, col = MICROBE
        post[row - 4 : row + 4, col - 4 : col + 4] += 60
        self.post = np.clip(np.rint(post), 1, 255).astype(np.uint8)
        self.mask = self.pre != 0
        self.difference = np.where(self.mask, self.post - np.float32(SCALE) * self.pre, 0)
        self.shifted = np.roll(self.pre, 5, axis=1)


def estimate(name="moffat", label="", scale=SCALE, offset=0.0, half=0.01, curve=True):
    centres = np.linspace(1.2, 2.4, 60)
    counts = 1000 * np.exp(-0.5 * ((centres - scale) / 0.1) ** 2)
    return ScaleEstimate(
        name,
        label,
        scale,
        offset,
        (scale - half, scale + half),
        0.95,
        77,
        curve={"centres": centres, "counts": counts, "fitted": counts * 0.9} if curve else {},
    )


def certificate(n=20, length=0.2):
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, n)
    return Certificate(
        positions=rng.uniform(30, 270, (n, 2)),
        residuals=length * np.column_stack([np.cos(angle), np.sin(angle)]),
        precisions=np.full(n, 0.02),
        median_px=length if n else float("inf"),
        p95_px=1.2 * length if n else float("inf"),
        bound_px=1.5 * length if n else float("inf"),
        coverage=0.9,
        forward_backward_px=0.01,
        verdict=Verdict() if n else Verdict.fail("nothing matched"),
    )


def on_canvas(image):
    shape = SHAPE[0] + 2 * PAD, SHAPE[1] + 2 * PAD
    return OffsetRaster(ArrayRaster(image), shape, (PAD, PAD))


def make_view(scene, *, scales=None, with_certificate=True, difference=True):
    window = slice(PAD, PAD + SHAPE[0]), slice(PAD, PAD + SHAPE[1])
    mask = np.pad(scene.mask, PAD)
    metrics = {"certificate": certificate().to_dict()} if with_certificate else {}
    return PairView(
        sample="CD070",
        dye="SybrGld_microbe",
        post=on_canvas(scene.post),
        pre=on_canvas(scene.pre),
        before=on_canvas(np.roll(scene.pre, 40, axis=1)),
        coarse=on_canvas(scene.shifted),
        difference=on_canvas(scene.difference) if difference else None,
        window=window,
        valid=lambda rows, cols: mask[rows, cols],
        scales=(estimate(),) if scales is None else scales,
        records={3: SimpleNamespace(metrics=metrics)},
        params={},
    )


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
