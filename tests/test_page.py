"""The pieces of a web page that need no page to be tested."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from grpo_lessons import cards, page
from grpo_lessons.rewards import answer_reward, format_reward
from tests.lessons import LESSONS, load


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
    function = page.written(exercise, SimpleNamespace(value=code))
    if isinstance(said, int):
        assert function(1) == said
    else:
        with pytest.raises(Exception, match=said):
            function(1)


@pytest.mark.parametrize("name", LESSONS)
def test_every_recording_can_be_replayed_from_its_first_step_to_its_last(name):
    _, definitions = load(name).app.run()
    for run in definitions["replay"].runs.values():
        for step in (1, run.steps_done):
            assert cards.LENGTH not in page.replayed(run, step).show().text  # titles, not names of metrics
            assert page.replayed(run, step).run.steps_done == step


def test_a_reply_without_a_sum_in_its_question_has_no_right_answer():
    reply = {"text": "<think>x</think><answer>7</answer>", "tokens": 9}
    judges = {"format": format_reward, "right": answer_reward}

    def scores(question):
        replies = {"question": question, "before": [reply], "after": [reply]}
        return page.show_scores(SimpleNamespace(value={"replies": replies}), judges).text

    assert scores("3 + 4?").count(">1</b>") == 4 and "–" not in scores("3 + 4?")
    assert scores("who are you").count(">1</b>") == 2 and scores("who are you").count("–") == 2
    assert scores("9" * 5000 + " + 1 <script>")  # a visitor's number may be of any length


def test_what_marimo_calls_after_every_cell_is_there_before_matplotlib_is():
    # while one session of `marimo run` imported matplotlib, the others stopped with an AttributeError
    code = "import sys, marimo._output, grpo_lessons.page; marimo._output.mpl.close_figures(); print('matplotlib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "False", ran.stderr
    shown = "import marimo, matplotlib, matplotlib.pyplot; matplotlib.use('module://marimo._output.mpl'); matplotlib.pyplot.figure()"
    code = f"import grpo_lessons.page; {shown}; print(marimo._output.mpl.__file__)"  # then its own, real backend
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip().endswith("mpl.py"), ran.stderr
