"""A lesson without a browser: `python notebooks/grpo_format.py -- --steps 2` trains, shows a bar and writes the record."""

import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from grpo_lessons import plots
from grpo_lessons.calling import load_reward
from grpo_lessons.course import LESSONS
from grpo_lessons.lesson import script
from grpo_lessons.runs import Completion, Evaluation, Run
from grpo_lessons.training import Plan, Settings
from tests.support.lessons import opened

ROOT = Path(__file__).parents[1]


def run(name: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, f"notebooks/grpo_{name}.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", LESSONS)
def test_it_trains_with_a_bar_and_writes_the_record(name, monkeypatch, capsys):
    options = ["--", "--steps", "2", "--batch-size", "16", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", [f"notebooks/grpo_{name}.py", *options])
    runpy.run_path(str(ROOT / f"notebooks/grpo_{name}.py"), run_name="__main__")  # another process loads torch again
    said, record = capsys.readouterr(), Path(os.environ["GRPO_LESSONS_RUNS"]) / name / "run.json"
    assert "step/s" in said.err or "s/step" in said.err  # the bar, with the time left
    assert "held-out" in said.out and str(record) in said.out
    written = Run.load(record)
    assert written.steps_done == 2 and written.settings["seed"] == 3 and written.choices and written.after
    assert (record.parent / "adapter/adapter_model.safetensors").is_file() and "adapter: " in said.out


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
        (["--seeds", "0"], "--seeds '0': expected a whole number from 2 to 10"),
        (["--seeds", "x"], "--seeds 'x': expected a whole number from 2 to 10"),
        (["--seeds", "11"], "--seeds '11': expected"),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_trained(options, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebooks/grpo_format.py", "--", *options])
    with pytest.raises(SystemExit, match=re.escape(words)):
        runpy.run_path(str(ROOT / "notebooks/grpo_format.py"), run_name="__main__")


def test_a_program_says_what_is_wrong_in_words_and_not_by_a_traceback():
    done = run("format", "--", "--stepps", "2")
    assert done.returncode == 1 and "--stepps: no such setting" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [*LESSONS, "own"])
def test_help_lists_all_that_can_be_said_with_what_each_expects_and_is_no_error(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"notebooks/grpo_{name}.py", "--", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / f"notebooks/grpo_{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"grpo_{name}.py" in said
    listed = dict(re.findall(r"^  --([a-z-]+) +(\S.*)$", said, re.MULTILINE))
    assert {"model", "steps", "batch-size", "seeds"} < {*listed} and "whole number" in listed["steps"]
    own = {
        "length": {"target", "shape", "second", "mask"},
        "format": {"format", "reward", "warm-start"},
        "math": {"difficulty", "reward", "tolerance", "format-weight"},
        "own": {"data", "question", "answer", "reward"},
    }
    assert own[name] < {*listed}


def answered(right: int, of: int = 10) -> Evaluation:
    return Evaluation(["?"] * of, [Completion("", 1, {"score": float(i < right), "far": -0.5 * i}) for i in range(of)])


@pytest.fixture
def several(tmp_path, monkeypatch):
    """`--seeds` on a reward of a file, with trainings that take no time: `stops` is the seed at which Ctrl+C is pressed."""
    trained, before = [], signal.signal(signal.SIGINT, signal.SIG_IGN)  # as asyncio does, it would let Ctrl+C wait

    def train(plan, watch, checkpoints, resume):
        seed = plan.settings.seed
        if seed == train.stops:
            signal.raise_signal(signal.SIGINT)
        trained.append(seed)
        metrics = [{"step": step, "reward": 0.1 * step + 0.02 * seed} for step in (1, 2, 3)]
        run = Run(vars(plan.settings), metrics=metrics, before=answered(1), after=answered(9 - seed), state="finished")
        checkpoints.mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(run=run, model=None)

    def ask(seeds: str, reward: str = "return [0.0 for _ in completions]", **settings) -> list[int]:
        (tmp_path / "mine.py").write_text(f"def score(completions, **kwargs):\n    {reward}\n", encoding="utf-8")
        plan = Plan(
            Settings(batch_size=8, **settings), [load_reward(f"{tmp_path}/mine.py:score")], [{"prompt": "1 + 1?"}]
        )
        trained.clear()
        script.as_script(opened(is_script=True, folder=tmp_path / "runs", options={"seeds": seeds}), plan)
        return [*trained]

    train.stops = None
    monkeypatch.setattr(script, "train", train)
    yield ask, train, trained
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_seeds_that_have_ended_and_the_same_again_trains_the_others(several, capsys, tmp_path):
    ask, train, trained = several
    train.stops = 2
    with pytest.raises(SystemExit, match=r"2 seeds of 4 kept\. The same command goes on"):
        ask("4")
    assert trained == [0, 1] and "seeds.png" in capsys.readouterr().out
    train.stops = None
    assert ask("4") == [2, 3] and ask("5") == [4] and ask("5") == []
    said = capsys.readouterr().out
    assert "held-out score: 0.1 before, 0.7 after (95 % interval over 5 seeds: 0.504 to 0.896). It takes" in said
    (figure,) = tmp_path.glob("runs/seeds-*/seeds.png")
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_what_is_another_training_begins_anew_and_a_damaged_record_too(several, tmp_path):
    ask, *_ = several
    assert ask("2") == [0, 1] and ask("2", learning_rate=1e-4) == [0, 1] and ask("2", "return [1.0]") == [0, 1]
    assert ask("2") == [] and ask("2", seed=1) == [2]
    for record in tmp_path.glob("runs/seeds-*/seed-0.json"):
        record.write_text("{", encoding="utf-8")
    assert ask("2") == [0]


def test_the_figure_of_some_seeds_has_the_band_each_judge_and_what_the_spread_allows_to_believe():
    runs = [
        Run(
            {"seed": seed, "steps": 2},
            provenance={"model": "pocket"},
            metrics=[{"step": 1, "reward": 0.1 * seed}, {"step": 2, "reward": 0.5}],
            before=answered(1),
            after=answered(8 + seed),
        )
        for seed in (3, 4)
    ]
    band, score, far = plots.seeds(runs).axes
    assert "2 seeds" in band.get_title() and len(band.lines) == 3 and len(band.collections) == 1
    assert [each.get_text() for each in score.get_yticklabels()] == ["3", "4", "mean"]
    paid, lost = (each.get_xlabel().replace("\n", " ") for each in (score, far))
    assert "Here are 2: enough" in paid and "more than a thousand" in lost
    assert "seeds 3, 4" in plots.seeds(runs).get_supxlabel()
    for run in runs:
        run.before = run.after = None  # no prompt was held out
    assert len(plots.seeds(runs).axes) == 1
