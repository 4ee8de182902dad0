"""What the machine gives to this process."""

import contextlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from exo2micro.execution.control_group import free_memory_bytes
from exo2micro.raster.windows import single_threaded_libraries as single_threaded_libraries


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process since `reset_peak_memory`.

    Where the system cannot reset it (only Linux can), that is the peak of the process so far.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def cost_since(started: float) -> dict[str, Any]:
    """Return what work since a time of `time.perf_counter` took, as fields of a record."""
    return {"seconds": time.perf_counter() - started, "peak_memory_bytes": peak_memory_bytes()}


def reset_peak_memory() -> None:
    """Start a new measurement of `peak_memory_bytes` (Linux, proc(5): clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_report() -> str:
    """Return peak, present and free memory in words."""
    import psutil

    held = psutil.Process().memory_info().rss
    figures = (peak_memory_bytes(), held, available_memory_bytes())
    peak, now, free = (f"{figure / 1e6:.0f} MB" for figure in figures)
    return f"peak {peak}, {now} held after it, {free} free"


def available_memory_bytes() -> int:
    """Return the memory that can be taken now; a container may allow less than is free."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limited = free_memory_bytes()
    return free if limited is None else min(free, limited)
