"""Public functions on plain arrays or rasters."""

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from exo2micro._typing import FloatImage, Image
from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.coarse import CoarseResult, CoarseSettings, coarse_align_overviews
from exo2micro.alignment.interior import (
    InteriorResult,
    InteriorSettings,
    refine_interior_overviews,
)
from exo2micro.alignment.overview import Overviews, make_overviews
from exo2micro.alignment.search import grid_search, search_texture
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.verify import verify
from exo2micro.errors import ParameterError, RegistrationError
from exo2micro.raster import Raster, as_raster
from exo2micro.raster.windows import single_threaded_libraries
from exo2micro.verdict import Level, Verdict

logger = logging.getLogger(__name__)

PHASE_OVERVIEW_PX = 400
# The whole-pixel peak is right to half a pixel per axis; what lies further off is another peak.
NEAR_PX = 1.5


@dataclass(frozen=True, eq=False)
class Alignment:
    """A certified alignment of a pair.

    Attributes
    ----------
    transform : Transform
        Post to pre, raw pixels.
    certificate : Certificate
        What held-out tiles say about it.
    verdict : Verdict
        The worst of coarse search, fit and certificate.
    coarse : CoarseResult
        Stage 2.
    interior : InteriorResult
        Stage 3.
    """

    transform: Transform
    certificate: Certificate
    verdict: Verdict
    coarse: CoarseResult
    interior: InteriorResult

    @property
    def messages(self) -> tuple[str, ...]:
        """What a user should know, in words."""
        return (*self.coarse.messages, *self.interior.messages)

    @property
    def metrics(self) -> dict[str, Any]:
        """JSON values of both stages."""
        return {"coarse": self.coarse.metrics, "interior": self.interior.metrics}


def align(
    post: Raster | Image,
    pre: Raster | Image,
    *,
    coarse: CoarseSettings | None = None,
    interior: InteriorSettings | None = None,
    threads: int = 1,
) -> Alignment:
    """Find, refine and certify the mapping from post to pre.

    Parameters
    ----------
    post, pre : Raster or numpy.ndarray
        The images, shape ``(ny, nx)`` each; the shapes may differ.
    coarse : CoarseSettings, optional
        Search range of stage 2.
    interior : InteriorSettings, optional
        Limits of stage 3.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Alignment
        ``alignment.transform`` maps ``(x, y)`` post points to pre points;
        ``alignment.verdict`` says how far to trust it.
    """
    overviews = _overviews(post, pre, threads)
    with single_threaded_libraries():
        first = coarse_align_overviews(*overviews, coarse or CoarseSettings(), threads=threads)
        second = refine_interior_overviews(
            *overviews, first.transform, interior or InteriorSettings(), threads=threads
        )
    verdict = Verdict.worst([as_doubt(first.verdict), second.verdict])
    return Alignment(second.transform, second.certificate, verdict, first, second)


def as_doubt(coarse: Verdict) -> Verdict:
    """Return the coarse verdict as a reason to look: held-out tiles judge the alignment."""
    if coarse.level is Level.PASS:
        return coarse
    return Verdict(Level.CHECK, tuple(f"coarse alignment: {reason}" for reason in coarse.reasons))


def register_highorder(
    post: Raster | Image,
    pre: Raster | Image,
    *,
    threads: int = 1,
    **settings: Any,  # noqa: ANN401 - the fields of CoarseSettings
) -> CoarseResult:
    """Run the coarse alignment (stage 2) on arrays; keywords are those of `CoarseSettings`."""
    overviews = _overviews(post, pre, threads)
    with single_threaded_libraries():
        return coarse_align_overviews(*overviews, CoarseSettings.of(settings), threads=threads)


def refine_interior_sift(
    post: Raster | Image,
    pre: Raster | Image,
    initial: Transform | ArrayLike | None = None,
    *,
    threads: int = 1,
    **settings: Any,  # noqa: ANN401 - the fields of InteriorSettings
) -> InteriorResult:
    """Run the interior refinement (stage 3) on arrays; keywords are those of `InteriorSettings`.

    Parameters
    ----------
    post, pre : Raster or numpy.ndarray
        The images, shape ``(ny, nx)``.
    initial : Transform or array_like, optional
        Post to pre, also as a ``(3, 3)`` homography or ``(2, 3)`` affine matrix; the identity where
        pre is aligned already.
    threads : int
        Threads; the result does not depend on it.
    """
    start = Transform.identity() if initial is None else initial
    if not isinstance(start, Transform):
        start = Transform.from_matrix(start)
    limits, overviews = InteriorSettings.of(settings), _overviews(post, pre, threads)
    with single_threaded_libraries():
        return refine_interior_overviews(*overviews, start, limits, threads=threads)


refine_interior_ecc = refine_interior_sift


def prealign_phase_correlation(post: Raster | Image, pre: Raster | Image) -> Transform:
    """Return the pure shift between two images, right to a fifth of a pixel of a 400 px overview.

    Where the texture of the images does not support it, a warning is logged.

    Parameters
    ----------
    post, pre : Raster or numpy.ndarray
        The images, shape ``(ny, nx)``.

    Returns
    -------
    Transform
        A translation, post to pre.

    Raises
    ------
    RegistrationError
        If an image is blank.
    """
    pair = _overviews(post, pre, 1)
    factor = max(image.factor_for(PHASE_OVERVIEW_PX) for image in pair)
    textures = [search_texture(image.at(factor), edges=True) for image in pair]
    with single_threaded_libraries():
        found = grid_search(textures[0], textures[1], [0.0], [1.0], keep=1)
        if not found:
            msg = "images of one brightness cannot be registered: look at the raw files"
            raise RegistrationError(msg)
        shift = _sub_pixel(textures[0], textures[1], found[0].transform).unscaled(factor, factor)
        checked = verify(*pair, shift, threads=1)
    if not checked.accepted:
        logger.warning(
            "the shift found by phase correlation is not to be trusted: %d of %d places agree on "
            "one mapping near it, %d do by chance",
            *(checked.support, checked.tiles, checked.chance),
        )
    return shift


def _sub_pixel(post: FloatImage, pre: FloatImage, start: Transform) -> Transform:
    """Return a shift right to half a pixel made better, as it was where correlation leads away."""
    first = start.matrix[:2].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(
            post, pre, first, cv2.MOTION_TRANSLATION, criteria, None, 5
        )
    except cv2.error:
        return start
    shift = Transform.from_matrix(matrix)
    apart = np.hypot(*(shift.matrix - start.matrix)[:2, 2])
    return shift if apart < NEAR_PX else start


def _overviews(
    post: Raster | Image, pre: Raster | Image, threads: int
) -> tuple[Overviews, Overviews]:
    """Return overviews of both images, or raise a typed error if they cannot be aligned at all."""
    if not isinstance(threads, int) or threads < 1:
        msg = f"threads must be a whole number >= 1, got {threads!r}"
        raise ParameterError(msg)
    pair = make_overviews(_checked(post, "post"), _checked(pre, "pre"), threads)
    for image, name in zip(pair, ("post", "pre"), strict=True):
        if not np.isfinite(image.base).all():
            msg = f"{name} holds NaN or infinity: replace them, for example with numpy.nan_to_num"
            raise RegistrationError(msg)
    return pair


def _checked(image: Raster | Image, name: str) -> Raster:
    """Return the image as a raster, or raise RegistrationError if it is none that can be used."""
    if not isinstance(image, Raster):
        image = np.asarray(image)
        if image.ndim != 2:
            msg = f"{name} must be one channel, shape (ny, nx), got shape {image.shape}"
            raise RegistrationError(msg)
    raster = as_raster(image)
    if raster.dtype.kind not in "uif":
        msg = f"{name} must hold real numbers (integer or float), got {raster.dtype}"
        raise RegistrationError(msg)
    if min(raster.shape) < SMALLEST_IMAGE_PX:
        msg = f"{name} must be at least {SMALLEST_IMAGE_PX} px wide and high, got {raster.shape}"
        raise RegistrationError(msg)
    return raster


SMALLEST_IMAGE_PX = 64
