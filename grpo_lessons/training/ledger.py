"""What is written down of a step: the rewards as they were asked, and the callbacks that a GRPOTrainer is watched through."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from grpo_lessons.calling import as_scores, ask_by_name, is_async, named
from grpo_lessons.groups import combined, is_dead, weighted_sum
from grpo_lessons.rewards import Reward, reward_name
from grpo_lessons.runs import Completion, Evaluation, Group, Run
from grpo_lessons.text import completion_text, question
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.settings import Settings
from grpo_lessons.training.watch import Watch


class Ledger:
    """Writes down what the reward functions see and say in a step: the public way to a step's completions."""

    def __init__(self, settings: Settings, judges: Sequence[Reward], sampled: Callable[[], None]):
        self.settings, self.judges, self.sampled = settings, judges, sampled
        self.rewards, self.seen, self.scores = {}, {}, {}

    def watch(self, reward: Reward) -> Reward:
        """The same reward under the same name, written down. What goes wrong in it is said with its name (`RewardFailed`)."""
        name = reward_name(reward)

        def written_down(seen: dict, said) -> list[float | None]:
            self.seen, self.scores[name] = seen, as_scores(said, len(seen["completions"]))
            return self.scores[name]

        if is_async(reward):

            async def watched(**seen):
                self.sampled()
                with named(reward, seen):
                    return written_down(seen, await reward(**seen))
        else:

            def watched(**seen):
                self.sampled()
                with named(reward, seen):
                    return written_down(seen, reward(**seen))

        watched.__name__ = name
        self.rewards[name] = reward
        return watched

    def ask(self, rewards: Sequence[Reward], said: Mapping[str, list], /, **seen) -> None:
        """Ask the rewards about a step as TRL does, and write down what they say; some may have `said` it already."""
        self.seen, self.rewards = seen, {reward_name(reward): reward for reward in rewards}
        self.scores = {
            name: said[name] if name in said else ask_by_name(reward, **seen) for name, reward in self.rewards.items()
        }

    def rewards_RPG(self) -> list[list[list[float | None]]]:
        """What each reward said in this step."""
        size, each = self.settings.group_size, [self.scores[name] for name in self.rewards]
        return [[scores[i : i + size] for i in range(0, len(scores), size)] for scores in each]

    def metrics(self) -> dict[str, float]:
        """What TRL does not log: the spread within the groups, that of the lengths, and what the judges say.

        And the share of dead groups once more: TRL reckons a spread in float32, where that of eight rewards of 0.2 is 1.6e-8,
        and takes up to 1e-8 for none, so that it logs 0 for groups without any.
        """
        rewards_PG = weighted_sum(self.rewards_RPG(), self.settings.reward_weights)
        known_PG = [[reward for reward in group if reward is not None] for group in rewards_PG]
        spreads = [stdev(group) for group in known_PG if len(group) > 1]
        unscored = sum(reward is None for group in rewards_PG for reward in group)
        judged = {reward_name(judge): self._judged(judge) for judge in self.judges}
        known = {name: [score for score in scores if score is not None] for name, scores in judged.items()}
        return {
            "within_group_std": fmean(spreads or [0.0]),
            "completions/std_length": stdev(map(len, self.seen["completion_ids"])),
            **{f"judges/{name}/mean": fmean(scores) for name, scores in known.items() if scores},
            **({"unscored": unscored} if unscored else {}),
            **({"frac_reward_zero_std": fmean(map(is_dead, rewards_PG))} if self._compares_groups else {}),
        }

    @property
    def _compares_groups(self) -> bool:
        """Whether TRL looks at the spread of each group, and not at that of the whole batch."""
        settings = self.settings
        return settings.scale_rewards != "batch" and settings.multi_objective_aggregation == "sum_then_normalize"

    def _judged(self, judge: Reward) -> list[float | None]:
        known = self.rewards.get(reward_name(judge)) == judge  # of one name, another tolerance: another judge
        columns = {name: value for name, value in self.seen.items() if name not in ("log_extra", "log_metric")}
        return self.scores[reward_name(judge)] if known else ask_by_name(judge, **columns)

    def shown(self) -> int:
        """The first group of the step whose rewards differ, else the first: a group that shows what there is to see."""
        rewards_PG = weighted_sum(self.rewards_RPG(), self.settings.reward_weights)
        return next((i for i, group in enumerate(rewards_PG) if not is_dead(group)), 0)

    def group(self, number: int) -> Group:
        """That group."""
        chosen, rewards_RPG, at = self.settings, self.rewards_RPG(), self.shown()
        rows = range(at * chosen.group_size, (at + 1) * chosen.group_size)
        advantages_PG = combined(
            rewards_RPG, chosen.reward_weights, chosen.multi_objective_aggregation, chosen.scale_rewards
        )
        return Group(
            step=number,
            prompt=question(self.seen["prompts"][rows[0]]),
            completions=[
                Completion(
                    text=completion_text(self.seen["completions"][i]),
                    tokens=len(self.seen["completion_ids"][i]),
                    rewards={name: scores[i] for name, scores in self.scores.items()},
                    advantage=advantage,
                )
                for i, advantage in zip(rows, advantages_PG[at], strict=True)
            ],
        )


def watcher(run: Run, ledger: Ledger, plan: Plan, watch: Watch, in_step: Callable[[str], None]):
    """The callback that writes a training's record step by step, tells of it, and stops the trainer when asked to."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter() - (run.seconds)

        def on_step_begin(self, args, state, control, **kwargs):
            in_step("sampling")

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop |= watch.should_stop()

        def on_save(self, args, state, control, **kwargs):
            if state.global_step == state.max_steps:
                return  # nothing is left to go on with
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            try:
                run.save(checkpoint / "run.part")
                os.replace(checkpoint / "run.part", checkpoint / "run.json")
            except OSError as error:  # the checkpoint does not count without it; the training goes on
                watch.update(f"A checkpoint was lost: {error.strerror}", run)

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" not in logs:  # the summary that ends a training
                return
            run.metrics.append(
                {"reward": None}  # TRL logs none for a step in which no reward had a say
                | {key: value for key, value in logs.items() if isinstance(value, (int, float))}
                | {"step": state.global_step, "seconds": round(time.perf_counter() - self.started, 3)}
                | ledger.metrics()
            )
            if (state.global_step - 1) % plan.sample_every == 0 or state.global_step == state.max_steps:
                run.groups.append(ledger.group(state.global_step))
            ledger.scores.clear()
            watch.update(f"Step {state.global_step} of {plan.settings.steps}", run)

    return Watcher()


def examiner(run: Run, answer: Callable[[], Evaluation], every: int):
    """The callback that has the held-out prompts answered after every so-many-th step."""
    from transformers import TrainerCallback

    class Examiner(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" in logs and state.global_step % every == 0 and state.global_step < state.max_steps:
                run.metrics[-1] |= answer().as_metrics()

    return Examiner()


def step_counter(said: Callable[[int, int, float], bool]):
    """A callback for any trainer that says after every step: (steps done, steps in all, seconds since the first began).

    The trainer stops when `said` returns True.
    """
    from transformers import TrainerCallback

    class Counter(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            if said(state.global_step, state.max_steps, time.perf_counter() - self.started):
                control.should_training_stop = True

    return Counter()
