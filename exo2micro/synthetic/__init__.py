"""Synthetic pre/post pairs of stained rock with exact truth, for the demo, tests and benchmarks."""

from exo2micro.synthetic.demo import DemoPair, demo_specs, write_demo
from exo2micro.synthetic.files import write_image, write_pair
from exo2micro.synthetic.pair import SyntheticPair, SyntheticRaster, make_pair, unrelated_pair
from exo2micro.synthetic.spec import PairSpec
from exo2micro.synthetic.truth import Truth

__all__ = [
    "DemoPair",
    "PairSpec",
    "SyntheticPair",
    "SyntheticRaster",
    "Truth",
    "demo_specs",
    "make_pair",
    "unrelated_pair",
    "write_demo",
    "write_image",
    "write_pair",
]
