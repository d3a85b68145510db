"""Record the runs that the lessons show before Train is pressed: `python -m grpo_lessons.record [NAME …]` (minutes).

They are real runs with the lessons' own settings; each file says on what hardware and when it was recorded. Without
names all are recorded.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from grpo_lessons.models import ReferenceLogProb
from grpo_lessons.pocket.corpus import vocabulary_reward
from grpo_lessons.problems import sums, texts
from grpo_lessons.rewards import AnswerReward, FormatReward, LengthReward, answer_reward, format_reward, thinks
from grpo_lessons.training import Settings, train
from notebooks.grpo_length import DEFAULT as LENGTH
from notebooks.grpo_length import ShapedLength
from notebooks.grpo_math import DEFAULT as MATH

FOLDER = Path(__file__).parents[1] / "notebooks" / "public"


@dataclass(frozen=True)
class Recipe:
    """What to record: as the lesson trains, with its prompts, held-out prompts and judges."""

    settings: Settings
    rewards: list
    prompts: list
    held_out: list
    judges: list
    options: dict = field(default_factory=dict)


def _format(*rewards, **settings) -> Recipe:
    return Recipe(
        Settings(**settings), list(rewards), sums(512), sums(96, split="held-out"), [format_reward, answer_reward]
    )


def _math(*rewards, tolerance=0, difficulty=None, **settings) -> Recipe:
    numbers = difficulty or {}
    return Recipe(
        replace(MATH, **settings),
        [AnswerReward(tolerance), *rewards],
        sums(512, **numbers),
        sums(96, split="held-out", **numbers),
        [answer_reward, AnswerReward(strict=True), thinks],
        {"evaluate_every": 10, "sample_every": 2},
    )


def _length(*rewards, **settings) -> Recipe:
    judges = [rewards[0], vocabulary_reward, ReferenceLogProb()]
    return Recipe(
        replace(LENGTH, **settings), list(rewards), texts(512), texts(88, split="held-out"), judges, {"sample_every": 2}
    )


RUNS = {  # the name of the file: what is recorded in it
    "length_learns": _length(LengthReward(20)),
    "length_held": _length(LengthReward(20), beta=0.1),
    "length_words": _length(LengthReward(20), vocabulary_reward),
    "length_longer": _length(ShapedLength(20, "longer is better")),
    "length_longer_masked": _length(ShapedLength(20, "longer is better"), mask_truncated_completions=True),
    "length_signed": _length(ShapedLength(20, "signed")),
    "math_learns": _math(),
    "math_too_hard": _math(difficulty={"terms": 4}),
    "math_too_easy": _math(tolerance=100),
    "math_generous": _math(tolerance=20),
    "format_learns": _format(format_reward),
    "format_unheld": _format(format_reward, beta=0.0),
    "format_never_earned": _format(FormatReward(("code", "explanation"))),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RUNS:
        recipe = RUNS[name]
        trained = train(
            recipe.settings,
            recipe.rewards,
            recipe.prompts,
            held_out=recipe.held_out,
            judges=recipe.judges,
            on_update=lambda phase, run, name=name: print(f"{name}: {phase}", flush=True),
            **recipe.options,
        )
        trained.run.save(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
