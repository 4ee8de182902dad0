"""Custom functions in a run: extra stages, plots, scale estimators and readers from the store."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from small_pair import DYE, SAMPLE, SPEC, Project

from exo2micro import SampleDye, run_batch
from exo2micro.cli import main
from exo2micro.custom import CustomFunctionManager
from exo2micro.custom.step import FunctionStep
from exo2micro.defaults import STAGE_NAMES
from exo2micro.errors import (
    ConfigError,
    CustomStageError,
    InsufficientMemoryError,
    ParameterError,
    UnknownFunctionError,
)
from exo2micro.suffix import params_from_suffix
from exo2micro.synthetic import unrelated_pair, write_image

DENOISE = '''
@numpy(halo=lambda sigma: 4 * sigma + 1)
def denoise(image, sigma: float = 1.0):
    """Smooth the image."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(image.astype(np.float32), (0, sigma, sigma))
    return smooth, {"mean": smooth.mean()}
'''


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The store that all runs of this module use; holds the function ``denoise``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXO2MICRO_CUSTOM_DIR", str(tmp_path_factory.mktemp("store")))
        manager = CustomFunctionManager()
        manager.register_from_code(DENOISE)
        yield manager


@pytest.fixture(scope="module")
def place(narrow, tmp_path_factory, store) -> Project:
    """A copy of a finished project in which all runs of this module leave their files."""
    root = tmp_path_factory.mktemp("slots") / "project"
    shutil.copytree(narrow.root, root)
    return Project(root, SPEC)


def started(place: Project, *steps: str, **options) -> SampleDye:
    return SampleDye(SAMPLE, DYE, **place.dirs(), stages=steps, **options)


def image_of(run: SampleDye, number: int, name: str) -> np.ndarray:
    return run._load_image(number, name)


def own_image(result, kind: str = "tiff") -> np.ndarray:
    import tifffile

    (path,) = (p for p in result["custom_stages"][0]["files"] if p.parent.name == kind)
    return tifffile.imread(path)


@pytest.fixture(scope="module")
def after_3(place):
    """A run with an extra stage after stage 3, and its result."""
    run = started(place)
    run.add_stage("denoise", after=3, applies_to="pre", sigma=2.0)
    return run, run.run()


# -- what an extra stage does


def test_it_belongs_to_its_stage_and_shifts_no_number(after_3):
    _, result = after_3
    assert [(row["number"], row["title"]) for row in result["stages"]] == [
        (1, "read and pad"),
        (2, "coarse alignment"),
        (3, "interior alignment"),
        (3, "denoise(sigma=2.0) on pre"),
        (4, "scale and difference"),
    ]
    assert list(STAGE_NAMES.values())[:3] == ["padded", "icp_aligned", "interior_aligned"]


def test_only_what_follows_is_computed(after_3):
    actions = {row["title"]: row["action"] for row in after_3[1]["stages"]}
    assert actions["interior alignment"] == "cached"
    assert actions["denoise(sigma=2.0) on pre"] == actions["scale and difference"] == "run"


def test_after_3_stage_4_reads_the_result(after_3):
    from scipy.ndimage import gaussian_filter

    run, result = after_3
    record = run._store.record("03_interior_aligned_pre", "_pad40")
    row, col = record.facts["offset"]
    ny, nx = record.facts["post_shape"]
    window = slice(row, row + ny), slice(col, col + nx)
    pre = image_of(started_without(run), 3, "pre")[window]
    smooth = own_image(result)[window]
    valid = smooth != 0
    expected = gaussian_filter(pre.astype(np.float32), 2.0)
    np.testing.assert_allclose(smooth[valid], expected[valid], rtol=1e-5)
    records = run._store.paths.records
    suffix = result["difference"]["fits"].stem.removeprefix("04_difference_difference")
    read = json.loads((records / f"04_difference_difference{suffix}.json").read_text())["inputs"]
    made = json.loads((records / f"03_denoise_pre{suffix}.json").read_text())
    assert read["3 pre"] == made["fingerprint"] != record.fingerprint
    assert made["inputs"] == {"3 pre": record.fingerprint}


def started_without(run: SampleDye) -> SampleDye:
    return SampleDye(SAMPLE, DYE, run.output_dir, run.raw_dir)


def test_where_noise_is_altered_the_verdict_is_check_and_the_header_says_so(after_3, narrow):
    _, result = after_3
    assert result["verdict"] == "CHECK"
    assert "denoise after stage 3 alters the noise" in result["reason"]
    header = fits.getheader(result["difference"]["fits"])
    assert header["SNRCAL"] is False
    plain = SampleDye(SAMPLE, DYE, **narrow.dirs()).run()
    assert plain["verdict"] == "PASS"
    assert "SNRCAL" not in fits.getheader(plain["difference"]["fits"])
    with fits.open(result["difference"]["fits"]) as hdus:
        assert hdus["SNR"].header["SNRCAL"] is False


def test_names_bear_a_token_from_the_stage_on(after_3, place):
    _, result = after_3
    token = f"_pad40_+denoise-{result['custom_stages'][0]['hash'][:8]}"
    (own,) = result["custom_stages"][0]["files"]
    assert own.name == f"03_denoise_pre{token}.tiff"
    assert result["difference"]["fits"].name == f"04_difference_difference{token}.fits"
    assert all(path.stem.endswith(token) for path in result["diagnostics"].values())
    assert (place.folder / "tiff" / "03_interior_aligned_pre_pad40.tiff").exists()
    assert not list(place.folder.glob(f"tiff/03_interior*{token}*"))
    assert params_from_suffix(token)["custom_stages"] == [("denoise", token[-8:])]


def test_record_and_header_tell_the_code(after_3, store):
    run, result = after_3
    function = store.get("denoise")
    for base in ("03_denoise_pre", "04_difference_difference"):
        suffix = result["difference"]["fits"].stem.removeprefix("04_difference_difference")
        text = run._store.paths.record(base, suffix).read_text()
        (told,) = json.loads(text)["custom_stages"]
        assert (told["name"], told["sha256"], told["code"]) == (
            "denoise",
            function.sha256,
            function.code,
        )
        assert told["parameters"] == {"sigma": 2.0}
    header = fits.getheader(result["difference"]["fits"])
    assert header["CUST1"] == f"denoise-{told['hash'][:8]}"
    assert header["CSHA1"] == function.sha256
    assert any("sigma = 2.0" in line for line in header["HISTORY"])


def test_explain_tells_it(after_3, capsys):
    (path,) = after_3[1]["custom_stages"][0]["files"]
    assert main(["explain", str(path)]) == 0
    assert "after stage 3 on pre, sigma 2" in capsys.readouterr().out


def test_what_the_function_tells_is_in_the_result(after_3):
    (metrics,) = after_3[1]["custom_stages"][0]["metrics"]
    assert metrics["function"]["halo_px"] == 9
    assert all(told["mean"] > 0 for told in metrics["function"]["metadata"].values())


def test_plan_status_and_parameters_show_it(after_3):
    run, _ = after_3
    assert {row.action for row in run.plan()} == {"cached"}
    (row,) = (r for r in run.status().rows if r["title"] == "denoise(sigma=2.0) on pre")
    assert (row["stage"], row["state"], row["verdict"]) == (3, "valid", "CHECK")
    assert row["files"].startswith("03_denoise_pre_pad40_+denoise-")
    shown = {r["parameter"]: r for r in run.explain_params(3).rows}
    assert (shown["+denoise.sigma"]["value"], shown["+denoise.sigma"]["default"]) == (2.0, 1.0)
    assert "denoise:after=3,applies_to=pre,sigma=2.0" in repr(run)


def test_a_second_run_computes_nothing_and_a_forced_one_gives_the_same_bytes(after_3, place):
    run, result = after_3
    paths = [*result["custom_stages"][0]["files"], *result["difference"].values()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    again = run.run()
    assert {row["action"] for row in again["stages"]} == {"cached"}
    assert {p: p.stat().st_mtime_ns for p in paths} == {p: t for p, (_, t) in before.items()}
    run.threads = 1
    forced = run.run(from_stage=3)
    assert [row["action"] for row in forced["stages"]][2:] == ["run", "run", "run"]
    assert {path: path.read_bytes() for path in paths} == {p: b for p, (b, _) in before.items()}


def test_a_damaged_checkpoint_is_made_anew(after_3):
    run, result = after_3
    (path,) = result["custom_stages"][0]["files"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    reasons = {row.title: row.reason for row in run.plan()}
    assert path.name in reasons["denoise(sigma=2.0) on pre"]
    assert run.run()["verdict"] == "CHECK"
    assert path.read_bytes() == whole


def test_other_code_or_values_never_share_a_file(after_3, place, store):
    first = {p.name for p in (place.folder / "tiff").iterdir()}
    started(place, "denoise:sigma=3").run(to_stage=3)
    store.register_from_code(DENOISE.replace("Smooth the image", "Smooth the image more"))
    try:
        plan = {row.title: row.action for row in started(place, "denoise:sigma=2").plan()}
        assert plan["denoise(sigma=2.0) on pre"] == "run"
        started(place, "denoise:sigma=2").run(to_stage=3)
    finally:
        store.register_from_code(DENOISE)
    new = {p.name for p in (place.folder / "tiff").iterdir()} - first
    assert len({name.partition("+")[2] for name in new}) == 2
    assert started(place, "denoise:sigma=2").plan()[3].action == "cached"


def test_a_name_means_the_version_current_when_the_run_starts(place, store):
    def edit(event):
        if event.state == "start" and "denoise" in event.title:
            store.register_from_code(DENOISE.replace("Smooth the", "Blur the"))

    before = store.get("denoise").sha256
    try:
        result = started(place, "denoise:sigma=1.25").run(to_stage=3, progress=edit)
        assert store.get("denoise").sha256 != before
    finally:
        store.register_from_code(DENOISE)
    assert result["custom_stages"][0]["sha256"] == before


def test_an_unknown_function_fails_before_any_stage_with_near_names(project, store):
    run = started(project, "denoize:after=3")
    with pytest.raises(UnknownFunctionError, match="denoise"):
        run.run()
    assert not project.processed.exists()
    with pytest.raises(ParameterError, match="denoise: .*sigm.*sigma"):
        started(project, "denoise:sigm=3").run()
    assert not project.processed.exists()


def test_a_stage_that_the_run_does_not_have_cannot_be_followed(place, monkeypatch):
    monkeypatch.setitem(STAGE_NAMES, 9, "elsewhere")
    with pytest.raises(ParameterError, match="denoise follows stage 9, which this run does not"):
        started(place, "denoise:after=9").plan()


def test_after_1_later_stages_resample_the_result(place):
    result = started(place, "denoise:after=1,applies_to=pre,sigma=1.5").run(to_stage=3)
    assert [row["action"] for row in result["stages"]] == ["cached", "run", "run", "run"]
    token = result["custom_stages"][0]["hash"][:8]
    names = {p.name for p in (place.folder / "tiff").glob(f"*{token}*")}
    assert {name[:2] for name in names} == {"01", "02", "03"}
    smooth = image_of(started(place, "denoise:after=1,sigma=1.5"), 3, "pre")
    sharp = image_of(started(place), 3, "pre")
    assert 0.9 < smooth.mean() / sharp.mean() < 1.1
    assert np.abs(np.diff(smooth, axis=0)).sum() < 0.7 * np.abs(np.diff(sharp, axis=0)).sum()


def test_after_2_only_the_matching_of_stage_3_sees_the_result(place):
    run = started(place, "denoise:after=2,applies_to=pair")
    result = run.run(to_stage=3)
    assert [row["action"] for row in result["stages"]] == ["cached", "cached", "run", "run"]
    assert result["verdict"] == "PASS"
    assert any("those as measured certify it" in message for message in result["messages"])
    points = np.array([[140.0, 140.0], [540.0, 440.0]])
    apart = run.transform()(points) - started(place).transform()(points)
    assert 0 < np.abs(apart).max() < 0.3
    sharp, matched = image_of(started(place), 3, "pre"), image_of(run, 3, "pre")
    assert np.abs(np.diff(matched, axis=0)).sum() > 0.9 * np.abs(np.diff(sharp, axis=0)).sum()


def test_after_4_it_has_a_checkpoint_of_its_own(place):
    result = started(place, "denoise:after=4").run()
    (own,) = result["custom_stages"][0]["files"]
    assert own.name.startswith("04_denoise_difference_pad40_+denoise-")
    assert result["difference"]["fits"].name == "04_difference_difference_pad40.fits"
    assert result["verdict"] == "PASS"
    actions = {row["title"]: row["action"] for row in result["stages"]}
    assert actions["scale and difference"] == "cached"
    record = json.loads((place.folder / "records" / f"{own.stem}.json").read_text())
    assert record["verdict"]["level"] == "CHECK"
    plain = image_of(started(place), 4, "difference")
    assert (own_image(result)[plain == 0] == 0).all()


def test_a_difference_that_is_withheld_withholds_what_follows(project, store):
    (project.root / "exo2micro.toml").write_text("pad = 40\n")
    post, _ = unrelated_pair(SPEC)
    write_image(post, next((project.raw / SAMPLE).glob("*PostStain*.tif")), SPEC)
    for options in ({}, {"keep_failed": True}, {}):
        result = started(project, "denoise:after=4").run(**options)
        assert result["verdict"] == "FAIL"
        assert result["custom_stages"][0]["files"] == []
    assert started(project, "denoise:after=4").plan()[-1].action == "withheld"


def test_steps_follow_one_another(place):
    run = started(place, "denoise:sigma=1", "denoise:sigma=2")
    result = run.run(to_stage=3)
    first, second = (step["files"][0].stem for step in result["custom_stages"])
    assert second.startswith(first)
    assert [row["title"] for row in result["stages"]][-2:] == [
        "denoise(sigma=1.0) on pre",
        "denoise(sigma=2.0) on pre",
    ]


def test_an_error_of_the_function_names_line_and_text_and_leaves_the_rest(place, store):
    store.register_from_code(
        "@numpy\ndef breaks(image):\n    if image.shape[1] > 300:\n        raise ValueError(7)\n"
        "    return image\n"
    )
    with pytest.raises(CustomStageError, match=r"breaks failed in line 4, `raise ValueError\(7\)`"):
        started(place, "breaks").run()
    assert {row.action for row in started(place).plan()} == {"cached"}


def test_a_function_of_a_script_is_added_by_a_decorator(place):
    run = started(place)

    @run.add_stage(after=3, applies_to="post", offset=3)
    def brighter(image, offset: int = 1):
        return image + np.float32(offset)

    assert brighter(np.ones((1, 2, 2), np.float32)).max() == 2
    result = run.run(to_stage=3)
    ours, plain = own_image(result), image_of(run, 1, "post")
    assert set(np.unique(ours.astype(float) - plain)) == {0.0, 3.0}
    assert result["custom_stages"][0]["parameters"] == {"offset": 3}


def test_the_memory_check_counts_it(place, store, monkeypatch):
    store.register_from_code("@numpy\ndef whole(image):\n    return image\n")
    from exo2micro.execution import preflight

    run = started(place, "whole")
    plain = preflight.estimate_pipeline_memory((640, 720))
    monkeypatch.setattr(preflight, "get_available_memory", lambda: plain + 10_000_000)
    with pytest.raises(InsufficientMemoryError, match="not enough memory"):
        run.run()
    monkeypatch.setattr(preflight, "get_available_memory", lambda: plain + 12_000_000)
    run.run(to_stage=3)


def test_configuration_files_add_stages(place, capsys):
    file = place.root / "exo2micro.toml"
    file.write_text('pad = 40\n[[stages]]\nfunction = "denoise"\nafter = 4\nsigma = 2\n')
    try:
        (step,) = started(place)._extras.steps
        assert step == FunctionStep("denoise", {"sigma": 2}, 4)
        (row,) = (r for r in started(place).explain_params(4).rows if "+" in r["parameter"])
        assert (row["value"], row["source"]) == (2.0, f"project file {file}:2")
        assert main(["params", "--sources", "--raw-dir", str(place.raw)]) == 0
        assert "+denoise.sigma" in capsys.readouterr().out
        file.write_text('pad = 40\n[[stages]]\nfunction = "denoise"\nafter = 7\n')
        with pytest.raises(ConfigError, match=r"exo2micro.toml:2: after must be one of"):
            started(place)
    finally:
        file.write_text("pad = 40\n")


# -- plots, estimators, readers

PLOTS = '''
@diagnostic(caption="Brightness of post.")
def brightness(post_im, pre_im, *, sample, dye, save_path=None):
    """Histogram."""
    from matplotlib.figure import Figure

    fig = Figure()
    fig.subplots().hist(post_im.ravel(), bins=20)
    fig.suptitle(f"{sample} {dye} {post_im.shape} {pre_im.dtype}")
    return fig


@diagnostic(caption="Never.")
def broken_plot(post_im, pre_im, *, sample, dye, save_path=None):
    from matplotlib.figure import Figure

    if sample == "CD070":
        raise RuntimeError("no ink")
    return Figure()
'''


def test_a_plot_of_the_store_is_drawn_and_a_failing_one_costs_nothing(place, store, capsys):
    store.register_from_code(PLOTS)
    try:
        told = []
        result = started(place).run(progress=told.append)
        assert result["diagnostics"]["brightness"].name == "brightness_pad40.png"
        assert result["diagnostics"]["brightness"].exists()
        assert result["verdict"] == "PASS"
        assert "broken_plot" not in result["diagnostics"]
        assert any("no ink" in event.message for event in told)
        (row,) = (r for r in started(place).status().rows if r["title"] == "diagnostics")
        assert "brightness_pad40.png" in row["files"]
        assert "broken_plot" in row["reason"]
        assert main(["explain", str(result["diagnostics"]["brightness"])]) == 0
        assert "Brightness of post." in capsys.readouterr().out
    finally:
        store.remove_function("brightness")
        store.remove_function("broken_plot")


@pytest.mark.parametrize("full", [False, True])
def test_plots_get_overviews_unless_they_ask_for_more(full):
    from matplotlib.figure import Figure

    from exo2micro.plotting.base import PairView
    from exo2micro.plotting.user import drawn_by
    from exo2micro.raster.base import ArrayRaster

    shapes = []

    def note(post_im, pre_im, *, sample, dye):
        shapes.append((post_im.shape, pre_im.shape))
        return Figure()

    image = ArrayRaster(np.zeros((3000, 2000), np.uint8))
    window = slice(100, 2900), slice(0, 2000)
    nothing = dict.fromkeys(("coarse", "before", "difference", "valid"), image)
    nothing |= {name: {} for name in ("records", "params")}
    view = PairView("s", "d", image, image, window=window, scales=(), **nothing)
    drawn_by(note, "note", view, full_resolution=full)
    ((post, pre),) = shapes
    assert post == pre
    assert (post == (2800, 2000)) is full
    assert full or post[0] * post[1] <= 4e6


def test_the_memory_check_counts_plots_at_full_resolution(store, place):
    from exo2micro.execution.extras import custom_bytes

    assert custom_bytes(started(place)._new_runner(), [], (30_000, 25_000)) == 0
    code = PLOTS.partition("\n\n\n")[0].replace('post.")', 'post.", full_resolution=True)')
    store.register_from_code(code)
    try:
        assert custom_bytes(started(place)._new_runner(), [], (30_000, 25_000)) > 10e9
    finally:
        store.remove_function("brightness")


def test_a_scale_estimator_of_the_store(place, store):
    store.register_from_code(
        "@scale_estimator\ndef my_median(post, pre):\n"
        "    return float(np.median(post) / np.median(pre))\n"
    )
    try:
        result = started(place, params={"extra_estimators": "my_median"}).run()
        _, mine = result["scales"]
        low, high = mine["interval"]
        assert mine["name"] == "my_median"
        assert mine["scale"] == pytest.approx(SPEC.ratio, rel=0.02)
        assert low < mine["scale"] < high
        assert (place.folder / "fits").glob("04_difference_difference_my_median*")
        store.register_from_code(
            "@scale_estimator\ndef my_median(post, pre):\n    return float(np.mean(post / pre))\n"
        )
        row = started(place, params={"extra_estimators": "my_median"}).plan()[-1]
        assert (row.action, row.reason) == ("run", "code changed: my_median")
    finally:
        store.remove_function("my_median")


def test_a_reader_of_the_store(project, store):
    store.register_from_code(
        '@reader(suffixes=(".xyz",))\ndef read_xyz(path, page=None):\n'
        "    return np.load(path, allow_pickle=False)\n"
    )
    import tifffile

    try:
        for path in (project.raw / SAMPLE).glob("*.tif*"):
            with path.with_suffix(".xyz").open("wb") as file:
                np.save(file, tifffile.imread(path))
            path.unlink()
        result = run_batch(**project.dirs(), to_stage=1)
        assert [r["status"] for r in result] == ["complete"]
        record = json.loads(next((project.folder / "records").glob("01*")).read_text())
        assert record["code"] == {"read_xyz": store.get("read_xyz").sha256}
    finally:
        store.remove_function("read_xyz")
