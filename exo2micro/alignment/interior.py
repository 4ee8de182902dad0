"""Interior refinement (stage 3): sub-pixel alignment from the texture inside the sample."""

from dataclasses import dataclass
from typing import Any

from exo2micro.alignment.certificate import Certificate
from exo2micro.alignment.transform import Transform
from exo2micro.raster import Raster
from exo2micro.verdict import Verdict


@dataclass(frozen=True)
class InteriorSettings:
    """What steers the interior refinement; the names are those of the stage-3 parameters.

    Attributes
    ----------
    interior_ecc : bool
        Refine by interior texture; off: keep the coarse alignment and only certify it.
    interior_blur_base : float
        Finest tile pitch of the search: the smoothing scale, in pixels, that tiles start from.
    interior_max_correction : float
        Largest correction beyond the coarse alignment, in pixels over the sample.
    interior_min_inlier_ratio : float
        Smallest part of the matched tiles that the fit must explain; below it, the verdict is
        CHECK.
    """

    interior_ecc: bool = True
    interior_blur_base: float = 8.0
    interior_max_correction: float = 500.0
    interior_min_inlier_ratio: float = 0.4


@dataclass(frozen=True)
class InteriorResult:
    """Outcome of the interior refinement.

    Attributes
    ----------
    transform : Transform
        Post to pre, raw pixels.
    certificate : Certificate
        What the held-out tiles say about `transform`.
    verdict : Verdict
        The certificate's verdict and that of the fit, the worst of both.
    metrics : dict
        JSON values: tiles, inliers, precision, corrections.
    messages : tuple of str
        What a user should know, in words.
    """

    transform: Transform
    certificate: Certificate
    verdict: Verdict
    metrics: dict[str, Any]
    messages: tuple[str, ...] = ()


def refine_interior(
    post: Raster,
    pre: Raster,
    initial: Transform,
    settings: InteriorSettings,
    *,
    threads: int = 1,
) -> InteriorResult:
    """Refine an alignment to a small part of a pixel and certify it on held-out tiles.

    Parameters
    ----------
    post, pre : Raster
        The raw images.
    initial : Transform
        Post to pre, right to within a few per cent of the image.
    settings : InteriorSettings
        Limits of the refinement.
    threads : int
        Threads to use; the result does not depend on it.

    Returns
    -------
    InteriorResult
        Transform in raw pixels, certificate and verdict.
    """
    raise NotImplementedError
