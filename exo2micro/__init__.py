"""Register, scale and subtract pre- and post-stain fluorescence scans of rock samples."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from exo2micro._version import __version__

if TYPE_CHECKING:
    from exo2micro.alignment.coarse import CoarseSettings
    from exo2micro.alignment.functions import (
        align,
        prealign_phase_correlation,
        refine_interior_ecc,
        refine_interior_sift,
        register_highorder,
    )
    from exo2micro.alignment.interior import InteriorSettings
    from exo2micro.alignment.transform import Transform
    from exo2micro.batch.outlook import plan_batch
    from exo2micro.batch.run import resume_batch, run_batch
    from exo2micro.census import detect_pair, detection_limit
    from exo2micro.custom.manager import CustomFunctionManager
    from exo2micro.defaults import DEFAULTS, PARAMETER_REGISTRY
    from exo2micro.detection import detect, open_difference
    from exo2micro.execution.preflight import (
        estimate_pipeline_memory,
        estimate_pipeline_output_size,
        format_bytes,
        get_available_memory,
        preflight_check,
    )
    from exo2micro.pipeline import SampleDye
    from exo2micro.plotting.animation import plot_flicker
    from exo2micro.plotting.difference_histogram import plot_difference_histogram
    from exo2micro.plotting.difference_image import plot_difference_image
    from exo2micro.plotting.excess_heatmap import plot_excess_heatmap
    from exo2micro.plotting.figure import show
    from exo2micro.plotting.fine_alignment import plot_fine_alignment
    from exo2micro.plotting.pre_post_heatmap import plot_pre_post_heatmap
    from exo2micro.plotting.pre_post_histograms import plot_pre_post_histograms
    from exo2micro.plotting.ratio_histogram import plot_ratio_histogram_simple
    from exo2micro.plotting.registration import plot_registration
    from exo2micro.plotting.residual_map import plot_residual_map
    from exo2micro.plotting.scale_map import plot_scale_map
    from exo2micro.plotting.snr_histogram import plot_snr_histogram
    from exo2micro.plotting.zoom import plot_zoom, plot_zoom_multi
    from exo2micro.raw import (
        classify_raw_files,
        diagnose_raw_layout,
        discover_tasks,
        load_image_pair,
        survey_raw_channels,
    )
    from exo2micro.suffix import build_suffix, params_from_suffix
    from exo2micro.viewer import view

    MAX_STAGE: int

_HOMES = {
    "CoarseSettings": "alignment.coarse",
    "CustomFunctionManager": "custom.manager",
    "DEFAULTS": "defaults",
    "InteriorSettings": "alignment.interior",
    "MAX_STAGE": "defaults",
    "PARAMETER_REGISTRY": "defaults",
    "SampleDye": "pipeline",
    "Transform": "alignment.transform",
    "align": "alignment.functions",
    "build_suffix": "suffix",
    "classify_raw_files": "raw",
    "detect": "detection",
    "detect_pair": "census",
    "detection_limit": "census",
    "diagnose_raw_layout": "raw",
    "discover_tasks": "raw",
    "estimate_pipeline_memory": "execution.preflight",
    "estimate_pipeline_output_size": "execution.preflight",
    "format_bytes": "execution.preflight",
    "get_available_memory": "execution.preflight",
    "load_image_pair": "raw",
    "open_difference": "detection",
    "params_from_suffix": "suffix",
    "plan_batch": "batch.outlook",
    "plot_difference_histogram": "plotting.difference_histogram",
    "plot_difference_image": "plotting.difference_image",
    "plot_excess_heatmap": "plotting.excess_heatmap",
    "plot_fine_alignment": "plotting.fine_alignment",
    "plot_flicker": "plotting.animation",
    "plot_pre_post_heatmap": "plotting.pre_post_heatmap",
    "plot_pre_post_histograms": "plotting.pre_post_histograms",
    "plot_ratio_histogram_simple": "plotting.ratio_histogram",
    "plot_registration": "plotting.registration",
    "plot_residual_map": "plotting.residual_map",
    "plot_scale_map": "plotting.scale_map",
    "plot_snr_histogram": "plotting.snr_histogram",
    "plot_zoom": "plotting.zoom",
    "plot_zoom_multi": "plotting.zoom",
    "prealign_phase_correlation": "alignment.functions",
    "preflight_check": "execution.preflight",
    "refine_interior_ecc": "alignment.functions",
    "refine_interior_sift": "alignment.functions",
    "register_highorder": "alignment.functions",
    "resume_batch": "batch.run",
    "run_batch": "batch.run",
    "show": "plotting.figure",
    "survey_raw_channels": "raw",
    "view": "viewer",
}

__all__ = [
    "DEFAULTS",
    "MAX_STAGE",
    "PARAMETER_REGISTRY",
    "CoarseSettings",
    "CustomFunctionManager",
    "InteriorSettings",
    "SampleDye",
    "Transform",
    "__version__",
    "align",
    "build_suffix",
    "classify_raw_files",
    "detect",
    "detect_pair",
    "detection_limit",
    "diagnose_raw_layout",
    "discover_tasks",
    "estimate_pipeline_memory",
    "estimate_pipeline_output_size",
    "format_bytes",
    "get_available_memory",
    "load_image_pair",
    "open_difference",
    "params_from_suffix",
    "plan_batch",
    "plot_difference_histogram",
    "plot_difference_image",
    "plot_excess_heatmap",
    "plot_fine_alignment",
    "plot_flicker",
    "plot_pre_post_heatmap",
    "plot_pre_post_histograms",
    "plot_ratio_histogram_simple",
    "plot_registration",
    "plot_residual_map",
    "plot_scale_map",
    "plot_snr_histogram",
    "plot_zoom",
    "plot_zoom_multi",
    "prealign_phase_correlation",
    "preflight_check",
    "refine_interior_ecc",
    "refine_interior_sift",
    "register_highorder",
    "resume_batch",
    "run_batch",
    "show",
    "survey_raw_channels",
    "view",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
