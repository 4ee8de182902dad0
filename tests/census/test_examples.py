"""The worked example runs as a user runs it, on real files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

SCRIPT = Path(__file__).parents[2] / "examples" / "two_dyes.py"


def test_two_dyes_are_counted_and_compared(finished, tmp_path):
    source = finished.folder / "fits" / "04_difference_difference.fits"
    first, second = tmp_path / "first.fits", tmp_path / "second.fits"
    shutil.copy(source, first)
    with fits.open(source) as hdus:
        hdus[0].header["DYE"] = "other"
        half = hdus[0].shape[0] // 2
        quality = hdus["DQ"].data.copy()
        quality[:half] |= 1
        hdus["DQ"].data = quality
        hdus.writeto(second)
    for path in (first, second):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header.update(CUNIT1="um", CUNIT2="um", CDELT1=0.5, CDELT2=0.5)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), str(first), str(second)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    densities = [float(v) for v in re.findall(r": ([\d.e+]+) mm-2 \(95 %", done.stdout)]
    counts = [int(v) for v in re.findall(r"detect: (\d+) objects", done.stdout)]
    assert len(densities) == len(counts) == 2
    assert counts[1] < counts[0]
    ratio, low, high = map(
        float, re.search(r"first: (\S+) \(95 % interval (\S+) to (\S+)\)", done.stdout).groups()
    )
    np.testing.assert_allclose(ratio, densities[1] / densities[0], rtol=0.01)
    assert low < ratio < high
    assert "of which" in done.stdout


def test_the_example_says_how_it_is_called():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "two_dyes.py DAPI" in done.stderr
