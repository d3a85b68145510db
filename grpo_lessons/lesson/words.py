"""What a cell shows: prose, cards and elements under each other, and callouts in words that a reader or a library wrote."""

import inspect
from html import escape
from itertools import groupby

import marimo as mo

from grpo_lessons import cards


def show(*parts: str | mo.Html | None) -> mo.Html:
    """Under each other: prose in Markdown; what `cards` and `curves` make, HTML that begins with a tag; elements.

    None is left out.
    """

    def kind(part) -> str:
        return "element" if not isinstance(part, str) else "html" if part.startswith("<") else "prose"

    shown = []
    for each, group in groupby((part for part in parts if part is not None), kind):
        if each == "html":
            shown.append(mo.Html(cards.page(*group)))
        else:
            shown += [mo.md(inspect.cleandoc(part)) if each == "prose" else part for part in group]
    if len(shown) == 1:
        return shown[0]
    return mo.Html(
        "".join(f"<div class='gl-part'>{part.text}</div>" for part in shown)
    )  # a flexbox keeps margins apart


def fold(title: str, *parts: str | mo.Html | None) -> mo.Html:
    """The same, folded under a title. It stays unfolded when what is in it changes, as an accordion of marimo's does not."""
    return mo.Html(f"<details><summary>{escape(title)}</summary>{show(*parts).text}</details>")


def unseen(text: str) -> str:
    """A label that is heard and not seen, of a field whose place says what it is.

    >>> unseen("answer 1").endswith("answer 1</span>")
    True
    """
    hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap"
    return f'<span style="{hidden}">{escape(text)}</span>'


def row(*elements: mo.Html) -> mo.Html:
    """Elements beside each other, under each other where it is narrow."""
    return mo.hstack(elements, justify="start", gap=1.5, wrap=True)


def good(words: str) -> mo.Html:
    """Something has been done."""
    return _callout(words, "success")


def warn(words: str) -> mo.Html:
    """Something should be changed first."""
    return _callout(words, "warn")


def failed(words: str) -> mo.Html:
    """Something went wrong: a sentence of `training.explain`."""
    return _callout(words, "danger")


def _callout(words: str, kind: str) -> mo.Html:
    """No tag in the words becomes one of the page."""
    return mo.callout(mo.md(words.replace("<", "‹")), kind=kind)
