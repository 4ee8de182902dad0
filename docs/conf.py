"""Sphinx configuration; the tables come from the code (see `_generate.py`)."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _generate import write_pages  # noqa: E402

from exo2micro import __version__  # noqa: E402

project = "exo2micro"
author = "The exo2micro developers"
copyright = "2026, The exo2micro developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "generated"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# Names of other packages and of private helpers in docstrings are not linked.
nitpick_ignore_regex = [("py:.*", r"(?!exo2micro\.).*")]

html_theme = "furo"
html_title = f"exo2micro {release}"
html_show_sourcelink = False

write_pages(HERE / "generated")
