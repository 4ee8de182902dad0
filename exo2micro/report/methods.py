"""A paragraph of methods text, and the commands that repeat a run."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.execution.plan import Request, is_kept
from exo2micro.raster.record import Record
from exo2micro.report.words import value_text

DEFAULT_FORMAT: Final = "tiff"

_TRANSFORMS = {"homography": "a homography", "affine": "an affine transform"}


def methods_text(result: Mapping[str, Any], records: Mapping[int, Record]) -> str:
    """Return what was done as a paragraph for a paper, with the numbers filled in."""
    alignment = records.get(3)
    sentences = [
        f"Pre- and post-stain scans of sample {result['sample']} ({result['dye']}) were processed "
        f"with exo2micro {_version(records)}."
    ]
    if alignment is not None:
        sentences += _alignment_sentences(alignment, result.get("certificate") or {})
    sentences += _scale_sentences(result, records.get(4))
    changed = _changed(records)
    if changed:
        sentences.append(f"Parameters that differ from their defaults: {changed}.")
    else:
        sentences.append("All parameters were at their defaults.")
    verdict = f"The automatic quality verdict was {result['verdict']}"
    sentences.append(f"{verdict} ({result['reason']})." if result["reason"] else f"{verdict}.")
    return " ".join(sentences)


def python_code(
    result: Mapping[str, Any],
    request: Request,
    folders: Mapping[str, str],
    formats: Sequence[str],
) -> str:
    """Return Python that repeats the run.

    Parameters
    ----------
    result : mapping
        As `SampleDye.run` returns it.
    request : Request
        What was asked for.
    folders : mapping
        ``output_dir`` and ``raw_dir``.
    formats : sequence of str
        Of the aligned images.
    """
    arguments = [repr(result["sample"]), repr(result["dye"])]
    arguments += [f"{name}={value!r}" for name, value in folders.items()]
    if _format(formats) != DEFAULT_FORMAT:
        arguments.append(f"checkpoint_format={_format(formats)!r}")
    lines = ["from exo2micro import SampleDye", "", f"run = SampleDye({', '.join(arguments)})"]
    values = _set_values(request)
    if values:
        lines.append(f"run.set_params({', '.join(f'{n}={v!r}' for n, v in values.items())})")
    for resolved in request.steps:
        step = resolved.step
        named = {"after": step.after, "applies_to": step.applies_to, **resolved.values}
        text = ", ".join(f"{name}={value!r}" for name, value in named.items())
        lines.append(f"run.add_stage({step.function!r}, {text})")
    lines.append(f"result = run.run({'keep_failed=True' if request.keep_failed else ''})")
    return "\n".join(lines)


def command_line(
    result: Mapping[str, Any],
    request: Request,
    folders: Mapping[str, str],
    formats: Sequence[str],
) -> str:
    """Return the command that repeats the run; for the parameters see `python_code`."""
    words = ["exo2micro", "run", result["sample"], result["dye"]]
    for name, value in folders.items():
        words += [f"--{name.replace('_', '-')}", value]
    if _format(formats) != DEFAULT_FORMAT:
        words += ["--format", _format(formats)]
    for name, value in _set_values(request).items():
        words += ["--set", f"{name}={PARAMETER_REGISTRY[name].format(value)}"]
    for resolved in request.steps:
        step = resolved.step
        named = {"after": step.after, "applies_to": step.applies_to, **resolved.values}
        described = ",".join(f"{name}={value}" for name, value in named.items())
        words += ["--stage", f"{step.function}:{described}"]
    if request.keep_failed:
        words.append("--keep-failed")
    return shlex.join(words)


def _format(formats: Sequence[str]) -> str:
    """Return the value of checkpoint_format."""
    return formats[0] if len(formats) == 1 else "both"


def _set_values(request: Request) -> dict[str, Any]:
    """Return the parameters that something set, by whatever layer."""
    return {name: request.params[name] for name in request.params if name in request.sources}


def _version(records: Mapping[int, Record]) -> str:
    return next((r.software.get("exo2micro", "") for r in records.values()), "")


def _changed(records: Mapping[int, Record]) -> str:
    last = records[max(records)] if records else None
    entries = last.params if last else {}
    return ", ".join(
        f"{name} = {value_text(entry['value'])}"
        for name, entry in entries.items()
        if entry["value"] != PARAMETER_REGISTRY[name].default
    )


def _alignment_sentences(alignment: Record, certificate: Mapping[str, Any]) -> list[str]:
    kind = str((alignment.transform or {}).get("type", "transform"))
    text = _TRANSFORMS.get(kind, f"a transform of type {kind}")
    lender = alignment.facts.get("borrowed_from")
    if lender:
        text += f", taken over from the dye {lender['dye']}"
    sentences = [f"The pre-stain scan was mapped onto the post-stain scan by {text}."]
    if certificate.get("median_px") is not None:
        bound = certificate.get("bound_px")
        limit = "" if bound is None else f" (95 % confidence limit {bound:.3g} px)"
        sentences.append(
            f"On {certificate['tiles']} tiles that were held out of the fit, the alignment error "
            f"has a median of {certificate['median_px']:.3g} px and lies below "
            f"{certificate['p95_px']:.3g} px for 95 % of the sample{limit}; "
            f"{100 * certificate['coverage']:.0f} % of the sample lie near such a tile."
        )
    return sentences


def _scale_sentences(result: Mapping[str, Any], difference: Record | None) -> list[str]:
    scales = result.get("scales") or ()
    if not scales or difference is None:
        return ["No difference was computed."]
    first = scales[0]
    low, high = first["interval"]
    width = "" if low == high else f" (95 % interval {low:#.5g} to {high:#.5g})"
    offset = f" and an offset of {first['offset']:.4g} counts" if first["offset"] else ""
    sentences = [
        f"The aligned pre-stain image was multiplied by the brightness ratio of the background, "
        f"{first['scale']:.5g}{width}, estimated by the method {first['name']}{offset}, and "
        "subtracted from the post-stain image."
    ]
    noise = difference.metrics.get("noise")
    if noise:
        sentences.append(
            "The noise of each pixel was propagated from shot noise, read noise, resampling, scale "
            f"and registration error, and adjusted to clean background by a factor of "
            f"{noise['factor']:.4g}."
        )
    if not difference.files:
        sentences.append("The difference was withheld, since the pair cannot be trusted.")
    elif is_kept(difference):
        sentences.append(
            "The pair cannot be trusted; its difference was written all the same, labelled failed."
        )
    return sentences
