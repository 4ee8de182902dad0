"""The scale estimator family: how bright the background of post is relative to pre."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import ParameterError
from exo2micro.parameter import plain_word
from exo2micro.registry import AutoRegisterMeta
from exo2micro.subtraction.sampling import PairSample
from exo2micro.verdict import Verdict

DIFFERS: Final = 0.03
"""Relative distance from the canonical scale that needs a word: it leaves as much of the rock."""


@dataclass(frozen=True)
class ScaleEstimate:
    """A scale with its error, and what is needed to draw and to judge it.

    The difference is ``post - scale * pre - offset``, with post and pre as raw counts.

    Attributes
    ----------
    name : str
        Estimator that made it.
    label : str
        Label of its difference file; empty for the canonical one, e.g. ``percentile_p50``.
    scale : float
        Ratio of the background brightness, post over pre, > 0.
    offset : float
        Counts; exactly 0.0 where no pedestal is significant.
    interval : tuple of float
        95 % interval of the scale, from a bootstrap over tiles; both ends equal the scale where
        it was given by hand.
    goodness : float
        0 (the model does not describe the data) .. 1 (it does).
    n_tiles : int
        Tiles that contributed.
    verdict : Verdict
        How far the scale can be trusted.
    messages : tuple of str
        Remarks in plain words, fallbacks included.
    curve : mapping of str to numpy.ndarray
        ``centres`` (ratio post/pre after removal of the pedestals), ``counts`` (weight per bin)
        and ``fitted`` (model in the same units), each of shape ``(n_bins,)``.
    metrics : mapping of str to float
        Further figures for the record, e.g. ``offset_error``, ``field_variation``.
    """

    name: str
    label: str
    scale: float
    offset: float
    interval: tuple[float, float]
    goodness: float
    n_tiles: int
    verdict: Verdict = field(default_factory=Verdict)
    messages: tuple[str, ...] = ()
    curve: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval relative to the scale."""
        return (self.interval[1] - self.interval[0]) / (2.0 * self.scale)


class ScaleEstimator(metaclass=AutoRegisterMeta):
    """Estimates the scale from a sample of pixel pairs.

    A subclass in this package's ``estimators`` folder (or in an installed plugin) registers
    itself under its `name`.

    Attributes
    ----------
    name : str
        Key of the family.
    parameters : tuple of str
        Names of the run parameters that `estimate` and `label` take as keywords.
    colour : str
        Colour of its line in figures (a Matplotlib colour); empty: the next free one.
    order : int
        Place among the active estimators; the canonical one is 0 and comes first.
    decides : bool
        Whether a doubt about its scale is one about the run. Others are for comparison: theirs
        concerns their own difference alone.
    """

    __registry_key__ = "name"
    __registry_name__ = "scale estimator"
    __registry_policy__ = "error"
    __discovery_package__ = "exo2micro.subtraction.estimators"

    name: ClassVar[str | None] = None
    parameters: ClassVar[tuple[str, ...]] = ()
    colour: ClassVar[str] = ""
    order: ClassVar[int] = 100
    decides: ClassVar[bool] = False

    @classmethod
    def is_active(cls, params: Mapping[str, Any]) -> bool:
        """Return whether a run with these parameters makes a difference with this estimator.

        Unless a class says otherwise: where the parameter `extra_estimators` names it.
        """
        return cls.name in extra_estimators(params)

    @classmethod
    def label(cls, params: Mapping[str, Any]) -> str:  # noqa: ARG003
        """Return the label in its file name: ``04_difference_difference_<label>``."""
        return cls.name or ""

    @abstractmethod
    def estimate(self, sample: PairSample, **params: Any) -> ScaleEstimate:  # noqa: ANN401
        """Estimate the scale.

        Parameters
        ----------
        sample : PairSample
            Pairs gathered by `sample_pairs`.
        **params
            The run parameters named in `parameters`.

        Raises
        ------
        ScaleError
            The sample cannot give a scale at all, or a parameter is out of range.
        """


SCALE_ESTIMATORS = ScaleEstimator.__registry__
"""Every known estimator by name, those of plugins included; found on first use."""


ALL_EXTRA: Final = "all"
"""Value of `extra_estimators` that switches on every one that has no parameter of its own."""


def extra_estimators(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that the parameter `extra_estimators` switches on.

    Its value is ``all`` or names of the family, joined, letters and digits only, as file names
    can hold them: ``leastsquares``, ``robustregressionleastsquares``.

    Raises
    ------
    ParameterError
        If the value is neither.
    """
    word = params.get("extra_estimators")
    if word is None:
        return ()
    keywords = {
        plain_word(name): name for name, cls in SCALE_ESTIMATORS.items() if not _decides_itself(cls)
    }
    if word == ALL_EXTRA:
        return tuple(keywords.values())
    found = _joined(word, keywords)
    if not found:
        msg = (
            f"extra_estimators must be {ALL_EXTRA}, off, or one or more of "
            f"{', '.join(sorted(keywords.values()))}, got {word!r}"
        )
        raise ParameterError(msg)
    return found


def _decides_itself(cls: type[ScaleEstimator]) -> bool:
    """Tell whether a class has its own rule for when it is active."""
    before = cls.__mro__[: cls.__mro__.index(ScaleEstimator)]
    return any("is_active" in vars(base) for base in before)


def _joined(word: str, keywords: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names that a word is made of, empty if it is made of other things too."""
    for keyword in sorted(keywords, key=len, reverse=True):
        if word == keyword:
            return (keywords[keyword],)
        if word.startswith(keyword) and (rest := _joined(word[len(keyword) :], keywords)):
            return (keywords[keyword], *rest)
    return ()


def active_estimators(params: Mapping[str, Any]) -> list[type[ScaleEstimator]]:
    """Return the estimators that a run with these parameters uses, the canonical one first."""
    active = [cls for cls in SCALE_ESTIMATORS.values() if cls.is_active(params)]
    return sorted(active, key=lambda cls: (cls.order, cls.name or ""))


def estimate_scales(sample: PairSample, params: Mapping[str, Any]) -> dict[str, ScaleEstimate]:
    """Run every active estimator.

    Parameters
    ----------
    sample : PairSample
        Pairs gathered by `sample_pairs`.
    params : mapping
        Run parameters; each estimator gets those that it names.

    Returns
    -------
    dict
        Label -> estimate; the canonical estimate comes first and has the label ``""``. Others that
        contradict it say so.
    """
    found: dict[str, ScaleEstimate] = {}
    for cls in active_estimators(params):
        own = {name: params[name] for name in cls.parameters if name in params}
        estimate = cls().estimate(sample, **own)
        canonical = next(iter(found.values()), estimate)
        found[cls.label(params)] = _compared(estimate, canonical)
    return found


def verdict_on_run(estimates: Mapping[str, ScaleEstimate]) -> Verdict:
    """Return what the scales that decide about a run say: the canonical one and those asked for."""
    return Verdict.worst(
        [
            estimate.verdict
            for estimate in estimates.values()
            if (cls := SCALE_ESTIMATORS.get(estimate.name)) is not None and cls.decides
        ]
    )


def _compared(estimate: ScaleEstimate, canonical: ScaleEstimate) -> ScaleEstimate:
    """Return an estimate with a doubt where its scale is not that of the background."""
    times = estimate.scale / canonical.scale
    if abs(times - 1.0) <= max(DIFFERS, estimate.half_width + canonical.half_width):
        return estimate
    half = canonical.half_width * canonical.scale
    doubt = (
        f"the scale {estimate.scale:.5g} ({estimate.label}) is {times:.3g} times the background's "
        f"ratio {canonical.scale:.5g} +- {half:.2g}"
    )
    return replace(
        estimate,
        verdict=Verdict.worst([Verdict.check(doubt), estimate.verdict]),
        messages=(doubt, *estimate.messages),
    )
