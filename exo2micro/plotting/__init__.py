"""Diagnostic pictures, one file each; a class in this folder registers itself."""

from collections.abc import Mapping
from typing import cast

from exo2micro.plotting.base import Diagnostic, PairView

DIAGNOSTICS = cast("Mapping[str, type[Diagnostic]]", Diagnostic.__registry__)
"""Name -> class; built-in ones and those of plugins, found on first use."""

__all__ = ["DIAGNOSTICS", "Diagnostic", "PairView"]
