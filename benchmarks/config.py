"""How long it takes to resolve a configuration; run it on an idle machine.

Usage: python benchmarks/config.py
"""

import os
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from exo2micro.config import (
    Layer,
    LazyPipelineConfig,
    config_context,
    project_file,
    read_config_files,
    resolve_config,
    resolve_layers,
    set_value,
    user_file,
)
from exo2micro.defaults import PARAMETER_REGISTRY


def milliseconds(statement: Callable[[], object]) -> float:
    """Return the best process time of one call, of 7 series of 200."""
    series = timeit.repeat(statement, number=200, repeat=7, timer=time.process_time)
    return 1000 * min(series) / 200


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.environ["EXO2MICRO_CONFIG_DIR"] = name
        raw = Path(name) / "raw"
        for path, share in ((user_file(), 2), (project_file(raw), 1)):
            for parameter, row in list(PARAMETER_REGISTRY.items())[::share]:
                if row.default is not None:
                    set_value(path, parameter, row.default)
        run = Layer.of("run", {"pad": 100, "boundary_width": 20}, "set_params")
        layers = (*(layer for file in read_config_files(raw) for layer in file.layers), run)
        snapshot = resolve_layers(layers)
        config = LazyPipelineConfig(pad=3)
        print("| what | ms of process time |\n|---|---|")
        rows = {
            f"resolve {len(layers)} layers": lambda: resolve_layers(layers),
            "read two files and resolve": lambda: resolve_config(raw, run),
            "all values as a dict": lambda: dict(snapshot),
        }
        for title, statement in rows.items():
            print(f"| {title} | {milliseconds(statement):.3f} |")
        with config_context(snapshot):
            print(f"| one lazy attribute | {milliseconds(lambda: config.boundary_width):.4f} |")
            print(f"| make a lazy configuration | {milliseconds(LazyPipelineConfig):.3f} |")


if __name__ == "__main__":
    main()
