"""Will it teach? The chance of a dead group against counting, the verdict against groups whose answer is known."""

import random
from itertools import combinations
from statistics import fmean

import pytest

from grpo_lessons.groups import is_dead, p_dead
from grpo_lessons.problems import sums
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.teaching import chance_dead, dead_by_size, successes, verdict
from grpo_lessons.training import Plan, Settings
from grpo_lessons.training.pilot import pilot


def groups(p, n=16, prompts=16, seed=0, paid=1.0):
    rng = random.Random(seed)
    return [[paid * (rng.random() < p) for _ in range(n)] for _ in range(prompts)]


def cut(rewards_PG, share=0.0):
    return [[i < share * len(group) for i, _ in enumerate(group)] for group in rewards_PG]


@pytest.mark.parametrize("group", [[1, 0, 0, 0, 1, 0], [0.1, 0.2, 0.3, 0.1, 0.1, 0.1], [None, 1, 1, 1, 1, 0], [2] * 6])
def test_the_chance_of_a_dead_group_is_the_share_of_all_choices_that_are_dead(group):
    for size in (2, 3, 4, 6):
        chosen = [all(each == some[0] for each in some) for some in combinations(group, size)]
        assert chance_dead(group, size) == pytest.approx(fmean(chosen))


def test_over_many_prompts_it_comes_to_the_formula_of_the_lessons():
    found = dead_by_size(groups(0.2, prompts=3000))
    assert found == pytest.approx({size: p_dead(0.2, size) for size in (4, 8, 16)}, abs=0.02)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match="expected 2 to 6"):
        chance_dead([0] * 6, size)


@pytest.mark.parametrize(
    ("rewards_PG", "share_cut", "name"),
    [
        (groups(0.3), 0.0, "it will teach"),
        (groups(0.85), 0.0, "it will teach"),
        (groups(0.03), 0.0, "it can teach"),
        (groups(0.0), 0.0, "dead groups"),
        (groups(0.0), 0.8, "cut off"),
        (groups(0.3), 0.8, "it will teach"),
        (groups(1.0), 0.0, "too easy"),
        (groups(0.995), 0.0, "too easy"),
        ([[0.5] * 16] * 8, 0.0, "dead groups"),
        ([[None] * 16] * 8, 0.0, "dead groups"),
        ([[1.0] * 16] * 4 + [[0.0] * 16] * 4, 0.0, "dead groups"),
        ([[-0.1 * i for i in range(16)]] * 4, 0.0, "it will teach"),
    ],
)
def test_the_verdict_is_the_one_that_the_groups_call_for(rewards_PG, share_cut, name):
    found = verdict(rewards_PG, cut(rewards_PG, share_cut), longest=48)
    assert found.name == name and found.mend and any(letter.isdigit() or letter == "N" for letter in found.seen)
    assert found.teaches == name.startswith("it ")


def test_successes_are_counted_by_prompt():
    assert successes([[2, 0, 0, 2], [0, 0, 0, 0]]) == [0.5, 0.0] and successes([[0, 0], [0, 0]]) == [0.0, 0.0]
    assert successes([[None, 1], [1, 1]]) == [0.5, 1.0]


def test_a_pilot_samples_and_pays_as_a_training_does_and_trains_nothing():
    plan = Plan(Settings(), [format_reward, answer_reward], sums(64), judges=[answer_reward])
    said = []
    from grpo_lessons.training import Watch

    found = pilot(plan, prompts=4, watch=Watch(say=said.append))
    assert [len(group) for group in found.rewards_PG] == [16] * 4 == [len(group) for group in found.cut_PG]
    for row, group, rewards in zip(found.rows, found.groups, found.rewards_PG, strict=True):
        assert group.prompt == row["prompt"][-1]["content"] and len(group.completions) == 16
        texts = [[{"role": "assistant", "content": reply.text}] for reply in group.completions]
        paid = answer_reward(completions=texts, answer=[row["answer"]] * 16)
        assert rewards == [a + b for a, b in zip(paid, format_reward(completions=texts), strict=True)]
        assert is_dead(rewards) == all(abs(reply.advantage) < 1e-6 for reply in group.completions)
        assert all(1 <= reply.tokens <= 48 for reply in group.completions)
    assert found.verdict.name == "it will teach" and found.sampling > 0 and any("Sampling 64" in each for each in said)
    again = pilot(plan, prompts=4)
    assert again.rewards_PG == found.rewards_PG  # the same dice
    with pytest.raises(ValueError, match="cannot be cut into groups"):
        pilot(plan.with_settings(batch_size=60))
