import numpy as np

from exo2micro.alignment.icp import fit_outlines
from exo2micro.alignment.outline import outline_points, sample_mask, sample_points
from exo2micro.alignment.overview import Overviews
from exo2micro.alignment.transform import Transform
from exo2micro.raster import ArrayRaster

Y, X = np.mgrid[:300, :320].astype(float)


def ellipse(transform=None, centre=(160, 150), noise=1.0):
    points = np.column_stack([X.ravel(), Y.ravel()])
    if transform is not None:
        points = transform(points)
    u, v = (points - centre).T
    angle = np.arctan2(v, u)
    radius = 90 + 25 * np.cos(2 * angle) + 8 * np.cos(3 * angle + 1)
    inside = np.hypot(u, v) < radius
    generator = np.random.default_rng(1)
    flat = 5 + 60 * inside + generator.normal(0, noise, inside.shape)
    return flat.reshape(Y.shape).astype(np.float32)


def test_mask_is_the_sample():
    image = ellipse()
    truth = ellipse(noise=0) > 30
    assert (sample_mask(image) ^ truth).mean() < 0.02


def test_corrections_are_measured_on_the_sample_alone():
    image = ellipse(centre=(120, 130))
    points = sample_points(Overviews.of(ArrayRaster(image), 1, threads=1))
    x, y = points.round().astype(int).T
    assert (ellipse(centre=(120, 130), noise=0)[y, x] > 30).mean() > 0.9
    truth = np.argwhere(ellipse(centre=(120, 130), noise=0) > 30)[:, ::-1]
    np.testing.assert_allclose(points.mean(axis=0), truth.mean(axis=0), atol=1)


def test_a_sample_that_fills_the_frame_is_all_sample():
    image = 50 + 10 * np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    assert sample_mask(image).all()
    assert sample_mask(np.zeros((50, 60), np.float32)).all()


def test_the_image_border_is_no_outline():
    image = ellipse(centre=(40, 150))
    points, normals = outline_points(sample_mask(image), 1.0)
    assert points[:, 0].min() > 2
    inwards = np.array([40, 150]) - points
    assert ((inwards * normals).sum(axis=1) > 0).mean() > 0.95


def test_outline_fit_recovers_a_similarity():
    truth = Transform.similarity(
        rotation_deg=3, magnification=1.02, shift=(4, -3), centre=(160, 150)
    )
    post, pre = ellipse(truth), ellipse()
    options = {"reach_px": 15, "smoothing_px": 1, "iterations": 50, "stop": 1e-6}
    hidden = np.zeros(post.shape, np.bool_)
    fitted = fit_outlines(post, pre, Transform.identity(), hidden=hidden, **options)
    grid = np.array([[100.0, 80.0], [220, 90], [150, 220]])
    assert np.hypot(*(fitted.transform(grid) - truth(grid)).T).max() < 0.6


def test_no_outline_no_fit():
    image = 50 + 10 * np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    options = {"reach_px": 15, "smoothing_px": 1, "iterations": 5, "stop": 1e-6}
    hidden = np.zeros(image.shape, np.bool_)
    assert fit_outlines(image, image, Transform.identity(), hidden=hidden, **options) is None
