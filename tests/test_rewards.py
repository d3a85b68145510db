"""The rewards: what every kind of completion earns and why, and that no text can make them raise or dawdle."""

import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_lessons import formulas, reading
from grpo_lessons.answers import number, right_answers
from grpo_lessons.replies import final_answer
from grpo_lessons.rewards import (
    AnswerReward,
    FormatReward,
    LengthReward,
    TagReward,
    answer_reward,
    format_reward,
    length_reward,
    tag_reward,
)
from grpo_lessons.text import mark_tags

GOOD = "<think>6 * 7</think><answer>42</answer>"


def said(text):
    """A conversational completion."""
    return [{"role": "assistant", "content": text}]


def cases(*rows):
    """(…, why) rows as parameters whose ids are the whys."""
    return [pytest.param(*row[:-1], id=row[-1]) for row in rows]


@pytest.mark.parametrize(
    ("completion", "strict", "tags"),
    cases(
        (GOOD, 1.0, 1.0, "the format"),
        (said(GOOD), 1.0, 1.0, "the format as a conversation"),
        (f"\n  {GOOD}\n", 1.0, 1.0, "white space around"),
        ("<think>6 * 7</think>\n\n<answer>42</answer>", 1.0, 1.0, "white space between"),
        ("<think>6\n* 7</think><answer>4\n2</answer>", 1.0, 1.0, "new lines inside"),
        ("<think>1 < 2 </b></think><answer>yes</answer>", 1.0, 1.0, "other brackets inside"),
        (f"Sure! {GOOD}", 0.0, 1.0, "text before"),
        (f"{GOOD} Anything else?", 0.0, 1.0, "text after"),
        ("<think>6 * 7</think> so <answer>42</answer>", 0.0, 1.0, "text between"),
        ("<think></think><answer>42</answer>", 0.0, 1.0, "empty thought"),
        ("<think> \n\t</think><answer>42</answer>", 0.0, 1.0, "blank thought"),
        ("<think>\u200b\u2060</think><answer>42</answer>", 0.0, 1.0, "a thought nobody can see"),
        ("<think>6 * 7</think><answer></answer>", 0.0, 1.0, "empty answer"),
        ("<answer>42</answer><think>6 * 7</think>", 0.0, 1.0, "wrong order"),
        (GOOD + GOOD, 0.0, 0.0, "everything twice"),
        ("<think><think>6 * 7</think><answer>42</answer>", 0.0, 0.75, "opening tag twice"),
        ("<think>6 * 7</think><answer>42</answer></answer>", 0.0, 0.75, "closing tag twice"),
        ("<think>6 * 7<answer>42</answer></think>", 0.0, 1.0, "nested"),
        ("<think>6 * 7</think><answer>42", 0.0, 0.75, "cut off before the last tag"),
        ("<think>6 * 7", 0.0, 0.25, "cut off in the thought"),
        ("<Think>6 * 7</Think><answer>42</answer>", 0.0, 0.5, "capital letters"),
        ("<think >6 * 7</think><answer>42</answer>", 0.0, 0.75, "a space in a tag"),
        ("42", 0.0, 0.0, "no tags"),
        ("", 0.0, 0.0, "nothing"),
        (None, 0.0, 0.0, "None"),
        (said(None), 0.0, 0.0, "None as content"),
        ([], 0.0, 0.0, "no messages"),
        ([{"role": "user", "content": GOOD}], 0.0, 0.0, "the user's words do not count"),
        (said([{"type": "text", "text": GOOD}]), 1.0, 1.0, "content in parts"),
        (
            [{"role": "assistant", "reasoning_content": "6 * 7", "content": "<answer>42</answer>"}],
            1.0,
            1.0,
            "a thought that the chat template moved",
        ),
        (42, 0.0, 0.0, "not a completion at all"),
    ),
)
def test_format_and_tag_reward(completion, strict, tags):
    assert format_reward(completions=[completion]) == [strict]
    assert tag_reward(completions=[completion]) == [tags]


@pytest.mark.parametrize(
    ("completion", "expected"),
    cases(
        ("<answer>72</answer>", 1.0, "in its block"),
        ("\\boxed{72}", 1.0, "boxed"),
        ("#### 72", 1.0, "after hashes"),
        ("The sum is 72.", 1.0, "the last number, a full stop behind it"),
        (said("It is 72"), 1.0, "in a conversation"),
        ("<answer>72.0</answer>", 1.0, "a decimal of equal value"),
        ("<answer>$72</answer>", 1.0, "with a currency"),
        ("<answer>The answer is 72.</answer>", 1.0, "words around it"),
        ("<answer>40 + 32 = 72</answer>", 1.0, "the right side of an equation"),
        ("<answer>**72**</answer>", 1.0, "in bold"),
        ("<answer>144/2</answer>", 1.0, "a fraction of equal value"),
        ("<answer>\\frac{144}{2}</answer>", 1.0, "a LaTeX fraction"),
        ("<think>71</think><answer>72</answer>", 1.0, "a thought does not count against it"),
        ("<think>72</think>", 0.0, "a thought does not count for it"),
        ("<think>72</think> It is 71.", 0.0, "a right thought, a wrong answer"),
        ("<think>so it is 72", 0.0, "with an unclosed thought nothing counts"),
        ("<answer>72</answer><think>or is it", 0.0, "not even a block before it"),
        ("<think><think>x</think>72", 0.0, "an inner thought closed, the outer one not"),
        ("six times twelve</think>72", 1.0, "a thought opened in the prompt"),
        ("72</think>", 0.0, "nothing after the thought"),
        ("<answer>72</answer><answer>71</answer>", 0.0, "two different answers"),
        ("<answer>71</answer><answer>72</answer>", 0.0, "two different answers, the right one last"),
        ("<answer>72</answer> or <answer>72.0</answer>", 1.0, "the same answer twice"),
        ("<answer>71 or 72</answer>", 0.0, "two numbers in the block"),
        ("<answer>no idea</answer> 72", 0.0, "the block is the answer, whatever follows"),
        ("<answer>72", 1.0, "an unclosed block is no block; the last number is"),
        ("\\boxed{71} 72", 0.0, "the box goes before the last number"),
        ("#### 71\n72", 0.0, "the hashes go before the last number"),
        ("\\boxed{71} \\boxed{72}", 1.0, "the last box"),
        ("-72", 0.0, "the sign counts"),
        ("100-72", 1.0, "a minus between numbers is no sign"),
        ("172", 0.0, "part of another number"),
        ("72/0", 0.0, "division by zero"),
        ("<answer>\\sqrt{72}</answer>", 0.0, "a number inside a formula is not the answer"),
        ("<answer>72!</answer>", 0.0, "nor is a factorial"),
        ("<answer>2x = 72x</answer>", 0.0, "nor a multiple of something unknown"),
        ("<answer>x^{72}</answer>", 0.0, "nor an exponent"),
        ("<answer>36 * 2</answer>", 0.0, "a product is a question, not the number asked for"),
        ("It weighs 72.5kg", 0.0, "a decimal glued to its unit is not cut"),
        ("It weighs 72kg", 1.0, "a number glued to its unit"),
        ("<answer>72 km/h</answer>", 1.0, "with a unit"),
        ("The area is 72 cm^2", 1.0, "an exponent of the unit is not the answer"),
        ("<answer>minus 72</answer>", 0.0, "a word that turns it round"),
        ("<answer>72 million</answer>", 0.0, "a word that multiplies it"),
        ("<answer>\\boxed{72}</answer>", 1.0, "boxed inside the block"),
        ("<answer>72 \\text{ apples}</answer>", 1.0, "LaTeX text behind it"),
        ("<answer>$72^\\circ$</answer>", 1.0, "degrees"),
        ("<answer>72\\%</answer>", 1.0, "a LaTeX percent sign"),
        ("<answer>`72`</answer>", 1.0, "as code"),
        ("<answer>7.2e1</answer>", 1.0, "in scientific notation"),
        ("#### 1. First we add\nso it is 72", 1.0, "four hashes that head a section"),
        ("#### 72 or 71", 0.0, "two numbers behind the hashes"),
        ("3/4/72", 0.0, "a fraction of a fraction"),
        ("", 0.0, "nothing"),
        (None, 0.0, "None"),
    ),
)
def test_answer_reward_for_72(completion, expected):
    assert answer_reward(completions=[completion], answer=["72"]) == [expected]


@pytest.mark.parametrize(
    ("completion", "gold", "expected"),
    cases(
        ("1234", "1,234", 1.0, "thousands in the gold answer"),
        ("It is 1,234.", 1234, 1.0, "thousands in the completion"),
        ("<answer>1,23</answer>", 123, 0.0, "a comma in the wrong place"),
        ("−5", "-5", 1.0, "a typographical minus"),
        ("= -5", -5, 1.0, "a minus behind an equals sign"),
        ("3/4", 0.75, 1.0, "a fraction against a decimal"),
        ("<answer>0.75</answer>", "3/4", 1.0, "a decimal against a fraction"),
        ("\\boxed{\\frac{3}{4}}", "3/4", 1.0, "LaTeX in a box"),
        ("so \\frac{3}{4}.", "0.75", 1.0, "LaTeX in a sentence"),
        (".5", "1/2", 1.0, "no leading zero"),
        ("72", "The sum is 8 * 9.\n#### 72", 1.0, "a GSM8K solution as gold answer"),
        ("0.1", 0.1, 1.0, "a float is what it is written as"),
        ("2\\sqrt{2}", "\\sqrt{8}", 0.0, "outside a box or block a formula is not found"),
        ("\\boxed{2\\sqrt{2}}", "\\sqrt{8}", 1.0, "math-verify knows that these are equal"),
        ("\\boxed{x^2 + 2x + 1}", "(x+1)^2", 1.0, "and these"),
        ("\\boxed{\\sqrt{2}}", "2", 0.0, "and that these are not"),
        ("<answer>12+45+38</answer>", "95", 0.0, "the question handed back is not its answer"),
        ("\\boxed{(12+45)+38}", "95", 0.0, "nor in a box"),
        ("<answer>\\sqrt{9025}</answer>", "95", 0.0, "where a number is right, it has to be written out"),
        ("<answer>2</answer>", "\\sqrt{4}", 1.0, "a number against a formula"),
        ("<answer>0.0000001</answer>", 1e-7, 1.0, "a float that prints with an exponent"),
        ("<answer>-3/4</answer>", "\\frac{3}{-4}", 1.0, "a sign below the bar"),
        ("<answer>72</answer>", "\\boxed{72}", 1.0, "a boxed gold answer"),
    ),
)
def test_answers_are_equal_by_value(completion, gold, expected):
    assert answer_reward(completions=[completion], answer=[gold]) == [expected]


def test_tolerance_is_inclusive_and_in_the_units_of_the_answer():
    scores = AnswerReward(tolerance=0.3)(completions=["10.3", "9.7", "10.31"], answer=[10, 10, 10])
    assert scores == [1.0, 1.0, 0.0]


def test_strict_accepts_the_block_only():
    replies = ["<answer>72</answer>", "\\boxed{72}", "#### 72", "72", "<answer>72"]
    assert AnswerReward(strict=True)(completions=replies, answer=[72] * 5) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_length_counts_the_tokens_that_trl_counts():
    ids = [[1] * n for n in (20, 15, 25, 0, 100)]
    assert length_reward(completions=["x"] * 5, completion_ids=ids) == [0.0, -0.25, -0.25, -1.0, -1.0]


def test_length_in_characters_reads_the_text_of_a_conversation():
    assert LengthReward(4, "characters")(completions=[said("four"), "eight888"]) == [0.0, -1.0]


@pytest.mark.parametrize(
    ("call", "names"),
    cases(
        (lambda: LengthReward(0), "target=0", "no length"),
        (lambda: LengthReward(unit="words"), "unit='words'", "an unknown unit"),
        (lambda: length_reward(completions=["x"]), "completion_ids", "tokens without ids"),
        (lambda: length_reward(completions=["x"], completion_ids=[]), "0 entries", "too few ids"),
        (lambda: FormatReward("think"), "tags='think'", "a string instead of a tuple"),
        (lambda: FormatReward(("a b",)), "'a b'", "a name that is no tag"),
        (lambda: FormatReward(("a", "a")), "only once", "a tag twice"),
        (lambda: TagReward(()), r"tags=\(\)", "no tags"),
        (lambda: AnswerReward(tolerance=-1), "tolerance=-1", "a negative tolerance"),
        (lambda: AnswerReward(tolerance=float("nan")), "tolerance=nan", "no tolerance"),
        (lambda: answer_reward(completions=["72"]), "'answer', 'solution'", "no right answers"),
        (lambda: answer_reward(completions=["72"], answer=["72", "73"]), "2 entries", "too many gold answers"),
        (lambda: format_reward(completions=GOOD), "expected a list", "one completion instead of a list"),
    ),
)
def test_bad_settings_and_gold_answers_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_a_reward_says_in_its_repr_what_it_pays_for():
    assert repr(FormatReward(("code", "explanation"))) == "FormatReward(tags=('code', 'explanation'))"
    assert eval(repr(AnswerReward(tolerance=0.5, strict=True))) == AnswerReward(0.5, True)


def test_the_instruction_and_the_reader_are_those_of_the_reward():
    reward = FormatReward(("code", "explanation"))
    obedient = reward.instruction.split("exactly as ")[1].split(" and write")[0]
    assert reward(completions=[obedient]) == [1.0]
    assert reward.read(obedient) == {"code": "…", "explanation": "…"}


ALL = [
    LengthReward(20, "characters"),
    length_reward,
    format_reward,
    tag_reward,
    answer_reward,
    AnswerReward(strict=True),
]
FRAGMENTS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "}",
        "####",
        "72",
        "-",
        "/",
        ",",
        ".",
        "=",
        "^{9",
        "\\frac{1}{",
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(FRAGMENTS | st.text(max_size=3), max_size=30).map("".join))
PARTS = st.dictionaries(
    st.sampled_from(["role", "content", "text", "reasoning_content"]), st.none() | TEXTS | st.integers()
)
COMPLETIONS = st.one_of(TEXTS, st.none(), TEXTS.map(said), st.lists(PARTS | st.none() | TEXTS, max_size=3), PARTS)


@settings(deadline=None, max_examples=300)
@given(st.lists(COMPLETIONS, max_size=4))
def test_no_completion_raises_and_every_score_is_a_number_in_range(completions):
    columns = {"answer": ["72"] * len(completions), "completion_ids": [[1]] * len(completions), "extra": None}
    for reward in ALL:
        scores = reward(completions=completions, prompts=completions, **columns)
        assert len(scores) == len(completions)
        assert all(isinstance(score, float) and -1 <= score <= 1 for score in scores)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="0123456789^{}()+-*/!.x\\sqrtfac ", max_size=80))
def test_no_formula_raises_or_hangs(formula):
    started = time.perf_counter()
    answer_reward(completions=[f"\\boxed{{{formula}}}"], answer=["\\sqrt{2}"])
    assert time.perf_counter() - started < 5


@given(st.integers(), st.integers(1, 999))
def test_a_number_is_read_back_exactly(top, bottom):
    if len(str(top)) < 40:
        assert number(f"{top}/{bottom}") == Fraction(top, bottom)
        assert right_answers(top)[0].number == top


@given(TEXTS)
def test_marking_loses_no_character(text):
    assert "".join(piece for piece, _ in mark_tags(text, ("think", "answer"))) == text


MEGABYTE = 1_000_000
HOSTILE = {
    "a megabyte of <think>": "<think>" * (MEGABYTE // 7),
    "thoughts opened, then closed": "<think>" * (MEGABYTE // 15) + "</think>" * (MEGABYTE // 15),
    "a megabyte of <answer>": "<answer>" * (MEGABYTE // 8),
    "a megabyte of answers": "<answer>1</answer>" * (MEGABYTE // 18),
    "a megabyte of boxes": "\\boxed{" * (MEGABYTE // 7),
    "a megabyte of hashes": "#" * MEGABYTE,
    "a megabyte of digits": "9" * MEGABYTE,
    "ten thousand digits in a block": f"<answer>{'9' * 10_000}</answer>",
    "ten thousand digits over ten thousand": "9" * 10_000 + "/" + "7" * 10_000,
    "white space between the blocks": "<think>a</think>" + " " * MEGABYTE + "<answer>1</answer>",
    "an invisible megabyte": f"<think>{chr(0x200B) * MEGABYTE}</think><answer>1</answer>",
    "commas": "1,111" * (MEGABYTE // 5),
    "a power tower": "\\boxed{9^{9^{9^9}}}",
    "a power tower in a block": "<answer>9^9^9^9^9</answer>",
    "factorials": "\\boxed{(((99999!)!)!)!}",
    "a power behind a sum": "<answer>9^{1+99999999}</answer>",
    "scientific notation": "<answer>1E999999</answer>",
    "deep braces": "<answer>" + "{" * 18 + "x" + "}" * 18 + "</answer>",
    "many variables": "<answer>(a+b+c+d+e+f)^{12}</answer>",
    "nested fractions": "<answer>1/(a+1/(b+1/(c+1/(d+1/(e+x)))))</answer>",
    "a long product": "\\boxed{" + "(a+b+c+d+e)^9" * 6 + "}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_batch_of_64_takes_less_than_a_second(text):
    answer_reward(completions=["\\boxed{\\pi}"], answer=["\\sqrt{2}"])  # imports math-verify, once
    columns = {"answer": ["\\sqrt{2}", "72"] * 32, "completion_ids": [[1]] * 64}
    for reward in ALL:
        started = time.process_time()  # this process's own work: the machine may be busy with other things
        scores = reward(completions=[text] * 64, **columns)
        assert time.process_time() - started < 1.0, reward
        assert not isinstance(reward, AnswerReward) or scores == [0.0] * 64


@pytest.mark.parametrize("form", ["(x+{})^4", "(x+y+{})^2", "x^2+{}x", "{}*\\sqrt{{2}}", "(x+{})/(3-x)", "2^2*{}"])
def test_64_different_formulas_take_less_than_a_second(form):
    answer_reward(completions=["\\boxed{\\pi}"], answer=["\\sqrt{2}"])
    replies = [f"<answer>{form.format(i)}</answer>" for i in range(64)]
    for gold in ("72", "\\sqrt{2}", "x^2"):
        started = time.process_time()
        answer_reward(completions=replies, answer=[gold] * 64)
        assert time.process_time() - started < 1.0


def test_formulas_are_judged_in_several_threads_at_once():
    until, raised = time.monotonic() + 2, []

    def judge():
        try:
            while time.monotonic() < until and not raised:
                for cache in (reading.read, formulas.parse, formulas.constant):
                    cache.cache_clear()
                replies = ["<answer>2^2*0</answer>", "<answer>2\\sqrt{2}</answer>"]
                assert answer_reward(completions=replies, answer=["\\sqrt{8}"] * 2) == [0.0, 1.0]
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=judge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []


def test_a_formula_is_judged_in_a_thread_too():
    scores = []
    texts = ["\\boxed{2\\sqrt{2}}", "\\boxed{9^{9^{9^9}}}"]
    thread = threading.Thread(target=lambda: scores.extend(answer_reward(completions=texts, answer=["\\sqrt{8}"] * 2)))
    thread.start()
    thread.join(20)
    assert scores == [1.0, 0.0]


def test_the_last_number_is_found_behind_a_megabyte_and_before_one():
    assert final_answer("7" + " x" * MEGABYTE) == "7"
    assert final_answer("x " * MEGABYTE + "7") == "7"
