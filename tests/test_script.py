"""A lesson without a browser: `python notebooks/grpo_format.py -- --steps 2` trains, shows a bar and writes the record."""

import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grpo_lessons.course import LESSONS
from grpo_lessons.runs import Run

ROOT = Path(__file__).parents[1]


def run(name: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, f"notebooks/grpo_{name}.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained():
    """All three, at the same time: each loads torch for itself, and then they take turns."""
    with ThreadPoolExecutor() as pool:
        options = ("--", "--steps", "2", "--batch-size", "16", "--seed", "3")
        return dict(zip(LESSONS, pool.map(lambda name: run(name, *options), LESSONS), strict=True))


@pytest.mark.parametrize("name", LESSONS)
def test_it_trains_with_a_bar_and_writes_the_record(trained, name):
    record = Path(os.environ["GRPO_LESSONS_RUNS"]) / name / "run.json"
    done = trained[name]
    assert done.returncode == 0, done.stderr[-2000:]
    assert "step/s" in done.stderr or "s/step" in done.stderr  # the bar, with the time left
    assert "held-out" in done.stdout and str(record) in done.stdout
    written = Run.load(record)
    assert written.steps_done == 2 and written.settings["seed"] == 3 and written.choices and written.after


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stepps", "2"], "--stepps: no such setting"),
        (["--steps", "many"], "--steps 'many': expected a whole number"),
        (["--reward", "best"], "--reward 'best': expected one of 'strict', 'tag count'"),
        (["--batch-size", "60"], "56 or 64"),
        (["--accumulation", "0"], "accumulation 0: expected at least 1"),
        (["--steps", "0"], "steps 0: expected at least 1"),
        (["--model", "a/b/c"], "is no model's name"),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_trained(options, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebooks/grpo_format.py", "--", *options])
    with pytest.raises(SystemExit, match=re.escape(words)):
        runpy.run_path(str(ROOT / "notebooks/grpo_format.py"), run_name="__main__")


def test_a_program_says_what_is_wrong_in_words_and_not_by_a_traceback():
    done = run("format", "--", "--stepps", "2")
    assert done.returncode == 1 and "--stepps: no such setting" in done.stderr and "Traceback" not in done.stderr
