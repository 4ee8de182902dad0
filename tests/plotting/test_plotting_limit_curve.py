"""The figure of a detection limit."""

import numpy as np
import pytest

from exo2micro.detection.completeness import Completeness
from exo2micro.plotting.limit_curve import plot_limit_curve

FLUX = np.geomspace(20, 300, 6)


def curve(recovered):
    return Completeness(FLUX, np.full(6, 40), np.array(recovered))


@pytest.mark.parametrize("recovered", [[0, 3, 18, 33, 40, 40], [0, 0, 0, 0, 0, 1]])
def test_points_lines_and_limits_are_drawn(recovered, tmp_path):
    completeness = curve(recovered)
    limits = completeness.limits((0.5, 0.9))
    path = tmp_path / "limit.png"
    figure = plot_limit_curve(completeness, limits, sample="CD070", dye="D", save_path=path)
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    known = [limit for limit in limits if limit.flux is not None]
    assert sum("% limit" in label for label in labels) == len(known)
    assert ("fitted curve" in labels) == bool(known)
    assert axes.get_xscale() == "log"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_equal_limits_are_equal_bytes(tmp_path):
    completeness = curve([0, 3, 18, 33, 40, 40])
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        plot_limit_curve(completeness, completeness.limits((0.5, 0.9)), save_path=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
