"""Where this runs, and where the course's files lie: on a disk, or beside a web page."""

import sys
from pathlib import Path

IN_PAGE = sys.platform == "emscripten"  # in a web page, by Pyodide: no torch, no disk, no threads

_BESIDE, _INSIDE = (Path(__file__).parents[i] / "notebooks" for i in (1, 0))
IS_INSTALLED = _INSIDE.exists()  # from a wheel, which has the notebooks inside the package
NOTEBOOKS = _INSIDE if IS_INSTALLED else _BESIDE


def read(name: str, path: Path | None = None) -> str:
    """A text file of `notebooks/`, such as "public/format_learns.json"; in a page it is waited for, as a disk is.

    `path`: where the file lies on a disk, if not there.
    """
    if IN_PAGE:
        from pyodide.http import open_url

        return open_url(beside(name)).read()
    return (path or NOTEBOOKS / name).read_text(encoding="utf-8")


def beside(name: str) -> str:
    """The address of a file of `notebooks/` in a page: Python knows its own, also in a worker that has no place."""
    from pyodide_js import _api

    return f"{_api.config.indexURL}../{name}"
