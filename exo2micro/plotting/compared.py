"""The images as they were subtracted: equally sharp, and pre along the scale's surface."""

from typing import Final

import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.plotting.base import PairView
from exo2micro.plotting.pair import ImagePair, image_pair
from exo2micro.raster.base import Raster
from exo2micro.subtraction.correction import FieldCorrection
from exo2micro.subtraction.field import RatioField
from exo2micro.subtraction.matching import ConvolvedRaster

_SUBTRACTION: Final = 4


class CorrectedRaster(Raster):
    """Another raster brought to one ratio all over the canvas, window by window.

    Parameters
    ----------
    source : Raster
        The pre-stain image.
    correction : FieldCorrection
        How the scale varies.
    """

    def __init__(self, source: Raster, correction: FieldCorrection) -> None:
        self.shape = source.shape
        self.dtype = np.dtype(np.float32)
        self._source, self._correction = source, correction

    @property
    def extent(self) -> tuple[slice, slice]:
        """The extent of the source."""
        return self._source.extent

    def read(self, rows: slice, cols: slice) -> FloatImage:
        """Return the corrected window."""
        image = self._source.read(rows, cols).astype(np.float32)
        return self._correction.apply(image, rows, cols)


def compared_pair(view: PairView) -> tuple[ImagePair, str]:
    """Return post and pre as stage 4 compared them, and what it had done to them, in words.

    Without a record of stage 4, and where it changed nothing, they are the images of the view.
    """
    record = view.records.get(_SUBTRACTION)
    metrics = record.metrics if record is not None else {}
    images, done = {"post": view.post, "pre": view.pre}, []
    match, field = metrics.get("psf_match"), metrics.get("scale_field")
    if match and match["role"] != "none":
        role, sigma = match["role"], match["sigma_px"]
        images[role] = ConvolvedRaster(images[role], sigma, view.valid, None)
        done.append(f"{role} blurred by {sigma:.2f} px to match")
    if field and field["is_applied"]:
        correction = FieldCorrection(RatioField.from_dict(field), field["pre_pedestal"])
        images["pre"] = CorrectedRaster(images["pre"], correction)
        done.append("pre follows the surface of the scale")
    pair = image_pair(images["post"], images["pre"], window=view.window, valid=view.valid)
    return pair, "; ".join(done)
