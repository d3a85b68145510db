"""Will it teach? The chance of a dead group against counting, the verdict against groups whose answer is known."""

import random
import re
from itertools import combinations
from statistics import fmean

import pytest

from grpo_lessons import plots
from grpo_lessons.groups import is_dead, p_dead
from grpo_lessons.problems import sums
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.teaching import Elsewhere, chance_dead, compared, dead_by_size, verdict
from grpo_lessons.training import Plan, Settings
from grpo_lessons.training.pilot import pilot


def groups(p, n=16, prompts=16, seed=0, paid=1.0):
    rng = random.Random(seed)
    return [[paid * (rng.random() < p) for _ in range(n)] for _ in range(prompts)]


def cut(rewards_PG, share=0.0):
    return [[i < share * len(group) for i, _ in enumerate(group)] for group in rewards_PG]


@pytest.mark.parametrize(
    "group",
    [
        [1, 0, 0, 0, 1, 0],
        [0.1, 0.2, 0.3, 0.1, 0.1, 0.1],
        [None, 1, 1, 1, 1, 0],
        [2] * 6,
        [None, 0.3, None, 0.3, 0.3, 0.3],
        [None] * 5 + [1],
        [None] * 6,
        [None, None, 1, 1, 0, 0],
    ],
)
def test_the_chance_of_a_dead_group_is_the_share_of_all_choices_that_are_dead(group):
    for size in (2, 3, 4, 6):
        chosen = [is_dead(some) for some in combinations(group, size)]
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


def bonus(p, right=0.0, seed=0):
    """1 for a right answer, and 0.2 for something else."""
    rng = random.Random(seed)
    return [[(rng.random() < right) + 0.2 * (rng.random() < p) for _ in range(16)] for _ in range(16)]


def once(rewards_PG, pays=1.2):
    return [[pays, *rewards_PG[0][1:]], *rewards_PG[1:]]


def cubes(most):
    return [[most * (i / 15) ** 3 for i in range(16)]] * 8


RIGHT = Elsewhere(1.2, (0.0, 0.2, 1.0, 1.2))


@pytest.mark.parametrize(
    ("rewards_PG", "elsewhere", "name", "said"),
    [
        (bonus(0.93), RIGHT, "only a part varies", "All 256 replies earn 0 to 0.2; a right answer would earn 1.2."),
        (once(bonus(0.93)), RIGHT, "only a part varies", "255 of 256 replies earn at most 0.2, the best 1.2. Fewer than one in ten groups of 8"),
        (once(bonus(0.93)), Elsewhere(), "only a part varies", "255 of 256 replies earn at most 0.2, the best 1.2."),
        (bonus(0.5), RIGHT, "it teaches a part", "Up to there the mean is 0.1"),
        (bonus(0.5, right=0.2), RIGHT, "it will teach", "the mean reward is"),
        (bonus(0.5, right=0.03), RIGHT, "it will teach", "the mean reward is"),
        (bonus(0.93), Elsewhere(), "it will teach", "the mean reward is"),  # nobody has said that there is more
        (cubes(1.0), Elsewhere(1.0), "it will teach", "the mean reward is"),  # graded: each step leads to the next
        (groups(0.3), Elsewhere(1.0, (0.0, 1.0)), "it will teach", "the mean reward is"),
        ([[1.0] * 16] * 8, Elsewhere(1.0, (0.0, 1.0)), "too easy", "Nearly every reply"),
        ([[1.0] * 16] * 8, Elsewhere(1.0, (1.0,)), "constant reward", "All 128 replies earn 1, and so do a right answer"),
        ([[0.5] * 16] * 8, Elsewhere(None, (0.5,)), "constant reward", "and so does whatever else was tried"),
        ([[0.0] * 16] * 8, Elsewhere(0.0, (0.0,)), "dead groups", "All 128 replies earn 0, and so do a right answer"),
        ([[0.0] * 16] * 8, Elsewhere(1.0, (0.0, 1.0)), "dead groups", "None of 128 replies earns anything"),
    ],
)  # fmt: skip
def test_the_verdict_looks_at_what_varies_and_at_what_else_is_paid(rewards_PG, elsewhere, name, said):
    found = verdict(rewards_PG, cut(rewards_PG), elsewhere=elsewhere)
    assert found.name == name and said in found.seen and found.mend
    assert found.is_clear == (name == "it will teach") and found.teaches == name.startswith("it ")


def test_advice_that_was_followed_is_not_given_again():
    for rewards_PG in (groups(0.0), groups(0.03), bonus(0.93)):
        given = {"cut_PG": cut(rewards_PG), "elsewhere": RIGHT}
        first, then = (verdict(rewards_PG, has_example=has, **given).mend for has in (False, True))
        assert " an example" in first and "nother" in then and " an example" not in then


def test_a_failed_test_speaks_against_training_and_one_that_ends_it_comes_first():
    found = verdict(groups(0.3), cut(groups(0.3)))
    assert found.is_clear and found.mend == "Train." and found.after() == found
    doubted = found.after(failed=["asks for the answer"])
    assert doubted.teaches and not doubted.is_clear and "Train." not in str(doubted)
    ended = found.after("`mine`: It fails on `empty`.", ["stands hostile replies"])
    assert (ended.name, ended.teaches, ended.is_clear) == ("mend the reward first", False, False)
    assert "would have something to teach" in ended.seen


def mine(completions, answer, **kwargs):
    """A newcomer's: 1 for the right number at the end, and 0.2 for at most twelve words."""
    texts = [completion[0]["content"] for completion in completions]
    last = [(re.findall(r"\d+", text) or [""])[-1] for text in texts]
    return [
        (found == right) + 0.2 * (len(text.split()) <= 12)
        for text, found, right in zip(texts, last, answer, strict=True)
    ]


def one_over_words(completions, **kwargs):
    return [1 / len(completion[0]["content"].split()) for completion in completions]


def only_numbers(completions, **kwargs):
    """None where there is no number: what a newcomer takes for a reward of nothing."""
    return [0.3 if re.search(r"\d", completion[0]["content"]) else None for completion in completions]


@pytest.mark.parametrize("others", [[0.3] * 15, [1.0, 0.0] * 7 + [0.0]])
def test_none_beside_a_number_is_no_difference_and_is_counted(others):
    rewards_PG = [[None, *others]] * 15 + [[*others, others[0]]]
    found = verdict(rewards_PG, cut(rewards_PG), elsewhere=Elsewhere(1.0, (0.3, 1.0)))
    assert found.name == ("dead groups" if len({*others}) == 1 else "it will teach") and not found.is_clear
    assert found.seen.startswith("15 of 256 replies got `None`, which has no say. Of the others: ")
    assert found.mend.startswith("Return a number, such as 0")
    of_a_prompt = verdict([[None] * 16, *groups(0.3)], cut([[0] * 16] * 17))  # as TRL has it for another task
    assert of_a_prompt.is_clear and "16 of 272 replies got `None`" in of_a_prompt.seen


def ones(completions, **kwargs):
    return [1.0 for _ in completions]


@pytest.mark.parametrize(
    ("reward", "name", "said"),
    [
        (mine, "only a part varies", "a right answer would earn 1.2"),
        (one_over_words, "mend the reward first", "`one_over_words`: It fails on `empty`: ZeroDivisionError"),
        (ones, "constant reward", "and so do a right answer and a wrong one"),
    ],
)
def test_a_pilot_tries_the_reward_itself_too(reward, name, said):
    asked = {a: f"Ida has {a} coins and gets {a % 7 + 1} more. How many?" for a in range(2, 50)}
    rows = [{"prompt": [{"role": "user", "content": asked[a]}], "answer": str(a + a % 7 + 1)} for a in asked]
    found = pilot(Plan(Settings(), [reward], rows))
    assert found.verdict.name == name and said in found.verdict.seen and not found.verdict.is_clear
    assert [each.test for each in found.checks[reward.__name__] if each.is_good is False]


def test_the_tests_and_the_verdict_and_the_groups_agree_on_none():
    rows = [
        {"prompt": [{"role": "user", "content": f"What is {a} + {a + 1}?"}], "answer": str(2 * a + 1)}
        for a in range(9, 60)
    ]
    found = pilot(Plan(Settings(temperature=1.5), [only_numbers], rows))
    silent = sum(reward is None for group in found.rewards_PG for reward in group)
    assert 0 < silent < 256 and all(map(is_dead, found.rewards_PG))
    (apart,) = (each for each in found.checks["only_numbers"] if each.test == "tells replies apart")
    assert apart.is_good is False and f"{silent} of 256 replies are paid None" in apart.words
    assert f"All {256 - silent} others are paid 0.3: every group is dead" in apart.words
    assert found.verdict.name == "constant reward" and f"{silent} of 256 replies got `None`" in found.verdict.seen
    assert all(reply.advantage == 0 for group in found.groups for reply in group.completions)


@pytest.mark.parametrize(
    ("rewards_PG", "shares", "counted"),
    [
        ([[2, 0, 0, 2], [0, 0, 0, 0]], [0.5, 0.0], "earn 2, the most that was paid"),
        ([[0, 0.3, 0.3, 0.3], [0.3] * 4], [0.75, 1.0], "earn 0.3, the most that was paid"),
        ([[None, 1, 1, 0], [None] * 4], [2 / 3, 0.0], "earn 1, the most"),
        ([[0, 0], [0, 0]], [0.0, 0.0], "paid differently"),
        ([[0.01, 0.02, 0.03], [0.9, 0.1, 0.1], [0.1] * 3], [1.0, 2 / 3, 0.0], "paid differently"),
    ],
)
def test_what_is_drawn_of_each_prompt_is_near_the_edges_for_dead_groups_alone(rewards_PG, shares, counted):
    """A graded reward stood at p = 0 for every prompt, and one of 0 and 0.3 at p = 1 of a most that was never paid."""
    found, words = compared(rewards_PG)
    assert found == pytest.approx(shares) and counted in words
    figure = plots.chances(found, words, {4: 0.5})
    assert words == figure.axes[0].get_xlabel() and words in plots.to_svg(figure)


def nearness(beyond, rest):
    """Graded: most replies spread over a few steps at the bottom, and a handful far above them."""
    rows = [[rest * (i % 5) / 4 for i in range(16)] for _ in range(16)]
    for at in range(beyond):
        rows[at][0] = 2 * rest
    return rows


def test_of_a_graded_reward_it_is_said_how_many_earn_how_much_and_no_steps_are_advised():
    """It said that replies differ only between 0 and 0.27, and that three earned more."""
    rewards_PG = nearness(3, 0.27)
    found = verdict(rewards_PG, cut(rewards_PG), elsewhere=Elsewhere(1.0, (0.0, 1.0)))
    assert found.seen.startswith("253 of 256 replies earn at most 0.27, the best 0.54; a right answer would earn 1.")
    assert (
        sum(any(each > 0.27 for each in group) for group in rewards_PG) == 3 and "one in ten groups of 8" in found.seen
    )
    assert found.teaches and "no more" not in found.mend and "steps towards" not in found.mend
    assert "steps towards" in verdict(bonus(0.5), cut(bonus(0.5)), elsewhere=RIGHT).mend


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
