"""Time of validating, registering and loading custom functions, each in a process of its own.

Usage: python benchmarks/custom.py [--functions 100] [--repeat 30]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = '''
import scipy.ndimage as ndi

LIMITS = (0.0, 65535.0)


def _clipped(image):
    """Return the image within the limits."""
    return np.clip(image, *LIMITS)


@numpy(halo=lambda sigma: 4 * sigma)
def NAME(image: np.ndarray, *, sigma: float = 2.0, strength: float = 1.0) -> np.ndarray:
    """Take away noise that is finer than a microbe.

    Parameters
    ----------
    sigma : float
        Width of the Gaussian in pixels.
    strength : float
        0 leaves the image as it is, 1 replaces it.
    """
    smooth = ndi.gaussian_filter(image, (0, sigma, sigma))
    return _clipped(image + strength * (smooth - image)).astype(image.dtype)
'''
"""A typical function: an import, a constant, a helper, a docstring, two parameters."""

FRAMEWORKS = ("cupy", "torch", "tensorflow", "jax", "pyclesperanto")

REGISTER = """
import json, os, sys, time
from exo2micro.custom import CustomFunctionManager, validation
source, repeat = sys.stdin.read(), int(sys.argv[2])
inside = [0.0]

def outside(module, name):
    real = getattr(module, name)
    def timed(*arguments, **keywords):
        start = time.process_time(), time.perf_counter()
        try:
            return real(*arguments, **keywords)
        finally:
            inside[0] += time.perf_counter() - start[1]
            spent[0] += time.process_time() - start[0]
    setattr(module, name, timed)

spent = [0.0]
outside(validation, "validate_function")
outside(os, "fsync")
manager = CustomFunctionManager(sys.argv[1])
walls, processor = [], []
for number in range(repeat + 1):
    code = source.replace("NAME", f"denoise_{number}")
    inside[0] = spent[0] = 0.0
    start = time.perf_counter(), time.process_time()
    manager.register_from_code(code)
    walls.append(time.perf_counter() - start[0] - inside[0])
    processor.append(time.process_time() - start[1] - spent[0])
print(json.dumps({"wall": walls[1:], "processor": processor[1:]}))
"""

LOAD = """
import json, sys, time
from exo2micro.custom import CustomFunctionManager
start = time.perf_counter(), time.process_time()
manager = CustomFunctionManager(sys.argv[1])
listed = len(manager.list_custom_functions())
middle = time.perf_counter(), time.process_time()
loaded = manager.load_all_custom_functions()
end = time.perf_counter(), time.process_time()
print(json.dumps({
    "listed": listed, "loaded": loaded,
    "list_wall": middle[0] - start[0], "list_processor": middle[1] - start[1],
    "wall": end[0] - start[0], "processor": end[1] - start[1],
    "frameworks": sorted(set(sys.modules) & set(sys.argv[2:])),
}))
"""


def measured(script: str, *arguments: object, text: str = "") -> dict[str, object]:
    """Run a script in a new process and return the document that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    document: dict[str, object] = json.loads(done.stdout)
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        register = measured(REGISTER, Path(name) / "a", options.repeat, text=SOURCE)
        for kind in ("processor", "wall"):
            times = sorted(1e3 * t for t in register[kind])  # type: ignore[attr-defined]
            print(
                f"validate and register one function, trial run and fsync apart, {kind}: "
                f"median {statistics.median(times):.1f} ms, largest of {len(times)} "
                f"{times[-1]:.1f} ms (goal: < 10)"
            )
        # One source of its own for each function, as users have them.
        store = Path(name) / "b"
        store.mkdir()
        for number in range(options.functions):
            function = f"denoise_{number}"
            (store / f"{function}.py").write_text(SOURCE.replace("NAME", function))
        load = measured(LOAD, store, *FRAMEWORKS)
        print(
            f"list {load['listed']} functions: {load['list_processor']:.2f} s of processor, "
            f"{load['list_wall']:.2f} s"
        )
        print(
            f"load {load['loaded']} functions: {load['processor']:.2f} s of processor, "
            f"{load['wall']:.2f} s (goal: < 0.5); frameworks imported: "
            f"{load['frameworks'] or 'none'}"
        )


if __name__ == "__main__":
    main()
