"""A training as it was asked for: one object from the notebook to the trainer, the record, the estimate and the hand-over."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from grpo_lessons.answers import CheckedAnswers, answer_column, check_answers
from grpo_lessons.calling import complaint
from grpo_lessons.rewards import AnswerReward, Reward, code_of, describe, reward_name
from grpo_lessons.runs import Run
from grpo_lessons.training import rows
from grpo_lessons.training.models import ReferenceLogProb
from grpo_lessons.training.settings import Settings
from grpo_lessons.training.warm import WarmStart

LOOKED_AT = 2000  # rows that are looked at whenever a control moves; a training looks at all of them


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and how it is looked at meanwhile.

    Args:
        settings: see `Settings`.
        rewards: TRL reward functions; the reward trained on is their sum, weighted by `settings.reward_weights`.
        prompts: rows with a "prompt" (conversation or string) and whatever columns the rewards ask for.
        held_out: rows that are never trained on, answered once before and once after.
        judges: rewards that score the held-out answers (default: `rewards`) and the completions of every step; they do
            not touch the training.
        sample_every: one group is recorded at every so-many-th step.
        evaluate_every: the held-out prompts are also answered after every so-many-th step (0: never).
        choices: what a lesson chose besides the settings, written into the record.
        warm_start: worked examples that are copied (SFT) before the reward begins; None for none.

    Example:
        >>> from grpo_lessons.rewards import format_reward
        >>> Plan(Settings(), [format_reward], prompts=[{"prompt": "What is 1 + 1?"}]).problem
        '1 prompts, but one step draws 8. Add prompts, or lower batch_size.'
    """

    settings: Settings
    rewards: Sequence[Reward]
    prompts: list[dict]
    held_out: Sequence[dict] = ()
    judges: Sequence[Reward] = ()
    sample_every: int = 1
    evaluate_every: int = 0
    choices: dict = field(default_factory=dict)
    warm_start: WarmStart | None = None

    def __post_init__(self):
        object.__setattr__(self, "judges", self.judges or self.rewards)

    @cached_property  # a lesson asks five times at every move of a control
    def problem(self) -> str | None:
        """Why this cannot be trained, and what to change; None if it can."""
        settings, names = self.settings, [reward_name(reward) for reward in self.rewards]
        if settings.problem:
            return settings.problem
        if not names or len(set(names)) < len(names):
            return f"rewards {names}: expected at least one, each with a __name__ of its own."
        if settings.reward_weights is not None and len(settings.reward_weights) != len(names):
            return f"{len(settings.reward_weights)} weights for {len(names)} rewards: expected one for each."
        if wrong := rows.problem([*self.prompts[:LOOKED_AT], *self.held_out[:LOOKED_AT]]):
            return wrong
        if self.warm_start and self.warm_start.problem:
            return self.warm_start.problem
        columns = list(self.prompts[0]) if self.prompts else []
        for reward in {id(each): each for each in (*self.rewards, *self.judges)}.values():
            if columns and (why := complaint(reward, [*columns, "opened_thought"])):
                return why
            if columns and isinstance(reward, AnswerReward):
                try:
                    answer_column(columns, reward.column)
                except ValueError as error:
                    return str(error)
        needed = settings.batch_size // settings.group_size
        if len(self.prompts) < needed:
            return f"{len(self.prompts)} prompts, but one step draws {needed}. Add prompts, or lower batch_size."
        return None

    @property
    def refusal(self) -> str | None:
        """Why a training of this may not begin: its `problem`, now of all rows, or that no right answer can be read."""
        if self.problem:
            return self.problem
        if max(len(self.prompts), len(self.held_out)) > LOOKED_AT and (
            wrong := rows.problem([*self.prompts, *self.held_out])
        ):
            return wrong
        checked = self.checked_answers
        if checked and not checked.kinds:
            return f"No right answer can be read, so nothing could be paid. {checked}"
        return None

    @cached_property
    def checked_answers(self) -> CheckedAnswers | None:
        """How the right answers of all rows are read, see `check_answers`; None if no reward asks for them."""
        asks = next((each for each in (*self.rewards, *self.judges) if isinstance(each, AnswerReward)), None)
        return None if asks is None else check_answers([*self.prompts, *self.held_out], asks.column)

    @property
    def code(self) -> str:
        """The training as Python, see `Settings.code`."""
        if self.warm_start is None:
            return self.settings.code(self.rewards)
        return self.settings.code(self.rewards, self.warm_start.sft_arguments(self.settings))

    @property
    def is_judged(self) -> bool:
        """Whether the model before the training, loaded once more, judges the texts of every step."""
        return any(isinstance(judge, ReferenceLogProb) for judge in self.judges)

    @property
    def kind(self) -> tuple:
        """What tells how long the replies of a training become: its model and its rewards."""
        return self.settings.model, *map(reward_name, self.rewards)

    def with_settings(self, **changes) -> "Plan":
        """The same with other settings."""
        return replace(self, settings=replace(self.settings, **changes))

    def new_run(self) -> Run:
        """The record of a training of this plan, with nothing done yet."""
        rewards = [describe(reward) for reward in self.rewards]
        code = [code_of(reward) for reward in self.rewards]
        return Run(settings=dict(vars(self.settings)), rewards=rewards, choices=self.choices, code=code)
