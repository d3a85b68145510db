"""Record the runs that the lessons show before Train is pressed: `python -m grpo_lessons.record [NAME …]` (minutes each).

They are real runs with the lessons' own settings; each file says on what hardware and when it was recorded. Without
names all are recorded.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from grpo_lessons.sources import SMOLLM2
from grpo_lessons.training import train
from notebooks import grpo_format, grpo_length, grpo_math

FOLDER = Path(__file__).parents[1] / "notebooks" / "public"


def _plan(lesson, model: str = "pocket", settings: dict | None = None, **choices) -> dict:
    settings = replace(lesson.DEFAULT[model], **settings or {})
    return lesson.plan(settings, **choices) | {"sample_every": 1 + settings.steps // 30}


_length, _math, _format = (partial(_plan, lesson) for lesson in (grpo_length, grpo_math, grpo_format))

RUNS = {  # the name of the file: what is recorded in it
    "length_learns": _length(),
    "length_held": _length(settings={"beta": 0.1}),
    "length_words": _length(second="share of real words"),
    "length_longer": _length(shape="longer is better"),
    "length_longer_masked": _length(shape="longer is better", mask=True),
    "length_signed": _length(shape="signed"),
    "length_smollm2": _length(SMOLLM2),
    "length_smollm2_zero": _length(SMOLLM2, {"steps": 4}, example=False),
    "math_learns": _math(),
    "math_too_hard": _math(difficulty="four numbers"),
    "math_too_easy": _math(tolerance=100),
    "math_generous": _math(tolerance=20),
    "math_smollm2": _math(SMOLLM2),
    "math_smollm2_zero": _math(SMOLLM2, {"steps": 4}, example=False),
    "format_learns": _format(),
    "format_unheld": _format(settings={"beta": 0.0}),
    "format_never_earned": _format(format="code / explanation"),
    "format_smollm2": _format(SMOLLM2),
    "format_smollm2_zero": _format(SMOLLM2, {"steps": 4}, example=False),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RUNS:
        trained = train(**RUNS[name], on_update=lambda phase, run, name=name: print(f"{name}: {phase}", flush=True))
        trained.run.save(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
