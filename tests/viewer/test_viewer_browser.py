"""The viewer in a real browser: what is on screen after keys, clicks and typing."""

import base64
import json
import re

import cv2
import numpy as np
import pytest
import tifffile
from astropy.table import Table
from small_pair import DYE, SAMPLE

from exo2micro import SampleDye, view

FIRST, SECOND = ".pane:nth-child(1)", ".pane:nth-child(2)"
LOADED = "[data-loaded='true']"


def opened(tab, viewer):
    page = tab.visit(viewer.url)
    for pane in (FIRST, SECOND):
        page.wait_for_selector(f"{pane} .screen{LOADED}")
    return page


@pytest.fixture
def page(tab, viewer):
    yield opened(tab, viewer)
    tab.assert_clean()


def shown(page, pane=FIRST):
    return page.locator(f"{pane} .screen").get_attribute("data-shown")


def settled(page, pane=FIRST):
    page.wait_for_selector(f"{pane} .screen{LOADED}")


def pixels(page, pane=FIRST):
    """Return what the canvas of a view shows."""
    script = "e => e.querySelector('.openseadragon-canvas canvas').toDataURL()"
    content = base64.b64decode(page.locator(pane).evaluate(script).partition(",")[2])
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def place(page, number=0):
    """Return centre and zoom of a view."""
    script = "n => { const {centre: c, zoom} = exo2micro.panes[n].view; return [c.x, c.y, zoom]; }"
    return page.evaluate(f"({script})({number})")


def test_the_page_opens_with_verdict_and_two_pictures(page):
    assert page.title() == f"{SAMPLE} / {DYE} - exo2micro"
    assert page.locator("#verdict").inner_text().startswith("PASS: all checks passed")
    assert (shown(page), shown(page, SECOND)) == ("post", "difference")
    assert pixels(page)[..., :3].std() > 20
    assert page.locator(f"{FIRST} .scale span").inner_text().endswith("px")
    assert page.locator("#notes-section").is_hidden()


def test_views_move_together_until_unlinked(page):
    before = place(page)
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(900)
    after = place(page)
    assert after[2] == pytest.approx(1.5 * before[2], rel=1e-3)
    assert after[0] > before[0]
    assert place(page, 1) == pytest.approx(after, rel=1e-6)
    page.keyboard.press("l")
    page.keyboard.press("-")
    page.wait_for_timeout(900)
    assert place(page, 1) == pytest.approx(after, rel=1e-6)
    assert place(page)[2] < after[2]
    page.keyboard.press("0")
    page.keyboard.press("l")
    page.wait_for_timeout(900)
    assert place(page) == pytest.approx(before, rel=1e-3)


def test_the_wheel_zooms_into_both_views(page):
    before = place(page)
    page.locator(f"{SECOND} .screen").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(900)
    assert place(page)[2] > 1.1 * before[2]
    assert place(page, 1) == pytest.approx(place(page), rel=1e-6)


def test_space_shows_the_other_image_and_b_blinks(page):
    page.keyboard.press(" ")
    assert shown(page) == "pre"
    settled(page)
    page.keyboard.press(" ")
    assert shown(page) == "post"
    page.locator("#speed").fill("0.2")
    page.locator("#blink").click()
    page.wait_for_selector(f"{FIRST} .screen[data-shown='pre']")
    page.wait_for_selector(f"{FIRST} .screen[data-shown='post']")
    assert page.locator("#blink").get_attribute("aria-pressed") == "true"
    page.locator("#blink").click()
    assert page.locator("#blink").get_attribute("aria-pressed") == "false"


def test_swipe_shows_one_image_on_each_side(page):
    settled(page)
    post = pixels(page)
    page.keyboard.press("s")
    assert shown(page) == "post pre"
    settled(page)
    page.wait_for_timeout(300)
    both = pixels(page)
    middle = post.shape[1] // 2
    np.testing.assert_array_equal(both[:, : middle - 4], post[:, : middle - 4])
    assert (both[:, middle + 4 :] != post[:, middle + 4 :]).any()
    page.keyboard.press(",")
    assert page.locator(f"{FIRST} input.swipe").input_value() == "48"
    page.keyboard.press("s")
    assert shown(page) == "post"


def test_keys_choose_the_image_and_the_view(page):
    page.keyboard.press("6")
    assert shown(page) == "snr"
    page.keyboard.press("a")
    page.keyboard.press("8")
    assert shown(page, SECOND) == "dq"
    assert "no data: padding" in page.locator("#colours").inner_text()
    page.keyboard.press("v")
    assert page.locator(".pane").count() == 4
    page.keyboard.press("v")
    assert page.locator(".pane").count() == 1


def test_limits_change_the_picture_and_reset_brings_it_back(page):
    settled(page)
    before = pixels(page)
    box = page.locator("fieldset[data-layer=post]")
    high = box.get_by_role("spinbutton", name="post-stain, high end of the colours")
    first = high.input_value()
    with page.expect_request(re.compile(r"tile/post/.*high=400")):
        high.fill("400")
    settled(page)
    page.wait_for_timeout(300)
    assert pixels(page)[..., 0].mean() < 0.8 * before[..., 0].mean()
    high.fill("-5")
    assert "must lie below" in page.locator("#says").inner_text()
    box.get_by_role("combobox").select_option("viridis")
    with page.expect_request(re.compile(r"tile/post/.*colours=gray")):
        box.get_by_role("button", name="reset colours of post-stain").click()
    assert high.input_value() == first
    settled(page)
    page.wait_for_timeout(300)
    np.testing.assert_array_equal(pixels(page), before)


def test_values_under_the_cursor_are_those_of_the_files(page, searched):
    page.evaluate("exo2micro.active.lookAt(2300, 2250, 8)")
    page.wait_for_timeout(200)
    box = page.locator(f"{FIRST} .screen").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    cell = page.locator("td[data-value='canvas']")
    page.get_by_text("2300, 2250").wait_for()
    assert cell.inner_text() == "2300, 2250"
    assert page.locator("td[data-value='post']").inner_text() == "300, 250"
    for name, stem in (("post", "01_padded_post"), ("difference", "04_difference_difference")):
        image = tifffile.imread(searched.folder / "tiff" / f"{stem}.tiff")
        text = page.locator(f"td[data-value='layer {name}']").inner_text()
        assert float(text) == pytest.approx(float(image[2250, 2300]), rel=1e-6)
    assert page.locator("td[data-value='layer dq']").inner_text() == "good"
    page.mouse.move(middle[0] + 16, middle[1] - 8)
    page.get_by_text("2302, 2249").wait_for()


def test_objects_are_marked_and_told(page, searched):
    table = Table.read(searched.folder / "detections.ecsv")
    row = table[int(np.argmax(table["flux"]))]
    page.keyboard.press("o")
    page.wait_for_selector(f"{FIRST} .marks:not([data-drawn='0'])")
    page.keyboard.press("g")
    page.keyboard.type(str(row["id"]))
    page.keyboard.press("Enter")
    told = page.locator("#object")
    told.get_by_text("flux").wait_for()
    assert f"{row['snr']:.4g}" in told.inner_text()
    assert page.evaluate("exo2micro.active.screenPxPerPixel") == pytest.approx(4, rel=1e-3)
    box = page.locator(f"{FIRST} .screen").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator(f"{FIRST} .tip")
    tip.wait_for()
    assert tip.inner_text().startswith(f"object {row['id']}: flux ")
    page.keyboard.press("+")
    page.wait_for_timeout(900)
    assert page.evaluate("exo2micro.active.screenPxPerPixel") == pytest.approx(6, rel=1e-3)
    middle = page.evaluate("(({x, y}) => [x, y])(exo2micro.active.middle())")
    assert middle == pytest.approx([row["x"] + 0.5, row["y"] + 0.5], abs=0.2)
    page.keyboard.press("n")
    following = row["id"] % len(table) + 1
    told.get_by_role("cell", name=str(following), exact=True).first.wait_for()
    page.locator("#object-number").fill("99999")
    page.locator("#object-number").press("Enter")
    page.get_by_text("There is no object 99999").wait_for()


def test_everything_has_a_name_and_help_is_a_key_away(page):
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    nameless = page.locator("button, input, select").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.labels?.length"
        " || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page.locator(".openseadragon-canvas").first.get_attribute("aria-label") == (
        "view 1: post-stain"
    )
    assert page.locator(".openseadragon-canvas").first.get_attribute("tabindex") == "0"


def test_text_is_readable(page):
    """Every colour of text has a contrast of 4.5 and more (WCAG 2.1, 1.4.3)."""
    script = """all => all.filter(e => e.offsetParent && e.childNodes.length
        && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
      let b = e, back; do { back = getComputedStyle(b).backgroundColor; b = b.parentElement; }
      while (b && /, 0\\)|transparent/.test(back));
      return [getComputedStyle(e).color, back, e.textContent.slice(0, 40)]; })"""

    def luminance(text):
        rgb = np.array([float(v) for v in re.findall(r"[\d.]+", text)[:3]]) / 255
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    found = page.locator("body *").evaluate_all(script)
    assert len(found) > 40
    for ink, back, text in found:
        light, dark = sorted((luminance(ink), luminance(back)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ink, back)


def test_a_failed_pair_says_that_the_difference_was_withheld(tab, failed):
    run = SampleDye(SAMPLE, DYE, **failed.dirs())
    with view(run, open_browser=False) as viewer:
        page = opened(tab, viewer)
        assert page.locator("#verdict strong").inner_text() == "FAIL: not to be trusted"
        assert "The difference was withheld" in page.locator("#verdict").inner_text()
        assert (shown(page), shown(page, SECOND)) == ("post", "pre")
        assert page.locator("#objects").is_hidden()
        tab.assert_clean()


def test_a_pair_to_check_says_why(tab, done):
    record = done.folder / "records" / "04_difference_difference.json"
    entry = json.loads(record.read_text())
    entry["verdict"] = {"level": "CHECK", "reasons": ["a piece may have moved"]}
    record.write_text(json.dumps(entry))
    with view(SampleDye(SAMPLE, DYE, **done.dirs()), open_browser=False) as viewer:
        page = opened(tab, viewer)
        text = page.locator("#verdict").inner_text()
        assert text.split("\n") == ["CHECK: usable, but look first", "a piece may have moved"]
        assert "exo2micro detect" in page.locator("#notes").inner_text()
        tab.assert_clean()
