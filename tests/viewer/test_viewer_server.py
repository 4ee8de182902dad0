"""What the viewer's server answers, and to whom."""

import http.client
import json
import shutil
import socket
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from small_pair import DYE, SAMPLE, Project

from exo2micro import SampleDye, view
from exo2micro.errors import CheckpointError
from exo2micro.plotting.colour_tables import colour_table
from exo2micro.raster.base import ArrayRaster
from exo2micro.viewer.overviews import STEP, KeptOverview, any_flag
from exo2micro.viewer.slide import Slide


def ask(viewer, path, *, host=None, token=None, method="GET", origin=None):
    """Return status, headers and content of a request."""
    parts = urlsplit(viewer.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    headers = {} if host is None else {"Host": host}
    headers |= {} if origin is None else {"Origin": origin}
    base = parts.path if token is None else f"/{token}/"
    connection.request(method, base + path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def picture(viewer, path):
    status, _, content = ask(viewer, path)
    assert status == 200, content
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_only_the_token_of_this_session_opens_the_page(viewer):
    token = urlsplit(viewer.url).path.strip("/")
    assert len(token) >= 30
    assert ask(viewer, "")[0] == 200
    for wrong in ("", "x", token[:-1], token + "a", token.swapcase()):
        for path in ("", "slide.json", "values.json?x=1&y=1", "tile/post/0/0_0.png"):
            assert ask(viewer, path, token=wrong)[0] == 403
    parts = urlsplit(viewer.url)
    with socket.create_connection((parts.hostname, parts.port)) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 403 " in raw.recv(100)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:1", ""]
)
def test_names_of_other_machines_are_refused(viewer, host):
    assert ask(viewer, "slide.json", host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "localhost:40123"])
def test_forwarded_ports_of_this_machine_are_answered(viewer, host):
    assert ask(viewer, "slide.json", host=host)[0] == 200


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "..%2f..%2fetc/passwd", "viewer.html/../../slide.py", "/etc/passwd",
     "tile/../post/1/0_0.png", "main.js%00", "static/main.js"],
)  # fmt: skip
def test_nothing_but_the_page_is_given_away(viewer, path):
    assert ask(viewer, path)[0] == 404


def test_requests_of_other_pages_are_refused(viewer):
    own = viewer.url.removeprefix("http://").split("/")[0]
    assert ask(viewer, "slide.json", origin=f"http://{own}")[0] == 200
    for origin in ("https://evil.example", f"https://{own}", "http://127.0.0.1:9", "null"):
        assert ask(viewer, "slide.json", origin=origin)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_requests_change_nothing(viewer, method):
    assert ask(viewer, "", method=method)[0] == 501


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("tile/none/1/0_0.png?low=0&high=1&colours=gray", "there is no layer"),
        ("tile/post/1/9_9.png?low=0&high=1&colours=gray", "there is no tile"),
        ("tile/post/99/0_0.png?low=0&high=1&colours=gray", "there is no tile"),
        ("tile/post/1/0_0.png?low=2&high=1&colours=gray", "higher value"),
        ("tile/post/1/0_0.png?low=nan&high=1&colours=gray", "higher value"),
        ("tile/post/1/0_0.png?low=a&high=1&colours=gray", "must be a number"),
        ("tile/post/1/0_0.png?low=0&high=1&colours=jet", "must be one of"),
        ("values.json?x=-1&y=0", "whole number"),
        ("values.json?x=99999&y=0", "outside the canvas"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(viewer, path, says):
    status, _, content = ask(viewer, path)
    assert status == 400
    assert says in content.decode()


def test_the_server_listens_to_this_machine_only_and_ends(searched):
    with view(SampleDye(SAMPLE, DYE, **searched.dirs()), open_browser=False) as viewer:
        assert viewer._server.server_address[0] == "127.0.0.1"
        _, headers, _ = ask(viewer, "")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    viewer.close()
    with pytest.raises(ConnectionRefusedError):
        ask(viewer, "")


def test_values_are_those_of_the_files(viewer, searched):
    files = {
        "post": "01_padded_post",
        "before": "01_padded_pre",
        "coarse": "02_icp_aligned_pre",
        "pre": "03_interior_aligned_pre",
        "difference": "04_difference_difference",
    }
    images = {
        name: tifffile.imread(searched.folder / "tiff" / f"{stem}.tiff")
        for name, stem in files.items()
    }
    with fits.open(searched.folder / "fits" / "04_difference_difference.fits") as hdus:
        images |= {name.lower(): np.array(hdus[name].data) for name in ("SNR", "ERR", "DQ")}
    for x, y in [(2000, 2000), (2300, 2250), (2411, 2377), (5, 7), (4639, 4559)]:
        found = json.loads(ask(viewer, f"values.json?x={x}&y={y}")[2])
        assert found["values"] == {name: image[y, x] for name, image in images.items()}
        inside = 2000 <= x < 2640 and 2000 <= y < 2560
        assert found["post"] == ([x - 2000, y - 2000] if inside else None)
    assert found["quality"] == "no data: padding outside the post image"


def test_a_tile_at_full_resolution_shows_each_pixel(viewer, searched):
    window = slice(2048, 2560), slice(2048, 2560)
    post = tifffile.imread(searched.folder / "tiff" / "01_padded_post.tiff")[window]
    level = json.loads(ask(viewer, "slide.json")[2])["highest_level"]
    shown = picture(viewer, f"tile/post/{level}/4_4.png?low=10&high=110&colours=gray")
    expected = np.sqrt(np.clip((post.astype(np.float64) - 10) / 100, 0, 1)) * 255
    assert np.abs(shown - expected).max() <= 0.51
    difference = tifffile.imread(searched.folder / "tiff" / "04_difference_difference.tiff")
    shown = picture(viewer, f"tile/difference/{level}/4_4.png?low=-20&high=20&colours=difference")
    index = np.rint(np.clip((difference[window] + 20) / 40, 0, 1) * 255).astype(int)
    seen = shown[..., 3] == 255 if shown.shape[2] == 4 else np.ones(index.shape, bool)
    assert seen.mean() > 0.8
    np.testing.assert_array_equal(shown[..., 2::-1][seen], colour_table("difference")[index][seen])


def test_no_data_is_transparent_and_a_true_zero_is_not(viewer, searched):
    with fits.open(searched.folder / "fits" / "04_difference_difference.fits") as hdus:
        snr, flags = (np.array(hdus[name].data) for name in ("SNR", "DQ"))
    true_zero = (snr == 0) & (flags & 3 == 0)
    row, col = np.argwhere(true_zero)[0]
    level = json.loads(ask(viewer, "slide.json")[2])["highest_level"]
    place = f"{col // 512}_{row // 512}"
    shown = picture(viewer, f"tile/snr/{level}/{place}.png?low=-8&high=8&colours=difference")
    window = (
        slice(row // 512 * 512, row // 512 * 512 + 512),
        slice(col // 512 * 512, col // 512 * 512 + 512),
    )
    opaque = shown[..., 3] == 255 if shown.shape[2] == 4 else np.ones(shown.shape[:2], bool)
    np.testing.assert_array_equal(opaque, (flags & 3 == 0)[window])


@pytest.mark.parametrize("name", ["post", "snr", "dq"])
def test_all_levels_fit_together(viewer, name):
    """Each tile below full resolution has the size that a pyramid by powers of two gives it."""
    about = json.loads(ask(viewer, "slide.json")[2])
    ny, nx = about["shape"]
    look = "low=0&high=9&colours=" + ("gray" if name != "dq" else "")
    for level in range(about["highest_level"] + 1):
        factor = 2 ** (about["highest_level"] - level)
        height, width = -(-ny // factor), -(-nx // factor)
        column, row = (width - 1) // 512, (height - 1) // 512
        last = picture(viewer, f"tile/{name}/{level}/{column}_{row}.png?{look}")
        assert last.shape[:2] == (height - 512 * row, width - 512 * column)


@settings(max_examples=30)
@given(
    start=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    factor=st.sampled_from([1, 2, 8, 16, 32, 128]),
    flags=st.booleans(),
)
def test_kept_overviews_are_those_of_the_image(start, factor, flags):
    random = np.random.default_rng(7)
    shape = (1100, 1300)
    if flags:
        image = np.where(random.random(shape) < 0.01, 5, 0).astype(np.uint8)
        kept = KeptOverview(ArrayRaster(image), any_flag)
        whole = any_flag(image, factor)
    else:
        image = random.normal(10, 3, shape).astype(np.float32)
        kept = KeptOverview(ArrayRaster(image))
        whole = ArrayRaster(image).overview(factor)
    rows, cols = (
        slice(min(place, size - 1), min(place + 20, size))
        for place, size in zip(start, whole.shape, strict=True)
    )
    found = kept.read_reduced(rows, cols, factor)
    inner = slice(0, max(1, len(found) - 1)), slice(0, max(1, found.shape[1] - 1))
    if flags or factor <= STEP:
        np.testing.assert_allclose(found, whole[rows, cols], rtol=1e-5)
    else:  # the last blocks average means of blocks of different sizes
        np.testing.assert_allclose(found[inner], whole[rows, cols][inner], rtol=2e-2)


def test_a_pair_that_was_not_run_says_what_to_run(project):
    with pytest.raises(CheckpointError, match=f"exo2micro run {SAMPLE} {DYE}"):
        view(SampleDye(SAMPLE, DYE, **project.dirs()), open_browser=False)


def test_a_withheld_difference_is_told(failed):
    slide = Slide.of(SampleDye(SAMPLE, DYE, **failed.dirs()))
    assert list(slide.layers) == ["post", "before", "coarse", "pre"]
    assert slide.difference_note.startswith("The difference was withheld")
    folders = f"--output-dir {failed.processed} --raw-dir {failed.raw}"
    assert f"`exo2micro run {SAMPLE} {DYE} {folders} --keep-failed`" in slide.difference_note
    assert slide.describe()["verdict_words"] == "FAIL: not to be trusted"


def test_removed_images_and_old_tables_are_told(searched, tmp_path):
    shutil.copytree(searched.root, tmp_path / "project")
    project = Project(tmp_path / "project", searched.spec)
    table = project.folder / "detections.ecsv"
    text = table.read_text()
    scale = json.loads((project.folder / "records" / "04_difference_difference.json").read_text())[
        "metrics"
    ]["scales"][0]["scale"]
    assert f"scale: {scale}" in text
    table.write_text(text.replace(f"scale: {scale}", "scale: 1.5"))
    run = SampleDye(SAMPLE, DYE, **project.dirs())
    run.run(keep="final")
    slide = Slide.of(run)
    assert list(slide.layers) == ["difference", "snr", "err", "dq"]
    assert slide.objects is None
    assert "removed to save disk" in slide.notes[0]
    assert "older difference" in slide.notes[-1]
