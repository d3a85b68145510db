"""The speaker's notes, and the bar that shows a lesson one station at a time (`notebooks/public/step.html`)."""

import json
import tomllib
from html import escape

import marimo as mo

from grpo_lessons import here
from grpo_lessons.lesson.opened import Opened


def furniture(opened: Opened) -> mo.Html:
    """What a lesson needs beside its text and does not show: the bar's script, and the notes that its window is made of.

    A notebook that was taken by itself brings its style, too.
    """
    parts = [mo.Html(f"<style>{here.read('public/lesson.css')}</style>")] if opened.is_alone else []
    if opened.has_notes and (notes := speaker_notes(opened.lesson)):
        said = [[*note["minutes"], note["ask"], note["expect"]] for note in notes]
        parts.append(
            mo.Html(f'<div class="gl-notes" hidden data-notes="{escape(json.dumps(said), quote=True)}"></div>')
        )
    if opened.has_bar:
        parts.append(_stepper())
    return mo.vstack(parts) if parts else mo.Html("")


def speaker_notes(lesson: str) -> list[dict]:
    """`notebooks/notes/LESSON.toml`: for each station, the first for the top, `title`, `minutes` in a plan of 45 and in
    one of 90 (0: left out), what to `ask` and what to `expect`.

    >>> speaker_notes("format")[3]["minutes"]
    [7, 10]
    """
    return tomllib.loads(here.read(f"notes/{lesson}.toml"))["station"]


def _stepper() -> mo.ui.anywidget:
    import anywidget

    script = here.read("public/step.html").replace("<script>", "").replace("</script>", "")

    class Stepper(anywidget.AnyWidget):
        _esm = f"{script}\nexport default {{ render() {{}} }};"

    return mo.ui.anywidget(Stepper())
