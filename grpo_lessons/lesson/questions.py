"""Predictions: the reader chooses first, and every choice has its answer."""

import marimo as mo

from grpo_lessons.lesson.opened import Opened


class Question(mo.ui.radio):
    """Choices to be made before what is asked about is shown. In marimo it must be a variable of the notebook.

    Args:
        text: what is asked.
        options: maps what can be chosen to what there is to say to it.
        right: the choice that is right.
        verb: what the reader is asked to do.
    """

    def __init__(self, text: str, options: dict[str, str], right: str, verb: str = "Predict."):
        self.answers, self.right = options, right
        super().__init__(options=list(options), label=f"**{verb}** {text}")

    def answer(self) -> mo.Html:
        """What there is to say to the choice."""
        if self.value is None:
            return mo.md("*Choose, then read on.*")
        word, kind = ("**Yes.**", "success") if self.value == self.right else ("**Not quite.**", "warn")
        return mo.callout(mo.md(f"{word} {self.answers[self.value]}"), kind=kind)

    def noted(self, opened: Opened, station: int) -> mo.Html:
        """What stands under a prediction that is answered later, in a station after the training."""
        if self.value:
            return mo.md(f"*Noted. The answer stands in station {station}, after the run.*")
        return mo.md(f"*Choose, then {'train' if opened.trains else 'play the run'}.*")
