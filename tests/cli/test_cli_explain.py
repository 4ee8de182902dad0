"""``explain`` on every kind of file."""

import shutil

import pytest

from exo2micro.plotting import DIAGNOSTICS

SAMPLE, DYE = "CD070", "SybrGld_microbe"
DIFFERENCE = "04_difference_difference"


def test_difference_is_explained_by_its_record(call, finished):
    path = finished.folder / "fits" / f"{DIFFERENCE}.fits"
    result = call("explain", path, "--json")
    document = result.document
    assert result.code == 0
    assert (document["kind"], document["source"]) == ("checkpoint", "record")
    assert document["what"].startswith("the difference: post - scale * aligned pre")
    assert document["sections"]["Result"]["sample"] == SAMPLE
    assert document["sections"]["Result"]["dye"] == DYE
    assert document["sections"]["Parameters"] == {"all": "at their defaults"}
    assert f"{SAMPLE}_PostStain_{DYE}.tif" in document["sections"]["Made from"]["post"]
    assert not any("no longer" in remark for remark in document["remarks"])


def test_a_changed_file_is_noticed(call, done):
    path = done.folder / "tiff" / "03_interior_aligned_pre.tiff"
    path.write_bytes(path.read_bytes()[:-100])
    assert "no longer as it was written" in call("explain", path).out


def test_without_record_the_headers_speak(call, finished, tmp_path):
    fits = shutil.copy(finished.folder / "fits" / f"{DIFFERENCE}.fits", tmp_path / "renamed.fits")
    document = call("explain", fits, "--json").document
    assert document["source"] == "FITS header"
    assert document["what"].startswith("the difference")
    assert document["sections"]["Header"]["SAMPLE"].startswith(SAMPLE)
    tiff = shutil.copy(finished.folder / "tiff" / "01_padded_pre.tiff", tmp_path / "renamed.tiff")
    document = call("explain", tiff, "--json").document
    assert document["source"] == "TIFF description"
    assert document["sections"]["Description"]["checkpoint"] == "01_padded_pre"


def test_a_name_alone_is_decoded(call):
    document = call("explain", "03_interior_aligned_pre_bw20_iblur4.tiff", "--json").document
    assert document["source"] == "file name"
    assert document["sections"]["Parameters"] == {"boundary_width": 20, "interior_blur_base": 4.0}
    assert "does not exist" in document["remarks"][0]


@pytest.mark.parametrize("name", sorted(DIAGNOSTICS))
def test_every_diagnostic_has_its_caption(call, finished, name):
    path = finished.folder / "pipeline_output" / f"{name}.png"
    document = call("explain", path, "--json").document
    assert document["kind"] == "diagnostic"
    assert document["sections"]["Caption"]["shows"] == DIAGNOSTICS[name].shows
    assert document["sections"]["Result"] == {"sample": SAMPLE, "dye": DYE}


def test_a_diagnostic_tells_its_parameters(call):
    document = call("explain", "excess_heatmap_bw20.png", "--json").document
    assert document["sections"]["Parameters"] == {"boundary_width": 20}


def test_records_are_explained(call, finished):
    record = call("explain", finished.folder / "records" / f"{DIFFERENCE}.json", "--json").document
    assert record["sections"]["Files"] == {
        "tiff": f"{DIFFERENCE}.tiff",
        "fits": f"{DIFFERENCE}.fits",
    }
    pictures = call("explain", finished.folder / "records" / "diagnostics.json", "--json").document
    assert set(pictures["sections"]["Pictures"]) == set(DIAGNOSTICS)


def test_a_raw_file_is_explained_by_its_reader_and_its_name(call, finished):
    path = finished.raw / SAMPLE / f"{SAMPLE}_PreStain_{DYE}.tif"
    document = call("explain", path, "--json").document
    ny, nx = finished.spec.shape
    assert document["what"] == "a pre-stain image"
    assert document["sections"]["Image"]["size"] == f"{nx} x {ny} px"
    assert document["sections"]["Name"] == {"sample": SAMPLE, "dye": DYE}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.tif", "does not exist, and its name is not one"),
        ("nothing.json", "does not exist"),
        ("notes.json", "is no record"),
        ("other.png", "is not a picture of this installation"),
        ("folder", "is a folder"),
        ("notes.fits", "cannot be read as FITS"),
        ("notes.tif", "notes.tif"),
    ],
)
def test_other_files_are_refused_in_words(call, tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    for other in ("notes.fits", "notes.tif", "notes.json"):
        (tmp_path / other).write_text("not an image")
    result = call("explain", tmp_path / name)
    assert result.code == 1
    assert words in result.err
    assert "Traceback" not in result.err
