"""The session of a notebook: started, started again, stopped, failed, abandoned; and the predictions."""

import gc
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch

from grpo_lessons import curves
from grpo_lessons.calling import load_reward
from grpo_lessons.lesson import Question, Station, keeping, own
from grpo_lessons.lesson.replay import replayed
from grpo_lessons.lesson.seat import Seat
from grpo_lessons.lesson.session import Report, Session, ending, keep_learnt, kept, kept_learnt
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, keep, line
from tests.support.lessons import opened


def plan(steps, **settings):
    settings = Settings(steps=steps, **{"batch_size": 16} | settings)
    return Plan(settings, [format_reward], sums(512))


class Listener:
    """A session, and all that it said."""

    def __init__(self, **other):
        self.said, self.endings, self.busy = [], [], []
        self.session = Session(opened(**other), self.said.append, self.endings.append, self.busy.append)

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
    assert end.phase.startswith("Finished: 2 steps") and end.error is None
    assert listener.session.trained.model is not None and listener.busy == [True, False]
    assert [len(report.run.metrics) for report in listener.said] == sorted(len(r.run.metrics) for r in listener.said)


def test_stop_answers_at_once_and_keeps_what_was_learnt():
    listener = Listener()
    listener.start(steps=100)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 2)
    listener.session.stop()
    assert listener.said[-1].phase == "Stopping after this step"
    listener.wait(lambda: listener.endings, 20)
    assert listener.endings[0].phase.startswith("Stopped") and listener.endings[0].run.steps_done < 10


def test_a_second_press_throws_no_run_away():
    listener = Listener()
    listener.start(steps=3)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 1)
    listener.start(steps=100, seed=7)
    listener.wait(lambda: listener.endings)
    assert {report.run.settings["seed"] for report in listener.said} == {0}
    assert [report.run.steps_done for report in listener.endings] == [3]


def test_the_next_training_stands_over_the_one_before():
    listener = Listener()
    listener.start(steps=2)
    listener.wait(lambda: listener.endings)
    listener.start(steps=3, seed=7)
    listener.wait(lambda: len(listener.endings) == 2)
    ended = listener.endings[1]
    assert ended.before.settings["steps"] == 2 and ended.before.steps_done == 2
    shown = curves.panel(ended.run, ended.before)
    assert "this run (steps 3, seed 7)" in shown and "the run before (steps 2, seed 0)" in shown


def test_while_libraries_load_a_recordings_curves_say_that_they_are_a_recording():
    run = Run({"steps": 2}, metrics=[{"step": 1, "reward": 0.2}, {"step": 2, "reward": 0.4}], state="finished")
    shown = curves.panel(Run({"steps": 9}), run, names=("", "a recording, until yours begins"))
    assert "a recording, until yours begins" in shown and "this run" not in shown


def test_an_error_is_told_and_not_thrown():
    listener = Listener()
    listener.start(steps=2, batch_size=20)
    listener.wait(lambda: listener.endings)
    assert "cannot be cut into groups of 8" in listener.endings[0].error and listener.endings[0].run.state == "failed"


def broken(completions, **kwargs):
    return [each.split() for each in completions]


def test_after_a_crash_the_readers_own_run_stands_again_and_the_crash_is_told(tmp_path):
    """The course's recording came back as "the run above", and station 7 called it the reader's and well."""
    first = Listener(folder=tmp_path)
    first.start(2)
    first.wait(lambda: first.endings)
    mine = first.endings[0].run.series("reward")
    station = Station(opened(folder=tmp_path), {"pocket": Settings()}, {"ours": "format_learns"})  # after a restart
    said = []
    station.session.publish, station.session.ended, station.session.busy = said.append, said.append, said.append
    failing, deadline = replace(plan(2), rewards=[broken]), time.monotonic() + 60
    for _ in range(2):  # a second crash takes it away no more than the first
        said.clear()
        station.session.start(failing)
        while said[-1:] != [False] and time.monotonic() < deadline:
            time.sleep(0.05)
        crash = said[-2]
        assert "The reward `broken` failed" in crash.error and crash.before.series("reward") == mine
        assert station.inspected(crash) == crash.before and station.inspected(crash).series("reward") == mine
    assert station.is_readers(crash) and "which came to no step" in station.whose(crash, failing)
    run, called, error = station.explained(crash)
    assert run is crash.run and called == "Your last training ended with an error" and error == crash.error
    shown = own.show_diagnosis({"file": (), "text": ""}, run, called, error).text
    assert "Reward failed" in shown and "The reward" in shown and "Learning" not in shown
    assert Run.load(tmp_path / "run.json").series("reward") == mine


def test_after_a_crash_without_a_run_before_it_a_recording_is_called_one_and_its_choices_are_told():
    station = Station(opened(), {"pocket": Settings()}, {"ours": "format_learns"})
    failing = replace(plan(2), rewards=[broken])
    crash = Report("The session ended with an error", replace(failing.new_run(), state="failed"), error="It failed.")
    assert station._or_recorded(crash, failing).names[1].startswith("a recording, of other choices than yours (")
    assert station._or_recorded(crash, failing).error and not station.is_readers(crash)
    assert station.whose(crash, failing).startswith("*A recording, of other choices than yours now (")
    assert "none of yours" in station.explained(None)[1]
    replay = replayed(station.recorded, 3)
    assert not station.is_readers(replay) and "none of yours" in station.explained(replay)[1]


@pytest.mark.parametrize("error", [None, "The reward `mine` failed."])
def test_once_the_rewards_code_is_changed_the_run_and_the_error_before_are_said_to_be_of_the_code_before(
    tmp_path, error
):
    def planned(value):
        (tmp_path / "mine.py").write_text(f"def mine(completions, **kwargs):\n    return [{value}]\n")
        return replace(plan(2), rewards=[load_reward(str(tmp_path / "mine.py:mine"))])

    station = Station(opened(), {"pocket": Settings()}, {"ours": "format_learns"})
    before = planned("0.5")
    run = Run.from_json(before.new_run().to_json())
    assert run.code == ["def mine(completions, **kwargs):\n    return [0.5]"]
    run.state, run.metrics = "finished", [{"step": 1, "reward": 0.5}]
    report = Report("Your last training: 1 step in 2 s", run, error=error)
    assert station._or_recorded(report, before) == report
    changed = station._or_recorded(report, planned("0.25"))
    assert changed.error is None and "mine: its code before you changed it" in changed.phase
    assert changed.phase.startswith("Your last training: 1 step in 2 s. But that was with other choices")
    running = replace(report, run=replace(run, state="running"))
    assert station._or_recorded(running, planned("0.25")) == running
    assert plan(2).new_run().code == [""]  # a reward of the course's is told whole by its words


def test_a_model_that_is_nowhere_is_told_before_the_line_and_not_after_it(tmp_path):
    listener, waited = Listener(), []
    with line.turn(waiting=waited.append, should_stop=lambda: False, folder=line.FOLDER):  # somebody trains
        listener.start(steps=2, model=str(tmp_path))
        listener.wait(lambda: listener.endings)
    assert str(tmp_path) in listener.endings[0].error and "config.json" in listener.endings[0].error
    assert not any("yours comes after it" in report.phase for report in listener.said)


def test_a_session_that_nobody_holds_any_more_ends():
    said = []
    session = Session(opened(), said.append, said.append)
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


def test_a_measuring_holds_no_station_that_nobody_holds_any_more():
    station = Station(opened(is_watched=True), {"pocket": Settings()}, {"a run": "format_learns"})
    given = []
    station.measurer.measure = lambda plan, suit: given.append(suit)  # what its thread is given
    question = Question(opened(), "Which?", {"a": "Because."}, right="a")
    question._update("a")
    station.measure(lambda settings: plan(2), {"preset": "pocket"}, question)
    gone = weakref.ref(station)
    del station
    gc.collect()
    assert len(given) == 1 and gone() is None


def test_in_a_class_a_stopped_training_takes_no_finished_one_away(tmp_path):
    seat = Seat(1, tmp_path)
    seat.come()
    listener = Listener(seat=seat, folder=tmp_path, is_own=False)
    listener.start(2)
    listener.wait(lambda: listener.endings)
    listener.start(100)
    listener.wait(lambda: listener.said[-1].run.steps_done >= 3)
    listener.session.stop()
    listener.wait(lambda: len(listener.endings) == 2)
    assert listener.endings[1].run.state == "stopped"
    assert Run.load(tmp_path / "run.json").steps_done == 2


def test_a_learner_has_one_place_in_the_line_and_gets_it_back(tmp_path):
    seat = Seat(1, tmp_path)
    seat.come()
    first, second = (Listener(seat=seat, folder=tmp_path / name, is_own=False) for name in ("one", "other"))
    first.start(100)
    first.wait(lambda: first.said[-1].run.steps_done >= 1)
    second.start(2)
    assert second.said[-1].phase.startswith("Another page of yours") and not second.session.is_on
    first.session.stop()
    first.wait(lambda: first.endings)
    assert first.endings[0].phase.startswith("Stopped: ")  # its model is not kept, and nobody says so
    second.start(2)
    second.wait(lambda: second.endings)
    assert second.endings[0].run.steps_done == 2


def test_a_learner_is_there_for_minutes_after_any_sign_of_life_and_for_seconds_after_the_last_page_is_closed(
    monkeypatch,
):
    now = 1000.0
    monkeypatch.setattr("grpo_lessons.lesson.seat.time.monotonic", lambda: now)
    seat = Seat(1, Path("seat-1"))
    seat.come()
    now += 9999
    assert not seat.is_away
    seat.come()
    seat.go(is_closed=True)  # one of two
    now += 60
    assert not seat.is_away
    seat.go()  # a phone sleeps
    now += 280
    assert not seat.is_away
    now += 30
    assert seat.is_away
    seat.come()
    seat.go(is_closed=True)
    now += 5
    seat.look()  # the class's page
    now += 280
    assert not seat.is_away
    seat.come()
    seat.go(is_closed=True)
    now += 9
    assert seat.is_away


def test_a_finished_run_is_there_again_when_the_lesson_is_opened_anew(tmp_path):
    listener = Listener(folder=tmp_path)
    assert kept(listener.session.opened) is None
    listener.start(2)
    listener.wait(lambda: listener.endings)
    assert kept(listener.session.opened).phase.startswith("Your last training: 2 steps")
    (tmp_path / "run.json").write_text("{damaged")
    assert kept(listener.session.opened) is None


def test_what_the_pocket_model_has_learnt_is_there_again_after_a_restart_and_is_saved(tmp_path):
    """ "There is nothing to save yet: press Train", it said under "Your last training: 30 steps"."""
    listener, here = Listener(folder=tmp_path), opened(folder=tmp_path)
    assert kept_learnt(here) is None
    listener.start(2)
    listener.wait(lambda: listener.endings)
    learnt = listener.session.learnt
    station = Station(here, {"pocket": Settings()}, {"ours": "format_learns"})
    assert station.session.earlier.steps_done == 2
    weights, same = map(safetensors.torch.load, (learnt, station.session.learnt))  # their order in the bytes is chance
    assert weights.keys() == same.keys() and all(weights[name].equal(same[name]) for name in weights)
    said = keeping._do([keep.save], "", here, lambda: station.session.trained, plan(2), station.session.earlier)
    assert "Saved" in said.text and "2 steps" in said.text
    assert Run.load(tmp_path / "adapter/run.json") == Run.load(tmp_path / "run.json")
    assert keeping._another(here, station.session.earlier) is None
    run = Run.load(tmp_path / "run.json")
    assert keep_learnt(run, (run, b"of a page"), here) == "" and kept_learnt(here) == (run, b"of a page")
    (tmp_path / "learnt/adapter.safetensors").unlink()
    assert kept_learnt(here) is None
    assert kept_learnt(replace(here, is_own=False)) is kept_learnt(opened()) is None
    real = replace(run, settings=run.settings | {"model": "you/yours"})
    assert keep_learnt(real, (run, b"x"), opened(folder=tmp_path / "real")) == ""
    assert not (tmp_path / "real").exists()


def test_no_adapter_answers_for_another_training_without_saying_so(tmp_path):
    here, last = opened(folder=tmp_path), Run({"seed": 3}, metrics=[{"step": 1, "seconds": 2.5}])
    gone = keeping._do([keep.save], "", here, lambda: None, plan(2), last).text
    assert "has gone with the server" in gone and "seed 3" in gone
    assert "nothing to save yet" in keeping._do([keep.save], "", here, lambda: None, plan(2), None).text
    (tmp_path / "adapter").mkdir()
    replace(last, settings={"seed": 7}).save(tmp_path / "adapter/run.json")
    said = keeping._another(here, last).text
    assert "not of your last training" in said and "seed 3" in said and "seed 7" in said
    last.save(tmp_path / "adapter/run.json")
    assert keeping._another(here, last) is keeping._another(here, None) is None


def test_a_prediction_is_there_again_when_the_lesson_is_opened_anew_where_it_may_write(tmp_path):
    def ask(folder):
        return Question(opened(folder=folder), "Which?", {"a": "Because.", "b": "Look again."}, right="a")

    ask(tmp_path / "format")._update("b")
    assert ask(tmp_path / "format").value == "b"
    assert ask(None).value is None and ask(tmp_path / "other").value is None
    (tmp_path / "format/predictions.json").write_text('{"Which?": "gone"}')  # a choice of an older lesson
    assert ask(tmp_path / "format").value is None
    (tmp_path / "format/predictions.json").write_text("{damaged")
    assert ask(tmp_path / "format").value is None


def test_stopped_before_the_first_step_nothing_was_learnt():
    run = Run({"steps": 9}, state="stopped")
    assert ending(run, "", is_kept=False) == "Stopped before the first step: nothing was learnt"
    run.metrics = [{"step": 1}]
    assert ending(run, "", is_kept=True).startswith("Stopped; what was learnt is kept: 1 step in ")
    assert ending(run, "", is_kept=False).startswith("Stopped: 1 step in ")  # on a server, which keeps nobody's model


def test_every_choice_of_a_prediction_has_its_answer():
    question = Question(opened(), "Which?", {"a": "Because.", "b": "Look again."}, right="a")
    assert list(question.options) == ["a", "b"] and "Choose" in question.answer().text
    for choice, words in (("a", ("Yes.", "Because.")), ("b", ("Not quite.", "Look again."))):
        question._update(choice)
        assert all(word in question.answer().text for word in words)
