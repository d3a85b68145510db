"""The math lesson: what its prose claims holds, and right answers to its exercises pass."""

import re
from statistics import fmean

import pytest

from grpo_lessons.answers import number
from grpo_lessons.groups import AGGREGATIONS, combined, interval, is_dead, p_dead
from grpo_lessons.lesson import REAL, Question
from grpo_lessons.replies import final_answer
from grpo_lessons.rewards import AnswerReward, answer_reward, format_reward, thinks
from grpo_lessons.text import has_thought
from grpo_lessons.web.wall import asked
from tests.support.lessons import load, refusal, verdicts


@pytest.fixture(scope="module")
def lesson():
    return load("math")


@pytest.fixture(scope="module")
def defs(lesson):
    return lesson.app.run()[1]


def test_the_wall_of_a_class_knows_every_question(defs):
    questions = {each.asked: (each.right, [*each.answers]) for each in defs.values() if isinstance(each, Question)}
    assert {each.text: (each.options[each.right], [*each.options]) for each in asked("math")} == questions


def bounds(scores):
    return interval(round(sum(scores)), len(scores))


def test_rewarded_for_answers_only_the_recorded_run_learns_to_think(defs):
    run = defs["station"].recorded
    assert run.rewards == ["AnswerReward(tolerance=0, strict=False)"] and run.settings["reward_weights"] is None
    assert run.before.mean("answer_reward") <= 0.45 and run.after.mean("answer_reward") >= 0.9
    assert run.before.mean("thinks") <= 0.4 and run.after.mean("thinks") >= 0.95
    for judge in ("answer_reward", "thinks"):
        assert bounds(run.before.scores(judge))[1] < bounds(run.after.scores(judge))[0]


def test_the_held_out_questions_are_answered_on_the_way(defs):
    for name in ("answer_reward", "thinks", "strict_answer_reward"):
        steps = [step for step, _ in defs["station"].recorded.series(f"held-out/{name}/mean")]
        assert steps == list(range(10, defs["station"].recorded.steps_done + 1, 10))


def test_replies_that_think_are_right_and_pushed_up_and_the_others_are_not(defs):
    run = defs["station"].recorded
    first = [completion for group in run.groups[:8] for completion in group.completions]
    thinking, guessing = ([c for c in first if has_thought(c.text) == think] for think in (True, False))
    assert fmean(c.advantage for c in thinking) > 0.3 > -0.1 > fmean(c.advantage for c in guessing)
    right = [bounds([c.rewards["answer_reward"] for c in each]) for each in (guessing, thinking)]
    assert right[0][1] < right[1][0]


def test_the_run_ends_with_more_dead_groups_than_it_had_when_half_was_right(defs):
    dead = [row["frac_reward_zero_std"] for row in defs["station"].recorded.metrics]
    assert fmean(dead[-10:]) > fmean(dead[:10])


def test_strict_and_lenient_part_ways_in_the_recorded_run(defs):
    run = defs["station"].recorded
    assert run.after.mean("answer_reward") > run.after.mean("strict_answer_reward") + 0.1


def test_in_the_example_the_block_doubles_strict_and_leaves_lenient(defs):
    texts, gold = defs["REPLIES"], [defs["GOLD"]] * len(defs["REPLIES"])
    boxed = [f"<answer>{final_answer(t)}</answer>" if "<answer>" not in t and final_answer(t) else t for t in texts]
    strict = AnswerReward(strict=True)
    assert sum(answer_reward(texts, gold)) == sum(answer_reward(boxed, gold)) == 2
    assert (sum(strict(texts, gold)), sum(strict(boxed, gold))) == (1, 2)


def test_two_of_the_first_four_replies_are_right_and_those_are_the_ones_that_think(defs):
    four = defs["REPLIES"][:4]
    assert answer_reward(four, ["95"] * 4) == thinks(four) == [1.0, 0.0, 1.0, 0.0]


def test_a_wide_tolerance_pays_guesses_like_sums_and_kills_the_group(defs):
    texts = defs["REPLIES"]

    def paid(tolerance):
        return AnswerReward(tolerance=tolerance)(texts, ["95"] * len(texts))

    assert sum(paid(0)) == 2 and sum(paid(10)) == 7 and is_dead(paid(23)) and not is_dead(paid(22))


def test_partial_credit_pays_every_guess_something(lesson, defs):
    paid = lesson.partial_credit(defs["REPLIES"], ["95"] * 8)
    assert all(0.7 < reward <= 1 for reward in paid) and paid.count(1.0) == 2 and not is_dead(paid)
    assert lesson.partial_credit(["no idea", None, "9" * 10_000, "9e999"], ["95"] * 4) == [0.0] * 4


def test_string_comparison_is_wrong_where_the_lesson_shows_it():
    for reply, gold in (("72.0", "72"), ("1,234", "1234"), ("-5", "−5"), (r"\frac{3}{4}", "0.75"), ("$72.", "72")):
        assert reply != gold and number(reply) == number(gold)
    assert number("72 or 73") is None


def test_all_switches_on_the_extraction_agrees_with_the_finished_function_and_each_is_needed(lesson, defs):
    steps = {"last", "hashes", "boxed", "answer", "thought"}
    replies = defs["PLACES"]

    def wrong(on):
        found = [lesson.extract_final_answer(text, on) for text in replies]
        return [
            text
            for text, each in zip(replies, found, strict=True)
            if (each is not None and number(each) == 95) != (number(final_answer(text) or "") == 95)
        ]

    assert wrong(steps) == []
    assert all(wrong(steps - {step}) for step in steps)


def test_the_bare_except_hides_a_type_error_that_raises_without_it(lesson):
    right = [[{"role": "assistant", "content": "95"}]]
    assert lesson.forgiving_reward(right, ["95"]) == [0.0]
    with pytest.raises(TypeError):
        lesson.score_one(right[0], "95")


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_small_weight_says_in_either_way_that_the_answer_matters_more(aggregation):
    right, formed = [1, 1, 0, 0], [1, 0, 1, 0]
    equal, light = (combined([[right], [formed]], [1, weight], aggregation)[0] for weight in (1, 0.1))
    assert equal[1] == pytest.approx(equal[2]) and light[0] > light[1] > light[2] > light[3]


def test_points_drown_the_answer_in_a_sum_and_do_not_matter_if_each_is_normalized_first():
    right, in_percent = [1, 1, 0, 0], [100, 0, 100, 0]
    summed = combined([[right], [in_percent]])[0]
    assert summed[2] > 0.8 and summed[1] < -0.8  # wrong in the format goes up, right without it down
    apart = combined([[right], [in_percent]], aggregation="normalize_then_sum")[0]
    assert apart == pytest.approx(
        combined([[right], [[0.01 * p for p in in_percent]]], None, "normalize_then_sum")[0], abs=1e-3
    )


@pytest.mark.parametrize(("name", "reward"), [("too hard: four numbers", 0.0), ("too easy: any number will do", 1.0)])
def test_too_hard_and_too_easy_are_dead_at_either_end(defs, name, reward):
    run = defs["station"].runs[name]
    assert fmean(row["reward"] for row in run.metrics) == pytest.approx(reward, abs=0.05)
    assert fmean(row["frac_reward_zero_std"] for row in run.metrics) > 0.75
    before, after = (bounds(e.scores("answer_reward")) for e in (run.before, run.after))
    assert before[1] > after[0]  # no progress beyond luck


def test_what_is_paid_as_well_for_a_guess_does_not_learn_to_think(defs):
    run, works = defs["station"].runs["too generous: 20 off is fine"], defs["station"].recorded
    assert fmean(row["reward"] for row in run.metrics) > 0.9
    assert bounds(run.after.scores("thinks"))[1] < bounds(works.after.scores("thinks"))[0]
    assert bounds(run.after.scores("answer_reward"))[1] < bounds(works.after.scores("answer_reward"))[0]


def test_larger_groups_are_less_often_dead_as_the_table_says(defs):
    p = defs["station"].recorded.before.mean("answer_reward")
    assert p_dead(p, 4) > p_dead(p, 8) > p_dead(p, 16)


@pytest.mark.parametrize(
    ("thought", "digits", "why"),
    [("<think>.*?</think>", r"-?\d+(?:\.\d+)?", "never closed"), ("<think>.*?(</think>|$)", r"\d+", "decimals")],
)
def test_an_extraction_that_reads_digits_only_or_an_open_thought_is_told_so(lesson, thought, digits, why):
    def my_final_answer(text):
        text = re.sub(thought, "", text, flags=re.DOTALL)
        found = re.findall("<answer>(.*?)</answer>", text, re.DOTALL) or re.findall(digits, text)
        return found[-1] if found else None

    assert why in verdicts(lesson, my_final_answer=my_final_answer)[0]


def test_right_answers_to_the_exercises_pass(lesson):
    def my_final_answer(text):
        text = re.sub("<think>.*?(</think>|$)", "", text, flags=re.DOTALL)
        found = re.findall("<answer>(.*?)</answer>", text, re.DOTALL) or re.findall(r"-?\d+(?:\.\d+)?", text)
        return found[-1] if found else None

    def my_answer_reward(completions, answer, **kwargs):
        values = [number(completion[0]["content"]) for completion in completions]
        return [1.0 if v is not None and v == number(gold) else 0.0 for v, gold in zip(values, answer, strict=True)]

    said = verdicts(
        lesson,
        my_final_answer=my_final_answer,
        my_answer_reward=my_answer_reward,
        my_dead_share=lambda p, size: p**size + (1 - p) ** size,
    )
    assert len(said) == 3 and all("All cases pass" in text for text in said)
    assert refusal(lesson, my_answer_reward) is None
    assert "asks for 'answers'" in refusal(lesson, lesson.my_answer_reward)  # as it stands


def test_the_real_model_adds_better_beyond_luck_and_hardly_ever_without_an_example(defs):
    real, zero = (defs["station"].runs[name] for name in (REAL, f"{REAL}, no example"))
    before, after = (sum(each.scores("answer_reward")) for each in (real.before, real.after))
    assert interval(int(after), 96)[0] > interval(int(before), 96)[1]
    assert zero.before.mean("answer_reward") < 0.05 and real.after.mean("thinks") == 0
    assert fmean(row["frac_reward_zero_std"] for row in zero.metrics) > 0.5


def test_thinks_and_format_are_judges_of_their_own():
    assert thinks(["<think> </think>95", "<think>a", None, "<think>" * 100_000]) == [0.0] * 4
    assert format_reward(["<think>a</think>95"]) == [0.0] and thinks(["<think>a</think>95"]) == [1.0]
