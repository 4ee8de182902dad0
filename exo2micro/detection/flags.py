"""What may be wrong with a detected object."""

from enum import IntFlag

from exo2micro.subtraction.quality import DQ


class Flag(IntFlag):
    """Bits of the column ``flags``; 0 means good."""

    BLENDED = 1
    """Touches another object; area and flux are shared by the nearer one."""
    EDGE = 2
    """Reaches pixels without data: the flux is a lower bound."""
    SATURATED = int(DQ.SATURATED)
    """A pixel is saturated: the flux is a bound."""
    DEBRIS = int(DQ.DEBRIS)
    """On masked debris: not counted."""
    LOW_CONFIDENCE = int(DQ.LOW_CONFIDENCE)
    """The registration is not certified there: may be a ghost, not counted."""

    OFF_SAMPLE = 32
    """Beside the sample, on the glass: not counted."""


NOT_COUNTED = Flag.DEBRIS | Flag.LOW_CONFIDENCE | Flag.OFF_SAMPLE
"""Objects with any of these bits stay in the table but not in the count."""

FROM_QUALITY = Flag.SATURATED | Flag.DEBRIS | Flag.LOW_CONFIDENCE
"""Bits taken over from the data quality plane."""
