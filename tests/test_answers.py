"""Answers with a kind: what real data sets hold as right, what real replies write, and that the two are compared as they should."""

import json
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_lessons import formulas
from grpo_lessons.answers import answer_column, check_answers, is_right, right_answers
from grpo_lessons.comparing import equal
from grpo_lessons.reading import read
from grpo_lessons.replies import final_answer
from grpo_lessons.rewards import AnswerReward, answer_reward
from grpo_lessons.text import opened_thought
from grpo_lessons.typography import plain
from tests.support.judges import math_verify_says
from tests.test_rewards import cases, said

DATA = Path(__file__).parent / "data"
PAIRS = json.loads((DATA / "answers.json").read_text("utf-8"))
GOLDS = [gold for golds in json.loads((DATA / "golds.json").read_text("utf-8")).values() for gold in golds]


@pytest.mark.parametrize("kind", sorted({pair["kind"] for pair in PAIRS}))
def test_what_is_right_is_paid_and_what_is_wrong_is_not(kind):
    pairs = [pair for pair in PAIRS if pair["kind"] == kind]
    judged = [answer_reward(completions=[pair["completion"]], answer=[pair["gold"]]) for pair in pairs]
    otherwise = [pair for pair, paid in zip(pairs, judged, strict=True) if paid != [float(pair["right"])]]
    assert otherwise == []


def test_every_right_answer_of_ten_public_data_sets_has_a_value_and_is_right_in_a_box():
    unpaid = []
    for gold in GOLDS:
        text = str(gold).rpartition("####")[2].strip()
        inside = text[1:-1] if text.startswith("$") and text.count("$") == 2 else text
        if answer_reward(completions=[f"\\boxed{{{inside}}}"], answer=[gold]) != [1.0]:
            unpaid.append(gold)
    assert len(unpaid) <= 0.01 * len(GOLDS), unpaid


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    cases(
        ("72", "number", "72", "a number"),
        ("28 %", "percentage", "28%", "a percentage"),
        ("3\\frac12", "mixed number", "3.5", "a mixed number, and not 31/2"),
        ("72 km/h", "number with a unit", "72 km/h", "a unit"),
        ("$18.00", "number with a unit", "18 $", "money"),
        ("$2\\sqrt{3}$", "expression", "2 sqrt(3)", "a formula in dollars is no money"),
        ("6xy", "expression", "6 x y", "letters are no unit"),
        ("$6m$", "expression", "6 m", "nor is a lone letter, where it may be a variable"),
        ("6 m", "number with a unit", "6 m", "apart from its number it is one"),
        ("(3, 4)", "tuple", "(3, 4)", "a tuple"),
        ("(2,251,252)", "tuple", "(2, 251, 252)", "commas between brackets are none between thousands"),
        ("[0, 1)", "interval", "[0, 1)", "an interval"),
        ("x \\ge 3", "interval", "[3, ∞)", "an inequality of one variable"),
        ("b > a > c", "inequality", "c < a < b", "one of several"),
        ("\\{1, 2\\}", "set", "{1, 2}", "a set"),
        ("x=-6, x=2", "list", "x = -6 and x = 2", "a list of solutions"),
        ("3,5", "list", "3 and 5", "two numbers, as what is right"),
        ("\\pm 2", "list", "2 and -2", "plus or minus"),
        ("2x-y+3=0", "equation", "2 x - y + 3 - 0 = 0", "an equation, and not 0"),
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "matrix", "1, 2; 3, 4", "a matrix"),
        ("\\text{(B)}", "choice", "B", "a letter to choose"),
        ("1:58 am", "time", "1:58 am", "a time"),
        ("February 3rd", "date", "02-03", "a date"),
        ("3:2", "ratio", "3 : 2", "a ratio"),
        ("10-12", "range", "10 to 12", "a range, and not -2"),
        ("52_8", "number in a base", "52 in base 8", "a number in a base"),
        ("\\text{east}", "word", "east", "a word"),
    ),
)
def test_a_right_answer_is_read_as_what_it_is(text, kind, shown):
    (answer,) = right_answers(text)
    assert (answer.kind, str(answer)) == (kind, shown)


NO_VALUE = [None, "", "  ", float("nan"), float("inf"), {}, "9" * 10_000, 10**5000, "####", []]


@pytest.mark.parametrize("gold", NO_VALUE, ids=map(str, range(len(NO_VALUE))))
def test_what_has_no_value_is_nothing_and_never_raises(gold):
    assert right_answers(gold) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted = {}
        scores = answer_reward(completions=["72", "72"], answer=[gold, "72"], log_metric=counted.__setitem__)
    assert scores == [None, 1.0] and counted == {"unreadable_answers": 1}


def test_an_unreadable_answer_is_said_once():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for _ in range(3):
            answer_reward(completions=["72"], answer=[{"said": "once"}])
    assert ["{'said': 'once'}" in str(each.message) for each in heard] == [True]


@pytest.mark.parametrize("column", ["answer", "solution", "ground_truth", "target"])
def test_the_column_may_have_the_names_it_has_in_public_data(column):
    assert answer_reward(completions=["72"], **{column: ["72"]}) == [1.0]


def test_the_column_may_be_named_and_a_missing_one_is_told_with_those_that_are_there():
    assert AnswerReward(column="label")(completions=["72"], label=["72"], answer=["71"]) == [1.0]
    with pytest.raises(ValueError, match="'answer', 'solution', 'ground_truth', 'target'; the data have 'label'"):
        answer_reward(completions=["72"], label=["72"], prompts=["?"])
    with pytest.raises(ValueError, match="'gold'; the data have 'label'"):
        answer_column(["label"], "gold")


def test_the_rows_are_checked_before_anything_is_paid():
    checked = check_answers([{"answer": "72"}, {"answer": "3\\frac12"}, {"answer": None}, {"answer": "5"}])
    assert checked.kinds == {"number": 2, "mixed number": 1} and checked.unreadable == [(3, "None")]
    assert "row 3, answer=None" in str(checked) and "such as '3\\frac12', read as 3.5" in str(checked)
    with pytest.raises(ValueError, match="the data have 'gold'"):
        check_answers([{"gold": "72"}])


@pytest.mark.parametrize("text", ["n/a", "N/A", "-", "—", "none", "Null", "NaN", "unknown", "?", " tbd "])
def test_where_somebody_knew_no_answer_there_is_none_but_a_class_of_words_stays(text):
    numbers = [{"answer": str(n)} for n in range(9)]
    assert check_answers([*numbers, {"answer": text}]).unreadable == [(10, f"'{text.strip()}'")]
    assert not check_answers(numbers).unreadable
    words = [{"answer": word} for word in ("yes", "no") * 50]
    assert check_answers([*words, {"answer": text}]).unreadable == [(101, f"'{text.strip()}'")]


def test_a_word_for_nothing_that_occurs_often_among_words_is_a_class():
    golds = ["positive", "negative", "unknown", "none"] * 9
    assert not check_answers([{"answer": gold} for gold in golds]).unreadable
    assert len(check_answers([{"answer": gold} for gold in [*golds, *map(str, range(99))]]).unreadable) == 18


@pytest.mark.parametrize(
    ("reply", "answer"),
    cases(
        ("[THINK]71[/THINK]72", "72", "Mistral"),
        ("<thinking>71</thinking>72", "72", "thinking"),
        ("<reasoning>71</reasoning>72", "72", "reasoning"),
        ("<seed:think>71</seed:think>72", "72", "Seed"),
        ("<|channel>thought\n71<channel|>72", "72", "Gemma"),
        (
            "<|channel|>analysis<|message|>71<|end|><|start|>assistant<|channel|>final<|message|>72<|return|>",
            "72",
            "gpt-oss",
        ),
        ("analysisWe add: 71.assistantfinalIt is 72.", "72", "gpt-oss without its special tokens"),
        ("analysisWe add: 72", None, "cut off in it"),
        ("[THINK]so it is 72", None, "cut off in a thought"),
        ("<thinking>so it is 72", None, "and in another"),
        ("so it is 71</think>72", "72", "opened in the prompt"),
        ("Analysis: it is 72", "72", "a word is no channel"),
    ),
)
def test_a_thought_of_any_family_counts_neither_for_nor_against(reply, answer):
    assert final_answer(reply) == answer


def test_several_messages_are_kept_apart():
    messages = [*said("add 30 and 4"), {"role": "tool", "content": "34"}, *said("2")]
    assert answer_reward(completions=[messages, messages], answer=["42", "2"]) == [0.0, 1.0]


def test_a_mark_in_the_middle_of_a_prompt_opens_nothing():
    assert opened_thought("<think>x</think>") == opened_thought("Write <think> first. 12 + 45?") == ""
    assert opened_thought("…<|assistant|>[THINK] \n") == "[THINK]"


TEXTS = st.text(alphabet="0123456789.,:/-+=%$x aby()[]{}\\^_&|<>½７−π√′'", max_size=30) | st.lists(
    st.sampled_from(
        [
            "\\frac{1}{2}",
            "72",
            "x",
            " or ",
            " and ",
            ",",
            "\\text{cm}",
            "(",
            ")",
            "[",
            "=",
            "3 1/2",
            "\\pm",
            "not ",
            "$",
            "%",
        ]
    ),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(TEXTS, TEXTS)
def test_two_readings_are_equal_both_ways_or_not_at_all(one, other):
    for first, second in zip(read(one)[:1], read(other)[:1], strict=False):
        if first.written == second.written:  # a calculation is no answer to a number; a number is one to a calculation
            assert equal(first, second) == equal(second, first)
        assert equal(first, first) or formulas.constant(first.value) is None


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_spelling_is_settled_in_one_go(text):
    assert plain(plain(text)) == plain(text)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_whatever_stands_in_a_data_set_is_read_or_has_no_value(text):
    is_right(text, text)
    str(check_answers([{"answer": text}]))


ENDLESS = ["½", "½%", "[", "(1", "1,", "x=1,", "1:", "1<", "1\\pm", "{", "\\frac", "x^", "2^{", "|x", "it's ", "\\text{a}", "a ", "seventy ",
           "\\begin{pmatrix}", "1 or ", "72 apples ", "\\boxed{", "the answer is ", "1e9", "9!", "\\binom", "sin ", "\\sqrt", "-", "\\cup("]  # fmt: skip


@pytest.mark.parametrize("wrapped", ["{}", "<answer>{}</answer>", "\\boxed{{{}}}", "#### {}", "<answer>${}$</answer>"])
def test_64_different_hostile_answers_take_less_than_a_second(wrapped):
    texts = [wrapped.format((part * 400)[: 330 + at]) for at, part in enumerate(ENDLESS * 2)][:64]
    for gold in ("72", "\\sqrt{2}", "(1, x)"):
        started = time.process_time()
        answer_reward(completions=texts, answer=[gold] * len(texts))
        assert time.process_time() - started < 1.0


def test_64_numbers_take_less_than_fifty_milliseconds():
    replies = [f"<think>{n} and {n}</think><answer>{2 * n}.0</answer>" for n in range(64)]
    took = []
    for _ in range(3):
        read.cache_clear()
        started = time.process_time()
        answer_reward(completions=replies, answer=[str(2 * n) for n in range(64)])
        took.append(time.process_time() - started)
    assert min(took) < 0.05


def test_the_lessons_table_shows_what_math_verify_says():
    rows = json.loads((Path(__file__).parents[1] / "notebooks/cases/real_answers.json").read_text("utf-8"))
    for row in rows:
        assert math_verify_says(row["gold"], row["reply"]) == row["says"], row
        assert is_right(final_answer(row["reply"]), row["gold"]) == row["right"], row
