from dataclasses import fields

import numpy as np
import pytest

from exo2micro.alignment.coarse import CoarseSettings
from exo2micro.alignment.functions import align, refine_interior_sift, register_highorder
from exo2micro.alignment.interior import InteriorSettings
from exo2micro.alignment.settings import RULES
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ParameterError

BLANK = np.zeros((100, 100), np.uint8)


@pytest.mark.parametrize("kind", [CoarseSettings, InteriorSettings])
def test_defaults_and_rules_are_those_of_the_parameters(kind):
    for entry in fields(kind):
        row = PARAMETER_REGISTRY[entry.name]
        assert row.default == entry.default
        rule = RULES.get(entry.name, {})
        assert row.bounds == rule.get("bounds", (None, None))
        assert row.choices == rule.get("choices", ())


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (CoarseSettings, {"angle_step": 0}),
        (CoarseSettings, {"scale_step": 0.0}),
        (CoarseSettings, {"angle_range": -5}),
        (CoarseSettings, {"scale_min": 1.2, "scale_max": 0.8}),
        (CoarseSettings, {"down_scale": 50}),
        (CoarseSettings, {"use_edges": "no"}),
        (InteriorSettings, {"interior_blur_base": np.nan}),
        (InteriorSettings, {"interior_blur_base": 0}),
        (InteriorSettings, {"deformation": "bogus"}),
    ],
)
def test_a_value_that_is_not_allowed_is_named(kind, given):
    with pytest.raises(ParameterError, match=f"{next(iter(given))} must"):
        kind(**given)


def test_the_array_functions_name_an_unknown_keyword_and_a_wrong_number_of_threads():
    for function in (register_highorder, refine_interior_sift):
        with pytest.raises(ParameterError, match="unknown setting 'anglerange'"):
            function(BLANK, BLANK, anglerange=3)
    with pytest.raises(ParameterError, match="threads must be a whole number >= 1, got 0"):
        align(BLANK, BLANK, threads=0)
