"""From the differences of two dyes to microbes per mm^2, and whether the dyes differ.

    python two_dyes.py DAPI/fits/04_difference_difference.fits SybrGld/fits/04_...fits

First the segmentation step by step, as one would do it by hand; then the same by ``detect``, which
is calibrated: it tells how many of the objects may be false.
"""

import sys

import numpy as np
from scipy.stats import binomtest
from skimage import measure

from exo2micro import detect, open_difference
from exo2micro.detection import Detections, Difference


def segment_by_hand(difference: Difference, threshold: float = 4.0) -> int:
    """Return how many groups of pixels stand out of the noise of their own place."""
    ny, nx = difference.shape
    pixels = difference.read(slice(0, ny), slice(0, nx))
    if pixels.noise is None:
        message = "this file has no plane ERR; use detect, which estimates the noise"
        raise SystemExit(message)
    significance = np.divide(
        pixels.data, pixels.noise, out=np.zeros_like(pixels.data), where=pixels.has_data
    )
    labels = measure.label(significance > threshold)
    groups = measure.regionprops(labels, intensity_image=pixels.data)
    objects = [group for group in groups if group.area > 4]
    fluxes = [group.area * group.intensity_mean for group in objects]
    middle = f", median flux {np.median(fluxes):.0f} counts" if fluxes else ""
    print(f"  by hand: {len(objects)} groups of more than 4 pixels{middle}")
    return len(objects)


def count(name: str, difference: Difference) -> Detections:
    """Detect the objects, and print how many there are per area."""
    found = detect(difference)
    value, low, high, unit = found.density()
    print(
        f"  detect: {found.count} objects, of which {found.facts.expected_false:.1f} may be noise"
    )
    print(f"  {name}: {value:.4g} {unit} (95 % Poisson interval {low:.4g} to {high:.4g})")
    for text in found.warnings():
        print(f"  note: {text}")
    return found


def area(found: Detections) -> float:
    """Return the area that was searched, mm^2 if the pixel size is known, else pixels."""
    return found.facts.pixels if found.area_mm2 is None else found.area_mm2


def compare(one: Detections, two: Detections) -> tuple[float, float]:
    """Print the ratio of two densities; return it with the probability of chance.

    If both dyes marked equally many microbes, each object would fall to either area in proportion
    to its size: a binomial distribution, from which the interval of the ratio follows as well.
    """
    total, share = one.count + two.count, area(one) / area(two)
    if total == 0:
        print("neither shows any object: there is nothing to compare")
        return 1.0, 1.0
    test = binomtest(two.count, total, 1 / (1 + share))
    with np.errstate(divide="ignore"):
        ratio, low, high = (
            share * np.divide(part, 1 - part)
            for part in (two.count / total, *test.proportion_ci(0.95))
        )
    print(
        f"second over first: {ratio:.3g} (95 % interval {low:.3g} to {high:.3g}); "
        f"probability of so large a difference by chance: {test.pvalue:.2g}"
    )
    return float(ratio), float(test.pvalue)


def main(paths: list[str]) -> None:
    """Count the objects of two files and compare them."""
    if len(paths) != 2:
        raise SystemExit(__doc__)
    counts: list[Detections] = []
    for path in paths:
        difference = open_difference(path)
        name = str(difference.provenance.get("dye", path))
        print(f"{name}: {path}")
        segment_by_hand(difference)
        counts.append(count(name, difference))
    if (counts[0].area_mm2 is None) != (counts[1].area_mm2 is None):
        message = "only one file tells its pixel size: their areas cannot be compared"
        raise SystemExit(message)
    compare(*counts)


if __name__ == "__main__":
    main(sys.argv[1:])
