"""Names that existing scripts import from here; each lives elsewhere."""

from exo2micro.execution.preflight import (
    estimate_pipeline_memory,
    estimate_pipeline_output_size,
    format_bytes,
    get_available_memory,
    preflight_check,
)
from exo2micro.raw import (
    classify_raw_files,
    diagnose_raw_layout,
    discover_tasks,
    load_image_pair,
    survey_raw_channels,
)

__all__ = [
    "classify_raw_files",
    "diagnose_raw_layout",
    "discover_tasks",
    "estimate_pipeline_memory",
    "estimate_pipeline_output_size",
    "format_bytes",
    "get_available_memory",
    "load_image_pair",
    "preflight_check",
    "survey_raw_channels",
]
