"""Figures of matplotlib, which comes to a page while the lesson is already in use."""

import asyncio
import threading
from collections.abc import Callable

import marimo as mo

from grpo_lessons import cards, plots

_INSTEAD = {
    "loading": "The figure that belongs here is drawn by matplotlib, which is still on its way to this page. Read on; it will come.",
    "missing": "A figure belongs here, but matplotlib, which draws it, could not be loaded into this page. All else works without it.",
}

# One figure at a time: matplotlib's settings are global, and the sessions of a server are threads of one process.
_DRAWING_ONE = threading.Lock()


def load_drawing(publish: Callable[[str], None]) -> None:
    """Fetch matplotlib into the page while the lesson is already in use; publish "ready" or "missing"."""

    async def load() -> None:
        import pyodide_js

        await asyncio.sleep(1)  # the page's first outputs go first
        try:
            await pyodide_js.loadPackage("matplotlib")
            import matplotlib.figure  # noqa: F401
        except Exception:  # no such package, no network, no memory: what a browser may do has no common type
            publish("missing")
        else:
            publish("ready")

    mo.Thread(target=load).start()


def figure(drawing: str, draw: Callable, *data) -> mo.Html:
    """A figure of `plots`, or while there is no matplotlib ("loading", "missing") a word on it in its place."""
    if drawing == "ready":
        with _DRAWING_ONE:
            return mo.Html(plots.to_svg(draw(*data)))
    return mo.Html(cards.page(f'<p class="note">{_INSTEAD[drawing]}</p>'))
