"""The library under the lessons on GRPO: rewards for TRL, and what the lessons are made of.

Rooms, imports point down only: the modules here, plain Python without a dependency · `pocket`, the model that ships with the
course · `training`, all that knows torch · `lesson`, all that knows marimo · `web`, the doors to other people.

Example:
    >>> from grpo_lessons import answer_reward
    >>> answer_reward(completions=["12 + 45 = 57", "So it is 58."], answer=["57", "57"])
    [1.0, 0.0]
"""

from grpo_lessons.answers import check_answers
from grpo_lessons.groups import advantages, combined, is_dead, p_dead
from grpo_lessons.rewards import (
    AnswerReward,
    FormatReward,
    LengthReward,
    TagReward,
    answer_reward,
    format_reward,
    length_reward,
    tag_reward,
    thinks,
)
from grpo_lessons.runs import Run

__version__ = "0.2.0"

__all__ = [
    "AnswerReward",
    "FormatReward",
    "LengthReward",
    "Run",
    "TagReward",
    "__version__",
    "advantages",
    "answer_reward",
    "check_answers",
    "combined",
    "format_reward",
    "is_dead",
    "length_reward",
    "p_dead",
    "tag_reward",
    "thinks",
]
