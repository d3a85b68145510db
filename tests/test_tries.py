"""A reward tried before it is paid for: what is wrong with it is said in words, and a sound one is left in peace."""

import random

import pytest

from grpo_lessons.rewards import AnswerReward, FormatReward, LengthReward, answer_reward, format_reward
from grpo_lessons.tries import HOSTILE, check_reward, pay, to_try, tried

ROW = {"prompt": [{"role": "user", "content": "What is 12 + 45 + 38?"}], "answer": "95"}
REPLIES = [
    ["It is 95.", "<think>12 + 45 = 57.</think><answer>96</answer>", "95", "<answer>95</answer>"],
    ["The answer is 94.", "#### 95", "<think>57 + 38 = 95.</think>95", "12"],
]
ROWS = [ROW, ROW]


def text(completion):
    return completion[0]["content"]


def one_short(completions, **kwargs):
    return [1.0] * (len(completions) - 1)


def scalar(completions, **kwargs):
    return 1.0


def words(completions, **kwargs):
    return ["good"] * len(completions)


def raises(completions, gold_standard=None, **kwargs):
    return {}["gold"]


def chance(completions, _dice=random.Random(0), **kwargs):  # noqa: B008
    return [_dice.random() for _ in completions]


def longer(completions, **kwargs):
    return [float(len(text(each))) for each in completions]


def constant(completions, **kwargs):
    return [0.5] * len(completions)


def parts(completions, **kwargs):
    return [1.0 if i % 2 else None for i, _ in enumerate(completions)]


def form_only(completions, **kwargs):
    return [float("<answer>" in text(each)) for each in completions]


def picky(completions, **kwargs):
    return [1.0 if text(each)[0] == "<" else 0.0 for each in completions]


def strict_signature(completions):
    return [1.0 for _ in completions]


def asks_for_more(completions, difficulty, **kwargs):
    return [1.0 for _ in completions]


def slow(completions, **kwargs):
    return [float(sum(range(200_000)) > 0) * len(text(each)) % 3 for each in completions]


async def judged(completions, answer, **kwargs):
    return [
        float(text(each).strip(".<>/answer ").endswith(gold) and " or " not in text(each))
        for each, gold in zip(completions, answer, strict=True)
    ]


def anywhere(completions, answer, **kwargs):
    return [float(gold in text(each)) for each, gold in zip(completions, answer, strict=True)]


@pytest.mark.parametrize(
    ("reward", "test", "said"),
    [
        (one_short, "does it run?", "3 scores for 4 replies"),
        (scalar, "does it run?", "It returned 1.0: expected a list"),
        (words, "does it run?", "'good' among its scores"),
        (raises, "does it run?", "KeyError: 'gold'"),
        (chance, "the same twice?", "chance is learnt"),
        (longer, "length in disguise?", "longer reply earns more"),
        (longer, "paid without the answer?", "earns"),
        (constant, "constant?", "paid 0.5: every group is dead"),
        (parts, "None for a whole group?", "never for a reply"),
        (form_only, "paid without the answer?", "A wrong answer (in its block) earns 1"),
        (picky, "does it stand hostile replies?", "IndexError"),
        (strict_signature, "can TRL call it?", "Add **kwargs"),
        (asks_for_more, "can TRL call it?", "no such column"),
        (slow, "slower than sampling?", "waiting for the reward"),
        (anywhere, "paid without the answer?", "may learn to list"),
        (LengthReward(4), "paid without the answer?", "earns"),
        (format_reward, "paid without the answer?", "A wrong answer (thought and block) earns 1"),
    ],
)
def test_what_is_wrong_with_a_reward_is_said(reward, test, said):
    found = {each.test: each for each in check_reward(reward, ROWS, REPLIES, sampled=0.001)}
    assert not found[test].is_good and said in found[test].words


@pytest.mark.parametrize(
    "reward", [answer_reward, AnswerReward(strict=True), judged], ids=["answer", "strict", "async"]
)
def test_a_sound_reward_is_left_in_peace(reward):
    found = check_reward(reward, ROWS, REPLIES, sampled=10.0)
    assert len(found) == 5 and all(each.is_good for each in found), found


def test_without_replies_of_a_model_what_can_be_checked_is_checked():
    assert [each.test for each in check_reward(answer_reward, ROWS)] == [
        "does it stand hostile replies?",
        "paid without the answer?",
    ]
    no_answer = [{"prompt": "Write about the sea."}]
    assert [each.test for each in check_reward(FormatReward(), no_answer)] == ["does it stand hostile replies?"]


def test_the_table_has_every_kind_of_reply_and_what_each_is_paid():
    table = tried(answer_reward, to_try(ROW, ["It is 95."], "I would rather not."), ROW)
    paid = {each.what: each.pays for each in table}
    assert paid["the model, 1"] == paid["right, bare"] == paid["right, thought and block"] == 1.0
    assert (
        paid["wrong, bare"]
        == paid["wrong, thought and block"]
        == paid["yours"]
        == paid["the right one among others"]
        == 0.0
    )
    assert all(paid[name] == 0.0 for name in HOSTILE) and all(0 <= each.seconds < 5 for each in table)


def test_a_reply_that_cannot_be_paid_is_named_and_the_others_are_paid():
    table = {each.what: each for each in tried(picky, {"good": "<a>", "empty": "", "bad": "a"}, ROW)}
    assert table["empty"].pays is None and "IndexError" in table["empty"].wrong
    assert (table["good"].pays, table["bad"].pays) == (1.0, 0.0)


def test_tokens_are_those_of_the_model_and_strings_are_strings_where_the_prompt_is_one():
    assert pay(LengthReward(4), ["a", "b"], ROW, tokens=[4, 8]) == [0.0, -1.0]
    assert pay(lambda completions, **kwargs: [len(each) for each in completions], ["abc"], ROW, chat=False) == [3.0]
    assert pay(lambda completions, **kwargs: [len(each) for each in completions], ["abc"], ROW) == [1.0]  # messages
