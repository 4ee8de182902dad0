"""Opening differences: own files, files of others, wrong and damaged ones."""

import numpy as np
import pytest
from astropy.io import fits

from exo2micro.detection import detect, open_difference
from exo2micro.errors import CheckpointError, DetectionError, FailedVerdictError
from exo2micro.subtraction.quality import DQ

WHOLE = (slice(None), slice(None))


def difference_of(project):
    return project.folder / "fits" / "04_difference_difference.fits"


def write_foreign(path, data, **cards):
    header = fits.Header()
    header.update(cards)
    fits.writeto(path, data, header)
    return path


def test_own_file_brings_noise_quality_and_place(finished):
    path = difference_of(finished)
    difference = open_difference(path)
    with fits.open(path) as hdus:
        data, error, quality = hdus[0].data, hdus["ERR"].data, hdus["DQ"].data
        header = hdus[0].header
    pixels = difference.read(slice(2100, 2300), slice(2050, 2400))
    has_data = (quality[2100:2300, 2050:2400] & int(DQ.NO_OVERLAP | DQ.BORDER)) == 0
    np.testing.assert_array_equal(pixels.has_data, has_data)
    np.testing.assert_array_equal(pixels.data, np.where(has_data, data[2100:2300, 2050:2400], 0))
    np.testing.assert_array_equal(pixels.noise, error[2100:2300, 2050:2400])
    assert pixels.data.dtype == np.dtype(np.float32)
    assert pixels.data.dtype.isnative
    assert difference.offset == (2000, 2000)
    assert difference.gain == header["GAINPOST"]
    assert difference.verdict == header["VERDICT"]
    assert difference.provenance["scale"] == header["SCALE"]


def test_objects_of_an_own_file_are_microbes(finished):
    found = detect(open_difference(difference_of(finished)))
    truth = finished.truth.truth
    x, y = found.columns["x"] - 2000, found.columns["y"] - 2000
    near = truth.microbe_mask()[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert np.mean(near) > 0.95
    assert len(found) > 20


def test_a_file_of_another_program_without_planes(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 2, (300, 300)).astype(">f4")
    data[100:104, 100:104] += 30
    data[:20] = np.nan
    difference = open_difference(write_foreign(tmp_path / "other.fits", data))
    assert difference.noise is None
    found = detect(difference)
    assert len(found) == 1
    assert found.columns["x"][0] == pytest.approx(101.5, abs=0.3)
    assert found.facts.pixels == 280 * 300
    assert "estimated" in found.facts.noise_source


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "f8"])
def test_pixel_types_and_extensions_of_others(tmp_path, dtype):
    data = np.random.default_rng(0).normal(0, 9, (200, 200))
    data[50:54, 60:64] += 150
    path = tmp_path / "extension.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data.astype(dtype))]).writeto(path)
    assert len(detect(open_difference(path))) == 1


def test_scaled_integers_are_read_as_their_header_says(tmp_path):
    data = np.random.default_rng(0).normal(0, 9, (200, 200)).astype(np.float32)
    hdu = fits.ImageHDU(data.copy())
    hdu.scale("int16", bzero=100, bscale=0.01)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "scaled.fits")
    pixels = open_difference(tmp_path / "scaled.fits").read(slice(0, 200), slice(0, 200))
    np.testing.assert_allclose(pixels.data, data, atol=0.006)


def test_pixel_size_is_taken_from_coordinates_of_length_only(tmp_path):
    data = np.ones((64, 64), np.float32)
    um = {"CUNIT1": "um", "CUNIT2": "um", "CDELT1": 0.325, "CDELT2": 0.325}
    known = open_difference(write_foreign(tmp_path / "a.fits", data, **um))
    assert known.pixel_size_um == (0.325, 0.325)
    mm = {"CUNIT1": "mm", "CUNIT2": "micron", "CDELT1": -0.0005, "CDELT2": 0.5}
    other = open_difference(write_foreign(tmp_path / "c.fits", data, **mm))
    assert other.pixel_size_um == pytest.approx((0.5, 0.5))
    degrees = um | {"CUNIT1": "deg", "CUNIT2": "deg"}
    unknown = open_difference(write_foreign(tmp_path / "b.fits", data, **degrees))
    assert unknown.pixel_size_um is None


def test_a_failed_difference_is_refused_unless_accepted(tmp_path):
    data = np.random.default_rng(0).normal(0, 2, (100, 100)).astype(np.float32)
    cards = {"VERDICT": "FAIL", "REASON": "not registered", "STAGE": 4, "CREATOR": "exo2micro 1"}
    path = write_foreign(tmp_path / "failed.fits", data, **cards)
    with pytest.raises(FailedVerdictError, match="not registered"):
        open_difference(path)
    difference = open_difference(path, accept_failed=True)
    assert any("FAIL" in text for text in detect(difference).warnings())


def test_an_image_of_another_stage_is_no_difference(tmp_path):
    cards = {"STAGE": 1, "CREATOR": "exo2micro 1"}
    path = write_foreign(tmp_path / "post.fits", np.ones((64, 64), np.float32), **cards)
    with pytest.raises(DetectionError, match="stage 1"):
        open_difference(path)


@pytest.mark.parametrize("content", [b"", b"no FITS at all" * 100])
def test_a_file_that_is_no_fits(tmp_path, content):
    path = tmp_path / "wrong.fits"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="wrong.fits"):
        open_difference(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no file"):
        open_difference(tmp_path / "nowhere.fits")


def test_a_cube_is_refused(tmp_path):
    path = write_foreign(tmp_path / "cube.fits", np.zeros((3, 20, 20), np.float32))
    with pytest.raises(CheckpointError, match=r"2-D.*\(3, 20, 20\)"):
        open_difference(path)


def test_a_cut_off_file(tmp_path):
    path = write_foreign(tmp_path / "cut.fits", np.ones((400, 400), np.float32))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="cut"):
        open_difference(path)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f8"])
def test_integers_in_the_primary_image_keep_their_zeros(tmp_path, dtype):
    data = np.rint(np.random.default_rng(0).normal(40, 5, (200, 200)))
    data[50:54, 60:64] += 100
    data[::7, ::5] = 0
    difference = open_difference(write_foreign(tmp_path / "primary.fits", data.astype(dtype)))
    pixels = difference.read(slice(0, 200), slice(0, 200))
    assert np.mean(pixels.has_data) == pytest.approx(1 if dtype != "f8" else 0.971, abs=0.001)
    np.testing.assert_array_equal(pixels.data, data)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("RICE_1", "i2"), ("GZIP_2", "f4"), ("HCOMPRESS_1", "i4"), ("GZIP_1", "i2")]
)
def test_compressed_images_of_others(tmp_path, kind, dtype):
    data = np.random.default_rng(0).normal(0, 30, (200, 200)).astype(dtype)
    data[50:54, 60:64] += 500
    tiles = {"tile_shape": (200, 200)} if kind == "HCOMPRESS_1" else {}
    plane = fits.CompImageHDU(data, compression_type=kind, quantize_level=0, **tiles)
    fits.HDUList([fits.PrimaryHDU(), plane]).writeto(tmp_path / "packed.fits")
    difference = open_difference(tmp_path / "packed.fits")
    np.testing.assert_array_equal(difference.read(slice(0, 200), slice(0, 200)).data, data)
    assert len(detect(difference)) == 1


def test_primary_images_scaled_by_their_header(tmp_path):
    data = np.random.default_rng(0).normal(0, 9, (200, 200)).astype(np.float32)
    hdu = fits.PrimaryHDU(data.copy())
    hdu.scale("int16", bzero=100, bscale=0.01)
    hdu.writeto(tmp_path / "scaled.fits")
    pixels = open_difference(tmp_path / "scaled.fits").read(slice(0, 200), slice(0, 200))
    np.testing.assert_allclose(pixels.data, data, atol=0.006)


@pytest.mark.parametrize("name", ["ERR", "DQ"])
def test_a_plane_of_another_shape_is_not_left_out_silently(tmp_path, name):
    data = np.ones((64, 64), np.float32)
    path = tmp_path / "odd.fits"
    fits.HDUList([fits.PrimaryHDU(data), fits.ImageHDU(data[:9], name=name)]).writeto(path)
    with pytest.raises(DetectionError, match=rf"{name}.*\(9, 64\)"):
        open_difference(path)


@pytest.mark.parametrize("value", [0, np.nan, -1])
def test_noise_that_is_nowhere_known(tmp_path, value):
    data = np.random.default_rng(0).normal(0, 2, (200, 200)).astype(np.float32)
    error = fits.ImageHDU(np.full_like(data, value), name="ERR")
    fits.HDUList([fits.PrimaryHDU(data), error]).writeto(tmp_path / "noise.fits")
    with pytest.raises(DetectionError, match="known noise"):
        detect(open_difference(tmp_path / "noise.fits"))


@pytest.mark.parametrize(
    "cards",
    [
        {"GAINPOST": "much"},
        {"WCSNAME": "POST-STAIN", "CRPIX1": "left"},
        {"CUNIT1": "um", "CUNIT2": "um", "CDELT1": "small"},
    ],
)
def test_header_cards_that_are_no_numbers(tmp_path, cards):
    path = write_foreign(tmp_path / "cards.fits", np.ones((64, 64), np.float32), **cards)
    with pytest.raises(DetectionError, match=f"{list(cards)[-1]} must be a number"):
        open_difference(path)


def test_a_header_that_names_coordinates_without_an_origin(tmp_path):
    path = write_foreign(tmp_path / "wcs.fits", np.ones((64, 64), np.float32), WCSNAME="POST-STAIN")
    assert open_difference(path).offset == (0, 0)


@pytest.mark.parametrize("primary", [True, False])
def test_integers_without_data_are_told_by_blank(tmp_path, primary):
    data = np.rint(np.random.default_rng(0).normal(0, 3, (200, 200))).astype("i2")
    data[50:54, 60:64] += 60
    data[:40] = -32768
    hdu = fits.PrimaryHDU(data) if primary else fits.ImageHDU(data)
    hdu.header["BLANK"] = -32768
    parts = [hdu] if primary else [fits.PrimaryHDU(), hdu]
    fits.HDUList(parts).writeto(tmp_path / "blank.fits")
    difference = open_difference(tmp_path / "blank.fits")
    pixels = difference.read(slice(0, 200), slice(0, 200))
    np.testing.assert_array_equal(pixels.has_data, data > -32768)
    assert len(detect(difference)) == 1


def test_quality_bits_of_others_are_no_data(tmp_path):
    """Bit 16 and bits beyond the first eight mean something else in other programs."""
    data = np.random.default_rng(0).normal(0, 3, (200, 200)).astype(np.float32)
    quality = np.zeros(data.shape, np.int32)
    quality[:20], quality[20:40] = 16, 256
    planes = [fits.PrimaryHDU(data), fits.ImageHDU(quality, name="DQ")]
    fits.HDUList(planes).writeto(tmp_path / "other.fits")
    difference = open_difference(tmp_path / "other.fits")
    pixels = difference.read(slice(0, 200), slice(0, 200))
    np.testing.assert_array_equal(pixels.has_data, quality == 0)
    assert any("made by another program" in text for text in detect(difference).warnings())


def test_fluxes_bear_the_unit_of_the_file(finished, tmp_path):
    data = np.random.default_rng(0).normal(0, 3, (200, 200)).astype(np.float32)
    data[50:54, 60:64] += 60
    for unit, cards in (("electron", {"BUNIT": "electron"}), ("", {})):
        path = write_foreign(tmp_path / f"unit{unit}.fits", data, **cards)
        table = detect(open_difference(path)).table()
        assert str(table["flux"].unit) == str(table["flux_err"].unit) == unit
    assert detect(open_difference(difference_of(finished))).table()["flux"].unit == "ct"


@pytest.mark.parametrize(("value", "match"), [(0.0, "is empty"), (1e60, "values beyond")])
def test_errors_name_the_file(tmp_path, value, match):
    data = np.random.default_rng(0).normal(0, 1, (100, 100)) * value
    path = write_foreign(tmp_path / "strange.fits", data)
    with pytest.raises(DetectionError, match=f"strange.fits.*{match}"):
        detect(open_difference(path))
