"""`exo2micro report`."""

from small_pair import DYE, SAMPLE


def folders(project):
    return ["--output-dir", project.processed, "--raw-dir", project.raw]


def test_one_pair_as_json(done, call):
    done_ = call("report", SAMPLE, DYE, *folders(done), "--json")
    assert done_.code == 0
    assert done_.document["report"] == str(done.folder / "report.html")


def test_a_pair_that_was_not_run_with_these_parameters(done, call):
    result = call("report", SAMPLE, DYE, *folders(done), "--set", "pad=100")
    assert result.code == 1
    assert "run it first: exo2micro run" in result.err


def test_one_word_is_not_enough(call):
    result = call("report", SAMPLE)
    assert result.code == 2
    assert "expected SAMPLE and DYE, or nothing" in result.err


def test_a_folder_without_results(tmp_path, call):
    result = call("report", "--output-dir", tmp_path)
    assert result.code == 1
    assert "exo2micro run" in result.err
