import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.errors import RawPairingError
from exo2micro.raw.naming import name_ends_with_dye, parse_raw_name, raw_stem


@pytest.mark.parametrize(
    ("filename", "prefix", "role", "dye"),
    [
        ("Prep01_PreStain_DAPI.tif", "Prep01", "pre", "DAPI"),
        ("Cypress_pre_DAPI.tif", "Cypress", "pre", "DAPI"),
        ("Cypress_post_DAPI.tif", "Cypress", "post", "DAPI"),
        ("Outpost7_post_DAPI.tif", "Outpost7", "post", "DAPI"),
        ("Outpost7_pre_DAPI.tif", "Outpost7", "pre", "DAPI"),
        ("OutPost7_pre_DAPI.tif", "OutPost7", "pre", "DAPI"),
        ("Compressed_post_GFP.tif", "Compressed", "post", "GFP"),
        ("PreCambrian_post_DAPI.tif", "PreCambrian", "post", "DAPI"),
        ("CD070_PreStain_SybrGld_microbe.tif", "CD070", "pre", "SybrGld_microbe"),
        ("CD070_PostStain_SybrGld_microbe.ome.tiff", "CD070", "post", "SybrGld_microbe"),
        ("CD070_PRE_DAPI.TIF", "CD070", "pre", "DAPI"),
        ("CD070_POSTSTAIN_DAPI.TIF", "CD070", "post", "DAPI"),
        ("CD070-pre-stain-DAPI.tif", "CD070", "pre", "DAPI"),
        ("CD070_pre_stained_DAPI.tif", "CD070", "pre", "DAPI"),
        ("CD070 prestained DAPI.tif", "CD070", "pre", "DAPI"),
        ("CD070.PostStain.DAPI.tif", "CD070", "post", "DAPI"),
        ("RockPreDAPI.tif", "Rock", "pre", "DAPI"),
        ("RockPostStainSybr_x.tif", "Rock", "post", "Sybr_x"),
        ("Presto_PostGFP.tif", "Presto", "post", "GFP"),
        ("rock_post2_DAPI.tif", "rock", "post", "DAPI"),
        ("sample1prestain_DAPI.tif", "sample1", "pre", "DAPI"),
        ("pre_CD070_DAPI.tif", "", "pre", "CD070_DAPI"),
    ],
)
def test_marker_is_a_word_before_it_is_a_substring(filename, prefix, role, dye):
    name = parse_raw_name(filename)
    assert (name.sample_prefix, name.role, name.dye) == (prefix, role, dye)


@pytest.mark.parametrize(
    ("filename", "sample", "role", "dye"),
    [
        ("pre_CD070_DAPI.tif", "CD070", "pre", "DAPI"),
        ("pre_CD070_DAPI.tif", "cd070", "pre", "DAPI"),
        ("CD070_DAPI_post.tif", "CD070", "post", "DAPI"),
        ("Post_Mill_3_pre_DAPI.tif", "Post_Mill_3", "pre", "DAPI"),
        ("pre_Post_Mill_3_DAPI.tif", "Post_Mill_3", "pre", "DAPI"),
        ("pre_DAPI.tif", "pre", "pre", "DAPI"),
        ("CD0701_pre_DAPI.tif", "CD070", "pre", "DAPI"),
    ],
)
def test_known_sample_is_no_part_of_marker_or_dye(filename, sample, role, dye):
    name = parse_raw_name(filename, sample)
    assert (name.role, name.dye) == (role, dye)


def test_both_markers_are_not_guessed_at():
    with pytest.raises(RawPairingError, match=r"pre_post_DAPI.tif holds both"):
        parse_raw_name("pre_post_DAPI.tif")


@pytest.mark.parametrize("sample", ["Cypress", "Outpost", "Compressed"])
def test_marker_inside_the_sample_name_is_none(sample):
    with pytest.raises(RawPairingError, match="neither 'pre' nor 'post'"):
        parse_raw_name(f"{sample}_DAPI.tif", sample)


def test_missing_marker_says_how_to_name_the_file():
    with pytest.raises(RawPairingError, match=r"CD070_PreStain_DAPI\.tif"):
        parse_raw_name("CD070_DAPI.tif")


words = st.text("ABCDEFGHIJKLMNabcdefghijklmn0123456789", min_size=1, max_size=8)


@given(
    sample=words,
    dye=st.lists(words, min_size=1, max_size=3).map("_".join),
    marker=st.sampled_from(["pre", "Pre", "PRE", "PreStain", "prestained", "pre-stain"]),
    is_post=st.booleans(),
    suffix=st.sampled_from([".tif", ".tiff", ".TIF", ".ome.tif", ".ome.tiff"]),
)
def test_names_are_read_back(sample, dye, marker, is_post, suffix):
    if is_post:
        marker = marker.replace("PRE", "POST").replace("Pre", "Post").replace("pre", "post")
    name = parse_raw_name(f"{sample}_{marker}_{dye}{suffix}")
    assert (name.sample_prefix, name.role) == (sample, "post" if is_post else "pre")
    assert name.dye == dye


def test_ends_with_dye_as_whole_words_without_case():
    assert name_ends_with_dye("pre_CD070_dapi.ome.tif", "DAPI")
    assert name_ends_with_dye("CD070_pre_SybrGld_microbe.tif", "sybrgld_MICROBE")
    assert not name_ends_with_dye("CD070_pre_xDAPI.tif", "DAPI")
    assert not name_ends_with_dye("CD070_pre_DAPI_2.tif", "DAPI")


def test_ome_counts_as_extension():
    assert raw_stem("a.b.OME.TIFF") == "a.b"
    assert raw_stem("a.b.tif") == "a.b"
