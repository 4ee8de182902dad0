"""What a configuration may hold: the parameters, and the options of detection, batch and output.

Options change no image, so they stand in no file name; otherwise they are described as parameters
are: by a row with type, bounds and default.
"""

from collections.abc import Iterable, Iterator

from exo2micro.defaults import PARAMETER_REGISTRY, STAGE_NAMES, unknown_name_message
from exo2micro.errors import ParameterError
from exo2micro.parameter import Parameter

OPTIONS: dict[str, dict[str, Parameter]] = {
    "detection": {
        "threshold": Parameter(
            5.0,
            "thr",
            1,
            "Least significance of an object, in standard deviations of the filtered background.",
            bounds=(3, 100),
        ),
        "width_px": Parameter(
            1.5,
            "wpx",
            1,
            "Width of what is sought: standard deviation of a microbe's light.",
            bounds=(0.5, 20),
            unit="px",
        ),
    },
    "batch": {
        "parallel": Parameter(
            False,
            "par",
            1,
            "Several pairs at once (true), or one at a time, each in a process of its own "
            "(subprocess); the command line takes no value below subprocess.",
            kind=str,
            choices=(False, True, "subprocess"),
        ),
        "n_workers": Parameter(
            None,
            "nw",
            1,
            "How many pairs at once; off means one per core.",
            kind=int,
            bounds=(1, 10_000),
        ),
        "timeout_per_task": Parameter(
            None,
            "tpt",
            1,
            "Longest time for one pair; off means no limit.",
            kind=float,
            bounds=(0.001, None),
            unit="s",
        ),
        "retries": Parameter(
            1,
            "rt",
            1,
            "How often a pair that ran out of memory is tried again, alone.",
            bounds=(0, 100),
        ),
        "on_error": Parameter(
            "continue",
            "oe",
            1,
            "What a batch does after an error.",
            choices=("continue", "stop"),
        ),
    },
    "output": {
        "checkpoint_format": Parameter(
            "tiff",
            "cf",
            1,
            "Format of the aligned images; the difference is always written as TIFF and FITS.",
            choices=("tiff", "fits", "both"),
        ),
        "keep": Parameter(
            "all",
            "kp",
            1,
            "What stays on the disk: all, or the difference and what can be looked at (final).",
            choices=("all", "final"),
        ),
        "threads": Parameter(
            None,
            "th",
            1,
            "Threads of one run; off means one per core up to eight. No result depends on it.",
            kind=int,
            bounds=(1, 1024),
        ),
    },
}
"""Table of a file -> option -> row. Abbreviation and stage of these rows are not used."""

_DIFFERENCE = 4


def option_section(name: str) -> str | None:
    """Return the table in which an option stands, None if it is no option."""
    return next((section for section, rows in OPTIONS.items() if name in rows), None)


def row_of(name: str) -> Parameter:
    """Return the row of a parameter or option.

    Raises
    ------
    ParameterError
        If there is none of this name, with the nearest ones.
    """
    if name in PARAMETER_REGISTRY:
        return PARAMETER_REGISTRY[name]
    section = option_section(name)
    if section is None:
        raise ParameterError(unknown_name(name))
    return OPTIONS[section][name]


def all_rows() -> Iterator[tuple[str, Parameter]]:
    """Yield name and row of every parameter and every option."""
    yield from PARAMETER_REGISTRY.items()
    for rows in OPTIONS.values():
        yield from rows.items()


def detection_rows() -> dict[str, Parameter]:
    """Return the options of detection and the parameters of the stages after the difference."""
    later = {n: row for n, row in PARAMETER_REGISTRY.items() if row.stage > _DIFFERENCE}
    return OPTIONS["detection"] | later


def unknown_name(name: str, known: Iterable[str] = ()) -> str:
    """Return what to say to an unknown name; an abbreviation is answered with its parameter.

    Parameters
    ----------
    name : str
        The name.
    known : iterable of str, optional
        Names that are allowed in its place; by default those of all parameters.
    """
    for full, row in PARAMETER_REGISTRY.items():
        if name.lower() == row.abbreviation:
            return f"{name!r} is the abbreviation in file names; the parameter is {full}"
    return unknown_name_message(name, known or PARAMETER_REGISTRY)


def refuse_other_stage(name: str, stage: int) -> None:
    """Raise unless a parameter belongs to a stage.

    Raises
    ------
    ParameterError
        With the stage to which it belongs.
    """
    if name not in PARAMETER_REGISTRY:
        raise ParameterError(unknown_name(name))
    own = PARAMETER_REGISTRY[name].stage
    if own != stage:
        msg = (
            f"{name} belongs to stage {own} ({STAGE_NAMES.get(own, 'not loaded')}), "
            f"not to stage {stage}; set it there"
        )
        raise ParameterError(msg)
