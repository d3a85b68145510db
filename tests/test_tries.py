"""A reward tried before it is paid for: what is wrong with it is said in words, and a sound one is left in peace."""

import asyncio
import random
import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest
import torch

from grpo_lessons.calling import RewardFailed, ask_by_name, complaint, in_words
from grpo_lessons.rewards import AnswerReward, FormatReward, LengthReward, answer_reward, format_reward
from grpo_lessons.training import Settings, explain
from grpo_lessons.training.ledger import Ledger
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


def silent(completions, **kwargs):
    return [None for _ in completions]


def of_numbers(completions, **kwargs):
    return [0.3 if any(letter.isdigit() for letter in text(each)) else None for each in completions]


def of_prompts(completions, **kwargs):
    return [float("96" in text(completions[1])) for _ in completions]


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
        (one_short, "runs", "3 scores for 4 replies"),
        (scalar, "runs", "It returned 1.0: expected a list"),
        (words, "runs", "'good' among its scores"),
        (raises, "runs", "KeyError: 'gold'"),
        (chance, "says the same twice", "chance is learnt"),
        (longer, "is no length in disguise", "longer reply earns more"),
        (longer, "asks for the answer", "earns"),
        (constant, "tells replies apart", "paid 0.5: every group is dead"),
        (parts, "says None only of a whole group", "4 of 8 replies are paid None"),
        (parts, "tells replies apart", "4 of 8 replies are paid None. All 4 others are paid 1: every group is dead"),
        (silent, "tells replies apart", "All 8 replies of the model are paid None"),
        (silent, "stands hostile replies", "All of them are paid None"),
        (of_numbers, "stands hostile replies", "Paid None: `empty`, `white space`, `tags without end`."),
        (of_prompts, "tells replies apart", "The replies to each prompt are all paid the same"),
        (form_only, "asks for the answer", "A wrong answer (in its block) earns 1"),
        (picky, "stands hostile replies", "IndexError"),
        (strict_signature, "can be called by TRL", "Add **kwargs"),
        (asks_for_more, "can be called by TRL", "no such column"),
        (slow, "is faster than sampling", "waiting for the reward"),
        (anywhere, "asks for the answer", "may learn to list"),
        (LengthReward(4), "asks for the answer", "earns"),
        (format_reward, "asks for the answer", "A wrong answer (thought and block) earns 1"),
    ],
)
def test_what_is_wrong_with_a_reward_is_said(reward, test, said):
    found = {each.test: each for each in check_reward(reward, ROWS, REPLIES, sampled=0.001)}
    assert not found[test].is_good and said in found[test].words


# What a reward may return for two replies, and what is said of it; a list of numbers where that can be used.
RETURNS = {
    "strings": (["1.0", "0"], "It returned '1.0' among its scores: expected numbers, or None for no say. Return float('1.0')."),
    "words": (["good", "bad"], "It returned 'good' among its scores"),
    "bytes": ([b"1", b"0"], "It returned b'1' among its scores"),
    "one number": (1.0, "It returned 1.0: expected a list, a number (or None) for each reply. Return [… for completion in completions]."),
    "nothing": (None, "It returned None: expected a list, a number (or None) for each reply. Is there a `return` in it?"),
    "a dict": ({"a": 1.0, "b": 0.0}, "Return a list of its values"),
    "a dict for each": ([{"score": 1.0}] * 2, "It returned {'score': 1.0} among its scores: expected numbers, or None for no say. Return one of its values."),
    "a set": ({1.0, 0.0}, "A set forgets their order"),
    "lists in a list": ([[1.0], [0.0]], "Return [1.0, 0.0], not [[1.0], [0.0]]."),
    "tuples": ([(1.0, 0.5)] * 2, "It returned (1.0, 0.5) among its scores"),
    "a column": (numpy.ones((2, 1)), "Return [1.0, 0.0], not [[1.0], [0.0]]."),
    "a tensor of no dimension": (torch.tensor(1.0), "It returned tensor(1.): expected a list"),
    "complex": ([1j, 0j], "It returned 1j among its scores"),
    "infinite": ([float("inf"), 0.0], "It returned inf among its scores"),
    "too large": ([10**400, 0], "It returned 1000"),
    "too few": ([1.0], "It returned 1 score for 2 replies: expected one for each, in their order."),
    "none at all": ([], "It returned 0 scores for 2 replies"),
    "numbers": ([1, 0], [1.0, 0.0]),
    "truths": ([True, False], [1.0, 0.0]),
    "None and NaN": ([None, float("nan")], [None, None]),
    "a tuple": ((1.0, 0.0), [1.0, 0.0]),
    "fractions": ([Fraction(1, 2), Decimal("0.25")], [0.5, 0.25]),
    "scalars of numpy": ([numpy.float32(1), numpy.bool_(False)], [1.0, 0.0]),
    "an array": (numpy.array([1, 0]), [1.0, 0.0]),
    "a tensor": (torch.tensor([1.0, 0.0]), [1.0, 0.0]),
    "tensors": ([torch.tensor(1.0), torch.tensor(0)], [1.0, 0.0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*RETURNS, "a generator"])
def test_whatever_a_reward_returns_works_or_is_named_before_a_training_and_in_it(kind):
    said, expected = RETURNS.get(kind, (None, [1.0, 0.0]))

    def mine(completions, **kwargs):
        return (score for score in (1.0, 0.0)) if kind == "a generator" else said

    row = {"prompt": [{"role": "user", "content": "?"}]}
    in_training = Ledger(Settings(), [], lambda: None).watch(mine)
    if isinstance(expected, list):
        assert pay(mine, ["a", "b"], row) == in_training(completions=["a", "b"]) == expected
        return
    (found,) = check_reward(mine, [row], [["a", "b"]])
    assert not found.is_good and expected in found.words and ".." not in found.words
    with pytest.raises(RewardFailed) as raised:
        in_training(completions=["a", "b"])
    assert explain(raised.value).startswith("The reward `mine` failed. It returned ") and expected in str(raised.value)


@pytest.mark.parametrize(
    "reward", [answer_reward, AnswerReward(strict=True), judged], ids=["answer", "strict", "async"]
)
def test_a_sound_reward_is_left_in_peace(reward):
    found = check_reward(reward, ROWS, REPLIES, sampled=10.0)
    assert len(found) == 5 and all(each.is_good for each in found), found


def test_without_replies_of_a_model_what_can_be_checked_is_checked():
    assert [each.test for each in check_reward(answer_reward, ROWS)] == [
        "stands hostile replies",
        "asks for the answer",
    ]
    no_answer = [{"prompt": "Write about the sea."}]
    assert [each.test for each in check_reward(FormatReward(), no_answer)] == ["stands hostile replies"]


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


def last_word(completions, **kwargs):
    replies = [text(each) for each in completions]
    return [float(reply.split()[-1] == "95") for reply in replies]


def of_strings(completions, **kwargs):
    return [float("95" in each.split()) for each in completions]


def of_messages(completions, **kwargs):
    return [len(re.findall("95", each[0])) for each in completions]


async def waited(completions, **kwargs):
    return last_word(completions)


def says(*texts):
    return [[{"role": "assistant", "content": each}] for each in texts]


@pytest.mark.parametrize("reward", [last_word, waited])
@pytest.mark.parametrize("in_training", [True, False])
def test_a_reward_that_fails_names_the_reply_and_the_line(reward, in_training):
    """It said `IndexError: list index out of range`, of one among 256 replies."""
    seen = {"completions": says("It is 95", " ", "94"), "answer": ["95"] * 3}
    ledger = Ledger(Settings(), [], lambda: None).watch(reward)
    with pytest.raises(RewardFailed) as raised:
        if not in_training:
            ask_by_name(reward, **seen)
        elif reward is waited:
            # In a thread, as TRL does: another test may have left a loop running in this one.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(lambda: asyncio.run(ledger(**seen))).result()
        else:
            ledger(**seen)
    said = explain(raised.value)
    assert said.startswith(
        f"The reward `{reward.__name__}` failed on an empty reply. IndexError: list index out of range."
    )
    line = last_word.__code__.co_firstlineno + 2
    assert f'In line {line}: `return [float(reply.split()[-1] == "95") for reply in replies]`.' in said


def test_a_reply_is_named_in_short_and_none_where_a_reward_fails_on_all():
    def picks(completions, **kwargs):
        return [1.0 / (text(each).count("x") < 9) for each in completions]

    with pytest.raises(RewardFailed, match=r"failed on the reply “x{80}…”\. ZeroDivisionError"):
        ask_by_name(picks, completions=says("a", "x" * 200))
    with pytest.raises(
        RewardFailed, match=r"`raises` failed\. KeyError: 'gold'\. In line \d+: `return {}\[\"gold\"\]`"
    ):
        ask_by_name(raises, completions=says("a", "b"))
    with pytest.raises(RewardFailed, match=r"`one_short` failed\. It returned 1 score for 2 replies: [^.]*\.$"):
        ask_by_name(one_short, completions=says("a", "b"))


@pytest.mark.parametrize("reward", [of_strings, of_messages])
def test_who_takes_a_completion_for_a_string_is_told_what_it_is(reward):
    with pytest.raises(RewardFailed, match=r'its text is `completion\[0\]\["content"\]`'):
        ask_by_name(reward, completions=says("a", "b"))
    assert all('completion[0]["content"]' in each.wrong for each in tried(reward, {"yours": "95"}, ROW))
    assert 'completion[0]["content"]' not in in_words(KeyError("answer"))


def test_of_the_columns_that_are_there_none_is_ours():
    said = complaint(asks_for_more, ["prompt", "answer", "note", "opened_thought"])
    assert said.endswith("it has 'answer', 'note'.")
