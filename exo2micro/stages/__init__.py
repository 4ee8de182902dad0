"""The numbered stages of the pipeline, one file each."""

from collections.abc import Mapping
from typing import cast

from exo2micro.stages.base import Stage, StageInputs, StageOutput

STAGES: Mapping[int, type[Stage]] = cast("Mapping[int, type[Stage]]", Stage.__registry__)
"""Stage number -> class; built-in ones and those of plugins, found on first use."""

__all__ = ["STAGES", "Stage", "StageInputs", "StageOutput"]
