import pickle

import numpy as np
import pytest
from matplotlib.figure import Figure
from plot_scene import SHAPE, make_view

from exo2micro.errors import ParameterError
from exo2micro.plotting import DIAGNOSTICS, Diagnostic
from exo2micro.plotting.user import diagnostic_from_function


def my_plot(post_im, pre_im, *, bins=5, sample, dye, save_path=None):
    """Show the brightness of both images.

    More words.
    """
    figure = Figure()
    axes = figure.subplots()
    axes.hist([post_im.ravel(), pre_im.ravel()], bins=bins)
    axes.set_title(f"{sample} {dye} {post_im.shape} {pre_im.dtype}")
    return figure


def test_a_function_becomes_a_diagnostic_outside_the_registry(view):
    diagnostic = diagnostic_from_function(my_plot)
    assert isinstance(diagnostic, Diagnostic)
    assert diagnostic.name == "my_plot"
    assert diagnostic.caption == "Show the brightness of both images."
    assert "my_plot" not in DIAGNOSTICS
    title = diagnostic.draw(view).axes[0].get_title()
    assert title == f"CD070 SybrGld_microbe {SHAPE} float32"


def test_the_function_gets_the_images_side_by_side(scene):
    seen = {}

    def look(post_im, pre_im, sample, dye, save_path=None):
        seen.update(post=post_im, pre=pre_im)
        return Figure()

    diagnostic_from_function(look, caption="x").draw(make_view(scene))
    np.testing.assert_array_equal(seen["post"], scene.post)
    np.testing.assert_array_equal(seen["pre"], scene.pre)


def test_two_functions_do_not_share_their_names():
    first = diagnostic_from_function(my_plot, "first", caption="One.")
    second = diagnostic_from_function(my_plot, "second")
    assert (first.name, second.name) == ("first", "second")
    assert first.caption == "One."
    assert Diagnostic.name is None


def test_the_hash_follows_the_code():
    def other(post_im, pre_im, *, sample, dye, save_path=None):
        return Figure()

    one, same, different = (diagnostic_from_function(f, "x") for f in (my_plot, my_plot, other))
    assert one.code_hash == same.code_hash != different.code_hash
    assert len(one.code_hash) == 64


def test_it_travels_to_worker_processes(view):
    again = pickle.loads(pickle.dumps(diagnostic_from_function(my_plot, "travels")))
    assert again.name == "travels"
    assert again.draw(view).axes


def too_few(post_im, *, sample, dye):
    return Figure()


def too_many(post_im, pre_im, threshold, *, sample, dye):
    return Figure()


def no_dye(post_im, pre_im, *, sample):
    return Figure()


@pytest.mark.parametrize("func", [too_few, too_many, no_dye])
def test_a_wrong_signature_is_refused_with_the_right_one(func):
    expected = rf"{func.__name__}\(.*define it as def {func.__name__}\(post_im, pre_im, \*, sample"
    with pytest.raises(ParameterError, match=expected):
        diagnostic_from_function(func)


def test_what_is_no_figure_is_refused(view):
    broken = diagnostic_from_function(lambda post_im, pre_im, sample, dye: None, name="broken")
    with pytest.raises(
        ParameterError, match="broken must return a matplotlib Figure, got NoneType"
    ):
        broken.draw(view)


def test_names_that_cannot_be_file_names_or_are_taken():
    with pytest.raises(ParameterError, match="got '<lambda>'; give one"):
        diagnostic_from_function(lambda post_im, pre_im, sample, dye: Figure())
    with pytest.raises(ParameterError, match="'registration' is taken"):
        diagnostic_from_function(my_plot, "registration")
    with pytest.raises(ParameterError, match="a-z, 0-9 and _"):
        diagnostic_from_function(my_plot, "../escape")
