"""Reports in a real browser: what is on screen after keys and clicks."""

import shutil
from pathlib import Path

import pytest
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye, view
from exo2micro.report import write_index


@pytest.fixture
def report(tab, finished):
    page = tab.open(finished.folder / "report.html")
    yield page
    tab.assert_clean()


def shown(page):
    """Return the alternative text of the picture on top."""
    hidden = page.locator("#flicker-post").evaluate("e => e.style.visibility") == "hidden"
    return page.locator("#flicker-pre" if hidden else "#flicker-post").get_attribute("alt")


def test_the_report_opens_and_every_picture_has_a_size_and_a_text(report):
    assert report.locator(".verdict strong").inner_text() == "PASS"
    sizes = report.locator("img").evaluate_all("all => all.map(e => [e.naturalWidth, e.alt])")
    assert len(sizes) > 8
    assert all(width > 50 and alt for width, alt in sizes)


CONTRASTS = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName, e.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


def test_words_stand_out_from_their_ground(report):
    found = report.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [row for row in found if row[0] < 4.5] == []  # WCAG 2.1, level AA


def test_everything_can_be_reached_and_used_without_a_mouse(report):
    order = []
    for _ in range(60):
        report.keyboard.press("Tab")
        order.append(report.evaluate("document.activeElement.textContent.trim()"))
        if order[-1] == "Swipe":
            break
    assert order[:2] == ["all pairs", "numbers"]
    assert "Blink" in order
    report.keyboard.press("Enter")
    assert report.locator("[data-mode=swipe]").get_attribute("aria-pressed") == "true"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert report.evaluate(outline) == "solid"


def test_space_toggles_and_b_blinks_by_itself(report):
    assert shown(report).endswith("post-stain")
    report.keyboard.press(" ")
    assert shown(report).endswith("final alignment")
    report.keyboard.press(" ")
    assert shown(report).endswith("post-stain")
    report.keyboard.press("b")
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(report.locator("#flicker-post")).to_have_css("visibility", "hidden")
    expect(report.locator("#flicker-post")).to_have_css("visibility", "visible")
    report.keyboard.press("b")
    assert report.locator("[data-mode=blink]").get_attribute("aria-pressed") == "false"


def test_keys_choose_place_state_and_mode(report):
    report.keyboard.press("2")
    assert shown(report).startswith("upper left")
    report.keyboard.press("a")
    report.keyboard.press(" ")
    assert shown(report).startswith("upper left")
    assert shown(report).endswith(": pre-stain after coarse alignment")
    report.keyboard.press("r")
    assert shown(report).endswith(": difference")
    assert "counts" in report.locator("#flicker-says").inner_text()
    report.keyboard.press("d")
    blend = "e => getComputedStyle(e).mixBlendMode"
    assert report.locator("#flicker-post").evaluate(blend) == "difference"


@pytest.mark.parametrize("used", ["[data-mode=post]", "#flicker-speed", "#flicker-state"])
def test_keys_go_on_after_the_mouse_was_used(report, used):
    report.locator(used).click()
    if used == "#flicker-state":
        report.locator(used).select_option("coarse")
    report.locator(".screen").scroll_into_view_if_needed()
    before = report.evaluate("scrollY")
    report.keyboard.press(" ")
    assert report.locator(".screen").get_attribute("data-shown") == "pre"
    report.keyboard.press("b")
    assert report.locator("[data-mode=blink]").get_attribute("aria-pressed") == "true"
    report.keyboard.press(" ")
    assert report.locator("[data-mode=blink]").get_attribute("aria-pressed") == "false"
    assert report.evaluate("scrollY") == before


def test_space_blinks_after_a_link_was_followed_instead_of_scrolling(report):
    report.locator("nav a", has_text="blink").click()
    before = report.evaluate("scrollY")
    report.keyboard.press(" ")
    assert report.locator(".screen").get_attribute("data-shown") == "pre"
    assert report.evaluate("scrollY") == before


def test_arrows_stay_with_a_slider_that_has_the_focus(report):
    report.locator("#flicker-speed").focus()
    speed = float(report.locator("#flicker-speed").input_value())
    report.keyboard.press("ArrowRight")
    assert float(report.locator("#flicker-speed").input_value()) == pytest.approx(speed + 0.1)
    focused = report.evaluate("document.activeElement.id")
    assert focused == "flicker-speed"


def test_the_contrast_says_how_much_it_is_amplified(report):
    report.keyboard.press("d")
    assert "not amplified (x 1)" in report.locator("#flicker-says").inner_text()
    report.keyboard.press("r")
    assert "amplified" not in report.locator("#flicker-says").inner_text()


def test_the_focus_ring_stands_out(report):
    report.keyboard.press("Tab")
    colour = report.evaluate("getComputedStyle(document.activeElement).outlineColor")
    parts = [(int(part) / 255) ** 2.2 for part in colour[4:-1].split(",")]
    light = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
    assert light < 0.3  # a contrast of 3 with white (WCAG 2.1, 1.4.11)


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_narrow_window_needs_no_scrolling_to_the_side(request, name):
    page = request.getfixturevalue(name)
    page.set_viewport_size({"width": 400, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_kept_failure_is_marked_across_the_difference(tab, failed, tmp_path):
    shutil.copytree(failed.root, tmp_path / "kept")
    folders = {"output_dir": tmp_path / "kept" / "processed", "raw_dir": tmp_path / "kept" / "raw"}
    result = SampleDye(SAMPLE, DYE, **folders).run(keep_failed=True)
    page = tab.open(result["report"])
    mark = page.locator(".screen .failed")
    assert mark.is_hidden()
    page.keyboard.press("r")
    assert mark.inner_text().startswith("FAILED")
    assert "FAILED" in page.locator("#flicker-says").inner_text()
    tab.assert_clean()
    tab.requests.clear()
    with view(SampleDye(SAMPLE, DYE, **folders), open_browser=False) as viewer:
        tab.visit(viewer.url)
        page.wait_for_selector(".pane .layer")
        assert "FAILED" in page.locator("#verdict").inner_text()
        titles = page.locator(".pane .layer").first.locator("option").all_inner_texts()
        assert [t.split("  ")[1] for t in titles if t.endswith("FAILED")] == [
            *("difference, FAILED", "significance (SNR), FAILED"),
            *("error (ERR), FAILED", "data quality (DQ), FAILED"),
        ]
        tab.assert_clean()


def test_swipe_follows_mouse_and_arrows(report):
    report.locator("[data-mode=swipe]").click()
    screen = report.locator(".screen")
    box = screen.bounding_box()
    screen.hover(position={"x": box["width"] / 4, "y": 20})
    edge = float(report.locator("#flicker-swipe").input_value())
    assert edge == pytest.approx(25, abs=1)
    assert "inset" in report.locator("#flicker-post").evaluate("e => e.style.clipPath")
    report.locator("[data-mode=swipe]").press("ArrowRight")
    assert float(report.locator("#flicker-swipe").input_value()) == edge + 2


def test_a_failed_pair_has_no_button_for_a_difference(tab, failed):
    page = tab.open(failed.folder / "report.html")
    assert page.locator(".verdict strong").inner_text() == "FAIL"
    assert not page.locator("[data-mode=result]").is_visible()
    page.keyboard.press("r")
    assert shown(page).endswith("post-stain")
    tab.assert_clean()


def test_the_index_is_readable(index):
    assert [row for row in index.evaluate(CONTRASTS) if row[0] < 4.5] == []


@pytest.fixture
def index(tab, finished, failed, tmp_path):
    shutil.copytree(finished.processed, tmp_path / "processed")
    shutil.copytree(failed.folder, tmp_path / "processed" / "CD001" / DYE)
    record = tmp_path / "processed" / "CD001" / DYE / "records" / "report.json"
    record.write_text(record.read_text().replace(f'"{SAMPLE}"', '"CD001"'))
    page = tab.open(write_index(Path(tmp_path / "processed")))
    yield page
    tab.assert_clean()


def samples(page):
    return page.locator("#pairs tbody tr:visible td:nth-child(2)").all_inner_texts()


def test_the_table_sorts_and_filters(index):
    assert samples(index) == ["CD001", SAMPLE]
    heading = index.get_by_role("button", name="verdict")
    heading.click()
    heading.click()
    assert samples(index) == [SAMPLE, "CD001"]
    assert index.locator("th[aria-sort=descending]").inner_text() == "verdict"
    index.locator("#filter").fill("cd001")
    assert samples(index) == ["CD001"]
    index.locator("#filter").fill("")
    index.locator("#filter-verdict").select_option("PASS")
    assert samples(index) == [SAMPLE]
    assert index.locator("#shown").inner_text() == "1 of 2 shown"


def test_contact_sheets_and_links(index):
    assert index.locator(".sheet:visible img").count() == 1
    index.locator("#sheet").select_option("registration")
    assert index.locator(".sheet:visible img").count() == 2
    index.locator(f"#pairs a:text-is('{SAMPLE}')").click()
    index.wait_for_url("**/report.html")
    assert index.locator("h1").inner_text() == f"{SAMPLE} / {DYE}"
