"""The demonstration data set: three small pairs that look like the real thing."""

from dataclasses import dataclass
from pathlib import Path

from exo2micro.synthetic.files import write_pair
from exo2micro.synthetic.spec import PairSpec

_PIXEL_SIZE_UM = 0.65


@dataclass(frozen=True)
class DemoPair:
    """One pair of the demonstration.

    Attributes
    ----------
    sample, dye : str
        Names of the pair.
    spec : PairSpec
        What it looks like.
    """

    sample: str
    dye: str
    spec: PairSpec


def demo_specs() -> list[DemoPair]:
    """Return the pairs of the demonstration: two dyes of one sample, one dye of another."""
    return [
        DemoPair(
            "CD070",
            "SybrGld_microbe",
            PairSpec(
                shape=(1500, 1800),
                seed=70,
                rotation_deg=3.2,
                magnification=1.021,
                shift_px=(38.4, -22.7),
                ratio=1.8,
                coverage=0.015,
                saturated_debris=3,
                pixel_size_um=_PIXEL_SIZE_UM,
            ),
        ),
        DemoPair(
            "CD070",
            "DAPI",
            PairSpec(
                shape=(1500, 1800),
                seed=70,
                variant=1,
                rotation_deg=-1.7,
                magnification=0.985,
                shift_px=(-17.3, 41.9),
                ratio=1.35,
                coverage=0.006,
                channel="blue",
                leakage=0.04,
                pixel_size_um=_PIXEL_SIZE_UM,
            ),
        ),
        DemoPair(
            "Outcrop3",
            "SybrGld_microbe",
            PairSpec(
                shape=(1600, 1500),
                seed=4,
                rotation_deg=-8.5,
                magnification=1.04,
                shift_px=(12.6, 55.1),
                shear=0.004,
                ratio=2.4,
                pedestal=140.0,
                pre_pedestal=100.0,
                bits=16,
                coverage=0.03,
                lost_piece=0.08,
                pixel_size_um=_PIXEL_SIZE_UM,
            ),
        ),
    ]


def write_demo(raw_dir: str | Path) -> list[tuple[str, str]]:
    """Write the demonstration's raw files and return its (sample, dye) pairs.

    Parameters
    ----------
    raw_dir : path
        Folder that holds one folder per sample; made if missing.
    """
    pairs = demo_specs()
    for pair in pairs:
        write_pair(pair.spec, raw_dir, pair.sample, pair.dye)
    return [(pair.sample, pair.dye) for pair in pairs]
