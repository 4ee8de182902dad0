"""Data quality (DQ): why a pixel of the difference is to be used with care, or not at all."""

from collections.abc import Iterator
from enum import IntFlag
from typing import Final


class DQ(IntFlag):
    """Bits of the data quality plane; several may be set on one pixel, 0 means good."""

    NO_OVERLAP = 1
    """The post image has this pixel, the aligned pre image does not: no data, value 0.0."""
    BORDER = 2
    """Outside the post image (padding of the canvas): no data, value 0.0."""
    SATURATED = 4
    """Post or pre is at its saturation level here or next to it: the value is a bound."""
    DEBRIS = 8
    """Masked as debris: saturated in one image alone, over a larger area than a microbe has."""
    LOW_CONFIDENCE = 16
    """The registration is not certified here: structures may be ghosts of misalignment."""


NO_DATA: Final = DQ.NO_OVERLAP | DQ.BORDER
"""A pixel with any of these bits has no value; its difference is written as exactly 0.0."""

_TEXTS: Final = {
    DQ.NO_OVERLAP: "no data: pre image does not cover the pixel",
    DQ.BORDER: "no data: padding outside the post image",
    DQ.SATURATED: "post or pre saturated here or beside it",
    DQ.DEBRIS: "masked as debris",
    DQ.LOW_CONFIDENCE: "registration not certified here",
}


def describe(flags: int) -> str:
    """Return the meaning of a DQ value in words; ``good`` for 0."""
    return "; ".join(text for bit, text in _TEXTS.items() if flags & bit) or "good"


def header_cards() -> Iterator[tuple[str, int, str]]:
    """Yield ``(keyword, bit value, text)`` for a FITS header, one per bit, lowest first.

    Keywords are ``DQBIT0`` .. ``DQBIT4``; text fits the comment field of an 80-column card.
    """
    for bit, text in _TEXTS.items():
        yield f"DQBIT{bit.value.bit_length() - 1}", bit.value, text
