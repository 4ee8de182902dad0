"""A run that is killed or cannot write is finished by the next one, with the same bytes."""

import random
import signal
import subprocess
import sys
import time

import pytest
from small_pair import DYE, SAMPLE

RUN = (
    "import sys; from exo2micro import SampleDye\n"
    f"run = SampleDye({SAMPLE!r}, {DYE!r}, output_dir=sys.argv[1], raw_dir=sys.argv[2])\n"
    "print('started', flush=True); run.run(force=sys.argv[3] == 'force')"
)
MOMENTS = 20


def image_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".tiff", ".fits", ".png")
    }


def start(project, mode):
    arguments = [sys.executable, "-c", RUN, str(project.processed), str(project.raw), mode]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


LIMITED = (
    "import resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)\n" + RUN
)


@pytest.mark.parametrize("limit", [20_000, 300_000, 2_000_000])
def test_write_that_does_not_fit_is_an_error_and_can_be_repeated(finished, project, limit):
    arguments = [str(project.processed), str(project.raw), "plain", str(limit)]
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("exo2micro.errors.OutputError: [Errno 27] cannot write ")
    assert "choose another output_dir" in last
    written = image_bytes(project.folder)
    expected = image_bytes(finished.folder)
    assert written.items() <= expected.items()
    assert [path.name for path in project.folder.rglob(".writing-*")] == []
    with start(project, "plain") as process:
        assert process.wait() == 0
    assert image_bytes(project.folder) == expected


@pytest.mark.slow
def test_sigkill_at_random_moments(finished, project):
    with start(project, "plain") as process:
        begun = time.perf_counter()
        assert process.wait() == 0
        duration = time.perf_counter() - begun
    assert image_bytes(project.folder) == image_bytes(finished.folder)
    moments = random.Random(20)
    killed = 0
    for _ in range(MOMENTS):
        with start(project, "force") as process:
            begun = time.perf_counter()
            try:
                process.wait(moments.uniform(0, 0.9 * duration))
                duration = time.perf_counter() - begun  # the first run was slower than this one
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
    assert killed >= MOMENTS // 2
    with start(project, "plain") as process:
        assert process.wait() == 0
    assert image_bytes(project.folder) == image_bytes(finished.folder)
    assert [path.name for path in project.folder.rglob(".writing-*")] == []


@pytest.mark.slow
def test_sigkill_during_the_first_run(finished, project):
    moments = random.Random(21)
    for _ in range(4):
        with start(project, "plain") as process:
            time.sleep(moments.uniform(0, 2.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
    with start(project, "plain") as process:
        assert process.wait() == 0
    assert image_bytes(project.folder) == image_bytes(finished.folder)
