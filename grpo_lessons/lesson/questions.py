"""Predictions: the reader chooses first, and every choice has its answer."""

import marimo as mo

from grpo_lessons.lesson.memory import keep, recall
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import fold, show


class Question(mo.ui.radio):
    """Choices to be made before what is asked about is shown. In marimo it must be a variable of the notebook.

    What a reader has chosen is there again when the lesson is opened anew, where it may write (`Opened.memory`).

    Args:
        opened: how the lesson was opened.
        text: what is asked.
        options: maps what can be chosen to what there is to say to it.
        right: the choice that is right.
        verb: what the reader is asked to do.
    """

    def __init__(self, opened: Opened, text: str, options: dict[str, str], right: str, verb: str = "Predict."):
        self.opened, self.asked, self.answers, self.right = opened, text, options, right
        chosen = recall(opened, text)
        super().__init__(
            options=list(options),
            value=chosen if chosen in options else None,
            label=f"**{verb}** {text}",
            on_change=lambda choice: keep(opened, text, choice),
        )

    def answer(self, right: str = "", seen: str = "") -> mo.Html:
        """What there is to say to the choice.

        Args:
            right: the choice that is right, where that is seen only later, such as in a reader's own run.
            seen: what shows it, in words that end in a colon.
        """
        right = right or self.right
        if self.value is None:
            return mo.md("*Choose, then read on.*")
        shows = f"{seen or 'Right is:'} *{right}.*"
        if self.value == right:
            return mo.callout(mo.md(f"**Yes.** {shows if seen else ''} {self.answers[right]}"), kind="success")
        return mo.callout(
            mo.md(f"**Not quite.** {self.answers[self.value]}\n\n{shows} {self.answers[right]}"), kind="warn"
        )

    def then(self, *parts: str | mo.Html | None) -> mo.Html:
        """The answer, and what explains it, folded away until there is a choice."""
        return (
            show(self.answer(), *parts) if self.value else show(self.answer(), fold("Read on without a choice", *parts))
        )

    def noted(self, station: int) -> mo.Html | None:
        """What stands under a prediction that is answered later, in a station after the training."""
        if self.value:
            folder = self.opened.folder
            kept = f" Your choice is kept in `{'/'.join(folder.parts[-2:])}`." if folder else ""
            return mo.md(f"*Noted. The answer stands in station {station}, after the run.{kept}*")
        return None if self.opened.engines[0] == "TRL" else mo.md("*Choose, then train.*")  # there the cost says it
