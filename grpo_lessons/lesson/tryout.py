"""Ask it in the page: a question, and what the pocket model replies before and after GRPO, sampled by the browser itself.

The model runs in a worker of the page (`pocket/ask.js`), so that it does where there is no torch, and no server is asked.
"""

import re
from collections.abc import Callable, Sequence

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
        try:
            if not self.opened.has_disk:
                import pyodide_js

                with mo.status.spinner("Fetching what the widget needs", remove_on_exit=True):
                    await pyodide_js.loadPackage("anywidget")
            source, assets, given = self._from_disk() if self.opened.has_disk else self._in_page()
            if learnt := self.learnt():
                assets, given = assets | {"adapter": ""}, given | {"adapter": learnt}
            return _widget(self.question, source, assets, given)
        except Exception as error:  # no network, a missing file, no anywidget: it must be said, whatever it is
            return failed(f"The model could not be loaded: {error}")

    def _from_disk(self) -> tuple[str, dict, dict]:
        given = {
            "weights": (pocket.PATH / "model.safetensors").read_bytes(),
            "tokenizer": (pocket.PATH / "tokenizer.json").read_text(encoding="utf-8"),
            "adapter": (here.NOTEBOOKS / f"public/{self.adapter}.safetensors").read_bytes(),
        }
        return scripts.widget("ask"), dict.fromkeys(given, ""), given

    def _in_page(self) -> tuple[str, dict, dict]:
        public = self.location / "public"
        assets = {
            "weights": f"{public}/pocket/model.safetensors",
            "tokenizer": f"{public}/pocket/tokenizer.json",
            "adapter": f"{public}/{self.adapter}.safetensors",
        }
        # Its address, for marimo makes one of data: for a text, which a strict policy refuses.
        return f"{public}/pocket/ask.js", assets, {}


_ASK = "**Ask it yourself.** The model before and after your last training, or until there is one, that of the recorded run; it is small enough to run in your browser"


def _widget(question: str, source: str, assets: dict, given: dict):
    import anywidget
    from traitlets import Bytes, Dict, Unicode

    class Widget(anywidget.AnyWidget):
        _esm = source

        question = Unicode().tag(sync=True)
        replies = Dict().tag(sync=True)
        assets = Dict().tag(sync=True)  # addresses of the three files; "": the file is in the trait of that name
        weights = Bytes().tag(sync=True)
        tokenizer = Unicode().tag(sync=True)
        adapter = Bytes().tag(sync=True)

    return mo.ui.anywidget(Widget(question=question, assets=assets, **given))


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
