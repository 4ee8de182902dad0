"""Tiles that lie off: a moved piece is seen, a match by mistake is not believed."""

import numpy as np
import pytest

from exo2micro.alignment.error_model import off_from_others
from exo2micro.alignment.functions import align
from exo2micro.alignment.matching import TileMatches
from exo2micro.alignment.significance import Matcher
from exo2micro.alignment.strays import split_strays
from exo2micro.alignment.subpixel import MatchPlan
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster
from exo2micro.verdict import Level


def matches(centres, shifts, precision=0.05):
    count = len(centres)
    return TileMatches(
        centres,
        shifts,
        np.tile(precision**2 * np.eye(2), (count, 1, 1)),
        *(np.full(count, value) for value in (0.9, 1.0, 20.0)),
        np.ones(count, np.bool_),
    )


@pytest.fixture(scope="module")
def aligned(images, usual):
    post, pre, truth = images(usual)
    matcher = Matcher(
        ArrayRaster(post),
        ArrayRaster(pre),
        Transform.from_matrix(truth.matrix),
        MatchPlan(72, search=12, steps=4),
        1,
    )
    centres = np.stack(np.meshgrid([300.0, 450, 600, 750], [300.0, 450, 600]), -1).reshape(-1, 2)
    return matcher, centres


def test_a_tile_that_matched_elsewhere_by_mistake_is_dropped(aligned):
    matcher, centres = aligned
    shifts = np.zeros_like(centres)
    shifts[5] = (4.0, -3.0)
    found = matches(centres, shifts)
    kept, misfits = split_strays(matcher, found, found.precisions**2, 150.0)
    assert misfits == 0
    assert len(kept.centres) == 11
    assert not off_from_others(kept.shifts, kept.precisions**2).any()


def test_neighbours_with_one_shift_are_believed(aligned):
    matcher, centres = aligned
    shifts = np.zeros_like(centres)
    shifts[[5, 6]] = (4.0, -3.0)
    found = matches(centres, shifts)
    kept, misfits = split_strays(matcher, found, found.precisions**2, 150.0)
    assert misfits == 2
    assert len(kept.centres) == 12


def test_a_piece_that_moved_is_seen_and_named(images, usual):
    post, pre, _ = images(usual)
    moved = post.copy()
    moved[300:600, 350:650] = post[303:603, 345:645]
    result = align(moved, pre)
    assert result.verdict.level is Level.CHECK
    assert "a piece of the sample may have moved" in result.verdict.reason
