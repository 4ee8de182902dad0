"""The key numbers of a pair, with their intervals and what they mean."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from exo2micro.raster.record import Record
from exo2micro.report.words import (
    Z_95,
    area_unit,
    estimator_words,
    interval,
    number,
    offset_interval,
)


class Fact(NamedTuple):
    """One number: what it is, its value, its 95 % interval or basis, what it means."""

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
    metrics = records[4].metrics
    return [
        *_alignment(result.get("certificate") or {}),
        *_scales(result),
        *_statistics(metrics.get("statistics") or {}),
        *_noise(metrics.get("noise") or {}),
        *_objects(census.get("objects") or {}),
        *_limits(census.get("limit") or {}),
        _pixel_size(records[1].facts.get("pixel_size_um") if 1 in records else None),
    ]


def _alignment(certificate: Mapping[str, Any]) -> Iterator[Fact]:
    tiles = certificate.get("tiles", 0)
    if certificate.get("median_px") is None:
        basis = "no held-out tile could be matched"
        yield Fact("alignment error", "not measured", basis, "nothing vouches for the alignment")
        return
    yield Fact(
        "alignment error, median",
        number(certificate.get("median_px"), "px", 2),
        interval(certificate.get("median_interval_px"), "px", 2),
        f"measured on {tiles} tiles that took no part in the fit",
    )
    bound = certificate.get("bound_px")
    yield Fact(
        "alignment error, 95 % of the sample",
        number(certificate.get("p95_px"), "px", 2),
        interval(certificate.get("p95_interval_px"), "px", 2),
        "95 % of the sample is aligned better than this"
        + ("" if bound is None else f"; with 95 % confidence, better than {bound:.2g} px"),
    )
    yield Fact(
        "certified part of the sample",
        f"{100 * certificate['coverage']:.0f} %",
        f"counted: {tiles} tiles",
        "near a held-out tile that could be matched",
    )
    yield Fact(
        "forward-backward distance",
        number(certificate.get("forward_backward_px"), "px", 2),
        f"median of {tiles} tiles",
        "a point matched to pre and back again",
    )


def _scales(result: Mapping[str, Any]) -> Iterator[Fact]:
    for place, scale in enumerate(result.get("scales") or ()):
        by_hand = scale["name"] == "manual"
        how = f"by {estimator_words(scale)}"
        if scale.get("n_tiles") and not by_hand:
            how += f", {scale['n_tiles']} tiles"
        bounds = "given: exact" if by_hand else interval(scale["interval"], digits=5)
        name = "scale" if place == 0 else f"scale {how.partition(',')[0]}"
        yield Fact(name, number(scale["scale"], digits=5), bounds, how)
        if place == 0:
            yield _offset(scale)


def _offset(scale: Mapping[str, Any]) -> Fact:
    error = scale.get("metrics", {}).get("offset_error")
    if scale["offset"] != 0:
        bounds = interval(offset_interval(scale), "counts", 3)
        meaning = "subtracted beside scale x pre"
    else:
        bounds = "" if error is None else f"within {Z_95 * error:.2g} counts of 0"
        meaning = "no significant pedestal, so none was subtracted"
    return Fact("offset", number(scale["offset"], "counts", 3), bounds, meaning)


def _statistics(statistics: Mapping[str, Any]) -> Iterator[Fact]:
    if statistics.get("background_sigma") is not None:
        yield Fact(
            "scatter of the background",
            number(statistics["background_sigma"], "counts", 3),
            f"counted: {statistics['pixels']:,} pixels",
            "of the difference, one standard deviation",
        )


def _noise(noise: Mapping[str, Any]) -> Iterator[Fact]:
    if noise:
        yield Fact(
            "noise factor",
            number(noise["factor"] if noise["pixels"] else None, digits=3),
            f"fitted to {noise['pixels']:,} pixels",
            "by which the propagated noise was multiplied to fit clean background; good near 1",
        )


def _objects(found: Mapping[str, Any]) -> Iterator[Fact]:
    if not found:
        return
    unit = area_unit(found["density_unit"])
    failed = "in a difference that FAILED: " if found.get("verdict") == "FAIL" else ""
    yield Fact(
        "objects detected",
        str(found["objects"]),
        f"counted at {found['threshold']:g} sigma",
        f"{failed}{found['counted']} are counted for the density; {found['expected_false']:.2g} "
        f"false ones expected of noise, {found['negatives']} in the negative image",
    )
    yield Fact(
        "density of objects",
        number(found["density"], unit),
        interval(found["density_interval"], unit),
        f"{failed}area: {found['area_source']}",
    )


def _limits(limit: Mapping[str, Any]) -> Iterator[Fact]:
    for row in limit.get("limits") or ():
        value, bounds = number(row["flux"], "counts"), interval(row["interval"], "counts")
        if row["above"] is not None:
            value, bounds = f"above {number(row['above'], 'counts')}", "the brightest injected"
        elif row["below"] is not None:
            value, bounds = f"below {number(row['below'], 'counts')}", "the faintest injected"
        yield Fact(
            f"detection limit, {100 * row['probability']:.0f} %",
            value,
            bounds,
            "total light of a point-like microbe that is found with this probability",
        )


def _pixel_size(size: Any) -> Fact:  # noqa: ANN401 - two numbers from JSON
    value = "unknown" if size is None else f"{size[0]:.4g} x {size[1]:.4g} \N{MICRO SIGN}m"
    return Fact(
        "pixel size", value, "" if size is None else "exact", "as the raw post-stain file says"
    )
