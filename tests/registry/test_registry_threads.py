"""Discovery runs once, and never deadlocks against the import locks."""

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from exo2micro.registry import AutoRegisterMeta, LazyDiscoveryDict, RegistryConfig, RegistryError

TIMEOUT_S = 20
"""A deadlock lasts for ever; this is how long one is waited for."""

# A module that tells when its import began and that goes on only when it is told to.
GATED = """
import {package}.events as events
from {package}.base import Plugin

events.{name}_begun.set()
assert events.{name}_go.wait({timeout})
{body}
class {title}(Plugin):
    name = {name!r}
    helper = int
"""


def write_gated(package, name, body=""):
    package.write(
        name,
        GATED.format(
            package=package.name, name=name, title=name.title(), timeout=TIMEOUT_S, body=body
        ),
    )


def write_events(package, *names):
    lines = [f"{n}_begun, {n}_go = threading.Event(), threading.Event()" for n in names]
    package.write("events", "\n".join(["import threading", *lines]))


def run(*functions):
    """Run functions in threads and return their results; fail if one never ends."""
    results = [None] * len(functions)

    def call(position, function):
        try:
            results[position] = function()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            results[position] = error

    threads = [
        threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    return results


def test_once_under_threads():
    calls = []
    started = threading.Event()

    def function(path, prefix, base):
        calls.append(threading.get_ident())
        started.wait(0.2)
        for key in "abc":
            type(base)(key, (base,), {"name": key})

    config = RegistryConfig(
        LazyDiscoveryDict(), "name", discovery_package="json", discovery_function=function
    )
    registry = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config).__registry__
    barrier = threading.Barrier(16)

    def use():
        barrier.wait(TIMEOUT_S)
        return list(registry)

    assert run(*[use] * 16) == [["a", "b", "c"]] * 16
    assert len(calls) == 1


def test_a_module_import_that_reads_the_registry_beside_discovery(make_package):
    """Thread A discovers and waits for the import of ``slow``, which B does and which reads."""
    package = make_package(plugins=("one", "zed"))
    write_events(package, "slow")
    write_gated(package, "slow", "SEEN = sorted(Plugin.__registry__)")
    base, events = package.load(), package.load("events")

    def importing():
        return package.load("slow").SEEN

    def discovering():
        assert events.slow_begun.wait(TIMEOUT_S)
        threading.Timer(0.2, events.slow_go.set).start()
        return sorted(base.PLUGINS)

    seen, found = run(importing, discovering)
    assert found == ["one", "slow", "zed"]
    assert seen == ["one"]
    assert sorted(base.PLUGINS) == sorted(base.HELPERS) == ["one", "slow", "zed"]


def test_a_module_import_that_only_registers_beside_discovery(make_package):
    package = make_package("__registry_policy__ = 'error'", plugins=("one",))
    write_events(package, "slow")
    write_gated(package, "slow")
    base, events = package.load(), package.load("events")

    def discovering():
        assert events.slow_begun.wait(TIMEOUT_S)
        threading.Timer(0.2, events.slow_go.set).start()
        return sorted(base.PLUGINS)

    _, found = run(lambda: package.load("slow"), discovering)
    assert found == ["one", "slow"]


def test_two_imports_that_wait_for_each_other_through_discovery(make_package):
    """A discovers inside the import of ``a``; B, inside the import of ``b``, wants it done."""
    package = make_package(plugins=("one",))
    write_events(package, "a", "b")
    for name in "ab":
        write_gated(package, name, "SEEN = sorted(Plugin.__registry__)")
    base, events = package.load(), package.load("events")

    def go():
        assert events.a_begun.wait(TIMEOUT_S)
        assert events.b_begun.wait(TIMEOUT_S)
        events.a_go.set()
        events.b_go.set()

    run(lambda: package.load("a"), lambda: package.load("b"), go)
    assert sorted(base.PLUGINS) == ["a", "b", "one"]


def test_an_unrelated_import_waits_and_sees_all(make_package):
    """A module that no plugin needs may read the registry as it is imported: it must be whole."""
    package = make_package(plugins=("one",))
    other = make_package()
    write_events(package, "slow")
    write_gated(package, "slow")
    base, events = package.load(), package.load("events")
    other.write(
        "reader",
        f"from {package.name}.base import PLUGINS\n"
        f"import {package.name}.events as events\n"
        "SEEN = sorted(PLUGINS)\n",
    )

    def reading():
        assert events.slow_begun.wait(TIMEOUT_S)
        threading.Timer(0.3, events.slow_go.set).start()
        return other.load("reader").SEEN

    found, seen = run(lambda: sorted(base.PLUGINS), reading)
    assert found == seen == ["one", "slow"]


def test_after_a_failure_a_waiting_thread_tries_itself():
    attempts = []
    waiting = threading.Event()

    def function(path, prefix, base):
        attempts.append(1)
        if len(attempts) == 1:
            waiting.wait(TIMEOUT_S)
            raise OSError("first attempt")
        type(base)("P", (base,), {"name": "p"})

    config = RegistryConfig(
        LazyDiscoveryDict(), "name", discovery_package="json", discovery_function=function
    )
    registry = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config).__registry__

    def first():
        return list(registry)

    def second():
        while not attempts:
            pass
        threading.Timer(0.1, waiting.set).start()
        return list(registry)

    failed, found = run(first, second)
    assert "first attempt" in str(failed)
    assert found == ["p"]


def test_many_threads_many_families(make_package):
    packages = [make_package(plugins=("one", "two")) for _ in range(4)]

    def use(package):
        base = package.load()
        return sorted(base.PLUGINS), sorted(base.HELPERS)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(use, packages * 8, timeout=TIMEOUT_S))
    assert results == [(["one", "two"], ["one", "two"])] * 32


def test_reload_from_within_discovery_is_refused(make_package):
    package = make_package("__registry_policy__ = 'error'")
    package.write_plugin("one", body="Plugin.__registry__.reload()\n")
    with pytest.raises(RegistryError, match=r"reload\(\) of the plugin registry was called during"):
        len(package.load().PLUGINS)


def _child(registry, connection):
    connection.send(sorted(registry))


@pytest.mark.skipif(sys.platform != "linux", reason="fork beside threads is for Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_during_discovery_does_not_wait_for_the_parents_thread():
    discovering, go = threading.Event(), threading.Event()

    def function(path, prefix, base):
        discovering.set()
        if multiprocessing.parent_process() is None:
            assert go.wait(TIMEOUT_S)
        type(base)("P", (base,), {"name": "p"})

    config = RegistryConfig(
        LazyDiscoveryDict(), "name", discovery_package="json", discovery_function=function
    )
    registry = AutoRegisterMeta("Base", (), {"name": None}, registry_config=config).__registry__
    thread = threading.Thread(target=len, args=(registry,), daemon=True)
    thread.start()
    assert discovering.wait(TIMEOUT_S)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(registry, sender))
    process.start()
    try:
        assert receiver.poll(TIMEOUT_S)
        assert receiver.recv() == ["p"]
    finally:
        process.kill()
        process.join()
        go.set()
        thread.join(TIMEOUT_S)
