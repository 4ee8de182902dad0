import io
import logging
import subprocess
import sys

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from exo2micro.errors import OutputError, ParameterError
from exo2micro.plotting.figure import (
    DPI,
    figure_bytes,
    finish,
    new_figure,
    save_figure,
    show,
    style,
)


def picture(sample="CD070", dye="DAPI"):
    with style():
        figure = new_figure("test", sample=sample, dye=dye, height_in=2.0, width_in=4.0)
        figure.subplots().plot([1, 2, 3], label="line")
        return finish(figure, None)


def test_shows_itself_in_jupyter_as_png():
    png = picture()._repr_png_()
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.size == (4 * DPI, 2 * DPI)


@pytest.mark.parametrize("extension", [".png", ".svg", ".pdf"])
def test_equal_figures_are_equal_bytes_without_dates(extension):
    first, second = (figure_bytes(picture(), extension) for _ in range(2))
    assert first == second
    for word in (b"Matplotlib v", b"CreationDate", b"dc:date", mpl.__version__.encode() + b","):
        assert word not in first


def test_saving_twice_gives_the_same_bytes(tmp_path):
    figure = picture()
    first = save_figure(figure, tmp_path / "new" / "a.png").read_bytes()
    assert save_figure(figure, tmp_path / "b.PNG").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.PNG", "new"]


def test_the_look_does_not_depend_on_the_users_settings():
    expected = figure_bytes(picture())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert figure_bytes(picture()) == expected
        assert mpl.rcParams["font.size"] == 30


def test_a_users_own_figure_is_saved_too(tmp_path):
    figure = Figure(layout="constrained")
    figure.subplots().plot([1, 2])
    path = save_figure(figure, str(tmp_path / "own.png"))
    with Image.open(path) as image:
        assert image.size == (int(6.4 * DPI), int(4.8 * DPI))


def test_title_names_the_pair_and_a_dollar_sign_is_no_formula():
    figure = picture("a$b$", "c_d")
    assert figure.get_suptitle() == r"a\$b\$ · c_d: test"
    assert figure_bytes(figure)[:4] == b"\x89PNG"
    assert picture("", "").get_suptitle() == "test"


def test_long_names_do_not_run_out_of_the_picture():
    figure = picture("sample_" * 5, "a dye with a long name of several words")
    canvas = figure.canvas
    assert "\n" in figure.get_suptitle()
    box = figure._suptitle.get_window_extent(canvas.get_renderer())
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_unknown_file_types_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"one of \.png, \.svg, \.pdf, got .*x\.bmp"):
        save_figure(picture(), tmp_path / "x.bmp")


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        save_figure(picture(), tmp_path / "file" / "x.png")


def test_show_opens_the_viewer_where_there_is_a_screen(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    monkeypatch.setattr(sys, "platform", "darwin")
    path = show(picture())
    assert opened == [path.as_uri()]
    assert path.read_bytes() == figure_bytes(picture())


def test_show_without_screen_says_where_the_picture_is(monkeypatch, caplog):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with caplog.at_level(logging.WARNING):
        path = show(picture())
    assert str(path) in caplog.text
    assert path.exists()


def test_no_plot_touches_pyplot():
    code = (
        "import sys, numpy as np\n"
        "from exo2micro.plotting import DIAGNOSTICS\n"
        "assert len(DIAGNOSTICS) >= 8\n"
        "from exo2micro.plotting.pre_post_histograms import plot_pre_post_histograms as plot\n"
        "plot(np.arange(1, 65).reshape(8, 8), np.ones((8, 8)))._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
