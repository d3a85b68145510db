"""Ask it in the page: a question, and what the pocket model replies before and after GRPO, sampled by the browser itself.

The model runs in a worker of the page (`pocket/ask.js`), so that it does where there is no torch, and no server is asked.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import marimo as mo

from grpo_lessons import cards, here, pocket
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import failed, show
from grpo_lessons.pocket import scripts
from grpo_lessons.rewards import AnswerReward, Reward


class Tryout:
    """The pocket model, before and after a recorded training, to be asked.

    Args:
        opened: how the lesson was opened.
        question: what stands in the field at first.
        adapter: the name of a run that left its adapter, such as "format_learns" (see `notebooks.record`).
        location: of the notebook; in a web page something whose str() is its address.
        learnt: gives what the reader's own last training has learnt, if there is one.
    """

    def __init__(
        self,
        opened: Opened,
        question: str,
        adapter: str,
        location: object,
        learnt: Callable[[], bytes | None] = lambda: None,
    ):
        self.opened, self.question, self.adapter, self.location = opened, question, adapter, location
        self.learnt = learnt

    def button(self) -> mo.ui.run_button:
        """What loads the model. In marimo it must be a variable of the notebook."""
        return mo.ui.run_button(label="Load the model into this page (2 MB)")

    def invite(self, button: mo.ui.run_button, words: str) -> mo.Html:
        """The button under a word on which model it loads, and on what there will be to see."""
        return show(f"{_ASK}{words}", button)

    async def widget(self, pressed: bool) -> mo.Html | None:
        """The field and the replies; in a page, what it needs of Python is fetched first. A sentence where that fails.

        Its value is a dict: `value["replies"]` is empty until all replies are there, then {"question": str, "before":
        [{"text": str, "tokens": int}, …], "after": the same}; the end token is one of the tokens if it was sampled.
        """
        if not pressed:
            return None
        learnt = self.learnt()
        files = {"adapter": learnt or f"{self.adapter}.safetensors"}
        return await engine_widget("ask", self.opened, self.location, files, question=self.question, replies={})


async def engine_widget(
    name: str, opened: Opened, location: object, files: dict[str, str | bytes], **traits: str | dict | list
) -> mo.Html:
    """A widget of `pocket` that has the model: its files from a disk, or where there is none, fetched by the page itself.

    `files`: what it needs besides, by the name that it has there: a file of `notebooks/public`, or bytes. A sentence where
    it cannot be made.
    """
    try:
        with (
            mo.status.spinner("Fetching what the widget needs", remove_on_exit=True)
            if not opened.has_disk
            else nullcontext()
        ):
            await _fetch_anywidget(opened)
        own = {each: file for each, file in files.items() if isinstance(file, bytes)}
        named = {"weights": "pocket/model.safetensors", "tokenizer": "pocket/tokenizer.json"} | files
        assets = {each: "" if each in own else f"{location}/public/{file}" for each, file in named.items()}
        if opened.has_disk:
            own |= {each: _on_disk(file).read_bytes() for each, file in named.items() if each not in own}
            assets = dict.fromkeys(own, "")
        return _widget(name, opened, location, {"assets": assets} | own | traits)
    except Exception as error:  # no network, a missing file, no anywidget: it must be said, whatever it is
        return failed(f"The model could not be loaded: {error}")


async def plain_widget(name: str, opened: Opened, location: object, **traits: str | dict | list) -> mo.Html:
    """A widget of `pocket` that does without the model. Raises: whatever keeps a page from getting anywidget."""
    await _fetch_anywidget(opened)
    return _widget(name, opened, location, traits)


async def _fetch_anywidget(opened: Opened) -> None:
    if not opened.has_disk:
        import pyodide_js

        await pyodide_js.loadPackage("anywidget")


def _on_disk(file: str) -> Path:
    """A file of a page's public folder, where the course lies on a disk."""
    return pocket.PATH / Path(file).name if file.startswith("pocket/") else here.NOTEBOOKS / "public" / file


_ASK = "**Ask it yourself.** The model before and after your last training, or until there is one, that of the recorded run; it is small enough to run in your browser"


def _widget(name: str, opened: Opened, location: object, traits: dict):
    """The trait `assets` has the addresses of files; "" where a file is in the trait of its name."""
    import anywidget
    from traitlets import Bytes, Dict, List, Unicode

    # In a page its address, for marimo makes one of data: for a text, which a strict policy refuses.
    source = scripts.widget(name) if opened.has_disk else f"{location}/public/pocket/{name}.js"
    kinds = {bytes: Bytes, str: Unicode, dict: Dict, list: List}
    synced = {name: kinds[type(value)]().tag(sync=True) for name, value in traits.items()}
    return mo.ui.anywidget(type("Widget", (anywidget.AnyWidget,), {"_esm": source} | synced)(**traits))


def show_scores(tried: mo.Html | None, judges: dict[str, Reward], tags: Sequence[str] = ()) -> mo.Html | None:
    """What the rewards say of each reply that the visitor has got; the right answer is the sum of the question's numbers."""
    replies = tried.value.get("replies") if hasattr(tried, "value") else None
    if not replies:
        return None
    numbers = re.findall(r"\d{1,9}", replies["question"])
    right = str(sum(map(int, numbers))) if len(numbers) > 1 and "+" in replies["question"] else None
    parts = []
    for when, title in (("before", "before"), ("after", "after GRPO")):
        texts, counts = zip(*[(reply["text"], int(reply["tokens"])) for reply in replies[when]], strict=True)
        given = {"completions": texts, "completion_ids": [[0] * n for n in counts], "answer": [right] * len(texts)}
        columns = [
            [""] * len(texts) if right is None and isinstance(judge, AnswerReward) else judge(**given)
            for judge in judges.values()
        ]
        rows = [(text, [count, *scores]) for text, count, *scores in zip(texts, counts, *columns, strict=True)]
        parts.append(cards.marks_table([title, "tokens", *judges], rows, tags))
    return mo.Html(cards.page(*parts))
