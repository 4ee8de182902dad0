"""Pieces that moved between the images: seen where they hold a tile, said in words, marked."""

from types import SimpleNamespace

import numpy as np
import pytest

from exo2micro.alignment.functions import align
from exo2micro.alignment.interior import InteriorSettings, refine_interior
from exo2micro.alignment.moved import MOVED, Followers
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster
from exo2micro.stages.frames import low_confidence
from exo2micro.verdict import Level

PIECE = slice(330, 480), slice(380, 530)
SHIFT = (-24, 9)


@pytest.fixture(scope="module")
def moved(images, usual):
    """Return post with a piece that moved by more than the certificate looks, pre and truth."""
    post, pre, truth = images(usual)
    rows, cols = (slice(p.start - s, p.stop - s) for p, s in zip(PIECE, SHIFT, strict=True))
    altered = post.copy()
    altered[PIECE] = post[rows, cols]
    return altered, pre, truth


@pytest.fixture(scope="module")
def refined(moved):
    post, pre, truth = moved
    start = Transform.from_matrix(truth.matrix)
    return refine_interior(ArrayRaster(post), ArrayRaster(pre), start, InteriorSettings())


def test_a_small_piece_that_moved_far_is_said_in_words(refined):
    assert refined.verdict.level is Level.CHECK
    assert "do not follow the alignment" in refined.verdict.reason
    assert "25.6 px off" in refined.verdict.reason


def test_its_tiles_lie_in_the_piece_and_know_how_far_it_moved(refined):
    found = refined.metrics[MOVED]
    x, y = np.array(found["positions"]).T
    assert ((y > PIECE[0].start) & (y < PIECE[0].stop)).all()
    assert ((x > PIECE[1].start) & (x < PIECE[1].stop)).all()
    assert np.array(found["shifts"]) == pytest.approx(np.tile((-9, 24), (len(x), 1)), abs=0.2)
    assert 0 < found["share"] < 0.1


def test_the_rest_stays_as_well_aligned_as_without_it(refined, moved, true_error):
    assert np.quantile(true_error(refined.transform, moved[2]), 0.95) < 0.1


def test_the_piece_is_of_low_confidence_on_the_canvas(refined):
    record = SimpleNamespace(
        metrics={**refined.metrics, "certificate": refined.certificate.to_dict()},
        facts={"offset": [100, 100], "canvas_shape": [1100, 1200]},
        transform=refined.transform.to_dict(),
    )
    mask = low_confidence(record)
    (x, y), *_ = refined.metrics[MOVED]["positions"]
    row, col = int(y) + 100, int(x) + 100
    assert mask(slice(row, row + 1), slice(col, col + 1)).all()
    assert not mask(slice(650, 651), slice(400, 401)).any()


def test_a_piece_that_was_lost_has_not_moved(images, usual):
    post, pre, _ = images(usual)
    lost = post.copy()
    lost[PIECE] = np.median(post[:40])
    assert "follow the alignment" not in align(lost, pre).verdict.reason


def test_others_are_the_tiles_that_do_not_follow():
    tried = np.array([[10.0, 10], [20, 10], [30, 10]])
    assert Followers(tried, tried[[0, 2]]).others.tolist() == [[20.0, 10.0]]
