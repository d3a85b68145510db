"""A target that moves: what is said of it, held against the recorded runs; and that a training follows it."""

import asyncio
import json
import re
import time
from statistics import fmean

import pytest

from grpo_lessons import chasing, here
from grpo_lessons.chasing import Step
from grpo_lessons.lesson import chase
from grpo_lessons.lesson.chase import DOWN, LATE, RUNS, SOON, THEN
from grpo_lessons.lesson.engines import NO_SIMD, EngineError
from tests.support.lessons import load, opened


@pytest.fixture(scope="module")
def recorded():
    return json.loads(here.read("public/length_chase.json"))


@pytest.fixture(scope="module")
def runs(recorded):
    return {name: chasing.from_record(steps) for name, steps in recorded["runs"].items()}


def test_the_recorded_runs_are_those_that_are_named(recorded, runs):
    for name, (first, pulled, then) in RUNS.items():
        assert [step.target for step in runs[name]] == [first] * pulled + [then] * chase.AFTER
        assert all(len(step.lengths) == chase.SETTINGS["batch_size"] for step in runs[name])
        held_out = {n for n, step in enumerate(runs[name], 1) if step.held_out}
        assert held_out == {*range(5, pulled + chase.AFTER + 1, 5)}
    assert {"model", "hardware", "date"} <= recorded["provenance"].keys()


def test_what_is_said_to_the_prediction_is_what_the_runs_did(recorded, runs):
    soon, late = ([each["steps"] for each in recorded["seeds"][name]] for name in (SOON, LATE))
    assert all(soon) and len(soon) == len(late) == len(chase.SEEDS)
    assert sum(map(bool, late)) <= len(late) / 2
    (entropy, dead), (least, most_dead) = chasing.before_pull(runs[SOON]), chasing.before_pull(runs[LATE])
    assert entropy > 10 * least and dead < 0.2 and most_dead > 0.9  # nearly all of one length
    after = runs[LATE][RUNS[LATE][1] :]
    assert fmean(step.dead for step in after[:5]) > 0.7  # nothing says which way 40 lies …
    thrown = next(n for n, step in enumerate(after) if fmean(step.lengths) > 1.5 * THEN)
    assert fmean(after[thrown - 1].lengths) < THEN  # … until it is thrown past 40 at once, into the cut-off
    assert all(step.dead == 1 for step in after[thrown + 1 : thrown + 5])


def test_of_all_seeds_those_did_not_arrive_that_had_nothing_to_compare_and_no_others(recorded, runs):
    every = [each for name in (SOON, LATE) for each in recorded["seeds"][name]]
    lost = [each["dead"] >= chasing.DEAD and each["entropy"] < chasing.SURE for each in every]
    assert lost == [each["steps"] is None for each in every] and 0 < sum(lost) < len(lost)
    for name in (SOON, LATE):  # of the first seed the whole run is there
        entropy, dead = chasing.before_pull(runs[name])
        told = {"entropy": round(entropy, 4), "dead": round(dead, 4), "steps": chasing.pulls(runs[name])[-1][2]}
        assert recorded["seeds"][name][0] == pytest.approx(told, abs=1e-3)


def test_the_way_back_is_called_lost_where_it_was_and_nowhere_else(runs):
    def lost(name, step):
        return chasing.way_back(runs[name][:step]) or ""

    assert not any(lost(SOON, n) for n in range(len(runs[SOON]) + 1))
    assert re.search(r"texts have one length, at an entropy of 0\.0\d", lost(LATE, RUNS[LATE][1]))
    assert "runs into the cut-off at 64 tokens" in lost(LATE, len(runs[LATE]))
    assert lost(DOWN, RUNS[DOWN][1]) == "" != lost(DOWN, len(runs[DOWN]))
    above = [Step(10, [21, 40], 0.5, 1.0)] * chasing.PATIENCE
    assert "twice as long as the target or longer, and earns −1" in chasing.way_back(above)


def test_the_words_are_the_runs_own_numbers(runs):
    said = {name: chasing.in_words(steps) for name, steps in runs.items()}
    assert re.fullmatch(r"Moved to 40 at step 31, at an entropy of .* dead: there after \d+ steps\.", said[SOON][1])
    assert re.fullmatch(
        r"Moved to 40 at step 121, .* 0\.0\d with \d+% .* not there yet, after 45 steps\.", said[LATE][1]
    )
    passing = (
        [Step(n, [60], 1, 0) for n in range(10, 20)]
        + [Step(30, [60], 1, 0)] * 4
        + [Step(40, [40], 1, 0)]
        + [Step(40, [42], 1, 0)]
    )
    assert [each[:3] for each in chasing.pulls(passing)] == [
        (30, 11, None),
        (40, 15, 1),
    ]  # the others: a hand on its way


def test_the_figure_has_a_dot_for_every_length_and_says_the_newest_step(runs):
    steps = runs[SOON]
    shown = chasing.figure(steps, 23)
    assert shown.count("h0") == sum(len({*step.lengths}) + len({*step.held_out}) for step in steps)
    label = re.search('aria-label="([^"]*)"', shown)[1]
    mean = fmean(steps[-1].lengths)
    assert label.startswith("step 75: ") and f"{mean:.1f}"[:3] in label
    assert "target 23; entropy " in label and "held-out texts after step 75" in label
    assert "target 40;" in chasing.figure(steps) and "no step yet; target 10" in chasing.figure([], 10)


class Computer:
    """A reader's computer whose engine writes one length, and is told what it earns."""

    def __init__(self, fails=""):
        self.calls, self.earned, self.fails, self.element = [], [], fails, None
        self.cores = 1

    def another(self):
        return self

    async def call(self, name, given, should_stop):
        await asyncio.sleep(0.002)
        self.calls.append(name)
        if self.fails:
            raise EngineError(self.fails)
        if name == "learn":
            self.earned.append(given["rewards"]["length_reward"][0])
            moved = [[[["a", 0.5, 0.5]]]] * self.group
            return {
                "metrics": {"step": len(self.earned), "entropy": 0.5, "frac_reward_zero_std": 1.0},
                "tokens": moved if given["shown"] is not None else None,
            }
        count = 32 if name == "sample" else len(given.get("prompts", ()))
        if name == "sample":
            self.group = count // len(given["prompts"])
        return {"texts": ["a"] * count, "ids": [[7] * 20] * count}

    def end(self):
        self.calls.append("end")


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def chased(computer, **how):
    lesson = load("length")
    return chase.Chase(opened(**how), computer, lesson.plan, lesson.DEFAULT["pocket"])


def test_the_next_step_is_paid_by_the_pulled_target_and_nothing_begins_anew():
    computer = Computer()
    one = chased(computer)
    one.start()
    until(lambda: len(computer.earned) > 6)
    one.pull(40)
    one.start()  # a slip of the hand
    until(lambda: computer.earned[-1] == -0.5)
    one.many.stop()
    until(lambda: not one.many.is_on)
    assert {*computer.earned} == {-1.0, -0.5} and computer.earned == sorted(computer.earned)
    assert computer.calls.count("start") == computer.calls.count("end") == 1 and "save" not in computer.calls
    steps = one.reward.steps([{"entropy": 0.5, "frac_reward_zero_std": 1.0}] * len(computer.earned))
    assert [step.target for step in steps] == [10 if each == -1 else 40 for each in computer.earned]
    assert [len(step.held_out) for step in steps[:6]] == [0, 0, 0, 0, 16, 0]
    one.start()
    until(lambda: one.reward.paid)
    one.many.stop()
    until(lambda: not one.many.is_on)
    assert one.reward.paid[0][0] == 40


def test_a_class_has_its_limit_and_a_browser_that_is_too_old_is_told_so():
    computer = Computer()
    one = chased(computer, most_steps=5)
    one.start()
    until(lambda: computer.earned and not one.many.is_on)
    said = []
    old = chased(Computer(NO_SIMD))
    old.many.publish = said.append
    old.start()
    until(lambda: said and said[-1].state == "failed")
    assert said[-1].error.startswith("This browser is too old") and not old.reward.paid
