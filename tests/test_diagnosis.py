"""Why does it not learn? The complaints people file, each named rightly; healthy runs left in peace; no paste can hurt."""

import json
import time
import traceback
from pathlib import Path

import pytest

from grpo_lessons.calling import RewardFailed, ask_by_name
from grpo_lessons.diagnosis import Log, diagnose, diagnose_text, read_log
from grpo_lessons.lesson.practice import cases
from grpo_lessons.runs import Run
from grpo_lessons.training import explain

ROOT = Path(__file__).parents[1]
# What people complain of, with a log for each: runs of our own (cut off, a tiny rate, abs), others made up in TRL's words.
COMPLAINTS = json.loads((ROOT / "tests/data/complaints.json").read_text("utf-8"))
HEALTHY = [
    "format_learns",
    "format_smollm2",
    "length_held",
    "length_smollm2",
    "math_learns",
    "math_smollm2",
    "own_learns",
]
SICK = {
    "format_never_earned": "dead groups",
    "format_smollm2_zero": "dead groups",
    "format_unheld": "fooled",
    "length_learns": "fooled",
    "length_longer": "fooled",
    "length_longer_masked": "fooled",
    "length_signed": "fooled",
    "length_smollm2_zero": "cut off",
    "length_words": "fooled",
    "math_generous": "dead groups",
    "math_smollm2_zero": "cut off",
    "math_too_easy": "dead groups",
    "math_too_hard": "dead groups",
    "own_words": "dead groups",
}


def recorded(name: str) -> Run:
    return Run.load(ROOT / f"notebooks/public/{name}.json")


def faults(findings) -> list[str]:
    return [finding.name for finding in findings if finding.is_fault]


@pytest.mark.parametrize("each", COMPLAINTS, ids=[each["where"] for each in COMPLAINTS])
def test_a_complaint_is_named_rightly(each):
    findings = diagnose_text(each["log"])
    first = next(finding for finding in findings if finding.is_fault or finding.name in ("loss 0", "step count"))
    assert first.name == each["name"]
    if each["name"] in ("loss 0", "step count"):  # and there is nothing wrong with the run
        assert findings[0].name == "learning" and not faults(findings)
    assert first.mend or not first.is_fault


def test_there_are_seventeen_complaints():
    assert len(COMPLAINTS) == len({each["where"] for each in COMPLAINTS}) == 17


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_called_healthy_however_it_is_pasted(name):
    run = recorded(name)
    history = [{name: each for name, each in row.items() if not name.startswith("judges/")} for row in run.metrics]
    pastes = [
        run.to_json(),
        json.dumps({"global_step": len(history), "max_steps": len(history), "log_history": history}),
        json.dumps(history),
        "\n".join(map(str, history)),
        "\n".join(str({name: str(each) for name, each in row.items()}) for row in history),  # as transformers 5 prints
        "\n".join(map(json.dumps, history)),
    ]
    for findings in (diagnose(run), *map(diagnose_text, pastes)):
        assert findings[0].name == "learning" and not faults(findings)


@pytest.mark.parametrize("name", SICK)
def test_a_recorded_run_that_fails_is_told_why(name):
    first = diagnose(recorded(name))[0]
    assert first.name == SICK[name] and first.is_fault and any(character.isdigit() for character in first.seen)


def test_what_is_never_earned_and_what_differs_between_prompts_only_are_two_causes():
    assert "what is never earned" in diagnose(recorded("own_words"))[0].cause
    assert "what is never earned" in diagnose(recorded("format_never_earned"))[0].cause
    earned = Log([{"reward": 0.2, "reward_std": 0.02, "frac_reward_zero_std": 0.9}] * 12)
    assert "never earned" not in diagnose(earned)[0].cause and "0.2 on average" in diagnose(earned)[0].cause
    apart = [{"reward": 0.5, "reward_std": 0.48, "frac_reward_zero_std": 0.9}] * 9
    assert "between the groups" in diagnose(Log(apart))[0].cause


def test_the_words_are_those_of_the_exercise():
    for case in cases("format", "my_diagnosis"):
        steps = [case.arguments["log"] | {"reward": case.arguments["log"]["reward"] - 0.3 + 0.05 * i} for i in range(6)]
        rises = case.expected in ("learning", "fooled")
        assert diagnose(Log(steps if rises else [case.arguments["log"]] * 6))[0].name == case.expected, case.why


def ask_as_trl_does(scores):
    """Have TRL's trainer ask a reward about two replies."""
    from trl import GRPOTrainer

    class Bare:  # of a trainer only what its `_calculate_rewards` looks at
        accelerator = type("Accelerator", (), {"device": "cpu", "is_main_process": False})
        reward_funcs, reward_processing_classes, reward_func_names = [scores], [None], ["scores"]
        state = type("State", (), {"global_step": 0})
        environments = _log_completion_extra = _log_metric = None
        args = type("Arguments", (), {"report_to": []})

    GRPOTrainer._calculate_rewards(Bare(), [{"prompt": "?"}] * 2, ["?"] * 2, ["a", "b"], [[1], [2]])


@pytest.mark.parametrize(
    "said",
    [["1.0", "0"], {"a": 1, "b": 2}, [[1.0], [0.0]], [{"s": 1}] * 2, [[1, 2], [1]], [1j, 2j], 1.0, None, [1.0] * 3],
)
def test_what_torch_says_of_a_wrong_return_is_known_for_what_it_is(said):
    def scores(**columns):
        return said

    with pytest.raises(Exception) as raised:
        ask_as_trl_does(scores)
    lines = "".join(traceback.format_exception(raised.value))
    assert [each.name for each in diagnose_text(lines)] == ["reward's scores"]
    if "not iterable" not in str(raised.value):  # which any code may say: there the lines above tell
        assert [each.name for each in diagnose_text(str(raised.value))] == ["reward's scores"]


@pytest.mark.parametrize(
    ("texts", "whose"),
    [
        (["a", "b"], "failed. KeyError"),
        (["42", "a"], "failed on the reply “a”."),
        (["42", ""], "failed on an empty reply."),
    ],
)
def test_our_own_words_of_a_reward_that_failed_are_known(texts, whose):
    def mine(completions, **kwargs):
        return [{"42": 1.0}[each] for each in completions]

    with pytest.raises(RewardFailed) as raised:
        ask_by_name(mine, completions=texts)
    said = f"The session ended with an error: {explain(raised.value)}"
    assert whose in said
    assert [each.name for each in diagnose_text(said)] == ["reward failed"]


def of_trl(error: Exception) -> str:
    """What a terminal shows of an error in a reward that TRL has called."""

    def scores(completions, **columns):
        raise error

    with pytest.raises(type(error)) as raised:
        ask_as_trl_does(scores)
    return "".join(traceback.format_exception(raised.value))


LAUNCHED = """Traceback (most recent call last):
  File "/venv/bin/trl", line 8, in <module>
    sys.exit(main())
             ^^^^^^
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 999, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['python3', 'grpo.py', '--config', 'config.yaml']' returned non-zero exit status 1.
"""


@pytest.mark.parametrize("after", ["", LAUNCHED])
@pytest.mark.parametrize("log", ["", "{'loss': 0.0, 'reward': 0.5}\n" * 12])
def test_an_error_that_went_through_a_reward_is_the_rewards_and_its_line_is_told(log, after):
    """ "There is no log here: expected … an error with its last line", it said."""
    error = AttributeError("'list' object has no attribute 'split'")
    first = diagnose_text(log + of_trl(error) + after)[0]
    assert first.name == "reward failed" and "`test_diagnosis.py` line " in first.seen and "raise error" in first.seen
    assert "AttributeError: 'list' object has no attribute 'split'" in first.seen
    assert 'completion[0]["content"]' in first.mend
    ranked = "\n".join(f"[rank0]: {line}" for line in of_trl(error).splitlines())
    assert [each.name for each in diagnose_text(ranked)] == ["reward failed"]


def test_where_a_launcher_reports_the_real_error_is_looked_for_above_it():
    (alone,) = diagnose_text(LAUNCHED)
    assert alone.name == "launcher" and "above" in alone.cause and "returned non-zero exit status 1." in alone.seen
    memory = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
    assert [each.name for each in diagnose_text(memory + LAUNCHED)] == ["out of memory"]


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'gold'",
        "lib.errors.OddTimeout: 3 `s`",
        '  File "/a/mine.py", line 3, in start\n    go()\nlib.Odd: a | b',
        'Traceback (most recent call last):\n  File "C:\\\\a\\\\mine.py", line 3, in start\nAssertionError',
    ],
)
def test_an_error_that_is_none_of_ours_is_quoted_and_called_unknown(text):
    (finding,) = diagnose_text(text)
    last = text.splitlines()[-1].removeprefix("lib.errors.").removeprefix("lib.").replace("`", "'")
    assert finding.name == "unknown error" and last in finding.seen and "do not know" in finding.cause
    assert ("`mine.py` line 3" in finding.seen) == ("File" in text)


def test_what_a_reward_came_from_and_to_are_called_the_means_that_they_are():
    rises = diagnose(Log([{"reward": 0.1 * i} for i in range(9)]))[0].seen
    assert "from 0.1 to 0.7 (the means of its first and its last 3 logs)" in rises
    assert "means" not in diagnose(Log([{"reward": 0.1 * i} for i in range(3)]))[0].seen


def test_a_word_that_ends_in_error_makes_no_healthy_log_sick():
    log = "".join(f"{{'loss': 0.0, 'reward': {0.1 * i:.1f}}}\n" for i in range(9))
    for word in (
        "UserError: seen in a reply\n",
        'Traceback (most recent call last):\n  File "a", line 1\nKeyboardInterrupt\n',
    ):
        assert diagnose_text(log + word)[0].name == "learning"


@pytest.mark.parametrize(
    ("rows", "name", "number"),
    [
        ([{"reward": 0.5, "loss": float("nan")}], "steps too large", "log 1"),
        ([{"reward": 0.8 - 0.05 * i, "kl": 9.0 if i == 7 else 0.01} for i in range(12)], "steps too large", "9"),
        (
            [{"reward": 0.3, "entropy": 0.5 / 2**i, "frac_reward_zero_std": 0.5} for i in range(12)],
            "collapse",
            "0.00092",
        ),
        ([{"reward": 0.3, "grad_norm": 0.0, "frac_reward_zero_std": 0.2} for i in range(12)], "no push", "12"),
        ([{"reward": 0.1 * i, "eval_accuracy": 0.3} for i in range(9)], "fooled", "0.3"),
        ([{"reward": 0.5, "reward_std": 0.4, "frac_reward_zero_std": 1.0} for i in range(9)], "dead groups", "0.4"),
        ([{"reward": 0.1 + 0.05 * i, "entropy": 0.5 + 0.2 * i} for i in range(12)], "fooled", "2.4"),
        ([{"reward": 0.2, "reward_std": 1.6e-8, "frac_reward_zero_std": 0.0} for i in range(9)], "dead groups", "100%"),
        ([{"reward": 0.2, "reward_std": 0.0} for i in range(9)], "dead groups", "100%"),
        (
            [{"reward": 0.19, "reward_std": 0.04, "kl": 0.15, "frac_reward_zero_std": 0.75} for i in range(30)],
            "dead groups",
            "75%",
        ),
        ([{"reward": 0.19, "kl": 0.15, "frac_reward_zero_std": 0.3} for i in range(30)], "flat", "`kl` is 0.15."),
        (
            [{"reward": 0.19, "kl": 0.001, "learning_rate": 1e-6, "frac_reward_zero_std": 0.3} for i in range(30)],
            "steps too small",
            "groups that are alive and a learning rate of 1e-06 and `kl` at 0.001.",
        ),
        ([{"reward": 0.19, "loss": 0.0}] * 12, "steps too small", "alive."),  # no rate is told
        ([{"train_runtime": 0.4, "train_loss": 0.0}], "no steps", ""),
        ([{"reward": 0.4}] * 3, "too early to tell", "0.4"),
    ],
)
def test_what_else_goes_wrong_has_a_name_and_the_number_that_tells_it(rows, name, number):
    first = diagnose(Log(rows))[0]
    assert first.name == name and number in first.seen


def test_a_reward_that_rises_by_luck_does_not_rise():
    rows = [{"reward": 0.2 + 0.1 * (i % 3 == 0), "learning_rate": 1e-6, "frac_reward_zero_std": 0.3} for i in range(20)]
    assert diagnose(Log(rows))[0].name == "steps too small" and "1e-06" in diagnose(Log(rows))[0].seen


def test_steps_are_counted_as_trl_counts_them():
    said = "per_device_train_batch_size: 4, gradient_accumulation_steps=2, num_processes=3, num_generations=6, num_rows=8000"
    findings = diagnose_text(said + ", num_train_epochs=2\n" + "{'reward': 0.5, 'loss': 0.1}\n" * 4)
    assert findings[-1].name == "step count" and "4,000 steps" in findings[-1].seen


NASTY = [
    "", " ", "hello", "{}", "[]", "null", "3", '"reward"', "{" * 100_000, "[" * 100_000, "{'" * 100_000,
    "{'reward': " + "1" * 100_000 + "}", "{'a': 'b'}", '{"log_history": 3}', '{"log_history": [3, null, []]}',
    '{"format": 1, "metrics": 3}', "{'reward': '" + "9" * 19_000 + "x'}", "reward," * 5_000, "reward loss\n" + "x y\n" * 1000,
    "\x00" * 1000, "'" * 200_000, "loss\treward\n\"" + "," * 9_000, '[{"loss": 1e999}]', "x" * 25_000_000, "{'reward':None}",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_a_damaged_paste_is_told_so_and_takes_no_time(text):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"expected|Expected|is read"):
        print(diagnose_text(text))
    assert time.process_time() - began < 2


def test_what_is_pasted_is_never_run():
    with pytest.raises(ValueError):
        diagnose_text("__import__('os').system('touch /tmp/never')")
    assert read_log("{'reward': __import__('os').getpid()}").rows == []
