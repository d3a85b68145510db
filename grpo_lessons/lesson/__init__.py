"""All that knows marimo: what lessons are made of, the training station first."""

from grpo_lessons.exercises import prefers
from grpo_lessons.lesson.alive import Alive
from grpo_lessons.lesson.datacheck import data_file, show_check
from grpo_lessons.lesson.figures import figure
from grpo_lessons.lesson.notes import furniture
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.passes import sharper, show_sharper
from grpo_lessons.lesson.practice import Exercises, before_you_begin, shown_code, source, table
from grpo_lessons.lesson.pushed import Pushed
from grpo_lessons.lesson.questions import Question
from grpo_lessons.lesson.station import REAL, Station
from grpo_lessons.lesson.tryout import show_scores
from grpo_lessons.lesson.weighed import Weighed
from grpo_lessons.lesson.words import fold, row, show, unseen

__all__ = [
    "REAL",
    "Alive",
    "Exercises",
    "Opened",
    "Pushed",
    "Question",
    "Station",
    "Weighed",
    "before_you_begin",
    "data_file",
    "figure",
    "fold",
    "furniture",
    "prefers",
    "row",
    "sharper",
    "show",
    "show_check",
    "show_scores",
    "show_sharper",
    "shown_code",
    "source",
    "table",
    "unseen",
]


def _for_the_wheel() -> None:
    """Never called. A page's wheel holds the modules that imports reach, and all lessons shall share one wheel."""
    from grpo_lessons import groups, plots, problems, runs, text  # noqa: F401
    from grpo_lessons.pocket import corpus  # noqa: F401
