"""From a template and values to one self-contained HTML file."""

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from exo2micro._version import __version__
from exo2micro.raster.atomic import write_text_atomically

_FOLDER = "templates"


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Write a page; everything that is not marked as HTML is escaped.

    Parameters
    ----------
    path : Path
        The HTML file.
    template : str
        Name of the template.
    values : mapping
        What the template shows.
    """
    write_text_atomically(path, page_text(template, values))


def page_text(template: str, values: Mapping[str, Any]) -> str:
    """Return the text of a page."""
    return _environment().get_template(template).render(**values, version=__version__)


@functools.cache
def _environment() -> jinja2.Environment:
    """Return the templates; an unknown name in one of them is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("exo2micro.report", _FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["own_file"] = _own_file
    return environment


def _own_file(name: str) -> Markup:
    """Return a style sheet or script of this package as it is: it is not to be escaped."""
    file = resources.files("exo2micro.report") / _FOLDER / name
    return Markup(file.read_text(encoding="utf-8"))
