"""The pages around the lessons, made of the templates in `pages/`."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(page: str, **words) -> str:
    """A page with its words put in, escaped; what is HTML already is marked so in the template, by `| safe`."""
    return _templates().get_template(page).render(words)


@cache
def _templates() -> Environment:
    folder = FileSystemLoader(Path(__file__).parent / "pages")
    return Environment(loader=folder, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
