"""Record the runs that the lessons show before Train is pressed: `python -m grpo_lessons.record` (a minute or two).

They are real runs with the lessons' own settings; each file says on what hardware and when it was recorded.
"""

from pathlib import Path

from grpo_lessons.problems import sums
from grpo_lessons.rewards import FormatReward, answer_reward, format_reward
from grpo_lessons.training import Settings, train

FOLDER = Path(__file__).parents[1] / "notebooks" / "public"

# file name: (settings, rewards trained on)
RUNS = {
    "format_learns": (Settings(), [format_reward]),
    "format_unheld": (Settings(beta=0.0), [format_reward]),
    "format_never_earned": (Settings(), [FormatReward(("code", "explanation"))]),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (settings, rewards) in RUNS.items():
        trained = train(
            settings,
            rewards,
            sums(512),
            held_out=sums(96, split="held-out"),
            judges=[format_reward, answer_reward],
            on_update=lambda phase, run, name=name: print(f"{name}: {phase}", flush=True),
        )
        trained.run.save(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
