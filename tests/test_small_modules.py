"""Verdicts, tables, paths, preflight figures and the tally of a difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exo2micro.defaults import DEFAULTS
from exo2micro.errors import InsufficientMemoryError, ParameterError
from exo2micro.execution import preflight
from exo2micro.raster.paths import LONGEST_NAME_BYTES, PairPaths, base_name, is_hashed
from exo2micro.subtraction.quality import DQ
from exo2micro.subtraction.tally import DifferenceTally
from exo2micro.tables import Table
from exo2micro.verdict import Level, Verdict

verdicts = st.builds(
    Verdict,
    st.sampled_from(Level),
    st.lists(st.text(min_size=1, max_size=5), max_size=2).map(tuple),
)


@given(st.lists(verdicts, max_size=5))
def test_worst_verdict_keeps_every_reason(parts):
    worst = Verdict.worst(parts)
    assert worst.level == max((v.level for v in parts), default=Level.PASS)
    assert set(worst.reasons) == {r for v in parts for r in v.reasons}


def test_status_words():
    assert Verdict().status == "complete"
    assert Verdict.check("dim").status == "complete, check: dim"
    assert Verdict.fail("lost").status == "failed: lost"
    assert Verdict.worst([Verdict.check("dim"), Verdict.fail("lost")]).status == "failed: lost; dim"


def test_table_is_aligned_and_escapes_html():
    table = Table([{"a": 1, "bb": None}, {"a": 22.123456, "bb": "<x>"}], "title", "footer")
    assert str(table).splitlines() == ["title", "a       bb", "1       -", "22.123  <x>", "footer"]
    assert "&lt;x&gt;" in table._repr_html_()
    assert str(Table([])) == ""


def test_long_suffix_becomes_one_hash(tmp_path):
    paths = PairPaths(tmp_path, "s", "d")
    base = base_name(2, "icp_aligned", "pre")
    assert paths.image("tiff", base, "_bw20").name == "02_icp_aligned_pre_bw20.tiff"
    long_suffix = "_x" * 200
    stem = paths.stem(base, long_suffix)
    assert is_hashed(stem)
    assert len(stem) <= LONGEST_NAME_BYTES
    assert stem != paths.stem(base, long_suffix + "_y")
    assert not is_hashed("02_icp_aligned_pre_bw20")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b"])
def test_names_that_are_no_folder(tmp_path, name):
    with pytest.raises(ParameterError, match="plain folder name"):
        PairPaths(tmp_path, name, "d")


def test_preflight_counts_the_border_and_more_differences(tmp_path):
    small = preflight.preflight_check((500, 600), (500, 600), DEFAULTS | {"pad": 0}, tmp_path)
    padded = preflight.preflight_check((500, 600), (500, 600), DEFAULTS, tmp_path)
    manual = preflight.preflight_check(
        (500, 600), (500, 600), DEFAULTS | {"manual_scale": 2.0}, tmp_path
    )
    assert padded.memory_bytes > small.memory_bytes
    assert padded.disk_bytes == small.disk_bytes
    assert manual.disk_bytes > padded.disk_bytes
    assert padded.ok
    assert "memory: about" in padded.lines()[0]


def test_preflight_knows_depth_and_threads(tmp_path):
    def report(**more):
        shape = (2000, 2000)
        return preflight.preflight_check(shape, shape, DEFAULTS, tmp_path, **more)

    assert report(bits=16).disk_bytes > 1.2 * report().disk_bytes
    assert report(bits=8).memory_bytes < report(bits=12).memory_bytes < report(bits=64).memory_bytes
    assert report(threads=8).memory_bytes > report(threads=2).memory_bytes
    assert report(threads=1).memory_bytes == report(threads=2).memory_bytes


def test_preflight_counts_only_the_stages_that_run(tmp_path):
    def report(*stages):
        shape = (2000, 2000)
        return preflight.preflight_check(shape, shape, DEFAULTS, tmp_path, stages=stages)

    every, last, first = report(1, 2, 3, 4), report(4), report(1)
    assert last.memory_bytes == every.memory_bytes > first.memory_bytes
    parts = [report(n) for n in (1, 2, 3, 4)]
    assert every.disk_bytes == pytest.approx(sum(p.disk_bytes for p in parts), abs=4)
    assert every.seconds == pytest.approx(sum(p.seconds for p in parts))
    assert min(p.disk_bytes for p in parts) > 0


def test_preflight_refuses_what_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "get_available_memory", lambda: 10**8)
    report = preflight.preflight_check((500, 600), (500, 600), DEFAULTS, tmp_path / "new" / "er")
    assert not report.ok
    with pytest.raises(InsufficientMemoryError, match=r"100\.0 MB available.*force_run"):
        preflight.require(report)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")],
)
def test_format_bytes(number, text):
    assert preflight.format_bytes(number) == text


@settings(max_examples=20)
@given(st.floats(0.05, 500), st.floats(-100, 100), st.integers(0, 5))
def test_tally_measures_a_gaussian(sigma, centre, seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(centre, sigma, (300, 200)).astype(np.float32)
    quality = np.zeros(data.shape, np.uint8)
    quality[:10] = DQ.NO_OVERLAP
    data[:10] = 0
    tally = DifferenceTally(data.size)
    for start in (0, 120):
        rows = slice(start, start + 120 if start == 0 else 300)
        tally.add({"data": data[rows], "DQ": quality[rows]})
    tally.add({})
    summary = tally.summary()
    assert summary["pixels"] == data.size - 2000
    assert summary["no_overlap"] == 2000
    bin_width = 0.01 + 0.002 * abs(centre)
    assert summary["background_sigma"] == pytest.approx(sigma, rel=0.03, abs=bin_width)
    assert summary["median"] == pytest.approx(centre, abs=0.03 * sigma + bin_width)
    assert summary["minimum"] == data.min()


def test_tally_of_nothing():
    tally = DifferenceTally(100)
    assert tally.summary()["background_sigma"] is None
    assert tally.summary()["minimum"] is None
