"""Luck: a judge that errs, what seeds say together, and how many it takes; no training is needed for any of it."""

import itertools
import json
import random
import re
from statistics import fmean, stdev

import pytest

from grpo_lessons import here, luck
from grpo_lessons.curves import band
from grpo_lessons.lesson.luck import CHANCES, FEW, STEPS, seeds
from grpo_lessons.luck import Outcome, over_seeds, seeds_needed
from grpo_lessons.rewards import AnswerReward, ErringReward, answer_reward, describe
from grpo_lessons.runs import Completion, Evaluation, Group, Run
from tests.support.lessons import load

RECORDED = {
    float(chance): [Outcome(**each) for each in runs]
    for chance, runs in json.loads(here.read("public/math_luck.json"))["runs"].items()
}
ASKED = [f"What is {i} + 1?" for i in range(2000)]


def verdicts(chance, seed=0, replies=None):
    judge = ErringReward(answer_reward, chance, seed)
    return judge(prompts=ASKED, completions=replies or ["7"] * len(ASKED), answer=["7"] * len(ASKED))


@pytest.mark.parametrize("chance", [*CHANCES, 1])
def test_a_judge_errs_as_often_as_it_is_said_to(chance):
    assert verdicts(chance).count(0.0) / len(ASKED) == pytest.approx(chance, abs=4 * (0.25 / len(ASKED)) ** 0.5)
    wrong = verdicts(chance, replies=["8"] * len(ASKED))
    assert wrong.count(1.0) / len(ASKED) == pytest.approx(chance, abs=4 * (0.25 / len(ASKED)) ** 0.5)


def test_it_errs_the_same_way_again_and_with_another_seed_elsewhere():
    once, other = verdicts(0.3), verdicts(0.3, seed=1)
    assert verdicts(0.3) == once != other
    both = sum(a == b == 0 for a, b in zip(once, other, strict=True)) / len(ASKED)
    assert both == pytest.approx(0.09, abs=0.03)  # neither alike nor one instead of the other
    judge = ErringReward(answer_reward, 0.3)
    talk = [[{"role": "assistant", "content": "7"}]] * len(ASKED)
    asked = [[{"role": "user", "content": each}] for each in ASKED]
    assert judge(prompts=asked, completions=talk, answer=["7"] * len(ASKED)) == once


def test_no_say_stays_no_say_and_what_is_no_verdict_is_refused():
    assert ErringReward(answer_reward, 1)(completions=["7", "7"], answer=["7", None]) == [0.0, None]
    assert describe(ErringReward(answer_reward, 0.1, 3)) == (
        "ErringReward(reward=AnswerReward(tolerance=0, strict=False), chance=0.1, seed=3)"
    )
    for chance in (-0.1, 1.5, True, "0.1", float("nan")):
        with pytest.raises(ValueError, match="expected a number from 0 to 1"):
            ErringReward(answer_reward, chance)
    with pytest.raises(ValueError, match=r"half gave 0\.5: only a verdict of 0 or 1"):
        ErringReward(half)(completions=["7"])


def half(completions, **kwargs):
    return [0.5 for _ in completions]


def test_each_seed_is_paid_by_a_judge_that_errs_and_examined_by_one_that_does_not():
    lesson = load("math")
    plans = seeds(lesson.plan, lesson.DEFAULT["pocket"], 0.2, range(3))
    assert {plan.settings.seed for plan in plans.values()} == {0, 1, 2} and not any(p.problem for p in plans.values())
    assert [plan.rewards for plan in plans.values()] == [[ErringReward(AnswerReward(), 0.2, i)] for i in range(3)]
    assert all(answer_reward in plan.judges and plan.held_out for plan in plans.values())


def run_of(before, after, seed=0):
    def answered(right):
        return Evaluation(["?"] * 10, [Completion("", 1, {"answer_reward": float(i < right)}) for i in range(10)])

    metrics = [{"step": 1, "reward": 0.25}, {"step": 2, "reward": 0.5}]
    return Run({"seed": seed, "steps": 2}, metrics=metrics, before=answered(before), after=answered(after))


def test_a_run_comes_to_its_rewards_and_what_it_answers_before_and_after():
    outcome = Outcome.of(run_of(1, 9, seed=4))
    assert outcome == Outcome(4, [0.25, 0.5], (1, 10), (9, 10)) and outcome.verdict == "learnt"
    assert [Outcome.of(run_of(*each)).verdict for each in ((3, 6), (9, 1))] == ["may be luck", "unlearnt"]
    stopped = run_of(1, 9)
    stopped.metrics.pop()
    assert Outcome.of(stopped) == Outcome(0, [0.25], (1, 10)) and Outcome.of(stopped).verdict == "unfinished"
    begun = Outcome.of(Run({"seed": 1, "steps": 2}))
    assert begun == Outcome(1, []) and not begun.is_whole and begun.verdict == "waits"


def looked(*shares, judge="answer_reward"):
    run = run_of(1, round(10 * shares[-1]))
    run.metrics = [{"step": i, f"held-out/{judge}/mean": share} for i, share in enumerate(shares, 1)]
    return run


def test_the_best_checkpoint_is_told_with_its_interval_and_a_warning():
    assert "the last was the best, after step 2: 60% right" in luck.best_checkpoint(looked(0.5, 0.6))
    said = luck.best_checkpoint(looked(0.5, 0.7, 0.6))
    assert "after step 2: 70% right (95 % interval 40% to 89%)" in said and "cannot be told apart" in said
    assert "after step 3, is the one that is saved: 60% right" in said and "same 10 held-out questions" in said
    assert "A shorter training would have been better" in luck.best_checkpoint(looked(0.5, 1.0, 0.1))
    assert "none was better than the last, after step 3: 60% right" in luck.best_checkpoint(looked(0.5, 0.6, 0.6))
    tie = luck.best_checkpoint(looked(0.0, 0.0, 0.0))
    assert "None: each of 3" in tie and "0% right" in tie and "was the best" not in tie and "flatters" not in tie
    assert luck.best_checkpoint(looked(0.5)) is luck.best_checkpoint(looked(0.5, 0.6, judge="other")) is None
    scored = looked(0.5, 0.6)
    scored.before.completions[0].rewards["answer_reward"] = 0.5  # no verdict: Wilson says nothing of it
    assert luck.best_checkpoint(scored) is None


def test_the_best_checkpoint_is_judged_by_what_was_trained_on_with_right_answers_beside_it():
    """A reward of the reader's rose, and "None: … 0% right" was said of it."""
    run = looked(0.0, 0.0, 0.0)
    for at, row in enumerate(run.metrics):
        row |= {"held-out/mine/mean": 0.2 * at, "held-out/mine_too/mean": 0.5}
    for each, score in zip(run.after.completions, [0.0, 1.0] * 5, strict=True):
        each.rewards |= {"mine": score, "mine_too": 0.5}
    run.groups = [Group(3, "?", [Completion("", 1, {"mine": 1.0, "mine_too": 0.5})] * 2)]
    said = luck.best_checkpoint(run)
    assert "the last was the best, after step 3: a reward of 0.9 (95 % interval 0.573 to 1.23), with 0% right." in said
    run.settings["reward_weights"] = [1.0, 0.0]
    assert "a reward of 0.4 " in luck.best_checkpoint(run)
    run.metrics[1]["held-out/mine/mean"] = 0.5
    said = luck.best_checkpoint(run)
    assert "after step 2: a reward of 0.5 " in said and "cannot be told apart" in said and "up to 0.14 too high" in said
    run.groups[0].completions[0].rewards = {"answer_reward": 1.0}
    assert "None: each of 3" in luck.best_checkpoint(run)
    run.groups[0].completions[0].rewards = {"not_asked": 1.0}
    assert "None: each of 3" in luck.best_checkpoint(run)


def test_the_best_of_several_alike_flatters_itself_by_as_much_as_is_said():
    dice, looks, asked, p = random.Random(2), 5, 10, 0.6
    best = [max(sum(dice.random() < p for _ in range(asked)) for _ in range(looks)) / asked for _ in range(4000)]
    told = int(re.search("up to ([0-9]+) points", luck.best_checkpoint(looked(p, p, p - 0.1, p, p + 0.1)))[1])
    assert told == pytest.approx(100 * (fmean(best) - p), abs=2)


def test_with_as_many_seeds_as_it_says_a_t_test_finds_the_difference_four_times_in_five():
    """By drawing such seeds: two sides of five, eight degrees of freedom, and a spread for which five are needed."""
    dice, spread, needed = random.Random(0), 0.1, 5
    base = [-0.1, 0.0, 0.1]  # of this spread
    difference = next(d / 1000 for d in range(1, 1000) if seeds_needed(base, [x + d / 1000 for x in base]) == needed)

    def found():
        before = [dice.gauss(0, spread) for _ in range(needed)]
        after = [dice.gauss(difference, spread) for _ in range(needed)]
        apart = ((stdev(before) ** 2 + stdev(after) ** 2) / needed) ** 0.5
        return abs(fmean(after) - fmean(before)) > 2.306 * apart

    assert stdev(base) == pytest.approx(spread)
    assert fmean(found() for _ in range(4000)) == pytest.approx(0.8, abs=0.04)


def test_the_interval_over_seeds_holds_the_truth_as_often_as_it_says():
    dice = random.Random(1)

    def holds():
        _, low, high = over_seeds([dice.gauss(0.5, 0.05) for _ in range(5)])
        return low <= 0.5 <= high

    assert fmean(holds() for _ in range(4000)) == pytest.approx(0.95, abs=0.02)


def test_too_few_seeds_and_no_difference_are_no_numbers():
    with pytest.raises(ValueError, match="1 seeds: expected 2 to 10"):
        over_seeds([0.5])
    with pytest.raises(ValueError, match="1 and 2 seeds"):
        seeds_needed([0.5], [0.5, 0.6])
    assert seeds_needed([0.4, 0.6], [0.4, 0.6]) == float("inf")
    same = [Outcome(seed, [0.5], (4 + seed, 10), (4 + seed, 10)) for seed in range(2)]
    assert "none of 2 seeds have learnt" in (said := " ".join(luck.in_words(same, 0))) and "a thousand" in said
    assert luck.in_words(same[:1], 0) == []


def test_the_recorded_trainings_are_five_for_each_chance_and_say_what_the_lesson_says_of_them():
    assert [*RECORDED] == [*CHANCES]
    assert all([each.seed for each in runs] == [*range(FEW)] for runs in RECORDED.values())
    assert all(len(each.rewards) == STEPS and each.is_whole for runs in RECORDED.values() for each in runs)
    learnt = {chance: sum(each.verdict == "learnt" for each in runs) for chance, runs in RECORDED.items()}
    assert all(learnt[chance] == FEW for chance in (0, 0.05, 0.1, 0.2)) and 0 < learnt[0.3] < FEW and learnt[0.5] == 0
    after = {chance: fmean(each.after[0] / each.after[1] for each in runs) for chance, runs in RECORDED.items()}
    assert abs(after[0] - after[0.1]) < 0.03 < after[0] - after[0.3]
    curve = [fmean(each.rewards[i] for each in RECORDED[0.3]) for i in range(STEPS)]
    assert fmean(curve[-5:]) - fmean(curve[:5]) < max(abs(a - b) for a, b in itertools.pairwise(curve))
    curve = [each.rewards for each in RECORDED[0.5]]
    assert fmean(map(fmean, curve)) == pytest.approx(0.5, abs=0.02)
    assert seeds_needed([0.4, 0.5, 0.6], [0.5, 0.6, 0.7]) == 17  # no larger than the spread between seeds


def test_what_is_shown_is_read_by_who_does_not_see_it():
    shown = luck.table([*RECORDED[0.3], Outcome(5, [0.5]), Outcome(6, [])])
    assert shown.count('scope="row"') == 8 and shown.count("<svg") == shown.count('role="img"') == 8  # and the mean
    assert 'aria-label="before 35%, 95 % interval 27% to 45%; after 72%, 95 % interval 62% to 80%"' in shown
    assert shown.count('aria-label="not begun"') == 2 and ">unfinished<" in shown and ">waits<" in shown
    curve = band("<b>", [each.rewards for each in RECORDED[0.3]] + [[0.5], []], STEPS, {"always <i>": 0.7})
    assert "<b>" not in curve.replace('<b class="reward">', "") and "always &lt;i&gt;" in curve
    assert (
        curve.count("<polyline") == 7 + 1 and 'aria-label="&lt;b&gt; over the steps of 7 seeds; their median' in curve
    )
    first, last = luck.in_words(RECORDED[0.3], 0.3)
    assert "errs in 30% of its verdicts, 2 of 5 seeds have learnt" in first and "Here are 5: enough" in last
    assert (
        "Here are 5: too few" in luck.in_words(RECORDED[0.5], 0.5)[1]
        and "never errs" in luck.in_words(RECORDED[0], 0)[0]
    )
