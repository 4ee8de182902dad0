"""A batch on the workers of a dask scheduler."""

from collections.abc import Iterator
from contextlib import contextmanager

from exo2micro.errors import ClusterError, MissingPackageError

_TIMEOUT = "30s"
_SECONDS_UNTIL_A_WORKER = 300
"""Job queues start workers within minutes; joblib by itself would wait for 10 s."""


@contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Let joblib use a dask cluster while the context lasts; None: it does as it would anyway.

    Raises
    ------
    MissingPackageError
        If dask.distributed is not installed.
    ClusterError
        If nobody answers at the address.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        msg = "--scheduler needs dask.distributed; install it: pip install 'exo2micro[dask]'"
        raise MissingPackageError(msg) from error
    import joblib

    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"no dask scheduler answers at {address} ({error}); start one: dask scheduler"
        raise ClusterError(msg) from error
    with (
        client,
        joblib.parallel_config(backend="dask", wait_for_workers_timeout=_SECONDS_UNTIL_A_WORKER),
    ):
        yield
