"""The segmentation snippet that users have must run as it stands on the FITS output."""

import contextlib
import io

import pytest

SNIPPET = """
from astropy.io import fits
from skimage import morphology, measure
hdul = fits.open('processed/CD070/SybrGld_microbe/fits/04_difference_difference.fits')
diff = hdul[0].data
scale = hdul[0].header['SCALE']
bg_std = diff[diff != 0].std()
mask = diff > 5 * bg_std
mask = morphology.remove_small_objects(mask, min_size=20)
labels = measure.label(mask)
props = measure.regionprops(labels, intensity_image=diff)
for p in props:
    print(f"feature {p.label}: centroid {p.centroid} area {p.area} mean intensity {p.mean_intensity:.1f}")
"""  # noqa: E501


@pytest.mark.filterwarnings("ignore:.*min_size.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*mean_intensity.*:FutureWarning")
def test_snippet_finds_microbes(finished, monkeypatch):
    monkeypatch.chdir(finished.root)
    output = io.StringIO()
    names: dict = {}
    with contextlib.redirect_stdout(output):
        exec(SNIPPET, names)
    names["hdul"].close()
    lines = output.getvalue().splitlines()
    assert len(lines) > 3
    assert lines[0].startswith("feature 1: centroid (")
    pad = 2000
    truth = finished.truth.truth.microbe_mask()
    inside = [truth[round(p.centroid[0]) - pad, round(p.centroid[1]) - pad] for p in names["props"]]
    assert sum(inside) >= 0.8 * len(inside)
