"""A run that is killed at any moment is finished by the next one, with the same bytes."""

import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import DYE, SAMPLE

from exo2micro import SampleDye

RUN = (
    "import sys; from exo2micro import SampleDye\n"
    f"run = SampleDye({SAMPLE!r}, {DYE!r}, output_dir=sys.argv[1], raw_dir=sys.argv[2])\n"
    "print('started', flush=True); run.run()"
)
MOMENTS = 20


def image_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".tiff", ".fits", ".png")
    }


def start(project):
    arguments = [sys.executable, "-c", RUN, str(project.processed), str(project.raw)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.slow
def test_sigkill_at_random_moments(finished, project):
    begun = time.perf_counter()
    with start(project) as process:
        assert process.wait() == 0
    duration = time.perf_counter() - begun
    assert image_bytes(project.folder) == image_bytes(finished.folder)
    moments = random.Random(20)
    killed = 0
    for _ in range(MOMENTS):
        with start(project) as process:
            time.sleep(moments.uniform(0, duration))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if SampleDye(SAMPLE, DYE, **project.dirs()).plan()[3].action == "cached":
            for path in project.folder.rglob("*"):
                if path.is_file() and moments.random() < 0.5:
                    path.unlink()
    assert killed >= MOMENTS // 2
    with start(project) as process:
        assert process.wait() == 0
    assert image_bytes(project.folder) == image_bytes(finished.folder)
    leftovers = [p.name for p in project.folder.rglob(".writing-*")]
    assert leftovers == []
