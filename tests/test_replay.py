"""What a web page has, as far as it needs no page to be tested: replayed runs, exercises that cannot hang, scores."""

from types import SimpleNamespace

import pytest

from grpo_lessons import curves
from grpo_lessons.course import LESSONS
from grpo_lessons.lesson import show_scores
from grpo_lessons.lesson.practice import written
from grpo_lessons.lesson.replay import replayed
from grpo_lessons.rewards import answer_reward, format_reward
from tests.support.lessons import load


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
