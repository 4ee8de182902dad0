"""The key numbers of a pair, with their intervals and what they mean."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from exo2micro.raster.record import Record
from exo2micro.report.words import interval, number


class Fact(NamedTuple):
    """One number: what it is, its value, its 95 % interval if it has one, what it means."""

    name: str
    value: str
    interval: str
    meaning: str


def key_facts(
    result: Mapping[str, Any],
    records: Mapping[int, Record],
    census: Mapping[str, Mapping[str, Any]],
) -> list[Fact]:
    """Return the key numbers of a pair.

    Parameters
    ----------
    result : mapping
        As `SampleDye.run` returns it.
    records : mapping
        Main record of each stage.
    census : mapping
        Metadata of the tables ``objects`` and ``limit``, where they exist.
    """
    difference = records.get(4)
    metrics = difference.metrics if difference else {}
    facts = [
        *_alignment(result.get("certificate") or {}),
        *_scales(result),
        *_noise(metrics.get("noise") or {}, metrics.get("statistics") or {}),
        *_objects(census.get("objects") or {}),
        *_limits(census.get("limit") or {}),
    ]
    size = records[1].facts.get("pixel_size_um") if 1 in records else None
    value = "unknown" if size is None else f"{size[0]:.4g} x {size[1]:.4g} um"
    return [*facts, Fact("pixel size", value, "", "from the raw post-stain file")]


def _alignment(certificate: Mapping[str, Any]) -> list[Fact]:
    if not certificate:
        return []
    bound = certificate.get("bound_px")
    limit = "" if bound is None else f"below {bound:.3g} px"
    return [
        Fact(
            "alignment error, median",
            number(certificate.get("median_px"), "px", 3),
            "",
            f"measured on {certificate['tiles']} tiles that took no part in the fit",
        ),
        Fact(
            "alignment error, 95 % of the sample",
            number(certificate.get("p95_px"), "px", 3),
            limit,
            "upper limit at 95 % confidence",
        ),
        Fact(
            "certified part of the sample",
            f"{100 * certificate['coverage']:.0f} %",
            "",
            "near a held-out tile that could be matched",
        ),
        Fact(
            "forward-backward distance",
            number(certificate.get("forward_backward_px"), "px", 3),
            "",
            "a point matched to pre and back again, median",
        ),
    ]


def _scales(result: Mapping[str, Any]) -> list[Fact]:
    facts = []
    for place, scale in enumerate(result.get("scales") or ()):
        name = "scale" if place == 0 else f"scale by {scale['name']}"
        how = "given by hand" if scale["name"] == "manual" else f"estimator {scale['name']}"
        if scale.get("n_tiles"):
            how += f", {scale['n_tiles']} tiles"
        facts.append(
            Fact(name, number(scale["scale"], digits=5), interval(scale["interval"], digits=5), how)
        )
        if place == 0:
            error = scale.get("metrics", {}).get("offset_error")
            offset = scale["offset"]
            bounds = None if error is None else (offset - 1.96 * error, offset + 1.96 * error)
            if offset == 0:
                bounds = None
            meaning = "subtracted beside scale x pre" if offset else "no significant pedestal"
            facts.append(
                Fact("offset", number(offset, "counts"), interval(bounds, "counts"), meaning)
            )
    return facts


def _noise(noise: Mapping[str, Any], statistics: Mapping[str, Any]) -> list[Fact]:
    facts = []
    if statistics.get("background_sigma") is not None:
        facts.append(
            Fact(
                "scatter of the background",
                number(statistics["background_sigma"], "counts", 3),
                "",
                "of the difference, one standard deviation",
            )
        )
    if noise:
        facts.append(
            Fact(
                "noise factor",
                number(noise["factor"], digits=4),
                "",
                "by which the propagated noise was multiplied to fit clean background; good near 1",
            )
        )
    return facts


def _objects(found: Mapping[str, Any]) -> list[Fact]:
    if not found:
        return []
    unit = "per mm\N{SUPERSCRIPT TWO}" if found["density_unit"] == "mm-2" else "per million px"
    return [
        Fact(
            "objects detected",
            str(found["objects"]),
            "",
            f"{found['counted']} counted, at {found['threshold']:g} sigma; "
            f"{found['expected_false']:.2g} false ones expected of noise, "
            f"{found['negatives']} in the negative image",
        ),
        Fact(
            "density of objects",
            number(found["density"], unit),
            interval(found["density_interval"], unit),
            f"area: {found['area_source']}",
        ),
    ]


def _limits(limit: Mapping[str, Any]) -> list[Fact]:
    return [
        Fact(
            f"detection limit, {100 * row['probability']:.0f} %",
            number(row["flux"], "counts"),
            interval(row["interval"], "counts"),
            "total light of a point-like microbe that is found with this probability",
        )
        for row in limit.get("limits") or ()
    ]
