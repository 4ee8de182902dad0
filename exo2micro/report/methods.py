"""A paragraph of methods text: what was done to a pair, with the numbers filled in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from exo2micro.alignment.transform import DEFORMED
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.execution.plan import is_kept
from exo2micro.raster.record import Record
from exo2micro.report.words import area_unit, estimator_words, interval, offset_interval, value_text
from exo2micro.verdict import Level

_PLACES: Final = {
    "post": "the post-stain image",
    "pre": "the pre-stain image",
    "pair": "both images",
    "difference": "the difference",
}


def methods_text(
    result: Mapping[str, Any],
    records: Mapping[int, Record],
    census: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return what was done as a paragraph for a paper, with the numbers filled in.

    Parameters
    ----------
    result : mapping
        As `SampleDye.run` returns it.
    records : mapping
        Main record of each stage.
    census : mapping
        Metadata of the tables ``objects`` and ``limit``, where they exist.
    """
    version = next((r.software.get("exo2micro", "") for r in records.values()), "")
    sentences = [
        f"Pre- and post-stain scans of sample {result['sample']} ({result['dye']}) were processed "
        f"with exo2micro {version}.",
        *_alignment_sentences(records[3], result.get("certificate") or {}),
        *_extra_stage_sentences(result.get("custom_stages") or ()),
        *_matching_sentences(records[4].metrics),
        *_difference_sentences(result, records[4]),
        *_census_sentences(census),
        *_parameter_sentences(records),
    ]
    # Whoever copies the beginning only is not to miss that it failed.
    sentences.insert(
        1 if result["verdict"] == "FAIL" else len(sentences), _verdict_sentence(result)
    )
    return " ".join(sentences)


def _alignment_sentences(alignment: Record, certificate: Mapping[str, Any]) -> Iterator[str]:
    deformed = (alignment.transform or {}).get("type") == DEFORMED
    text = "a homography and a smooth deformation field" if deformed else "a homography"
    lender = alignment.facts.get("borrowed_from")
    if lender:
        text += f" taken over from the dye {lender['dye']} of the same sample"
    if alignment.verdict.level is Level.FAIL:
        yield f"Mapping the pre-stain scan onto the post-stain scan by {text} FAILED."
    else:
        yield f"The pre-stain scan was mapped onto the post-stain scan by {text}."
    if certificate.get("median_px") is None or not certificate.get("tiles"):
        return
    bound = certificate.get("bound_px")
    limit = "" if bound is None else f" (at most {bound:.2g} px, with 95 % confidence)"
    fit = "that the alignment was not made from" if lender else "that were held out of the fit"
    yield (
        f"On {certificate['tiles']} tiles {fit}, the alignment error has a median of "
        f"{certificate['median_px']:.2g} px and lies below {certificate['p95_px']:.2g} px for "
        f"95 % of the sample{limit}; {100 * certificate['coverage']:.0f} % of the sample lie near "
        "such a tile."
    )


def _extra_stage_sentences(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for stage in stages:
        values = ", ".join(f"{n} = {value_text(v)}" for n, v in stage["parameters"].items())
        yield (
            f"After stage {stage['after']}, the custom function {stage['name']} (SHA-256 "
            f"{stage['hash'][:8]}{f'; {values}' if values else ''}) was applied to "
            f"{_PLACES[stage['applies_to']]}."
        )


def _matching_sentences(metrics: Mapping[str, Any]) -> Iterator[str]:
    match = metrics.get("psf_match") or {}
    if match.get("role", "none") != "none":
        error = match.get("sigma_error_px")
        width = f"{match['sigma_px']:.2f}" + (f" +- {error:.2f}" if error else "")
        yield (
            f"To match the sharpness of the two, the {match['role']}-stain image was convolved "
            f"with a Gaussian of sigma {width} px."
        )
    field = metrics.get("scale_field") or {}
    if field.get("is_applied"):
        yield (
            "The brightness ratio was allowed to vary smoothly over the image, along a surface "
            "that tiles left out of its fit support; the scale is its median."
        )


def _difference_sentences(result: Mapping[str, Any], difference: Record) -> Iterator[str]:
    scales = result.get("scales") or ()
    if not scales:
        yield "No brightness scale was estimated, and nothing was subtracted."
        return
    done = "would have been" if not difference.files else "was"
    first = scales[0]
    bounds = interval(first["interval"], digits=5)
    error = f" (95 % interval {bounds})" if bounds else ""
    yield (
        f"The aligned pre-stain image {done} multiplied by the brightness ratio of the background, "
        f"{first['scale']:.5g}{error}, estimated by {estimator_words(first)}, and "
        f"subtracted from the post-stain image{_offset_words(first)}."
    )
    others = [f"{s['scale']:.5g} by {estimator_words(s)}" for s in scales[1:]]
    if others:
        files = "; each has a difference of its own" if difference.files else ""
        yield f"For comparison, other scales are {', and '.join(others)}{files}."
    noise = difference.metrics.get("noise")
    if noise and not noise["pixels"]:
        yield "The noise could not be measured: its error is the scatter of the whole difference."
    elif noise:
        yield (
            "The noise of each pixel was propagated from shot noise, read noise, resampling, scale "
            "and registration error, and adjusted to clean background by a factor of "
            f"{noise['factor']:.3g}."
        )
    if not difference.files:
        yield "The difference was withheld."
    elif is_kept(difference):
        yield "The difference was written all the same, labelled failed."


def _offset_words(scale: Mapping[str, Any]) -> str:
    if not scale["offset"]:
        return ""
    bounds = interval(offset_interval(scale), digits=3)
    error = f" (95 % interval {bounds})" if bounds else ""
    return f", together with an offset of {scale['offset']:.3g} counts{error}"


def _census_sentences(census: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    found = census.get("objects")
    if found:
        density = "no density, as all of the sample is masked"
        if found["density"] is not None:
            bounds = interval(found["density_interval"], digits=3)
            unit = area_unit(found["density_unit"])
            density = f"{found['density']:.3g} {unit} (95 % interval {bounds})"
        yield (
            f"{found['objects']} objects were detected in the difference at a threshold of "
            f"{found['threshold']:g} sigma, of which {found['counted']} were counted: "
            f"{density}; {found['expected_false']:.2g} false ones are expected of noise, and the "
            f"negative image holds {found['negatives']}."
        )
        if found.get("verdict") == "FAIL":
            yield "These objects are those of a difference that FAILED."
    if "limit" in census:
        yield str(census["limit"]["sentence"])


def _parameter_sentences(records: Mapping[int, Record]) -> Iterator[str]:
    entries = records[max(records)].params
    changed = [
        f"{name} = {value_text(entry['value'])}"
        for name, entry in entries.items()
        if entry["value"] != PARAMETER_REGISTRY[name].default
    ]
    if changed:
        yield f"Parameters that differ from their defaults: {', '.join(changed)}."
    else:
        yield "All parameters were at their defaults."


def _verdict_sentence(result: Mapping[str, Any]) -> str:
    reason = f" ({result['reason']})" if result["reason"] else ""
    so = "; no result is to be taken from this pair" if result["verdict"] == "FAIL" else ""
    return f"The automatic quality verdict was {result['verdict']}{reason}{so}."
