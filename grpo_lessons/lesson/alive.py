"""The loop alive: sampled, paid, compared, updated, and again from the changed model, by the reader's own browser."""

from collections.abc import Callable

import marimo as mo

from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.tryout import engine_widget
from grpo_lessons.lesson.words import show
from grpo_lessons.runs import Completion


class Alive:
    """The loop from one prompt: the browser samples and learns, and Python says what a reply earns.

    Args:
        prompt: the one that is asked again and again.
        score: from the replies' texts, and their tokens, to the group with its rewards and advantages.
        settings: of the engine, where they are not as in `Settings`.
    """

    def __init__(
        self, prompt: str, score: Callable[[list[str], list[list[int]]], list[Completion]], **settings: float | int
    ):
        self.prompt, self.score, self.settings = prompt, score, {"learning_rate": 1e-3, "beta": 0.02} | settings
        self.widget = None  # held here: nothing else of a notebook would

    def button(self) -> mo.ui.run_button:
        """What brings it to life. In marimo it must be a variable of the notebook."""
        return mo.ui.run_button(label="Bring it to life")

    async def show(self, opened: Opened, button: mo.ui.run_button, question: str) -> mo.Html:
        """A question and the button; once it is pressed, the loop."""
        asked = f"**The loop alive.**<b id='the-loop-alive'></b> {question} The model (2 MB) is sampled and trained by your own browser, from this one prompt again and again: it will learn it by heart, where a training has hundreds."
        if not button.value:
            return show(asked, button)
        files, given = {}, {"prompt": self.prompt, "settings": self.settings, "asked": {}, "paid": {}}
        self.widget = await engine_widget("alive", opened, mo.notebook_location(), files, **given)
        if hasattr(self.widget, "widget"):  # else a sentence on what failed
            self.widget.widget.observe(self._pay, "asked")
        return show(asked, self.widget)

    def _pay(self, change: dict) -> None:
        group = self.score(change["new"]["texts"], change["new"]["ids"])
        rewards = [next(iter(each.rewards.values())) for each in group]
        advantages = [each.advantage for each in group]
        change["owner"].paid = {"n": change["new"]["n"], "rewards": rewards, "advantages": advantages}
