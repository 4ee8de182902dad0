"""Small aligned pairs with exact truth for the tests of the subtraction."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from exo2micro.raster.base import ArrayRaster
from exo2micro.synthetic import PairSpec, make_pair

SPEC = PairSpec(shape=(480, 480), coverage=0.15, ratio=1.5, rotation_deg=2.0, seed=5)


@dataclass(frozen=True)
class AlignedPair:
    post: ArrayRaster
    pre: ArrayRaster
    valid: ArrayRaster
    scale: float
    offset: float
    saturation_pre: float


def aligned_pair(**changes) -> AlignedPair:
    """Return a pair whose pre image is resampled through the true mapping."""
    spec = replace(SPEC, **changes)
    pair = make_pair(spec)
    post, pre = pair.post.read_all(), pair.pre.read_all()
    yy, xx = np.mgrid[: post.shape[0], : post.shape[1]]
    points = pair.truth.mapping(np.stack([xx.ravel(), yy.ravel()], axis=1).astype(np.float64))
    where = points[:, ::-1].T.reshape(2, *post.shape)
    warped = ndimage.map_coordinates(pre.astype(np.float32), where, order=3, output=np.float32)
    limit = np.array(pre.shape)[:, None, None] - 1
    inside = np.all((where >= 1) & (where <= limit - 1), axis=0)
    warped[~inside] = 0
    return AlignedPair(
        ArrayRaster(post),
        ArrayRaster(warped),
        ArrayRaster(inside),
        pair.truth.scale,
        pair.truth.offset,
        float(spec.full_scale),
    )
