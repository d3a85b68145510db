"""What a web page has, as far as it needs no page to be tested: replayed runs, exercises that cannot hang, scores."""

import json
import re
from functools import partial
from types import SimpleNamespace

import pytest

from grpo_lessons import curves, here
from grpo_lessons.apart import SHOWN, answer, packed
from grpo_lessons.course import LESSONS
from grpo_lessons.exercises import written
from grpo_lessons.lesson import show_scores
from grpo_lessons.lesson.practice import code_of
from grpo_lessons.lesson.replay import replayed
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.runs import Run
from tests.support.lessons import load, opened


def exercise(n):
    return n


exercise.__globals__["exercise"] = exercise


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def exercise(n):\n    while True: pass", "endless loop"),
        ("while True:\n    pass", "endless loop"),
        ("raise SystemExit", "ends Python"),
        ("other = 1", "defines no function exercise"),
        ("def exercise(n:", "was never closed"),
        ("def exercise(n):\n    return n + 1", 2),
    ],
    ids=["loop when called", "loop at once", "exit", "another name", "syntax", "right"],
)
def test_what_a_visitor_writes_neither_hangs_nor_ends_python(code, said):
    function = written(exercise, code)
    if isinstance(said, int):
        assert function(1) == said
    else:
        with pytest.raises(Exception, match=said):
            function(1)


def told(lesson, name, code, **asked) -> tuple[dict, str]:
    """What is said to a reader's code by the Python that it travels to, and what it printed."""
    known, printed = vars(load(lesson)), []
    luggage = packed(code, known, partial(code_of, opened=opened(lesson=lesson)))
    request = {"name": name, "code": code, "luggage": json.loads(json.dumps(luggage))} | asked
    return json.loads(answer(json.dumps(request), lambda: None, printed.append)), "".join(printed)


@pytest.mark.parametrize(
    ("lesson", "name", "code", "asked"),
    [
        (
            "format",
            "my_format_reward",
            "def my_format_reward(completions, **_): return format_reward(completions)",
            "itself",
        ),
        ("length", "my_combined_reward", "my_combined_reward = lambda length, words: length + words", "prefers"),
        (
            "math",
            "my_answer_reward",
            "def my_answer_reward(completions, answer, **_):\n    said = [number(each[0]['content']) for each in completions]\n"
            "    return [float(n is not None and n == number(gold)) for n, gold in zip(said, answer)]",
            "itself",
        ),
        ("format", "my_advantages", "my_advantages = lambda rewards: advantages([rewards])[0]", "itself"),
    ],
)
def test_code_finds_what_it_uses_of_its_notebook_where_it_is_tried(lesson, name, code, asked):
    cases = json.loads(here.read(f"cases/{lesson}.json"))[name]
    assert told(lesson, name, code, cases=cases, asked=asked) == ({"mistake": None}, "")


def test_a_class_of_the_notebook_travels_with_what_it_uses():
    code = "def score(completions, **_):\n    print('x' * 5000)\n    return TutorialReward()(completions)"
    said, printed = told("format", "score", code, seen={"completions": ["<think>x</think><answer>y</answer>"]})
    assert said == {"scores": [0.5]} and printed.startswith("x" * SHOWN + "…") and len(printed) < SHOWN + 5


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def score(completions, **_): return [1 / 0]", "ZeroDivisionError: division by zero"),
        ("def score(completions, **_): return 'all'", "expected a list"),
        ("def score(completions, **_): return [float(input('?'))]", "here nobody can"),
        ("def score(completions, **_): exit()", "ends Python"),
        ("def score(completions:", "SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_reward_is_said_in_words_and_raises_nothing(code, said):
    assert said in told("format", "score", code, seen={"completions": ["a"]})[0]["error"]


def test_a_reward_remembers_through_a_training_and_is_refused_in_words():
    code = "paid = []\ndef score(completions):\n    paid.append(1)\n    return [len(paid)]"
    assert "Add **kwargs" in told("format", "score", code, columns=["prompt", "answer"])[0]["complaint"]
    assert [told("format", "score", code, seen={"completions": ["a"]})[0]["scores"] for _ in range(2)] == [[1.0], [2.0]]


@pytest.mark.parametrize("name", LESSONS)
def test_every_recording_can_be_replayed_from_its_first_step_to_its_last(name):
    _, definitions = load(name).app.run()
    for run in definitions["station"].runs.values():
        for step in (1, run.steps_done):
            then = replayed(run, step).run
            assert then.steps_done == step
            assert curves.LENGTH not in curves.panel(then, None)  # titles, not names of metrics


def test_a_reply_without_a_sum_in_its_question_has_no_right_answer():
    reply = {"text": "<think>x</think><answer>7</answer>", "tokens": 9}
    judges = {"format": format_reward, "right": answer_reward}

    def scores(question):
        replies = {"question": question, "before": [reply], "after": [reply]}
        return show_scores(SimpleNamespace(value={"replies": replies}), judges).text

    assert scores("3 + 4?").count(">1</b>") == 4 and "–" not in scores("3 + 4?")
    assert scores("who are you").count(">1</b>") == 2 and scores("who are you").count("–") == 2
    assert scores("9" * 5000 + " + 1 <script>")  # a visitor's number may be of any length


def test_a_curve_says_in_words_where_it_leads_what_was_held_out_and_where_the_run_before_went():
    run = Run.load(here.NOTEBOOKS / "public/format_learns.json")
    watch = [curves.Curve("reward", "reward", "reward", held_out="format_reward", goal=1)]
    drawn = curves.curves({"this run": run, "the <run> before": run}, watch=watch)
    at = "rises from 0.27 at step 1 to 0.98 at step 25, between 0.27 and 0.98"
    (said,) = re.findall(r'role="img" aria-label="([^"]*)"', drawn)
    assert said.startswith(f"reward over the steps: {at}; the &lt;run&gt; before: {at}; target 1; held-out 0.19")
    assert "nothing yet" in curves.curves({"": Run({"steps": 3}), "before": run}, watch=watch)
