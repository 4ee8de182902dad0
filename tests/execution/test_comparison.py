"""What a comparison does about variants that go wrong; real ones are run in tests/cli."""

import pytest

from exo2micro import SampleDye
from exo2micro.errors import ParameterError, RegistrationError
from exo2micro.execution.comparison import compare_variants


class Broken:
    """A run that always ends in an error."""

    sample, dye = "CD070", "DAPI"

    def run(self):
        msg = "too small"
        raise RegistrationError(msg)


def test_an_error_of_a_variant_is_a_row():
    rows = []
    grid = {"pad": [1, 2], "manual_scale": [None]}
    table = compare_variants(Broken(), lambda changes: Broken(), grid, rows.append)
    assert [row["status"] for row in table] == ["error: too small"] * 2
    assert [(row["pad"], row["manual_scale"]) for row in table] == [(1, None), (2, None)]
    assert len(rows) == 2
    assert table.sheet is None
    assert "CD070 / DAPI: pad, manual_scale" in str(table)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"pda": [1, 2]}, "did you mean pad"),
        ({"pad": []}, "pad has no values to compare"),
        ({"pad": [1, -1]}, "pad must be"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(grid, words, tmp_path):
    run = SampleDye("a", "b", tmp_path / "processed", tmp_path / "raw")
    with pytest.raises(ParameterError, match=words):
        run.sweep(grid)
    assert list(tmp_path.iterdir()) == []
