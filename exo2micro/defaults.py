"""The one home of all parameters, their defaults and the names of the stages."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from exo2micro.errors import ParameterError
from exo2micro.parameter import Parameter, Value, plain_word

if TYPE_CHECKING:
    from exo2micro.suffix import build_suffix as build_suffix
    from exo2micro.suffix import params_from_suffix as params_from_suffix

_RESERVED_KEYWORDS = frozenset(
    {"simple", "bitpix", "naxis", "extend", "end", "sample", "dye", "stage", "scale", "scalek"}
    | {"offset", "checksum", "datasum", "history", "comment", "verdict", "reason", "bunit"}
)


RESERVED_NAMES = frozenset(
    {"stage", "stages", "overrides", "sample", "dye"}
    | {"detection", "threshold", "width_px", "batch", "parallel"}
    | {"n_workers", "timeout_per_task", "retries", "on_error"}
    | {"output", "checkpoint_format", "keep", "threads"}
)
"""Names that mean something else in configuration files, so that no parameter may bear them."""


class ParameterRegistry(MutableMapping[str, Parameter]):
    """Ordered mapping ``name -> Parameter``.

    Assigning a 4-tuple ``(default, abbreviation, stage, description)`` or a `Parameter` registers
    one. A colliding or ambiguous abbreviation is refused.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Parameter] = {}

    def __getitem__(self, name: str) -> Parameter:
        try:
            return self._rows[name]
        except KeyError:
            raise KeyError(unknown_name_message(name, self._rows)) from None

    def __setitem__(self, name: str, row: "Parameter | tuple[Value, str, int, str]") -> None:
        parameter = row if isinstance(row, Parameter) else Parameter(*row)
        if not name.isidentifier():
            msg = f"a parameter name is a Python identifier, got {name!r}"
            raise ParameterError(msg)
        if name in RESERVED_NAMES:
            msg = f"{name} means something else in configuration files; choose another name"
            raise ParameterError(msg)
        self._refuse_ambiguity(name, parameter)
        self._rows[name] = parameter

    def __delitem__(self, name: str) -> None:
        del self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rows, key=lambda name: self._rows[name].stage))

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def _refuse_ambiguity(self, name: str, new: Parameter) -> None:
        if new.abbreviation in _RESERVED_KEYWORDS:
            msg = (
                f"abbreviation {new.abbreviation!r} of {name} would overwrite the FITS keyword "
                f"{new.abbreviation.upper()}; choose another one"
            )
            raise ParameterError(msg)
        for other_name, other in self._rows.items():
            if other_name != name and _ambiguous(new, other):
                msg = (
                    f"abbreviation {new.abbreviation!r} of {name} cannot be told from "
                    f"{other.abbreviation!r} of {other_name} in a file name; choose another one"
                )
                raise ParameterError(msg)


def _ambiguous(a: Parameter, b: Parameter) -> bool:
    """Tell whether a file-name token could belong to either parameter."""
    short, long = sorted((a, b), key=lambda p: len(p.abbreviation))
    if short.abbreviation == long.abbreviation:
        return True
    if not long.abbreviation.startswith(short.abbreviation):
        return False
    return short.could_start_with(long.abbreviation[len(short.abbreviation) :])


class _View(Mapping[str, Any]):
    """Live read-only view of one column of the registry."""

    def __init__(self, column: Callable[[Parameter], Any]) -> None:
        self._column = column

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return self._column(PARAMETER_REGISTRY[name])

    def __iter__(self) -> Iterator[str]:
        return iter(PARAMETER_REGISTRY)

    def __len__(self) -> int:
        return len(PARAMETER_REGISTRY)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self) | dict(other)

    def copy(self) -> dict[str, Any]:
        """Return the present values as a plain dict, as scripts ask for them."""
        return dict(self)

    def __repr__(self) -> str:
        return repr(dict(self))


PARAMETER_REGISTRY = ParameterRegistry()
DEFAULTS = _View(lambda row: row.default)
ABBREVIATIONS = _View(lambda row: row.abbreviation)
PARAM_STAGES = _View(lambda row: row.stage)

STAGE_NAMES: dict[int, str] = {
    1: "padded",
    2: "icp_aligned",
    3: "interior_aligned",
    4: "difference",
}
"""Stage number -> name as it stands in file names; a new stage class adds itself."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "MAX_STAGE":
        return max(STAGE_NAMES)
    if name in ("build_suffix", "params_from_suffix"):
        from exo2micro import suffix

        return getattr(suffix, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def unknown_name_message(name: object, known: Iterable[str]) -> str:
    """Return an error text for an unknown parameter with the nearest valid names."""
    near = difflib.get_close_matches(str(name), list(known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `exo2micro params`"
    return f"unknown parameter {name!r}: {hint}"


def parameters_of(stage: int) -> tuple[str, ...]:
    """Return the names of one stage's parameters in registry order."""
    return tuple(n for n, row in PARAMETER_REGISTRY.items() if row.stage == stage)


def validate_params(changes: Mapping[str, object], base: Mapping[str, Value]) -> dict[str, Value]:
    """Return `base` updated by validated `changes`.

    Parameters
    ----------
    changes : mapping
        New values by parameter name.
    base : mapping
        All current values.

    Returns
    -------
    dict
        All values, in registry order.

    Raises
    ------
    ParameterError
        For an unknown name, a wrong type, a value out of range, or values that make no sense
        together. Nothing is changed then.
    """
    for name in changes:
        if name not in PARAMETER_REGISTRY:
            raise ParameterError(unknown_name_message(name, PARAMETER_REGISTRY))
    merged = {
        name: row.validated(changes[name], name) if name in changes else base[name]
        for name, row in PARAMETER_REGISTRY.items()
    }
    refuse_contradictions(merged)
    return merged


def refuse_contradictions(values: Mapping[str, Value]) -> None:
    """Raise where values make no sense together.

    Raises
    ------
    ParameterError
        With the names and values that contradict each other.
    """
    low, high = values["scale_min"], values["scale_max"]
    if isinstance(low, float) and isinstance(high, float) and low > high:
        msg = f"scale_min must not exceed scale_max, got {low:g} and {high:g}; set both together"
        raise ParameterError(msg)


def _register(stage: int, rows: Mapping[str, tuple[Value, str, str, dict[str, Any]]]) -> None:
    for name, (default, abbreviation, description, more) in rows.items():
        PARAMETER_REGISTRY[name] = Parameter(default, abbreviation, stage, description, **more)


_register(
    1,
    {
        "pad": (
            2000,
            "pad",
            "Dark border added on every side of the post-stain image; empty border costs nothing.",
            {"bounds": (0, 100_000), "unit": "px"},
        ),
        "channel": (
            "auto",
            "ch",
            "Colour channel that is used in both images; auto takes the one with signal in both.",
            {"choices": ("auto", "red", "green", "blue", *map(str, range(10)))},
        ),
        "page": (
            None,
            "pg",
            "Page of a multi-page raw file, counted from 0; off where the choice is plain.",
            {"kind": int, "bounds": (0, 100_000)},
        ),
    },
)
_register(
    2,
    {
        "use_edges": (
            True,
            "ue",
            "Let the search compare edge strength; off compares local brightness only.",
            {},
        ),
        "boundary_width": (
            15,
            "bw",
            "Half-width within which the outline fit pairs outline points, in overview pixels.",
            {"bounds": (1, 1000), "unit": "px"},
        ),
        "boundary_smooth": (
            10,
            "bs",
            "Smoothing of the outline before it is fitted, in tenths of an overview pixel.",
            {"bounds": (0, 1000), "unit": "px"},
        ),
        "rotation_search": (True, "rs", "Search over rotation; off starts from 0 deg.", {}),
        "angle_range": (
            20.0,
            "ar",
            "Rotations searched first, to either side; widened to 180 deg when nothing is found.",
            {"bounds": (0, 180), "unit": "deg"},
        ),
        "angle_step": (
            1.0,
            "astep",
            "Largest step of the rotation search.",
            {"bounds": (0.05, 45), "unit": "deg"},
        ),
        "scale_search": (True, "ss", "Search over magnification; off starts from 1.", {}),
        "scale_min": (
            0.85,
            "smin",
            "Smallest magnification searched, in pre pixels per post pixel.",
            {"bounds": (0.2, 5)},
        ),
        "scale_max": (
            1.15,
            "smax",
            "Largest magnification searched, in pre pixels per post pixel.",
            {"bounds": (0.2, 5)},
        ),
        "scale_step": (
            0.05,
            "sstep",
            "Largest step of the magnification search.",
            {"bounds": (0.001, 1)},
        ),
        "multiscale": (
            True,
            "ms",
            "Refine the search result from small to larger overviews; off uses one overview only.",
            {},
        ),
        "down_scale": (
            0.3,
            "ds",
            "Size of the overviews of the search, where 1 means 480 px on the longer side.",
            {"bounds": (0.01, 1)},
        ),
        "max_translation": (
            200.0,
            "mtr",
            "Largest correction by the outline fit, over the sample.",
            {"bounds": (0, 1e6), "unit": "px"},
        ),
        "max_rotation": (
            5.0,
            "mrot",
            "Largest rotation by the outline fit.",
            {"bounds": (0, 180), "unit": "deg"},
        ),
        "max_scale_delta": (
            0.2,
            "msd",
            "Largest change of magnification by the outline fit.",
            {"bounds": (0, 5)},
        ),
        "max_scale_diff": (
            0.15,
            "msdf",
            "Largest difference between the magnifications along two axes after the outline fit.",
            {"bounds": (0, 5)},
        ),
        "save_all_intermediates": (
            False,
            "sai",
            "Also write the pre-stain image as aligned before the outline refinement.",
            {},
        ),
        "fine_ecc": (
            False,
            "fecc",
            "Also refine the coarse result by maximising the correlation of the overviews.",
            {},
        ),
        "stopit": (
            500,
            "sit",
            "Largest number of iterations of each coarse refinement.",
            {"bounds": (1, 100_000)},
        ),
        "stopdelta": (
            1e-6,
            "sdl",
            "Coarse refinements stop at steps below this part of the sample's size.",
            {"bounds": (1e-15, 1)},
        ),
        "borrow_from": (
            None,
            "bor",
            "Dye of the same sample whose alignment is used instead of one of this pair's own.",
            {"kind": str, "normalise": plain_word},
        ),
    },
)
_register(
    3,
    {
        "interior_ecc": (
            True,
            "iecc",
            "Refine by interior texture; off keeps the coarse alignment and only certifies it.",
            {},
        ),
        "interior_blur_base": (
            8.0,
            "iblur",
            "A tenth of the side of the tiles that are matched; larger for little texture.",
            {"bounds": (3.2, 1000), "unit": "px"},
        ),
        "interior_max_correction": (
            500.0,
            "imc",
            "Largest correction beyond the coarse alignment, over the sample.",
            {"bounds": (0, 1e6), "unit": "px"},
        ),
        "interior_min_inlier_ratio": (
            0.4,
            "imir",
            "Smallest part of the matched tiles that the fit must explain; below it, CHECK.",
            {"bounds": (0, 1)},
        ),
        "deformation": (
            "auto",
            "def",
            "Fit a smooth deformation where tiles held out of the fit say that it helps.",
            {"choices": ("auto", "off")},
        ),
    },
)
_register(
    4,
    {
        "scale_percentile": (
            None,
            "sp",
            "Also subtract with this percentile of the local ratio as scale.",
            {"bounds": (0, 100), "unit": "percent"},
        ),
        "manual_scale": (
            None,
            "msc",
            "Also subtract with this scale.",
            {"bounds": (1e-6, 1e6)},
        ),
        "extra_estimators": (
            None,
            "xe",
            "Also subtract with the scales of these further estimators: their names, or all.",
            {"kind": str, "normalise": plain_word},
        ),
        "psf_match": (
            "auto",
            "psf",
            "Convolve the sharper image to the other's sharpness where they differ clearly.",
            {"choices": ("auto", "off")},
        ),
        "scale_field": (
            "off",
            "sfl",
            "Let the scale vary smoothly over the image where tiles left out of the fit say so.",
            {"choices": ("off", "auto")},
        ),
        "planes": (
            "all",
            "pl",
            "Extensions of the difference in FITS: all, or dq (quality without error and SNR).",
            {"choices": ("all", "dq")},
        ),
        "gain_post": (
            None,
            "gpo",
            "Shot-noise variance per count of post; off measures it in the images.",
            {"bounds": (0, 1e6), "unit": "counts"},
        ),
        "gain_pre": (
            None,
            "gpr",
            "Shot-noise variance per count of pre; off measures it in the images.",
            {"bounds": (0, 1e6), "unit": "counts"},
        ),
        "read_noise_post": (
            None,
            "rpo",
            "Read noise of post; off measures it in the images.",
            {"bounds": (0, 1e6), "unit": "counts"},
        ),
        "read_noise_pre": (
            None,
            "rpr",
            "Read noise of pre; off measures it in the images.",
            {"bounds": (0, 1e6), "unit": "counts"},
        ),
    },
)

OWN_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(dict(PARAMETER_REGISTRY))
"""The parameters of the package itself; scripts and plugins may add others."""
