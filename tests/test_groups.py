"""Advantages against hand arithmetic and against TRL itself; dead groups against counting."""

from itertools import product
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
    p_dead,
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
