"""A pilot: some groups of the untrained model, sampled and paid as a training would, without one. Seconds instead of minutes."""

import time
from dataclasses import dataclass

from grpo_lessons.calling import ask_by_name, columns
from grpo_lessons.groups import combined, weighted_sum
from grpo_lessons.rewards import reward_name
from grpo_lessons.runs import Completion, Group
from grpo_lessons.teaching import Elsewhere, Verdict, verdict
from grpo_lessons.text import question
from grpo_lessons.training import line, models, templates
from grpo_lessons.training.machine import load_libraries, threads_for, tidy
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.sources import Stopped, is_pocket
from grpo_lessons.training.watch import NOBODY, Watch
from grpo_lessons.tries import Checked, check_reward, elsewhere

PROMPTS, REPLIES = 16, 16  # of the pocket model; half as many prompts of a larger one
AT_ONCE = 128  # replies; a quarter of them of a larger model, which is slow enough to be watched


@dataclass(frozen=True)
class Pilot:
    """What was sampled and paid.

    Args:
        groups: a group for each prompt, as a record has them (step 0).
        rewards_PG: the weighted sum that a training would compare.
        cut_PG: which replies ran into the longest completion.
        rows: the rows that were asked.
        sampling, paying: seconds.
        checks: what the tests say of each reward, by its name.
        verdict: what to expect.
    """

    groups: list[Group]
    rewards_PG: list[list[float | None]]
    cut_PG: list[list[bool]]
    rows: list[dict]
    sampling: float
    paying: float
    checks: dict[str, list[Checked]]
    verdict: Verdict


def pilot(plan: Plan, prompts: int = 0, watch: Watch = NOBODY) -> Pilot:
    """Ask the model of a plan as its training would in the first steps, and pay the replies.

    Args:
        plan: see `Plan`; its held-out rows are left alone.
        prompts: how many are asked; 0 for as many as can be told within half a minute.

    Raises: ValueError for a plan that TRL would refuse; as `models.load`; `sources.Stopped`; `calling.RewardFailed`.
    """
    if refusal := plan.problem:
        raise ValueError(refusal)
    load_libraries(trains=False)
    with line.turn(lambda in_front: watch.say(line.in_words(in_front)), watch.should_stop, who=watch.who) as tell:
        if not tell:
            raise Stopped
        try:
            return _pilot(plan, prompts, watch)
        finally:
            tidy()


def _pilot(plan: Plan, prompts: int, watch: Watch) -> Pilot:
    import torch

    settings = plan.settings
    model, tokenizer = models.load(settings.model, settings.dtype, watch)
    prompts = prompts or (PROMPTS if is_pocket(settings.model) else PROMPTS // 2)
    replies = max(REPLIES, settings.group_size)
    rows = plan.prompts[:: max(1, len(plan.prompts) // prompts)][:prompts]
    if refused := templates.refused(tokenizer, rows):
        raise ValueError(refused)
    if opened := templates.opens(tokenizer):
        rows = [row | {"opened_thought": opened} for row in rows]
    at_once = AT_ONCE if is_pocket(settings.model) else AT_ONCE // 4
    each, ids, texts, began = [row for row in rows for _ in range(replies)], [], [], time.perf_counter()
    with threads_for(model), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        for start in range(0, len(each), at_once):
            watch.say(f"Sampling {len(each)} replies of {settings.model}: {len(ids)} so far")
            asked, most = each[start : start + at_once], settings.max_completion_length
            said = models.sample(model, tokenizer, asked, most, settings.temperature, watch)
            ids += said[0]
            texts += said[1]
    sampling, began = time.perf_counter() - began, time.perf_counter()
    watch.say(f"Paying {len(each)} replies")
    seen = columns(rows, texts, ids, replies)
    scores = {reward_name(reward): ask_by_name(reward, **seen) for reward in plan.rewards}
    rewards_RPG = [[said[at : at + replies] for at in range(0, len(said), replies)] for said in scores.values()]
    rewards_PG = weighted_sum(rewards_RPG, settings.reward_weights)
    pushes = combined(
        rewards_RPG, settings.reward_weights, settings.multi_objective_aggregation, settings.scale_rewards
    )
    groups = [
        Group(
            0,
            question(row["prompt"]),
            [
                Completion(
                    texts[at][0]["content"],
                    len(ids[at]),
                    {name: said[at] for name, said in scores.items()},
                    pushes[number][at - number * replies],
                )
                for at in range(number * replies, (number + 1) * replies)
            ],
        )
        for number, row in enumerate(rows)
    ]
    paying, longest = time.perf_counter() - began, settings.max_completion_length
    watch.say("Testing the reward")
    cut_PG = [[reply.tokens >= longest for reply in group.completions] for group in groups]
    checks = _checks(plan, rows, groups, sampling)
    found = verdict(rewards_PG, cut_PG, settings.group_size, longest, *_known(plan, rows))
    failed = [(name, each) for name, said in checks.items() for each in said if each.is_good is False]
    fatal = " ".join(f"`{name}`: {each.words}" for name, each in failed if each.ends)
    found = found.after(fatal, [each.test for _, each in failed])
    return Pilot(groups, rewards_PG, cut_PG, rows, sampling, paying, checks, found)


def _checks(plan: Plan, rows: list[dict], groups: list[Group], sampling: float) -> dict[str, list[Checked]]:
    replies_PG = [[reply.text for reply in group.completions] for group in groups]
    tokens_PG = [[reply.tokens for reply in group.completions] for group in groups]
    given = rows, replies_PG, tokens_PG, sampling, _is_chat(rows)
    return {reward_name(reward): check_reward(reward, *given) for reward in plan.rewards}


def _known(plan: Plan, rows: list[dict]) -> tuple[Elsewhere, bool]:
    """What is known besides the model's own replies: what others earn, and whether the prompts have an example."""
    paid = elsewhere(plan.rewards, rows, plan.settings.reward_weights, _is_chat(rows))
    return paid, _is_chat(rows) and any(message["role"] == "assistant" for message in rows[0]["prompt"])


def _is_chat(rows: list[dict]) -> bool:
    return not isinstance(rows[0]["prompt"], str)
