import json
import logging

import pytest

from exo2micro.errors import RawFileNotFoundError, RawPairingError
from exo2micro.raw import classify_raw_files, diagnose_raw_layout, discover_tasks, find_pair


@pytest.fixture
def raw(tmp_path):
    """A function that makes empty files by relative name and returns the raw folder."""
    root = tmp_path / "raw"
    root.mkdir()

    def make(*names):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return root

    return make


def names_of(entry):
    return [p.name for p in (*entry.post, *entry.pre)]


def test_pairs_are_found_whatever_the_case_of_the_dye(raw):
    folder = raw("CD070/CD070_PreStain_dapi.tif", "CD070/CD070_PostStain_DAPI.ome.tiff") / "CD070"
    files = classify_raw_files(folder)
    assert files.sample == "CD070"
    assert files.pairs == {
        "DAPI": (folder / "CD070_PostStain_DAPI.ome.tiff", folder / "CD070_PreStain_dapi.tif")
    }
    assert find_pair(folder, "Dapi").dye == "DAPI"


def test_hidden_files_are_ignored(raw):
    root = raw("S/S_pre_DAPI.tif", "S/S_post_DAPI.tif", "S/._S_pre_DAPI.tif", ".x/S_pre_GFP.tif")
    assert discover_tasks(root) == [("S", "DAPI")]
    assert diagnose_raw_layout(root).is_clean


def test_marker_first_names_are_found_by_dye_and_discovered(raw):
    root = raw("CD070/pre_CD070_SybrGld_microbe.tif", "CD070/post_CD070_SybrGld_microbe.tif")
    assert discover_tasks(root) == [("CD070", "SybrGld_microbe")]
    assert names_of(find_pair(root / "CD070", "sybrgld_microbe")) == [
        "post_CD070_SybrGld_microbe.tif",
        "pre_CD070_SybrGld_microbe.tif",
    ]


def test_marker_first_names_match_by_their_ending(raw):
    root = raw("rock/pre_slide7_DAPI.tif", "rock/post_slide7_DAPI.tif")
    assert discover_tasks(root) == [("rock", "slide7_DAPI")]
    assert find_pair(root / "rock", "DAPI").is_pair
    assert discover_tasks(root, dyes=["dapi"]) == [("rock", "dapi")]


def test_dates_that_differ_between_partners_are_no_part_of_the_dye(raw):
    root = raw("rock/pre_20240101_DAPI.tif", "rock/post_20240305_DAPI.tif")
    assert discover_tasks(root) == [("rock", "DAPI")]


def test_different_dyes_with_one_ending_are_not_paired(raw):
    root = raw("rock/pre_Cy3_cells.tif", "rock/post_Cy5_cells.tif")
    assert discover_tasks(root) == []
    assert [p.kind for p in diagnose_raw_layout(root).problems] == ["half pair", "half pair"]


def test_duplicates_are_named(raw):
    folder = raw("S/S_pre_DAPI.tif", "S/S2_prestain_dapi.tif", "S/S_post_DAPI.tif") / "S"
    with pytest.raises(RawPairingError) as caught:
        find_pair(folder, "DAPI")
    for text in ("S_pre_DAPI.tif", "S2_prestain_dapi.tif", "2 pre files", "keep one"):
        assert text in str(caught.value)


def test_same_image_in_two_formats_is_a_duplicate(raw):
    folder = raw("S/S_pre_DAPI.tif", "S/S_pre_DAPI.czi", "S/S_post_DAPI.tif") / "S"
    with pytest.raises(RawPairingError, match=r"S_pre_DAPI\.czi, S_pre_DAPI\.tif"):
        find_pair(folder, "DAPI")


def test_half_pair_is_named_with_the_next_action(raw):
    folder = raw("S/S_post_DAPI.tif") / "S"
    with pytest.raises(RawPairingError, match=r"no pre file beside S_post_DAPI\.tif; add"):
        find_pair(folder, "DAPI")


def test_unknown_dye_lists_the_known_ones(raw):
    folder = raw("S/S_post_DAPI.tif", "S/S_pre_DAPI.tif") / "S"
    with pytest.raises(RawFileNotFoundError, match="dyes found there: DAPI"):
        find_pair(folder, "GFP")


def test_ambiguous_ending_names_all_candidates(raw):
    folder = raw(
        "S/S_pre_A_cells.tif", "S/S_post_A_cells.tif", "S/S_pre_B_cells.tif", "S/S_post_B_cells.tif"
    )
    with pytest.raises(RawPairingError) as caught:
        find_pair(folder / "S", "cells")
    assert all(f"S_{r}_{d}_cells.tif" in str(caught.value) for r in ("pre", "post") for d in "AB")


def test_tasks_are_sorted_and_can_be_filtered(raw):
    root = raw(
        "B/B_pre_X.tif", "B/B_post_X.tif", "A/A_pre_Y.tif", "A/A_post_Y.tif",
        "A/A_pre_X.tif", "A/A_post_X.tif", "C/C_pre_X.tif",
    )  # fmt: skip
    assert discover_tasks(root) == [("A", "X"), ("A", "Y"), ("B", "X")]
    assert discover_tasks(root, samples=["A"], dyes=["y"]) == [("A", "Y")]


def test_incomplete_pairs_are_logged(raw, caplog):
    with caplog.at_level(logging.WARNING):
        assert discover_tasks(raw("C/C_pre_X.tif")) == []
    assert "C_pre_X.tif" in caplog.text


def test_missing_raw_folder_is_an_error(tmp_path):
    with pytest.raises(RawFileNotFoundError, match="raw_dir="):
        discover_tasks(tmp_path / "nothing")
    with pytest.raises(RawFileNotFoundError, match="raw/<sample>"):
        classify_raw_files(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        (["S/S_pre_DAPI.tif"], "half pair", "S_pre_DAPI.tif"),
        (["S/S_pre_D.tif", "S/Sb_pre_D.tif", "S/S_post_D.tif"], "duplicate", "Sb_pre_D.tif"),
        (["S/S_DAPI.tif"], "no marker", "S_DAPI.tif"),
        (["S/a_pre_post_DAPI.tif"], "no marker", "both"),
        (["S/S_pre_DAPI.png"], "wrong extension", "S_pre_DAPI.png"),
        (["S_pre_DAPI.tif", "S/S_pre_D.tif", "S/S_post_D.tif"], "outside sample", "S_pre_DAPI.tif"),
        (["S/notes.txt"], "empty sample", "holds no image files"),
        (["S/deep/S_pre_DAPI.tif"], "empty sample", "deep/ lie one folder too deep"),
        (["README.md"], "no samples", "no sample folders"),
    ],
)
def test_layout_problems_are_named(raw, files, kind, words):
    report = diagnose_raw_layout(raw(*files))
    assert [p.kind for p in report.problems] == [kind]
    assert words in report.problems[0].text
    assert words in str(report)
    assert f"[{kind}]" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["problems"][0]["kind"] == kind


def test_samples_that_differ_in_case_clash(raw):
    root = raw("CD070/a_pre_D.tif", "CD070/a_post_D.tif", "cd070/a_pre_D.tif", "cd070/a_post_D.tif")
    if len(list(root.iterdir())) < 2:
        pytest.skip("the file system does not tell case apart")
    assert [p.kind for p in diagnose_raw_layout(root).problems] == ["case clash"]


def test_report_of_a_missing_folder_raises_nothing(tmp_path):
    report = diagnose_raw_layout(tmp_path / "nothing")
    assert [p.kind for p in report.problems] == ["missing folder"]
    assert not report.is_clean


def test_clean_report_lists_the_tasks(raw):
    report = diagnose_raw_layout(raw("S/S_pre_DAPI.tif", "S/S_post_DAPI.tif"))
    assert report.is_clean
    assert report.tasks == (("S", "DAPI"),)
    assert report.lines()[0].endswith("1 complete pairs in 1 samples")
