"""A training in a browser, without one: the course that Python holds, and the page's own engine under node."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from grpo_lessons.apart import answer
from grpo_lessons.lesson import second_python
from grpo_lessons.lesson.engines import EngineError
from grpo_lessons.lesson.in_browser import carried_out, course
from grpo_lessons.lesson.second_python import ReadersReward
from grpo_lessons.problems import sums
from grpo_lessons.rewards import answer_reward, format_reward, tag_reward
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, Watch, explain
from grpo_lessons.training.exchange import from_page
from grpo_lessons.training.watch import NOBODY
from tests.support import engine

PLAN = Plan(
    Settings(steps=3, batch_size=16, seed=1),
    [format_reward, tag_reward],
    sums(64),
    held_out=sums(40, split="held-out"),
    judges=[format_reward, answer_reward],
    evaluate_every=2,
)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with engine.node(tmp_path_factory.mktemp("node")) as started:
        yield started


def trained(node, plan: Plan, watch: Watch = NOBODY) -> tuple[Run, bytes]:
    async def call(name, given):
        if name == "reward":
            return await given["of"].scores(given["seen"])
        try:
            return node.start(**given["settings"]) if name == "start" else node.call(name, **given)
        except engine.EngineError as error:
            raise EngineError(str(error)) from None

    with ThreadPoolExecutor(1) as thread:  # Playwright, in other tests, keeps a loop in this one
        return thread.submit(asyncio.run, carried_out(course(plan, watch), call)).result()


@pytest.fixture(scope="module")
def whole(node):
    said = []
    return *trained(node, PLAN, Watch(update=lambda phase, run: said.append((phase, run.steps_done)))), said


def test_its_record_is_that_of_any_run(whole, short):
    run, _, said = whole
    assert Run.from_json(run.to_json()) == run and run.state == "finished" and run.steps_done == 3
    unlogged = {"step_time", "epoch"}  # TRL's own bookkeeping
    wanted = {name for name in short[0].run.metrics[0] if name not in unlogged and "clip_ratio" not in name}
    assert wanted - {*run.metrics[0]} == set()
    assert run.metrics[1]["held-out/answer_reward/mean"] >= 0 and "held-out/answer_reward/mean" not in run.metrics[0]
    assert [len(each.completions) for each in (run.before, run.after)] == [40, 40]
    assert run.before.completions[0].rewards.keys() == {"format_reward", "answer_reward"}
    assert [group.step for group in run.groups] == [1, 2, 3] and len(run.groups[0].completions) == 8
    assert abs(sum(each.advantage for each in run.groups[0].completions)) < 1e-6
    for group in run.groups:
        texts = ["".join(own[0] for own, *_ in reply) for reply in group.moved]
        assert texts == [each.text for each in group.completions]
        assert [len(reply) for reply in group.moved] == [each.tokens for each in group.completions]
    assert not any(group.moved for group in short[0].run.groups)  # of TRL's nobody knows
    assert ("Step 3 of 3", 3) in said and said[0][0].startswith("Loading")


def test_what_it_has_learnt_is_an_adapter_that_can_be_kept(whole):
    run, adapter, _ = whole
    assert from_page(adapter, run).model.num_parameters() > 900_000


def test_it_ends_after_the_step_when_somebody_wants_it_to(node):
    steps = []
    watch = Watch(update=lambda phase, run: steps.append(run.steps_done), should_stop=lambda: max(steps) == 1)
    run, _ = trained(node, replace(PLAN, evaluate_every=0), watch)
    assert run.state == "stopped" and run.steps_done == 1 and run.after


def test_what_a_reward_says_wrong_is_said_in_words_and_the_next_training_works(node):
    def broken(completions, **kwargs):
        return [1 / 0 for _ in completions]

    def short_of_one(completions, **kwargs):
        return [0.0 for _ in completions][1:]

    def nonsense(completions, **kwargs):
        return [float("inf") for _ in completions]

    small = replace(PLAN, held_out=(), judges=())
    for reward, words in ((broken, "division by zero"), (short_of_one, "15 scores for 16"), (nonsense, "finite")):
        with pytest.raises((ValueError, ZeroDivisionError)) as told:
            trained(node, replace(small, rewards=[reward]))
        assert words in explain(told.value)
    assert trained(node, small)[0].state == "finished"


def test_a_readers_reward_is_waited_for_and_what_is_wrong_with_it_is_said(node, monkeypatch):
    class Python:
        async def call(self, asked):
            return json.loads(answer(json.dumps(asked), lambda: None, lambda text: None)), ""

    def reward(body):
        code = f"def mine(completions, **kwargs):\n    return [{body} for each in completions]"
        return ReadersReward({"name": "mine", "code": code, "luggage": []}, lambda: None)

    monkeypatch.setattr(second_python, "second_python", Python)
    small = replace(PLAN, held_out=(), judges=())
    run, _ = trained(node, replace(small, rewards=[reward("float(len(each[0]['content']))"), format_reward]))
    assert run.rewards == ["mine", "FormatReward(tags=('think', 'answer'))"] and run.state == "finished"
    for each in run.groups[0].completions:
        assert each.rewards["mine"] == len(each.text)
    with pytest.raises(EngineError, match="Your reward mine: ZeroDivisionError: division by zero"):
        trained(node, replace(small, rewards=[reward("1 / 0")]))


def test_a_plan_that_cannot_be_trained_asks_the_engine_nothing():
    with pytest.raises(ValueError, match="groups of 8"):
        next(course(PLAN.with_settings(batch_size=20), Watch()))
