"""Many trainings at once, and the map of them: real engines under node, and the recorded maps."""

import asyncio
import json
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from grpo_lessons import here, maps
from grpo_lessons.lesson import luck
from grpo_lessons.lesson.engines import NO_SIMD, EngineError
from grpo_lessons.lesson.many import Many
from grpo_lessons.runs import Run
from grpo_lessons.training import Settings
from tests.support import engine
from tests.support.lessons import load, opened


class Computer:
    """A reader's computer with some cores: an engine under node for each."""

    element = None  # nothing has to stand in the page

    def __init__(self, engines):
        self.engines, self.cores, self.ended = [*engines], len(engines), 0

    def another(self):
        return Worker(self.engines.pop(), self)


class Worker:
    def __init__(self, node, computer):
        self.node, self.computer = node, computer

    async def call(self, name, given, should_stop):
        def carry_out():
            try:
                return self.node.start(**given["settings"]) if name == "start" else self.node.call(name, **given)
            except engine.EngineError as error:
                raise EngineError(str(error)) from None

        return await asyncio.to_thread(carry_out)

    def end(self):
        self.computer.ended += 1


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with ExitStack() as stack:
        yield [stack.enter_context(engine.node(tmp_path_factory.mktemp("node"))) for _ in range(2)]


def started(nodes, plans):
    said = []
    computer = Computer(nodes)
    many = Many(opened(), computer, said.append)
    many.start(plans)
    return many, said, computer


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.fixture
def short_plans():
    plan = replace(load("format").plan(Settings(steps=2, batch_size=16)), held_out=())
    return {seed: plan.with_settings(seed=seed) for seed in range(4)}


def test_all_are_trained_as_many_at_a_time_as_there_are_cores(nodes, short_plans):
    _, said, computer = started(nodes, short_plans)
    until(lambda: said[-1].state == "finished")
    last = said[-1]
    assert last.steps == (8, 8) and [run.state for run in last.runs.values()] == ["finished"] * 4
    assert [run.settings["seed"] for run in last.runs.values()] == [0, 1, 2, 3]
    assert len({tuple(run.series("reward")) for run in last.runs.values()}) > 1
    assert computer.ended == 2 and said[0].state == "running" and said[0].steps == (0, 8)


def test_stop_ends_them_and_keeps_what_was_seen_and_a_second_press_is_not_heard(nodes, short_plans):
    many, said, computer = started(nodes, {0: short_plans[0].with_settings(steps=200), 1: short_plans[1]})
    until(lambda: said[-1].steps[0] > 1)
    many.start(short_plans)
    many.stop()
    until(lambda: said[-1].state == "stopped")
    assert 1 < said[-1].steps[0] < 30 and said[-1].steps[1] == 202 and computer.ended == 2


def test_what_is_wrong_with_one_is_said_in_words_and_ends_all(nodes, short_plans):
    def broken(completions, **kwargs):
        return [1 / 0 for _ in completions]

    many, said, computer = started(nodes, {0: replace(short_plans[0], rewards=[broken]), 1: short_plans[1]})
    until(lambda: said[-1].state == "failed")
    assert "division by zero" in said[-1].error and not many.is_on
    until(lambda: computer.ended >= 1)


@pytest.fixture
def lucky(monkeypatch):
    """The math lesson's luck, in short: two seeds at a press, of two steps and four held-out questions."""
    for name, value in (("FEW", 2), ("STEPS", 2), ("BATCH", 16)):
        monkeypatch.setattr(luck, name, value)

    def plan(settings):
        return replace(asked := load("math").plan(settings), held_out=asked.held_out[:4])

    return luck.Luck(opened(), None, plan, Settings(), recorded="math_luck")


def test_a_second_press_at_one_chance_trains_the_next_seeds_and_all_stand_together(nodes, lucky):
    def press():
        lucky.many.engine = Computer(nodes)
        controls = lucky.controls(False)
        lucky._start()
        until(lambda: not lucky.many.is_on)
        assert lucky.progress().state == "finished", lucky.progress().error
        return lucky.show(controls, lucky.progress()).text

    lucky.many.engine = None
    assert "A recording. Train five" in lucky.show(lucky.controls(False), None).text
    lucky.shown = 0.1
    first, second = press(), press()
    assert [text.count('scope="row"') for text in (first, second)] == [2 + 1, 4 + 1]  # and the mean
    assert "of 2 seeds" in first and "of 4 seeds" in second and "errs in 10%" in second
    assert [run.rewards[0][:14] for run in lucky.progress().runs.values()] == ["ErringReward(r"] * 2
    lucky.shown = 0.3  # another chance begins with the first seed
    assert "of 2 seeds" in press() and [*lucky.progress().runs] == [0, 1]
    lucky.shown = 0.1
    assert "A recording. Train five" in lucky.show(lucky.controls(False), lucky.progress()).text


def test_a_browser_that_cannot_train_is_told_so_and_keeps_the_recording(lucky):
    class TooOld(Computer):
        def another(self):
            return self

        async def call(self, name, given, should_stop):
            raise EngineError(NO_SIMD)

        def end(self):
            pass

    lucky.many.engine = TooOld([None])
    lucky._start()
    until(lambda: not lucky.many.is_on)
    shown = lucky.show(lucky.controls(False), lucky.progress()).text
    assert "This browser is too old" in shown and "of 5 seeds have learnt" in shown and "TRL 1.16" in shown


@pytest.fixture(scope="module")
def recorded():
    return json.loads(here.read("public/format_maps.json"))


def test_the_corners_of_the_recorded_maps_are_named_by_their_own_numbers(recorded):
    fates = {name: [maps.fate(Run(**run)) for run in runs] for name, runs in recorded.items()}
    sizes, rates = fates.values()
    assert sizes[:12:4] == ["dead"] * 3  # temperature 0.2
    assert {*sizes[3::4]} <= {"flat", "on its way"}  # temperature 1.5
    assert sizes[10] == "learnt"  # the lesson's own
    assert rates[:4] == ["flat"] * 4 and rates[12] == "collapsed" and rates[8] == "forgetful"  # beta 0
    assert {*sizes, *rates} <= maps.FATES.keys()


def test_a_map_is_read_by_who_does_not_see_it_and_runs_nothing(recorded):
    runs = {(i // 4, i % 4): Run(**run) for i, run in enumerate(next(iter(recorded.values())))}
    shown = maps.grid(runs, ("<b>", "x"), range(4), range(4), {(0, 0): "<button>"})
    assert (
        'aria-label="&lt;b&gt; 2"' in shown
        and "<b>" not in shown.replace("<b style", "")
        and shown.count("<svg") == 16
        and shown.count("<button>") == 1
    )
    assert 'aria-label="dead: reward 0.94 → 1 in 15 steps, dead groups 97% on average,' in shown
    assert shown.count('scope="col"') == shown.count('scope="row"') == 4
    empty = maps.grid(dict.fromkeys(runs, Run({"steps": 15})), ("a", "b"), range(4), range(4))
    assert empty.count('aria-label="not begun"') == 16
