"""The session of a notebook: started, started again, stopped, failed, abandoned; and the predictions."""

import gc
import time

from grpo_lessons.live import Question, Session
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.runs import Run
from grpo_lessons.seat import Seat
from grpo_lessons.training import Settings


def plan(steps, **settings):
    settings = Settings(steps=steps, **{"batch_size": 16} | settings)
    return {"settings": settings, "rewards": [format_reward], "prompts": sums(512), "held_out": []}


class Listener:
    """A session, and all that it said."""

    def __init__(self):
        self.said, self.endings = [], []
        self.session = Session(self.said.append, self.endings.append)

    def start(self, steps, **settings):
        self.session.start(plan(steps, **settings))

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert condition(), [report.phase for report in self.said]


def test_it_speaks_at_once_and_ends_with_the_model():
    listener = Listener()
    listener.start(steps=2)
    assert listener.said[0].phase == "Starting"
    listener.wait(lambda: listener.endings)
    (end,) = listener.endings
    assert end.phase.startswith("Finished: 2 steps") and end.trained.model is not None and end.error is None
    assert [len(report.run.metrics) for report in listener.said] == sorted(len(r.run.metrics) for r in listener.said)


def test_stop_answers_at_once_and_keeps_what_was_learnt():
    listener = Listener()
    listener.start(steps=100)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 2)
    listener.session.stop()
    assert listener.said[-1].phase == "Stopping after this step"
    listener.wait(lambda: listener.endings, 20)
    assert listener.endings[0].phase.startswith("Stopped") and listener.endings[0].run.steps_done < 10


def test_a_second_start_begins_afresh_and_the_first_is_heard_no_more():
    listener = Listener()
    listener.start(steps=100)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 2)
    listener.start(steps=3, seed=7)
    heard = len(listener.said)
    listener.wait(lambda: listener.endings)
    assert {report.run.settings["seed"] for report in listener.said[heard - 1 :]} == {7}
    assert [report.run.steps_done for report in listener.endings] == [3]
    ended = listener.endings[0]
    assert ended.before.settings["steps"] == 100 and ended.before.steps_done >= 2
    assert (
        "this run (steps 3, seed 7)" in ended.show().text and "the run before (steps 100, seed 0)" in ended.show().text
    )


def test_an_error_is_told_and_not_thrown():
    listener = Listener()
    listener.start(steps=2, batch_size=20)
    listener.wait(lambda: listener.endings)
    assert "cannot be cut into groups of 8" in listener.endings[0].error and listener.endings[0].run.state == "failed"
    assert "cannot be cut" in listener.endings[0].show().text


def test_a_session_that_nobody_holds_any_more_ends():
    said = []
    session = Session(said.append, said.append)
    session.start(plan(200))
    deadline = time.monotonic() + 60
    while said[-1].run.steps_done < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    del session
    gc.collect()
    heard = len(said)
    time.sleep(1)
    assert len(said) <= heard + 1
    listener = Listener()  # the device is free for the next
    listener.start(steps=1)
    listener.wait(lambda: listener.endings, 30)


def test_in_a_class_a_stopped_training_takes_no_finished_one_away(tmp_path):
    listener = Listener()
    listener.session.seat = Seat(1, tmp_path)
    listener.session.seat.come()
    listener.session.start(plan(2), tmp_path)
    listener.wait(lambda: listener.endings)
    listener.session.start(plan(100), tmp_path)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 3)
    listener.session.stop()
    listener.wait(lambda: len(listener.endings) == 2)
    assert listener.endings[1].run.state == "stopped"
    assert Run.load(tmp_path / "run.json").steps_done == 2


def test_every_choice_of_a_prediction_has_its_answer():
    question = Question("Which?", {"a": (True, "Because."), "b": (False, "Look again.")})
    assert list(question.ask().options) == ["a", "b"]
    assert "Because." in question.answer("a").text and "Yes." in question.answer("a").text
    assert "Look again." in question.answer("b").text and "Not quite." in question.answer("b").text
    assert "Choose" in question.answer(None).text
