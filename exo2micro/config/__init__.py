"""Configuration in layers: every value knows where it came from.

Package defaults < user file < project file < batch < run < stage. `resolve_config` puts them
together into a `Snapshot`; lazy configurations resolve through what `config_context` made active.
"""

from exo2micro.config.code import configs_of, from_python, from_toml, to_python, to_toml
from exo2micro.config.context import active_layers, carrying_config, config_context
from exo2micro.config.editing import set_value, template, unset_value, write_new
from exo2micro.config.files import (
    ConfigFile,
    ExtraStage,
    parse_config,
    project_file,
    read_config_file,
    read_config_files,
    resolve_config,
    user_file,
)
from exo2micro.config.forms import FieldState, field_states
from exo2micro.config.layer import Layer
from exo2micro.config.lazy import (
    INHERIT,
    explicit_values,
    has_lazy_resolution,
    lazy_dataclass,
    raw_value,
)
from exo2micro.config.pairs import PairLayer, layers_of_pair
from exo2micro.config.patching import (
    discover_lazy_dataclass_types,
    patch_lazy_constructors,
    patch_specific_types,
)
from exo2micro.config.schema import json_schema
from exo2micro.config.sections import (
    BatchConfig,
    DetectionConfig,
    LazyBatchConfig,
    LazyDetectionConfig,
    LazyOutputConfig,
    LazyPipelineConfig,
    OutputConfig,
    PipelineConfig,
)
from exo2micro.config.snapshot import Snapshot, explain, resolve_layers
from exo2micro.config.source import DEFAULT, LAYERS, Setting, Source

__all__ = [
    "DEFAULT",
    "INHERIT",
    "LAYERS",
    "BatchConfig",
    "ConfigFile",
    "DetectionConfig",
    "ExtraStage",
    "FieldState",
    "Layer",
    "LazyBatchConfig",
    "LazyDetectionConfig",
    "LazyOutputConfig",
    "LazyPipelineConfig",
    "OutputConfig",
    "PairLayer",
    "PipelineConfig",
    "Setting",
    "Snapshot",
    "Source",
    "active_layers",
    "carrying_config",
    "config_context",
    "configs_of",
    "discover_lazy_dataclass_types",
    "explain",
    "explicit_values",
    "field_states",
    "from_python",
    "from_toml",
    "has_lazy_resolution",
    "json_schema",
    "layers_of_pair",
    "lazy_dataclass",
    "parse_config",
    "patch_lazy_constructors",
    "patch_specific_types",
    "project_file",
    "raw_value",
    "read_config_file",
    "read_config_files",
    "resolve_config",
    "resolve_layers",
    "set_value",
    "template",
    "to_python",
    "to_toml",
    "unset_value",
    "user_file",
    "write_new",
]
