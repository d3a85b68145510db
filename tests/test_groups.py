"""Advantages against hand arithmetic and against TRL itself; dead groups against counting."""

import random
from itertools import combinations, product
from math import sqrt
from statistics import fmean

import pytest

from grpo_lessons.groups import (
    AGGREGATIONS,
    SCALES,
    advantages,
    clipped_objective,
    combined,
    interval,
    is_dead,
    mean_pass_at_k,
    p_dead,
    pass_at_k,
    simulate_dead,
)


def test_one_success_in_eight_stands_out_by_seven_over_root_eight():
    lone, *others = advantages([[1, 0, 0, 0, 0, 0, 0, 0]], eps=0)[0]
    assert lone == pytest.approx(7 / sqrt(8)) == pytest.approx(2.475, abs=1e-3)
    assert others == pytest.approx([-0.354] * 7, abs=1e-3)


def test_a_hair_becomes_a_signal_when_scaled_and_stays_a_hair_when_not():
    hair = [[0.501, 0.5, 0.5, 0.5]]
    assert advantages(hair)[0][0] > 1.2
    assert advantages(hair, "none")[0][0] < 0.001


def test_batch_scale_divides_every_group_by_the_same():
    alike, apart = advantages([[0.0, 0.1], [0.0, 1.0]], "batch")
    assert apart[1] / alike[1] == pytest.approx(10)


def test_a_dead_group_moves_nobody_in_any_scale():
    for scale in SCALES:
        assert advantages([[0.3] * 4, [1, 0, 0, 1]], scale)[0] == pytest.approx([0] * 4)


@pytest.mark.parametrize(("groups", "names"), [([[1]], r"\[1\]"), ([[1, 2], [1, 2, 3]], r"\[2, 3\]"), ([[]], r"\[0\]")])
def test_groups_without_siblings_are_refused(groups, names):
    with pytest.raises(ValueError, match=names):
        advantages(groups)


def one_step_of_trl(folder, reward_funcs, **arguments):
    """A real step of GRPOTrainer on three groups of eight."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from grpo_lessons import pocket
    from grpo_lessons.problems import sums

    trainer = GRPOTrainer(
        model=str(pocket.PATH),
        reward_funcs=reward_funcs,
        train_dataset=Dataset.from_list(sums(8)),
        args=GRPOConfig(
            str(folder),
            max_steps=1,
            per_device_train_batch_size=24,
            max_completion_length=12,
            bf16=False,
            report_to="none",
            **arguments,
        ),
    )
    trainer.train()
    return trainer


def uneven(completion_ids, **kwargs):
    """A reward whose first group is dead."""
    return [(7 * sum(ids)) % 11 / 10 if i >= 8 else 0.5 for i, ids in enumerate(completion_ids)]


def written_down(reward, seen):
    def watched(**kwargs):
        seen.append(reward(**kwargs))
        return seen[-1]

    watched.__name__ = f"reward_{len(seen)}_{reward.__name__}"
    return watched


def in_groups(rewards):
    return [rewards[i : i + 8] for i in range(0, 24, 8)]


@pytest.mark.parametrize("scale", SCALES)
def test_advantages_are_those_of_trl(scale, tmp_path):
    seen = []
    trainer = one_step_of_trl(tmp_path, written_down(uneven, seen), scale_rewards=scale)
    groups = in_groups(seen[0])
    ours = [advantage for group in advantages(groups, scale) for advantage in group]
    assert ours == pytest.approx(list(trainer._logs["advantages"]), abs=1e-4)
    dead = fmean(map(is_dead, groups))
    logged = trainer.state.log_history[0]["frac_reward_zero_std"]  # with "batch" TRL looks at the whole batch's spread
    assert dead == pytest.approx(1 / 3) and (scale == "batch" or logged == pytest.approx(dead))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_advantages_of_two_weighted_rewards_are_those_of_trl(aggregation, tmp_path):
    def lengths(completion_ids, **kwargs):
        return [float(len(set(ids))) for ids in completion_ids]

    first, second = [], []
    trainer = one_step_of_trl(
        tmp_path,
        [written_down(uneven, first), written_down(lengths, second)],
        reward_weights=[1.0, 0.3],
        multi_objective_aggregation=aggregation,
    )
    ours = combined([in_groups(first[0]), in_groups(second[0])], [1.0, 0.3], aggregation)
    assert [each for group in ours for each in group] == pytest.approx(list(trainer._logs["advantages"]), abs=1e-3)


def test_a_small_reward_is_drowned_by_a_large_one_unless_each_is_normalized_first():
    right, short = [1, 1, 0, 0], [0.01, 0.0, 0.01, 0.0]  # the second tells the two right ones apart
    summed = combined([[right], [short]])[0]
    apart = combined([[right], [short]], aggregation="normalize_then_sum")[0]
    assert summed[0] - summed[1] < 0.02 < 0.8 < apart[0] - apart[1]


@pytest.mark.parametrize(
    ("settings", "names"), [({"weights": [1]}, "1 weights for 2 rewards"), ({"aggregation": "both"}, "'both'")]
)
def test_weights_and_aggregations_that_cannot_be_are_refused(settings, names):
    with pytest.raises(ValueError, match=names):
        combined([[[1, 0]], [[0, 1]]], **settings)


def test_the_chance_of_a_dead_group_is_that_of_counting_all_outcomes():
    p, size = 0.3, 5
    outcomes = product([0, 1], repeat=size)
    counted = sum(p ** sum(o) * (1 - p) ** (size - sum(o)) for o in outcomes if sum(o) in (0, size))
    assert p_dead(p, size) == pytest.approx(counted)


def test_simulated_groups_agree_with_the_formula():
    assert simulate_dead(0.2, 4, groups=20_000) == pytest.approx(p_dead(0.2, 4), abs=0.02)


def test_larger_groups_are_less_often_dead_as_the_lesson_says():
    for p in (0.01, 0.15, 0.5, 0.9):
        chances = [p_dead(p, size) for size in range(2, 17)]
        assert chances == sorted(chances, reverse=True)


def test_clipping_stops_the_push_that_has_gone_far_enough_and_no_other():
    assert clipped_objective(1.5, 1) == clipped_objective(9, 1) == pytest.approx(1.2)
    assert clipped_objective(0.5, -1) == clipped_objective(0.1, -1) == pytest.approx(-0.8)
    assert clipped_objective(0.5, 1) == 0.5 and clipped_objective(1.5, -1) == -1.5


def test_the_interval_holds_the_share_and_shrinks_with_trials():
    few, many = interval(9, 10), interval(900, 1000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]
    assert interval(10, 10)[1] == 1 and interval(10, 10)[0] < 0.75
    with pytest.raises(ValueError, match="3 successes of 2"):
        interval(3, 2)


def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_right_one():
    for trials, right in product(range(1, 8), range(8)):
        replies = [i < right for i in range(trials)]
        for k in range(1, trials + 1) if right <= trials else ():
            choices = [any(chosen) for chosen in combinations(replies, k)]
            assert pass_at_k(right, trials, k) == pytest.approx(fmean(choices)), (trials, right, k)


def test_pass_at_k_is_without_bias_and_the_shortcut_is_not():
    """Over all outcomes of n coins of chance p, weighted by their chance, the estimates' mean is 1 - (1 - p)^k."""
    n, p, k = 6, 0.3, 4
    outcomes = [(sum(coins), p ** sum(coins) * (1 - p) ** (n - sum(coins))) for coins in product((0, 1), repeat=n)]
    truth = 1 - (1 - p) ** k
    assert sum(chance * pass_at_k(right, n, k) for right, chance in outcomes) == pytest.approx(truth)
    assert sum(chance * (1 - (1 - right / n) ** k) for right, chance in outcomes) < truth - 0.02


def test_the_interval_of_pass_at_k_covers_the_truth_about_as_often_as_it_says():
    rng, prompts, n, k, hits = random.Random(0), 48, 16, 8, 0
    truth = 1 - 1 / (k + 1)  # of prompts whose chance is anything between 0 and 1: the mean of 1 - (1 - p)^k
    for _ in range(400):
        chances = [rng.random() for _ in range(prompts)]
        counts = [(sum(rng.random() < p for _ in range(n)), n) for p in chances]
        _, low, high = mean_pass_at_k(counts, k)
        hits += low <= truth <= high
    assert 0.9 < hits / 400 <= 0.99


@pytest.mark.parametrize(("right", "trials", "k"), [(5, 4, 1), (-1, 4, 1), (1, 4, 5), (1, 4, 0), (0, 0, 1)])
def test_pass_at_k_of_what_cannot_be_is_refused(right, trials, k):
    with pytest.raises(ValueError, match="expected"):
        pass_at_k(right, trials, k)


def test_where_all_prompts_agree_the_interval_is_not_empty():
    assert mean_pass_at_k([(0, 16)] * 20, 16) == pytest.approx((0.0, 0.0, 0.161), abs=1e-3)
    assert mean_pass_at_k([(16, 16)] * 20, 1)[1] == pytest.approx(0.839, abs=1e-3)
    nearly = [(60, 64)] * 19 + [(32, 64)]  # at k = 32 each is 1 but for rounding, and by its own tries
    assert mean_pass_at_k(nearly, 32) == pytest.approx((1, 1, 1))
