"""What the methods text and the section on custom code say of runs that are not the plain one."""

import html
import re
import shlex
from dataclasses import replace

import pytest
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro import SampleDye
from exo2micro.census.pairs import finished_runner
from exo2micro.cli import main
from exo2micro.custom import CustomFunctionManager
from exo2micro.execution.results import result_of, shown_records
from exo2micro.report.facts import key_facts
from exo2micro.report.methods import methods_text
from exo2micro.synthetic import write_pair

SMOOTH = '''
@numpy(halo=lambda sigma: 4 * sigma + 1)
def smooth(image, sigma: float = 1.0):
    """Smooth the image."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float32), (0, sigma, sigma))
'''

PLOT = """
@diagnostic(caption="Two means.")
def two_means(post_im, pre_im, sample, dye, save_path=None):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().bar([0, 1], [post_im.mean(), pre_im.mean()])
    return figure
"""


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """The page of a pair of unequal sharpness, run with an extra stage and a plot of the store."""
    root = tmp_path_factory.mktemp("unusual")
    write_pair(replace(SPEC, post_psf_px=2.4), root / "raw", SAMPLE, DYE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXO2MICRO_CUSTOM_DIR", str(root / "store"))
        manager = CustomFunctionManager()
        manager.register_from_code(SMOOTH)
        manager.register_from_code(PLOT)
        project = Project(root, SPEC)
        params = {"pad": 40, "scale_percentile": 40.0, "manual_scale": 1.7}
        run = SampleDye(SAMPLE, DYE, **project.dirs(), params=params)
        run.add_stage("smooth", after=4, sigma=2.0)
        result = run.run()
        hashes = {name: manager.get(name).sha256 for name in ("smooth", "two_means")}
        yield result, result["report"].read_text("utf-8"), hashes


def methods_of(page):
    return html.unescape(re.search(r'id="methods-text">(.*?)</blockquote>', page, re.DOTALL)[1])


def test_a_matched_sharpness_an_extra_stage_and_further_scales_are_told(unusual):
    result, page, _ = unusual
    text = methods_of(page)
    width = re.search(
        r"the pre-stain image was convolved with a Gaussian of sigma ([\d.]+) \+- [\d.]+ px", text
    )
    # The truth is sqrt(2.4^2 - 1.2^2) = 2.08 px.
    assert float(width[1]) == pytest.approx(2.08, abs=0.1)
    extra = r"After stage 4, the custom function smooth \(SHA-256 \w{8}; sigma = 2\) was applied "
    assert re.search(extra + "to the difference", text)
    assert "1.7 by hand" in text
    assert "by the percentile 40 of the local ratios" in text
    assert "manual_scale = 1.7" in text
    assert f"{result['scale_estimate']:.5g} (95 % interval" in text


def test_custom_code_is_named_with_hash_files_and_source(unusual):
    _, page, hashes = unusual
    section = page.split('id="custom-code"')[1].split("<details>\n<summary>Parameters")[0]
    for name, digest in hashes.items():
        row = re.search(rf"<p><strong>{name}</strong>: (.*?)</p>", section)[1]
        assert f"SHA-256 {digest[:16]}" in row
        (file,) = set(re.findall(r"wrote (.*)", row))
        assert name in file
    assert "extra stage after stage 4 on difference; sigma = 2" in section
    assert html.escape("gaussian_filter(image.astype") in section


@pytest.fixture(scope="module")
def plain(finished):
    """Result and records of a plain run."""
    runner = finished_runner(SampleDye(SAMPLE, DYE, **finished.dirs()))
    return result_of(runner, [], {}), shown_records(runner)


def test_a_plain_run_claims_nothing_that_was_not_done(plain):
    text = methods_text(*plain, {})
    assert "by a homography." in text
    assert "All parameters were at their defaults." in text
    assert "a Moffat profile fitted to the local ratios" in text
    for word in ("Gaussian of", "deformation", "custom", "offset", "surface", "objects", "FAIL"):
        assert word not in text


def test_deformation_loan_surface_and_offset_are_told_with_interval(plain):
    result, records = plain
    transform = {**records[3].transform, "type": "homography+bspline"}
    lent = {**records[3].facts, "borrowed_from": {"dye": "DAPI"}}
    field = {"scale_field": {"is_applied": True}}
    records = records | {
        3: replace(records[3], transform=transform, facts=lent),
        4: replace(records[4], metrics=records[4].metrics | field),
    }
    scale = {**result["scales"][0], "offset": 12.0, "metrics": {"offset_error": 1.0}}
    told = result | {"scales": [scale]}
    text = methods_text(told, records, {})
    assert "by a homography and a smooth deformation field taken over from the dye DAPI" in text
    assert "tiles that the alignment was not made from" in text
    assert "the scale is its median" in text
    assert "together with an offset of 12 counts (95 % interval 10.0 to 14.0)" in text
    offset = next(fact for fact in key_facts(told, records, {}) if fact.name == "offset")
    assert (offset.value, offset.interval) == ("12 counts", "10.0 to 14.0 counts")


def test_every_key_number_has_an_interval_or_a_basis(plain):
    facts = key_facts(*plain, {})
    assert {fact.name for fact in facts if not fact.interval} == {"pixel size"}
    assert facts[0].interval.endswith(" px")


def test_objects_and_limit_are_told(plain):
    objects = {
        **{"objects": 31, "counted": 28, "threshold": 5.0, "expected_false": 0.02, "negatives": 1},
        **{"density": 104.3, "density_interval": [72.1, 151.2], "density_unit": "mm-2"},
    }
    text = methods_text(*plain, {"objects": objects, "limit": {"sentence": "Microbes are found."}})
    assert "31 objects were detected" in text
    assert "104 per mm\N{SUPERSCRIPT TWO} (95 % interval 72.1 to 151)" in text
    assert "Microbes are found." in text


def test_hinted_commands_bring_extra_stages_and_parameters_along(unusual):
    result, page, _ = unusual
    assert "objects were detected" not in page
    for verb in ("detect", "report"):
        (command,) = re.findall(rf"<code>(exo2micro {verb} .*?)</code>", page)
        assert main([*shlex.split(html.unescape(command))[1:], "-q"]) in (0, 3)
    assert "objects were detected" in methods_of(result["report"].read_text("utf-8"))


def test_a_limit_that_no_injected_flux_brackets_tells_its_side(plain):
    limits = [
        {"probability": 0.5, "flux": None, "interval": None, "above": None, "below": 40.0},
        {"probability": 0.9, "flux": None, "interval": None, "above": 800.0, "below": None},
    ]
    facts = key_facts(*plain, {"limit": {"limits": limits}})
    found = {fact.name: (fact.value, fact.interval) for fact in facts}
    assert found["detection limit, 50 %"] == ("below 40 counts", "the faintest injected")
    assert found["detection limit, 90 %"] == ("above 800 counts", "the brightest injected")
