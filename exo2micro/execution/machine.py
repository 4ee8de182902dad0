"""What the machine gives to this process."""

import os
import resource
import sys
from contextlib import AbstractContextManager
from typing import Any

from exo2micro.execution.control_group import free_memory_bytes


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_memory_bytes() -> int:
    """Return the memory that can be taken now; a container may allow less than is free."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limited = free_memory_bytes()
    return free if limited is None else min(free, limited)


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Return a context in which linear algebra uses one thread.

    With several, OpenBLAS sums in another order, and the last bits of a result would depend on the
    number of cores. The stages have threads of their own.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
