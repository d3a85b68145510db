"""Recorded runs of a lesson, replayed where none can be trained: step by step, through the panel of a live session."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import marimo as mo

from grpo_lessons.lesson.session import Report
from grpo_lessons.runs import Run

SPEEDS = {"as it was": 1, "4 × as fast": 4, "16 × as fast": 16}
LONGEST = 1.5  # seconds that a replay waits for a step


class Replay:
    """What is replayed, how fast, and how far it has come.

    Args:
        runs: by the name under which they can be chosen.
        publish: the setter of the `mo.state` that holds a session's `Report`.
        ended: the setter of the state that holds its last one, which later stations look into.
        at: the setter of a state that holds the step a replay has come to.
        playing: the setter of a state that says whether it runs.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        publish: Callable[[Report], None],
        ended: Callable[[Report], None],
        at: Callable[[int], None],
        playing: Callable[[bool], None],
    ):
        self.runs, self.publish, self.ended, self.at, self.playing = runs, publish, ended, at, playing
        self.name, self.against, self.speed = next(iter(runs)), "nothing", "4 × as fast"
        self.step, self.turn = 1, 0

    @property
    def run(self) -> Run:
        """The run that is replayed."""
        return self.runs[self.name]

    def controls(self, playing: bool, disabled: bool = False) -> dict[str, mo.ui.dropdown | mo.ui.button]:
        """What is replayed, over which other run, how fast, and Play or Pause."""
        names, (word, kind) = list(self.runs), ("Pause", "neutral") if playing else ("Play", "success")
        return {
            "run": mo.ui.dropdown(names, value=self.name, label="recorded run", on_change=self.choose),
            "against": mo.ui.dropdown(
                ["nothing", *names], value=self.against, label="over (dashed)", on_change=self.compare
            ),
            "speed": mo.ui.dropdown(list(SPEEDS), value=self.speed, label="speed", on_change=self.hurry),
            "play": mo.ui.button(label=word, kind=kind, disabled=disabled, on_click=lambda _: self.press(playing)),
        }

    def slider(self, step: int | None) -> mo.ui.slider:
        """The steps, to scrub through; moved by hand it pauses. In marimo a variable of the notebook."""
        last = self.run.steps_done
        return mo.ui.slider(1, last, value=step or 1, show_value=True, full_width=True, label="step", on_change=self.go)

    def choose(self, name: str) -> None:
        """Another run, from its first step."""
        self.name = name
        self.go(1)
        self.at(1)
        self.ended(replayed(self.run, self.run.steps_done))

    def compare(self, name: str) -> None:
        """Lay another run under this one."""
        self.against = name
        self._show(playing=False)

    def hurry(self, speed: str) -> None:
        """A speed holds from now on."""
        self.speed = speed

    def press(self, playing: bool) -> None:
        """Pause, or go on from this step, or from the first if this is the last."""
        if playing:
            return self.go(self.step)
        self.turn += 1
        self.step = self.step if self.step < self.run.steps_done else 0
        self.playing(True)
        mo.Thread(target=partial(self._play, self.turn)).start()

    def go(self, step: int) -> None:
        """Pause, and show the run as it stood after a step."""
        self.turn += 1
        self.playing(False)
        self.step = step
        self._show(playing=False)

    async def _play(self, turn: int) -> None:
        while turn == self.turn and self.step < self.run.steps_done:
            self.step += 1
            self._show(playing=True)
            self.at(self.step)
            await asyncio.sleep(min(LONGEST, self._seconds() / SPEEDS[self.speed]))
        if turn == self.turn:
            self.go(self.step)

    def _seconds(self) -> float:
        """How long the step took when it was recorded."""
        ends = [0.0, *(row["seconds"] for row in self.run.metrics)]
        return ends[self.step] - ends[self.step - 1]

    def _show(self, playing: bool) -> None:
        report = replayed(self.run, self.step, self.runs.get(self.against), SPEEDS[self.speed] if playing else 0)
        self.publish(replace(report, names=(self.name, self.against)))


def replayed(run: Run, step: int, against: Run | None = None, speed: float = 0) -> Report:
    """What a session so many times as fast would have said of a run after a step, over another run; at speed 0 it stands.

    >>> run = Run({"steps": 2}, metrics=[{"step": 1, "reward": 0.2}, {"step": 2, "reward": 0.4}], state="finished")
    >>> replayed(run, 1).phase, replayed(run, 1).run.series("reward")
    ('A recording: step 1 of 2', [(1, 0.2)])
    """
    then = replace(
        run,
        metrics=run.metrics[:step],
        groups=[group for group in run.groups if group.step <= step],
        after=run.after if step >= run.steps_done else None,
        state="running" if speed and step < run.steps_done else "stopped",
    )
    return Report(f"A recording: step {step} of {run.steps_done}", then, against, speed=speed or 1, is_recording=True)


NO_TORCH = """**It trains here, in your browser.** *Train* teaches the pocket model, with the same method, by your own computer; nothing is sent anywhere. A web page has no torch: of real models you replay recordings.
To train them, too, take [the course](grpo-lessons.zip) home (Python 3.11 or later), `pip install -r requirements.txt`, and open this lesson: `python -m grpo_lessons` says how."""

IN_BROWSER = "*Trained here, in your browser, by your own computer: the same method and the same rewards, by the course's own engine, without torch. Nobody waits for anybody.*"
