"""Raw files: finding and pairing them, choosing channel and page, reading them by window."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exo2micro.raw.channels import ChannelChoice, choose_channel
    from exo2micro.raw.content import check_content
    from exo2micro.raw.discovery import (
        LayoutReport,
        diagnose_raw_layout,
        discover_tasks,
        incomplete_pairs,
    )
    from exo2micro.raw.image import ChannelRaster, PageInfo, RawImage
    from exo2micro.raw.naming import RawName, parse_raw_name
    from exo2micro.raw.pair import RawPair, load_image_pair
    from exo2micro.raw.pairing import RawFolder, classify_raw_files, find_pair
    from exo2micro.raw.readers import RawReader, open_raw
    from exo2micro.raw.survey import Survey, survey_raw_channels

_HOMES = {
    "ChannelChoice": "channels",
    "ChannelRaster": "image",
    "LayoutReport": "discovery",
    "PageInfo": "image",
    "RawFolder": "pairing",
    "RawImage": "image",
    "RawName": "naming",
    "RawPair": "pair",
    "RawReader": "readers",
    "Survey": "survey",
    "check_content": "content",
    "choose_channel": "channels",
    "classify_raw_files": "pairing",
    "diagnose_raw_layout": "discovery",
    "discover_tasks": "discovery",
    "find_pair": "pairing",
    "incomplete_pairs": "discovery",
    "load_image_pair": "pair",
    "open_raw": "readers",
    "parse_raw_name": "naming",
    "survey_raw_channels": "survey",
}

__all__ = [
    "ChannelChoice",
    "ChannelRaster",
    "LayoutReport",
    "PageInfo",
    "RawFolder",
    "RawImage",
    "RawName",
    "RawPair",
    "RawReader",
    "Survey",
    "check_content",
    "choose_channel",
    "classify_raw_files",
    "diagnose_raw_layout",
    "discover_tasks",
    "find_pair",
    "incomplete_pairs",
    "load_image_pair",
    "open_raw",
    "parse_raw_name",
    "survey_raw_channels",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name of the package
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
