"""Raw file names: which sample, pre- or post-stain, which dye.

The rule
--------
A name is ``<anything with pre or post>_<dye>``. The marker is looked for in three passes, and
the first pass that finds one decides:

1. a word of the name, delimited by ``_``, ``-``, ``.`` or a space: ``pre``, ``PRE``,
   ``PostStain``, ``pre-stain``, ``prestained``;
2. a part of a word that begins and ends at a change of case or at a digit: ``RockPreDAPI``,
   ``post2``;
3. any occurrence of the letters: ``rock7pre``.

So the ``pre`` in ``Cypress_post_DAPI`` is never taken for the marker. A pass that finds both
pre and post is ambiguous and is not guessed at.

The dye is what follows the marker, underscores included. Where the sample's name is known (the
folder), it is taken out of the file name first: ``pre_CD070_DAPI`` in ``CD070/`` is the dye
``DAPI``. Where nothing follows the marker the dye is what stands before it, so
``CD070_DAPI_post`` in ``CD070/`` is ``DAPI`` too.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exo2micro.errors import RawPairingError

Role = Literal["pre", "post"]

_SEPARATORS = "_. -"
_STAIN = r"(?:stain(?:ed|ing)?)?"
_WORD = re.compile(
    rf"(?<![^{_SEPARATORS}])(pre|post){_STAIN}(?![^{_SEPARATORS}])"
    rf"(?:[{_SEPARATORS}]+stain(?:ed|ing)?(?![^{_SEPARATORS}]))?",
    re.IGNORECASE,
)
_CAMEL = re.compile(
    r"(?:(?<![A-Za-z])|(?<=[a-z])(?=P))"
    r"(?:([Pp]re|[Pp]ost)(?:[Ss]tain(?:ed|ing)?)?|(PRE|POST)(?:STAIN(?:ED|ING)?)?)"
    r"(?![a-z])"
)
_SUBSTRING = re.compile(rf"(pre|post){_STAIN}", re.IGNORECASE)
_PASSES = (_WORD, _CAMEL, _SUBSTRING)


@dataclass(frozen=True)
class RawName:
    """What a raw file name says.

    Attributes
    ----------
    sample_prefix : str
        What stands before the marker, separators stripped.
    role : {'pre', 'post'}
        Before or after staining.
    dye : str
        The dye as spelled in the name; empty if the name holds none.
    is_marker_first : bool
        Whether nothing stands before the marker, so that the dye may still carry other words.
    """

    sample_prefix: str
    role: Role
    dye: str
    is_marker_first: bool = False


def raw_stem(filename: str) -> str:
    """Return a file name without its extension, ``.ome.tif`` counting as one extension."""
    stem = Path(filename).stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def parse_raw_name(filename: str, sample: str | None = None) -> RawName:
    """Read sample prefix, role and dye from a raw file name.

    Parameters
    ----------
    filename : str
        Name of the file, with or without folder and extension.
    sample : str, optional
        Name of the sample (its folder). Where it is a word of the file name it is left out of
        the search for the marker and out of the dye.

    Returns
    -------
    RawName
        Role, dye, and what precedes the marker.

    Raises
    ------
    RawPairingError
        If no marker is found, or both pre and post are.
    """
    stem = raw_stem(Path(filename).name)
    reduced = _without_sample(stem, sample)
    if reduced != stem and not _has_marker(reduced) and _WORD.search(stem):
        reduced = stem
    match = _find_marker(reduced, filename)
    before = reduced[: match.start()].strip(_SEPARATORS)
    after = re.sub(rf"^\d*(?=[{_SEPARATORS}]|$)", "", reduced[match.end() :]).strip(_SEPARATORS)
    role: Role = "pre" if match.group().lower().startswith("pre") else "post"
    is_marker_first = not before and reduced == stem
    return RawName(before, role, after or before, is_marker_first)


def name_ends_with_dye(filename: str, dye: str) -> bool:
    """Tell whether the stem ends with the dye as whole words, without regard to case."""
    stem, wanted = raw_stem(Path(filename).name).lower(), dye.lower()
    head = stem[: len(stem) - len(wanted)]
    return stem.endswith(wanted) and (not head or head[-1] in _SEPARATORS)


def _has_marker(text: str) -> bool:
    """Tell whether any pass finds a marker."""
    return any(pattern.search(text) for pattern in _PASSES)


def _find_marker(text: str, filename: str) -> re.Match[str]:
    """Return the last match of the first pass that finds one, unless it is ambiguous."""
    for pattern in _PASSES:
        matches = list(pattern.finditer(text))
        roles = {m.group().lower()[:3] for m in matches}
        if len(roles) > 1:
            found = ", ".join(repr(m.group()) for m in matches)
            msg = (
                f"{Path(filename).name} holds both a pre and a post marker ({found}); keep one of "
                "them in the name, as in CD070_PreStain_DAPI.tif"
            )
            raise RawPairingError(msg)
        if matches:
            return matches[-1]
    msg = (
        f"{Path(filename).name} holds neither 'pre' nor 'post'; name it as in "
        "CD070_PreStain_DAPI.tif or CD070_PostStain_DAPI.tif"
    )
    raise RawPairingError(msg)


def _without_sample(stem: str, sample: str | None) -> str:
    """Return the stem without the first whole-word occurrence of the sample's name."""
    if not sample:
        return stem
    pattern = rf"(?<![^{_SEPARATORS}]){re.escape(sample)}(?![^{_SEPARATORS}])"
    match = re.search(pattern, stem, re.IGNORECASE)
    if match is None:
        return stem
    before = stem[: match.start()].strip(_SEPARATORS)
    after = stem[match.end() :].strip(_SEPARATORS)
    return "_".join(part for part in (before, after) if part)
