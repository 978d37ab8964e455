"""Reports as one HTML page that needs nothing but itself."""

from __future__ import annotations

import functools
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from fcbackends.report.layout import Document


def to_html(document: Document) -> str:
    """A report as a page: light or dark as the reader likes it, from 390 pixels wide on."""
    return _template().render(document=document, svg=Markup)


@functools.cache
def _template() -> Template:
    source = resources.files("fcbackends.report").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)
