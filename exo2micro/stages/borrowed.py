"""Stages 2 and 3 where the alignment is borrowed: taken over as it is, then judged on this pair."""

from collections.abc import Mapping
from typing import Any

from exo2micro.alignment.transform import Transform
from exo2micro.errors import RegistrationError
from exo2micro.raster.record import Record
from exo2micro.stages.base import StageInputs, StageOutput
from exo2micro.stages.frames import aligned_product, preview_product, raw_frames
from exo2micro.verdict import Verdict

BORROWED = "borrowed_from"
"""Fact that names the lending dye and quotes its certificate."""

_SHAPES = ("post_shape", "pre_shape")
_QUOTED = ("median_px", "p95_px", "bound_px", "tiles", "coverage", "level")


def take_over(inputs: StageInputs, sibling: Record) -> StageOutput:
    """Return a sibling dye's final alignment as this pair's coarse one.

    Raises
    ------
    RegistrationError
        If the images of the two dyes differ in shape, so that their pixels do not correspond.
    """
    for name in _SHAPES:
        own, other = list(inputs.facts[name]), list(sibling.facts[name])
        if own != other:
            role = name.removesuffix("_shape")
            msg = (
                f"borrow_from: the {role} image has {own[1]} x {own[0]} px, that of {sibling.dye} "
                f"has {other[1]} x {other[0]} px; an alignment can only be borrowed between "
                "images of one shape: align this pair by itself"
            )
            raise RegistrationError(msg)
    certificate = sibling.metrics["certificate"]
    loan = {"dye": sibling.dye, **{key: certificate[key] for key in _QUOTED}}
    transform = Transform.from_dict(sibling.transform or {})
    return StageOutput(
        (preview_product(inputs, transform),),
        transform=transform.to_dict(),
        facts={BORROWED: loan},
        messages=(f"alignment borrowed from {sibling.dye}; {_quote(loan)}",),
    )


def confirm(inputs: StageInputs) -> StageOutput:
    """Judge a borrowed alignment on tiles of this pair, none of which any fit has used."""
    from exo2micro.alignment.confirm import confirm_alignment
    from exo2micro.alignment.interior import InteriorSettings

    post, pre = raw_frames(inputs)
    values: dict[str, Any] = dict(inputs.params)
    transform = Transform.from_dict(inputs.upstream(2).transform or {})
    certificate, says_nothing = confirm_alignment(
        post, pre, transform, InteriorSettings(**values), threads=inputs.threads
    )
    loan = inputs.facts[BORROWED]
    verdict = certificate.verdict
    if says_nothing:
        verdict = Verdict.check(
            f"alignment borrowed from {loan['dye']}: this pair has too little texture to confirm "
            f"it: {certificate.verdict.reason}; {_quote(loan)}"
        )
    return StageOutput(
        (aligned_product(inputs, transform, certificate.to_dict()),),
        transform=transform.to_dict(),
        metrics={BORROWED: loan, "certificate": certificate.to_dict()},
        verdict=verdict,
        messages=(
            f"alignment borrowed from {loan['dye']} and not refined; {certificate.tiles} tiles of "
            "this pair judge it",
        ),
    )


def _quote(loan: Mapping[str, Any]) -> str:
    """Return the lender's certificate in words."""
    if loan["bound_px"] is None:
        return f"the certificate of {loan['dye']} is {loan['level']}, without figures"
    return (
        f"the certificate of {loan['dye']} is {loan['level']}: error {loan['median_px']:.3f} px "
        f"(median), at most {loan['bound_px']:.3f} px over 95 % of the sample, {loan['tiles']} "
        "tiles"
    )
