"""Parameters that hold for some pairs only: one sample, one dye, or one sample and dye."""

from collections.abc import Iterable
from dataclasses import dataclass

from exo2micro.config.layer import Layer
from exo2micro.config.source import Source

PAIR_KEYS = ("sample", "dye")
"""Keys of a table ``[[overrides]]`` that say for which pairs it holds."""


@dataclass(frozen=True)
class PairLayer:
    """Settings of some pairs.

    Attributes
    ----------
    sample, dye : str or None
        For which pairs; None stands for all.
    layer : Layer
        The settings.
    source : Source
        Where they stand.
    """

    sample: str | None
    dye: str | None
    layer: Layer
    source: Source

    def concerns(self, sample: str, dye: str) -> bool:
        """Tell whether these settings hold for a pair."""
        return self.sample in (None, sample) and self.dye in (None, dye)


def layers_of_pair(pair_layers: Iterable[PairLayer], sample: str, dye: str) -> tuple[Layer, ...]:
    """Return the settings that hold for one pair, wide ones first: narrower ones hide them."""
    found = [own for own in pair_layers if own.concerns(sample, dye)]
    found.sort(key=lambda own: (own.sample is not None) + (own.dye is not None))
    return tuple(own.layer for own in found)
