"""The custom code that took part in a result: stages, estimators, readers, plots."""

from collections.abc import Iterator, Mapping
from typing import Any

from exo2micro.execution.results import shown_records
from exo2micro.execution.runner import StageRunner
from exo2micro.plotting.gallery import Gallery
from exo2micro.report.words import value_text


def codes_of(
    runner: StageRunner, result: Mapping[str, Any], gallery: Gallery
) -> list[dict[str, Any]]:
    """Return name, part, hash, files and source of each piece, as the template shows them."""
    steps = list(_extra_stages(runner, result))
    named = {step["name"] for step in steps}
    others = [*_in_stages(runner), *_plots(gallery)]
    return steps + [code for code in others if code["name"] not in named]


def _extra_stages(runner: StageRunner, result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the extra stages of a run with their values and the images that they wrote."""
    for resolved, told in zip(runner.request.steps, result["custom_stages"], strict=True):
        step = resolved.step
        values = ", ".join(f"{n} = {value_text(v)}" for n, v in resolved.values.items())
        what = f"extra stage after stage {step.after} on {step.applies_to}"
        yield {
            "name": resolved.name,
            "what": f"{what}; {values}" if values else what,
            "hash": resolved.function.sha256,
            "files": [path.name for path in told["files"]],
            "code": resolved.function.code,
        }


def _in_stages(runner: StageRunner) -> Iterator[dict[str, Any]]:
    """Yield estimators, readers and a user's own stage methods."""
    sources = {f.name: f.code for f in runner.custom.functions}
    found = {
        name: (number, digest)
        for number, record in shown_records(runner).items()
        for name, digest in record.code.items()
    }
    for name, (number, digest) in found.items():
        what = f"takes part in stage {number}"
        code = sources.get(name, "")
        yield {"name": name, "what": what, "hash": digest, "files": [], "code": code}


def _plots(gallery: Gallery) -> Iterator[dict[str, Any]]:
    """Yield a user's own plots with their pictures."""
    for picture in gallery.pictures():
        digest = picture.diagnostic.code_hash
        if digest:
            yield {
                "name": str(picture.diagnostic.name),
                "what": "draws a figure",
                "hash": digest,
                "files": [picture.path.name] if picture.path else [],
                "code": "",
            }
