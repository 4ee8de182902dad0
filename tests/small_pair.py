"""A small pair with exact truth, and where its files lie."""

from dataclasses import dataclass
from pathlib import Path

from exo2micro.synthetic import PairSpec, SyntheticPair, make_pair

SAMPLE, DYE = "CD070", "SybrGld_microbe"
SPEC = PairSpec(
    shape=(560, 640),
    seed=3,
    rotation_deg=4.0,
    magnification=1.03,
    shift_px=(15.0, -11.0),
    ratio=1.8,
)


@dataclass(frozen=True)
class Project:
    """A folder with raw files, as a user has it."""

    root: Path
    spec: PairSpec

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def processed(self) -> Path:
        return self.root / "processed"

    @property
    def folder(self) -> Path:
        return self.processed / SAMPLE / DYE

    @property
    def truth(self) -> SyntheticPair:
        return make_pair(self.spec)

    def dirs(self) -> dict:
        return {"output_dir": self.processed, "raw_dir": self.raw}
