"""What a run tells while it works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StageEvent:
    """Something that happened during a run.

    Attributes
    ----------
    number : int
        Stage number; 0 for the diagnostics.
    title : str
        What is worked on.
    state : str
        ``cached``, ``start`` or ``done``.
    message : str
        Reason or remark.
    seconds : float
        Time since the start of the stage.
    """

    number: int
    title: str
    state: str
    message: str = ""
    seconds: float = 0.0
