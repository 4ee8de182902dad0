"""Dataclasses of someone else, with their lazy twins; importable, so that they can be pickled."""

from dataclasses import dataclass, field

from exo2micro.config import lazy_dataclass


@dataclass(frozen=True)
class Camera:
    """Settings of a camera."""

    gain: float = 1.5
    name: str = "left"
    offset: float | None = 3.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Counted:
    """A dataclass that notes that it was made."""

    x: int = 1
    y: int | None = 2
    made: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.made = [f"{self.x}"]


LazyCamera = lazy_dataclass(Camera)
LazyCounted = lazy_dataclass(Counted)
