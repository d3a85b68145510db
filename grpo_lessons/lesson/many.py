"""Many short trainings of the pocket model at once, in the reader's own browser: as many at a time as it has cores."""

import asyncio
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import marimo as mo

from grpo_lessons import cards, maps
from grpo_lessons.lesson.engines import Across, Beside
from grpo_lessons.lesson.in_browser import carried_out, course, in_thread
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import failed, show, unseen
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, Watch, explain

BETWEEN = 0.8  # seconds between two looks: each draws every curve anew


@dataclass(frozen=True)
class Progress:
    """How far they are.

    Args:
        runs: what each has come to, by its name; those that have not begun have no steps.
        state: "running", "finished", "stopped" or "failed".
        seconds: since the press.
        error: why they failed, in words.
    """

    runs: Mapping[Hashable, Run] = field(default_factory=dict)
    state: str = "running"
    seconds: float = 0.0
    error: str | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """Steps done, of how many."""
        return sum(run.steps_done for run in self.runs.values()), sum(
            run.settings["steps"] for run in self.runs.values()
        )


class Many:
    """Trainings side by side. `publish` receives a `Progress` every `between` seconds at most, and the last one."""

    def __init__(
        self,
        opened: Opened,
        engine: Beside | Across | None,
        publish: Callable[[Progress], None],
        between: float = BETWEEN,
    ):
        self.opened, self.engine, self.publish, self.between = opened, engine, publish, between
        self.halt, self.is_on = threading.Event(), False

    @property
    def doing(self) -> str:
        """What it does, for a teacher who may stop it."""
        return f"{self.opened.lesson}: trainings beside the lesson's own"

    def stop(self) -> None:
        """End them after the steps under way; what was seen is kept."""
        self.halt.set()

    def start(self, plans: Mapping[Hashable, Plan]) -> None:
        """Train each of the plans, without held-out prompts unless it has some."""
        if self.is_on or self.engine is None:
            return
        self.is_on, self.halt = True, threading.Event()
        if self.opened.seat:
            self.opened.seat.begun(self)
        told = _Told(weakref.ref(self), self.halt, {name: plan.new_run() for name, plan in plans.items()}, self.between)
        told.say("running")
        in_thread(self.opened, partial(_all, told, self.engine, list(plans.items())))


class _Told:
    """What the trainings tell; they hold no reference to the `Many` whose they are, and end with it."""

    def __init__(self, me: Callable[[], Many | None], halt: threading.Event, runs: dict[Hashable, Run], between: float):
        self.me, self.halt, self.runs, self.between = me, halt, runs, between
        self.began = self.last = time.monotonic()

    def should_stop(self) -> bool:
        return self.halt.is_set() or self.me() is None

    def update(self, name: Hashable, run: Run) -> None:
        self.runs[name] = run.snapshot()
        if time.monotonic() - self.last > self.between:
            self.say("running")

    def say(self, state: str, error: str | None = None) -> None:
        self.last = time.monotonic()
        if (owner := self.me()) is not None:
            owner.is_on = state == "running"
            owner.publish(Progress(dict(self.runs), state, self.last - self.began, error))


async def _all(told: _Told, engine: Beside | Across, left: list[tuple[Hashable, Plan]]) -> None:
    workers = [asyncio.ensure_future(_one_after_the_other(told, engine.another(), left))]
    try:
        while not workers[0].done() and not any(run.steps_done for run in told.runs.values()):
            await asyncio.sleep(0.05)  # until the page is there, and has said how many cores it has
        more = [engine.another() for _ in range(engine.cores - 1)]
        workers += [asyncio.ensure_future(_one_after_the_other(told, each, left)) for each in more]
        await asyncio.gather(*workers)
        told.say("stopped" if told.halt.is_set() else "finished")
    except Exception as error:  # whatever it is, the reader must be told
        told.halt.set()
        told.say("failed", explain(error))
        traceback.print_exc()


async def _one_after_the_other(told: _Told, engine: Beside | Across, left: list[tuple[Hashable, Plan]]) -> None:
    async def call(name: str, given: dict) -> dict | bytes:
        # What each has learnt is of no further use, and large.
        return b"" if name == "save" else await engine.call(name, given, told.should_stop)

    try:
        while left and not told.should_stop():
            name, plan = left.pop(0)
            watch = Watch(update=lambda phase, run, name=name: told.update(name, run), should_stop=told.should_stop)
            run, _ = await carried_out(course(plan, watch), call)
            told.update(name, run)
    finally:
        engine.end()


class Pressed:
    """Trainings that a press begins: Train and Stop, how far they are, and what carries them.

    Args:
        opened: how the lesson was opened.
        engine: of the reader's browser.
        plan: the lesson's function from settings to a `Plan`.
        settings: what all have in common.
    """

    number: str  # of trainings, as a word

    def __init__(
        self,
        opened: Opened,
        engine: Beside | Across | None,
        plan: Callable[[Settings], Plan],
        settings: Settings,
    ):
        self.opened, self.plan, self.settings = opened, plan, settings
        # A button's press belongs to the cell that made the button, and that cell must hear of it.
        self.progress, publish = mo.state(None, allow_self_loops=True)
        self.busy, busy = mo.state(False, allow_self_loops=True)

        def tell(said: Progress) -> None:
            publish(said)
            if self.busy() != (is_on := said.state == "running"):  # else all buttons are made anew, and a press is lost
                busy(is_on)

        self.many = Many(opened, engine, tell)

    def buttons(self, busy: bool, start: Callable[[], None]) -> dict[str, mo.ui.button]:
        """Those that `train` shows."""
        train = mo.ui.button(label=f"Train {self.number}", kind="success", disabled=busy, on_click=lambda _: start())
        stop = mo.ui.button(label="Stop", kind="danger", disabled=not busy, on_click=lambda _: self.many.stop())
        return {"start": train, "stop": stop}

    def train(
        self, controls: mo.ui.dictionary, progress: Progress | None, live: Progress | None
    ) -> list[str | mo.Html | None]:
        """The buttons, how far the trainings are if it is they that are looked at, and what carries them."""
        engine = self.many.engine
        return [
            f'<div class="train"><span>{controls["start"]}</span><span>{controls["stop"]}</span>{_status(live, self.number)}</div>',
            failed(live.error) if live and live.error else None,
            engine.element if progress and engine is not None else None,
        ]


def _status(live: Progress | None, number: str) -> str:
    if live is None:
        return f'<p class="told">A recording. Train {number} to see them live, in this browser.</p>'
    done, total = live.steps
    if live.state == "running":
        return (
            f'<div class="told">{cards.progress(f"{number.capitalize()} trainings", done, total, live.seconds)}</div>'
        )
    word = {"finished": "Finished", "stopped": "Stopped", "failed": "Ended with an error"}[live.state]
    return f'<p class="told"><b>{word}: {done} steps of {total} in {live.seconds:.0f} s.</b></p>'


STEPS, BATCH = 15, 32  # of each training of a map


def short_plans(plan: Callable[[Settings], Plan], settings: Settings, axes: Mapping[str, list]) -> dict[tuple, Plan]:
    """The trainings of a map, row by row, by what is changed in each: `axes` has the values of two settings."""
    changed = [dict(zip(axes, where, strict=True)) for where in product(*axes.values())]
    settings = replace(settings, steps=STEPS, batch_size=BATCH)
    return {
        tuple(each.values()): replace(plan(replace(settings, **each)), held_out=(), sample_every=3) for each in changed
    }


class Map(Pressed):
    """A training made sixteen times with two of its settings changed, as a map; one of them can be looked into.

    Args:
        shared: what `Pressed` takes.
        axes: by a name, what is changed down and across: `{"group size × temperature": {"group_size": […], "temperature": […]}}`.
        recorded: by the same names, `settings` and `metrics` of the same runs as they were recorded once, row by row.
        look: is called with a run that a reader wants to look into.
    """

    number = "sixteen"

    def __init__(
        self,
        *shared,
        axes: dict[str, dict[str, list]],
        recorded: dict[str, list[dict]],
        look: Callable[[Run], None],
    ):
        super().__init__(*shared)
        self.axes, self.look = axes, look
        self.recorded = {
            name: dict(
                zip(product(*axes[name].values()), [Run(**each, state="finished") for each in runs], strict=True)
            )
            for name, runs in recorded.items()
        }
        self.shown = self.trained = next(iter(axes))

    def controls(self, busy: bool) -> mo.ui.dictionary:
        """Which map, its buttons, and one for every run. In marimo they must be a variable of the notebook."""

        def choose(name: str) -> None:
            self.shown = name

        def start() -> None:
            self.trained = self.shown
            self.many.start(short_plans(self.plan, self.settings, self.axes[self.shown]))

        def open_it(place: int) -> None:
            runs = [*(self.progress().runs.values() if self.progress() else ())]
            if place < len(runs) and runs[place].groups:
                self.look(runs[place])

        buttons = {
            "map": mo.ui.radio(
                list(self.axes), value=self.shown, inline=True, label="map", on_change=lambda name: choose(name)
            ),
            **self.buttons(busy, start),
        }
        for place in range(16):
            words = f"look{unseen(f' inside run {place + 1}')}"
            buttons[f"look {place}"] = mo.ui.button(label=words, on_click=lambda _, place=place: open_it(place))
        return mo.ui.dictionary(buttons)

    def show(self, controls: mo.ui.dictionary, progress: Progress | None) -> mo.Html:
        """The map: what is trained live, or a recording of it."""
        name = controls.value["map"]
        names, (rows, columns) = tuple(self.axes[name]), self.axes[name].values()
        live = progress if progress and self.trained == name else None
        runs = live.runs if live else self.recorded[name]
        below = {}
        if live and live.state != "running":
            below = {where: controls[f"look {place}"].text for place, where in enumerate(runs) if runs[where].groups}
        grid = maps.grid(runs, names, rows, columns, below)
        return show(controls["map"], *self.train(controls, progress, live), grid)
