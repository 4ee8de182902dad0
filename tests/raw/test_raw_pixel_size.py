import numpy as np
import pytest
import tifffile

from exo2micro.raw import load_image_pair, open_raw

IMAGE = np.arange(100 * 120, dtype=np.uint16).reshape(100, 120)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"resolution": (25400 / 0.5, 25400 / 0.6), "resolutionunit": "INCH"}, (0.5, 0.6)),
        ({"resolution": (1e4 / 0.25, 1e4 / 0.25), "resolutionunit": "CENTIMETER"}, (0.25, 0.25)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (1, 1), "resolutionunit": "NONE"}, None),
        ({"resolution": (2, 2), "resolutionunit": "NONE"}, None),
        ({}, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, (0.5, 0.25)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "micron"}}, (0.5, 0.5)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}}, None),
    ],
)
def test_resolution_tags(tmp_path, options, size):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, **options)
    got = open_raw(tmp_path / "a.tif").pixel_size_um
    assert got == (None if size is None else pytest.approx(size, rel=1e-5))


@pytest.mark.parametrize(
    ("unit", "value", "size"),
    [("µm", 0.65, 0.65), ("nm", 325.0, 0.325), ("mm", 0.0005, 0.5), ("pixel", 1.0, None)],
)
def test_ome_physical_size(tmp_path, unit, value, size):
    metadata = {
        "axes": "YX", "PhysicalSizeX": value, "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": value, "PhysicalSizeYUnit": unit,
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, metadata=metadata)
    got = open_raw(tmp_path / "a.ome.tif").pixel_size_um
    assert got == (None if size is None else pytest.approx((size, size)))


@pytest.mark.parametrize(
    ("post", "pre", "size", "warning"),
    [
        (0.5, 0.5, 0.5, None),
        (0.5, 0.502, 0.5, None),
        (0.5, 0.6, 0.5, "pixel sizes differ: post 0.5 x 0.5 um, pre 0.6 x 0.6 um"),
        (0.5, None, 0.5, "only the post file tells its pixel size"),
        (None, 0.5, None, "only the pre file tells its pixel size"),
        (None, None, None, None),
    ],
)
def test_pixel_size_of_the_pair(tmp_path, make_scene, post, pre, size, warning):
    (tmp_path / "S").mkdir()
    for role, um in (("post", post), ("pre", pre)):
        options = {} if um is None else {"resolution": (1e4 / um,) * 2, "resolutionunit": 3}
        tifffile.imwrite(
            tmp_path / "S" / f"S_{role}_D.tif", make_scene(100, 120).astype(np.uint8), **options
        )
    pair = load_image_pair("S", "D", tmp_path)
    assert pair.pixel_size_um == (None if size is None else pytest.approx((size, size)))
    assert len(pair.warnings) == (warning is not None)
    assert warning is None or warning in pair.warnings[0]
