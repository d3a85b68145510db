"""Tokens pushed: one update from a lesson's running group, made by the reader's own browser, and what it did to each token."""

from collections.abc import Sequence

import marimo as mo

from grpo_lessons import cards
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.tryout import engine_widget
from grpo_lessons.lesson.words import show
from grpo_lessons.runs import Completion

# What there is to see; tests/test_pushed.py holds each sentence against the three lessons' groups.
AS_A_WHOLE = "**A reply is pushed as a whole.** Every token of it gets the reply's advantage, whatever it had to do with the reward: nobody says which of them was the good one. (All tokens share the model's weights, so a few are drawn along the other way.)"
BOTH_WAYS = "**A shared beginning is pushed both ways.** Where a better and a worse reply begin alike, the same token is pushed up by the one and down by the other. Where the two pushes balance, it stays."
SURE = "**A sure token hardly moves.** The push on a token is as large as the doubt that was left, up or down. Where there was none (inside a word, say), it stays at 100 %."


class Pushed:
    """One update from a group, and its tokens in the colours of what it did to them.

    Args:
        prompt: what the replies answer.
        group: the replies, with their rewards and advantages.
    """

    def __init__(self, prompt: str, group: Sequence[Completion]):
        self.prompt, self.group = prompt, group

    def button(self) -> mo.ui.run_button:
        """What makes the first update. In marimo it must be a variable of the notebook."""
        return mo.ui.run_button(label="One update")

    async def show(self, opened: Opened, button: mo.ui.run_button, question: str) -> mo.Html:
        """The group with its advantages, a question and the button; once it is pressed, the update and what there is to see."""
        asked = f"**Tokens pushed.**<b id='tokens-pushed'></b> {question} The model (2 MB) is trained by your own browser: one update, at a learning rate of 0.0003."
        prompt = f"<p><b>{self.prompt}</b></p>"  # what stands where does not change by the press
        if not button.value:
            return show(asked, prompt, button, cards.group_cards(self.group))
        names = self.group[0].rewards
        widget = await engine_widget(
            "pushed",
            opened,
            mo.notebook_location(),
            {"recorded": "pushed.json"},
            lesson=opened.lesson,
            prompt=self.prompt,
            replies=[each.text for each in self.group],
            rewards={name: [each.rewards[name] for each in self.group] for name in names},
        )
        return show(asked, prompt, widget, AS_A_WHOLE, BOTH_WAYS, SURE)
