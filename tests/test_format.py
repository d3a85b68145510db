"""The format lesson: what its prose claims holds, its code runs as it stands, right answers pass."""

from pathlib import Path

import pytest

from grpo_lessons import pocket
from grpo_lessons.groups import interval, p_dead
from grpo_lessons.lesson import REAL, Exercises, Question
from grpo_lessons.pocket.corpus import conversations
from grpo_lessons.rewards import FormatReward, TagReward
from grpo_lessons.training import Settings
from grpo_lessons.web.wall import asked
from tests.support.lessons import alone, load, opened, refusal, verdicts

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lesson():
    return load("format")


@pytest.fixture(scope="module")
def defs(lesson):
    return lesson.app.run()[1]


def test_the_wall_of_a_class_knows_every_question(defs):
    questions = {each.asked: (each.right, [*each.answers]) for each in defs.values() if isinstance(each, Question)}
    assert {each.text: (each.options[each.right], [*each.options]) for each in asked("format")} == questions


def test_what_each_reward_pays_for_is_what_the_lesson_says(lesson, defs):
    for name, replies in defs["REPLIES"].items():
        tags = lesson.TAGS[name]
        good, _, _, _, empty, junk, chatter, swapped = range(8)
        strict = FormatReward(tags)(completions=replies)
        assert strict == [1.0] + [0.0] * 7  # one reply in eight earns it
        parts = TagReward(tags)(completions=replies)
        assert parts[empty] == parts[swapped] == 1.0  # blind to order and content
        tutorial = lesson.TutorialReward(tags)(completions=replies)
        assert (tutorial[junk], tutorial[empty]) == (1.0, 0.5) and tutorial[chatter] == tutorial[good]


def test_no_group_size_rescues_a_reward_never_earned():
    assert p_dead(0.18, 8) < 0.5 < p_dead(0.18, 2)  # most groups are alive at eight, not at two
    assert round(p_dead(0.01, 16), 2) == 0.85
    assert p_dead(0, 1000) == 1


def test_the_recorded_run_shows_what_the_lesson_says_it_shows(defs):
    run = defs["station"].recorded
    assert max(row["reward"] for row in run.metrics) >= 0.95 and run.state == "finished"
    for judge in ("format_reward", "answer_reward"):  # both improve beyond their intervals
        before, after = (run.before.scores(judge), run.after.scores(judge))
        assert interval(int(sum(before)), len(before))[1] < interval(int(sum(after)), len(after))[0]
    assert run.metrics[-1]["entropy"] < run.metrics[0]["entropy"]
    assert max(row["frac_reward_zero_std"] for row in run.metrics[-5:]) > run.metrics[5]["frac_reward_zero_std"]


def test_the_run_that_fails_has_nothing_but_dead_groups(defs):
    run = defs["station"].runs["code / explanation"]
    assert {(row["reward"], row["frac_reward_zero_std"]) for row in run.metrics} == {(0.0, 1.0)}


def test_twelve_examples_open_the_door_and_the_reward_goes_through_it(defs):
    run = defs["station"].runs["think / boxed, after twelve examples"]
    assert run.sft.examples == 12 and len(run.sft.losses) == 9 and run.choices["warm_start"]
    form, right = ([answers.mean(name) for _, answers in run.stages] for name in ("format_reward", "answer_reward"))
    assert form[0] == 0 and 0.05 < form[1] < 0.5 and form[2] > 0.85
    assert abs(right[1] - right[0]) < 0.15 and right[2] > right[0] + 0.2


def test_two_tokens_of_the_dead_format_stand_in_no_reply_that_the_model_was_made_from():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pocket.PATH / "tokenizer.json"))
    known = {token for _, reply in conversations(2000, seed=1) for token in tokenizer.encode(reply).tokens}
    spelt = {token for tag in ("<code>", "<explanation>", "<boxed>") for token in tokenizer.encode(tag).tokens}
    assert spelt - known == {"c", "x"}


def test_the_run_that_looks_perfect_has_the_reward_and_lost_the_sums(defs):
    run = defs["station"].runs["without beta"]
    assert run.settings["beta"] == 0 and run.series("kl") == [] and run.metrics[-1]["reward"] > 0.9
    before, after = run.before.scores("answer_reward"), run.after.scores("answer_reward")
    assert interval(int(sum(after)), len(after))[1] < interval(int(sum(before)), len(before))[0]


def test_the_real_model_learns_from_one_example_and_nothing_without(defs):
    real, zero = (defs["station"].runs[name] for name in (REAL, f"{REAL}, no example"))
    assert real.before.mean("format_reward") < 0.3 and real.after.mean("format_reward") >= 0.95
    assert next(row["seconds"] for row in real.metrics if row["reward"] >= 0.95) < 300
    assert all(row["reward"] == 0 and row["frac_reward_zero_std"] == 1 for row in zero.metrics)
    assert real.provenance["weights"] and real.provenance["hardware"] in real.label


def test_the_configuration_shown_is_the_one_that_trains(defs):
    """The code on the page, run as it stands, makes the GRPOConfig of the session."""
    from peft import LoraConfig
    from trl import GRPOConfig

    shown = Settings(steps=7, beta=0.04).code([FormatReward()])
    config = {"GRPOConfig": GRPOConfig}
    exec(shown.split("model, tokenizer")[0], config)
    ours = GRPOConfig(**Settings(steps=7, beta=0.04).grpo_arguments())
    assert config["config"].to_dict() == ours.to_dict()
    lora = eval(shown.split("peft_config=")[1].split(",\n)")[0], {"LoraConfig": LoraConfig})
    assert lora.to_dict() == LoraConfig(**Settings().lora_arguments()).to_dict()


def test_the_minimal_example_runs_as_it_stands(lesson, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rewards = alone(lesson.minimal_example)(pocket.PATH)
    assert len(rewards) == 5 and all(0 <= reward <= 1 for reward in rewards) and any(rewards)


def test_the_exercises_name_the_first_mistake(lesson):
    said = verdicts(lesson)
    assert "white space may stand between" in said[0] and "standard deviation" in said[1]


def test_right_answers_to_the_exercises_pass(lesson):
    import statistics

    def my_advantages(rewards):
        mean, spread = statistics.mean(rewards), statistics.stdev(rewards)
        return [(reward - mean) / (spread + 1e-4) for reward in rewards]

    def my_diagnosis(log):
        if log["completions/clipped_ratio"] > 0.9:
            return "cut off"
        if log["frac_reward_zero_std"] == 1:
            return "dead groups"
        return "fooled" if log["held_out_gain"] <= 0 else "learning"

    def my_format_reward(completions, **kwargs):
        return FormatReward()(completions)

    right = {"my_format_reward": my_format_reward, "my_advantages": my_advantages, "my_diagnosis": my_diagnosis}
    said = verdicts(lesson, **right)
    assert len(said) == 3 and all("All cases pass" in text for text in said)
    assert refusal(lesson, my_format_reward) is None


def test_a_verdict_is_worked_out_once_for_what_stands_there():
    """Its cell shows a training as well, and runs at every step of it."""
    calls = []

    def my_advantages(rewards):
        calls.append(rewards)
        return [0.0 for _ in rewards]

    exercises = Exercises(opened(), my_advantages)
    first = exercises.verdict(my_advantages)
    tried = len(calls)
    assert tried and "Not yet" in first.text
    assert exercises.verdict(my_advantages) is first and len(calls) == tried
    Exercises(opened(), my_advantages).verdict(my_advantages)  # marimo makes them anew when a function has changed
    assert len(calls) == 2 * tried
