"""What the report of a pair says, read as text."""

import html
import json
import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
from small_pair import DYE, SAMPLE, Project

from exo2micro import SampleDye, detect_pair
from exo2micro.cli import main
from exo2micro.cli.run import summary_of
from exo2micro.plotting import DIAGNOSTICS
from exo2micro.report import report_pair
from exo2micro.report.images import FIDELITIES
from exo2micro.report.page import page_text
from exo2micro.viewer.slide import Slide

PAGE = "report.html"


def text_of(path):
    """Return a page without its pictures."""
    return re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "data:", path.read_text("utf-8"))


def methods_of(page):
    """Return the methods paragraph of a page."""
    return html.unescape(re.search(r'id="methods-text">(.*?)</blockquote>', page, re.DOTALL)[1])


def facts_of(page):
    """Return value and interval or basis of each key number of a page."""
    row = r'<tr><td>(.*?)</td><td class="value">(.*?)</td><td>(.*?)</td><td>'
    return {html.unescape(n): (html.unescape(v), i) for n, v, i in re.findall(row, page)}


def pair(project, **params):
    return SampleDye(SAMPLE, DYE, **project.dirs(), params=params)


@pytest.fixture(scope="module")
def page(finished):
    return text_of(finished.folder / PAGE)


def test_a_run_leaves_a_report_of_bounded_size_that_needs_nothing_else(finished, page):
    assert (finished.folder / PAGE).stat().st_size < 10_000_000
    assert not re.findall(r"""(?:src|href)=["']?https?:""", page)
    assert '<link rel="icon" href="data:,">' in page
    assert 'class="word PASS"' in page


def test_every_diagnostic_is_shown_with_its_caption(page):
    for name in DIAGNOSTICS:
        assert f'<figure id="{name}">' in page
        assert page.count("<dt>What to do</dt>") == len(DIAGNOSTICS)
    assert "could not be drawn" not in page


def test_numbers_are_those_of_the_records(finished, page):
    record = json.loads(
        (finished.folder / "records" / "04_difference_difference.json").read_text("utf-8")
    )
    scale = record["metrics"]["scales"][0]
    low, high = scale["interval"]
    assert f"{scale['scale']:.5g}</td><td>{low:#.5g} to {high:#.5g}</td>" in page
    assert f"{scale['scale']:.5g} (95 % interval {low:#.5g} to {high:#.5g})" in page
    assert record["raw"]["post"]["sha256"][:16] in page


def test_the_commands_repeat_the_run(done, tmp_path):
    run = pair(done, scale_percentile=40.0)
    run.run()
    page = text_of(done.folder / "report_sp40.html")
    command = re.search(r'<pre id="command">(.*?)</pre>', page, re.DOTALL)[1]
    words = shlex.split(command)
    assert words[:4] == ["exo2micro", "run", SAMPLE, DYE]
    assert words[-2:] == ["--set", "scale_percentile=40"]
    before = {p: p.stat().st_mtime_ns for p in done.folder.glob("tiff/*")}
    assert main([*words[1:], "-q"]) in (0, 3)
    assert {p: p.stat().st_mtime_ns for p in done.folder.glob("tiff/*")} == before
    code = re.search(r'<pre id="python">(.*?)</pre>', page, re.DOTALL)[1]
    names = {}
    exec(code.replace("&#39;", "'"), names)
    assert {row["action"] for row in names["result"]["stages"]} == {"cached"}


def test_repeating_the_run_elsewhere_gives_the_same_bytes(project, tmp_path):
    run = SampleDye(SAMPLE, DYE, **project.dirs(), checkpoint_format="fits")
    run.set_params(scale_percentile=40.0, boundary_width=20)
    page = text_of(run.run()["report"])
    for way in ("command", "python"):
        text = html.unescape(re.search(f'<pre id="{way}">(.*?)</pre>', page, re.DOTALL)[1])
        text = text.replace(str(project.processed), str(tmp_path / way))
        if way == "command":
            assert main([*shlex.split(text)[1:], "-q"]) == 0
        else:
            exec(text, {})
        again = tmp_path / way / SAMPLE / DYE
        names = {p.relative_to(again) for kind in ("tiff", "fits") for p in again.glob(f"{kind}/*")}
        assert len(names) >= 6
        for name in names:
            assert (again / name).read_bytes() == (project.folder / name).read_bytes(), name


def test_a_report_is_written_anew_only_when_something_changed(done):
    path = done.folder / PAGE
    first = path.stat().st_mtime_ns
    assert report_pair(pair(done)) == path
    assert path.stat().st_mtime_ns == first
    path.write_text("spoiled")
    assert report_pair(pair(done)) == path
    assert path.stat().st_size > 100_000


def test_a_report_that_fails_costs_no_result(done, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("no ink")

    monkeypatch.setattr("exo2micro.report.pair.page_text", broken)
    (done.folder / PAGE).unlink()
    result = pair(done).run()
    assert result["status"] == "complete"
    assert result["difference"]["fits"].exists()
    assert result["report"] is None
    assert result["report_error"] == "RuntimeError: no ink"
    assert "no ink" in caplog.text
    noted = json.loads((done.folder / "records" / "report.json").read_text())
    assert noted["error"] == "RuntimeError: no ink"
    index = (done.processed / "index.html").read_text("utf-8")
    assert "no report: RuntimeError: no ink" in index
    assert html.escape(noted["command"]) in index
    monkeypatch.undo()
    assert pair(done).run()["report"].exists()


def test_a_failed_pair_says_what_was_withheld_and_shows_the_evidence(failed):
    page = text_of(failed.folder / PAGE)
    assert 'class="word FAIL"' in page
    assert "The difference was withheld" in page
    reason = json.loads((failed.folder / "records" / "report.json").read_text())["result"]["reason"]
    assert reason.split(";")[0] in page
    assert "<details open>" in page
    data = json.loads(re.search(r'id="flicker-data">(.*?)</script>', page, re.DOTALL)[1])
    assert all("difference" not in place["frames"] for place in data)
    assert {"post", "before", "coarse", "final"} <= set(data[0]["frames"])
    methods = methods_of(page)
    assert "The automatic quality verdict was FAIL" in methods[:200]
    assert "onto the post-stain scan by a homography FAILED." in methods
    assert "No brightness scale was estimated, and nothing was subtracted." in methods
    assert facts_of(page) == {
        "alignment error": ("not measured", "no held-out tile could be matched"),
        "pixel size": ("unknown", "none"),
    }
    (command,) = commands_in(page, "run")
    assert command[2:4] == [SAMPLE, DYE]
    assert command[-1] == "--keep-failed"


@pytest.fixture(scope="module")
def kept(failed, tmp_path_factory):
    """A failed pair whose difference was written all the same, and the result of that run."""
    project = Project(tmp_path_factory.mktemp("kept") / "project", failed.spec)
    shutil.copytree(failed.root, project.root)
    return project, pair(project).run(keep_failed=True)


def test_a_failed_difference_that_was_kept_is_told_and_marked(kept, failed):
    project, result = kept
    names = {path.name for path in result["difference"].values()}
    assert names == {f"04_difference_difference_failed.{kind}" for kind in ("tiff", "fits")}
    assert "difference  written, labelled failed: " in summary_of(result)
    assert "difference  withheld" in summary_of(pair(failed).run())
    page = text_of(project.folder / PAGE)
    assert "withheld" not in page.split('<section id="making">')[0]
    assert "written all the same" in page
    assert "The difference was written all the same, labelled failed." in methods_of(page)
    assert "The noise could not be measured" in methods_of(page)
    assert facts_of(page)["noise factor"] == ("not measured", "fitted to 0 pixels")
    assert '<strong class="word FAIL">FAILED</strong>: these numbers' in page
    index = text_of(project.processed / "index.html")
    assert 'data-verdict="FAIL"' in index
    assert "withheld" not in index
    assert "04_difference_difference_failed.fits" in page
    assert "no difference was written" not in page
    assert {"difference_image", "snr_histogram"} <= set(re.findall(r'<figure id="(\w+)">', page))
    data = json.loads(re.search(r'id="flicker-data">(.*?)</script>', page, re.DOTALL)[1])
    assert "FAILED" in data[0]["frames"]["difference"]["alt"]
    assert "<td>0 MB</td>" not in page


def test_pictures_of_a_failed_difference_are_marked(kept):
    project, _ = kept
    picture = cv2.imread(str(project.folder / "pipeline_output" / "snr_histogram.png"))
    coloured = np.ptp(picture.astype(int), axis=2) > 60
    # Left of the axis there is nothing but black text otherwise.
    assert coloured[:, :80].sum() > 500


def test_a_report_made_anew_still_repeats_the_run_that_kept_it(kept):
    project, _ = kept
    page = text_of(report_pair(pair(project)))
    command = re.search(r'<pre id="command">(.*?)</pre>', page, re.DOTALL)[1]
    assert command.endswith(" --keep-failed")
    assert "run.run(keep_failed=True)" in page
    assert detect_pair(pair(project), accept_failed=True).table.stem == "detections_failed"
    page = text_of(report_pair(pair(project)))
    assert "objects detected" in page
    assert "<td>in a difference that FAILED: " in page
    assert "These objects are those of a difference that FAILED." in methods_of(page)
    assert Slide.of(pair(project)).objects is not None


def test_tables_of_objects_and_limits_are_told(done):
    assert main(["detect", SAMPLE, DYE, *dirs_of(done), "-q"]) == 0
    page = text_of(report_pair(pair(done)))
    assert "objects detected" in page
    assert "density of objects" in page
    names = re.findall(r'<figure id="(\w+)">', page)
    assert names.index("detections") == names.index("difference_image") + 1
    assert "Objects have not been searched yet" not in page
    entry = json.loads((done.folder / "records" / "report.json").read_text("utf-8"))
    assert "detections" in entry["thumbnails"]


def commands_in(page, verb):
    """Return the commands of one kind that a page names, split as a shell does."""
    found = re.findall(rf"<code>(exo2micro {verb} .*?)</code>", page)
    return [shlex.split(html.unescape(text)) for text in found]


def test_without_detections_the_report_says_how_to_make_them(done):
    assert '<figure id="detections">' not in text_of(done.folder / PAGE)
    page = text_of(pair(done, scale_percentile=40.0).run()["report"])
    (detect,), (report,) = commands_in(page, "detect"), commands_in(page, "report")
    assert main([*detect[1:], "-q"]) == 0
    assert (done.folder / "detections_sp40.ecsv").exists()
    assert main([*report[1:], "-q"]) == 0
    assert '<figure id="detections">' in text_of(done.folder / "report_sp40.html")


def test_a_table_of_an_older_difference_is_not_shown(done):
    assert detect_pair(pair(done)).table.exists()
    assert "objects detected" in text_of(report_pair(pair(done)))
    table = done.folder / "detections.ecsv"
    text, count = re.subn(r"(scale: )[\d.]+", r"\g<1>1.7", table.read_text("utf-8"))
    assert count
    table.write_text(text, "utf-8")
    page = text_of(report_pair(pair(done)))
    assert "objects detected" not in page
    assert '<figure id="detections">' not in page


def test_a_page_that_would_be_too_large_is_made_smaller_and_says_so(done, monkeypatch):
    sizes = []

    def measured(*args):
        text = page_text(*args)
        sizes.append(len(text.encode()))
        return text

    def remade(limit):
        monkeypatch.setattr("exo2micro.report.pair.MOST_BYTES", limit)
        (done.folder / PAGE).unlink()
        path = report_pair(pair(done))
        return path.stat().st_size, text_of(path)

    monkeypatch.setattr("exo2micro.report.pair.page_text", measured)
    _, smallest = remade(0)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == len(FIDELITIES)
    assert sizes[-1] < 0.3 * sizes[0]
    assert f"below 10 MB, {FIDELITIES[-1].says}." in smallest
    assert "it is the file <code>pipeline_output/registration.png</code>" in smallest
    limit = sizes[1] + 100
    size, page = remade(limit)
    assert size <= limit < sizes[0]
    assert f"below 10 MB, {FIDELITIES[1].says}." in page
    data = json.loads(re.search(r'id="flicker-data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data) <= 1 + FIDELITIES[1].places


def dirs_of(project):
    return ["--output-dir", str(project.processed), "--raw-dir", str(project.raw)]


def test_own_pictures_appear_by_themselves_and_their_words_are_escaped(done):
    def my_picture(post_im, pre_im, sample, dye, save_path=None):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().imshow(post_im)
        return figure

    run = pair(done)
    run.add_diagnostic(my_picture, caption="<script>alert('x')</script> & more")
    page = text_of(run.run()["report"])
    assert '<figure id="my_picture">' in page
    assert "<dd>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more</dd>" in page
    assert "<script>alert" not in page


def test_a_pair_whose_intermediate_images_were_removed_has_a_report_all_the_same(done):
    page = text_of(pair(done).run(keep="final")["report"])
    assert 'id="flicker-data"' in page
    (done.folder / PAGE).unlink()
    page = text_of(report_pair(pair(done)))
    assert "were removed to save disk space" in page
    assert '<figure id="difference_image">' in page
