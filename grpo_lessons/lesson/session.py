"""The training of one notebook, in a thread: started by Train, ended by Stop, or with the notebook itself."""

import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import marimo as mo

from grpo_lessons.lesson.in_browser import Beside, carried_out, course
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.pace import PACE
from grpo_lessons.runs import Run
from grpo_lessons.text import counted
from grpo_lessons.training import Plan, Trained, Watch, explain, train
from grpo_lessons.training.exchange import to_page
from grpo_lessons.training.sources import is_pocket

STOPPING = "Stopping after this step"


@dataclass(frozen=True)
class Report:
    """What a session last said: its phase in words, the run so far, the run before it, and how it ended.

    Args:
        names: of the two runs, where they have any.
        speed: how many times as fast as its record says a run goes, if it is replayed.
    """

    phase: str
    run: Run
    before: Run | None = None
    error: str | None = None
    names: tuple[str, str] = ("", "")
    speed: float = 1.0


class Session:
    """One training at a time. While one is on, another start is no more than a slip of the hand, and is not heard.

    It runs in a thread, so that everything else stays alive. `publish` receives a `Report` after every step, `ended` the
    last one, `busy` whether one is on; all three are setters of `mo.state`s. The thread holds no reference to this object:
    when a closed tab takes the notebook's variables with it, the thread notices and ends.
    """

    def __init__(
        self,
        opened: Opened,
        publish: Callable[[Report], None],
        ended: Callable[[Report], None],
        busy: Callable[[bool], None] = lambda on: None,
    ):
        self.opened, self.publish, self.ended, self.busy = opened, publish, ended, busy
        self.halt = threading.Event()
        self.engine = Beside()
        self.is_on = False
        self.last: Report | None = None
        self.trained: Trained | None = None  # the model of the last training that has one
        self.adapter: bytes | None = None  # what the last training in a browser has learnt

    @property
    def learnt(self) -> bytes | None:
        """What the last training of the pocket model has learnt, as the engine in a page reads it; None if there is none."""
        if self.trained and self.trained.model and is_pocket(self.trained.run.settings["model"]):
            return to_page(self.trained)
        return self.adapter

    def stop(self) -> None:
        """End the training after the step under way, or a download; what was learnt is kept."""
        self.halt.set()
        if self.is_on and self.last:
            self.publish(replace(self.last, phase=STOPPING))

    def start(self, plan: Plan, resume: bool = False) -> None:
        """Start afresh, or from a checkpoint; see `training.train`."""
        if self.is_on:
            return
        self.is_on, self.halt = True, threading.Event()
        before = self.last.run if self.last and self.last.run.metrics else None
        self.busy(True)
        self._say(Report("Starting", plan.new_run(), before))
        told = _told(weakref.ref(self), self.opened, self.halt, plan, before)
        work = (
            partial(_by_trl, told, self.opened, plan, resume) if self.opened.trains else partial(self._here, told, plan)
        )
        mo.Thread(target=work, daemon=True).start()

    async def _here(self, told, plan: Plan) -> None:
        with told as (watch, done):
            try:
                run, self.adapter = await carried_out(course(plan, watch), self.engine.call)
            finally:
                self.engine.end()  # it gives its memory back
            done(Trained(run))

    def _say(self, report: Report, trained: Trained | None = None, is_last: bool = False) -> None:
        self.last = replace(report, run=report.run.snapshot())
        if is_last:
            self.is_on = False
            if trained and trained.model:
                self.trained, self.adapter = trained, None
        self.publish(self.last)
        if is_last:
            self.ended(self.last)
            self.busy(False)


@contextmanager
def _told(me: Callable[[], Session | None], opened: Opened, halt, plan: Plan, before: Run | None) -> Iterator[tuple]:
    """What a training tells of itself: a `Watch`, and a function for what it leaves; an error is told as its end."""
    latest, limit = plan.new_run(), ""

    def say(phase: str, run: Run, error: str | None = None, **ending) -> None:
        if (owner := me()) is not None:
            owner._say(Report(phase, run, before, error), **ending)

    def update(phase: str, run: Run) -> None:
        nonlocal latest, limit
        latest = run
        PACE.learn(plan, run)
        if opened.is_late(run.seconds):
            limit = f" at the class's limit of {opened.seat.most_minutes:g} min"
        say(STOPPING if halt.is_set() and run.state == "running" else phase, run)

    def should_stop() -> bool:
        return halt.is_set() or me() is None or not opened.in_time(latest.seconds)

    def done(trained: Trained) -> None:
        lost = keep_record(trained.run, opened)
        say(f"{ending(trained.run, limit)}{lost}", trained.run, trained=trained, is_last=True)

    try:
        yield Watch(should_stop=should_stop, update=update, who=opened.who, seconds=lambda: PACE.expected(plan)), done
    except Exception as error:  # anything a library may raise: the reader must be told, whatever it is
        latest.state = "failed"
        say("The session ended with an error", latest, explain(error), is_last=True)
        traceback.print_exc()  # last: a stream may be gone, and the reader must be told first


def _by_trl(told, opened: Opened, plan: Plan, resume: bool) -> None:
    with told as (watch, done):
        checkpoints = opened.folder / "unfinished" if opened.folder and opened.is_own else None
        trained = train(plan, watch, checkpoints, resume)
        if not opened.is_own and trained.model:  # a server's visitor cannot save it; twenty of them took 4 GB
            trained = Trained(trained.run)
            gc.collect()  # the model stands in a circle of references
        done(trained)


def ending(run: Run, limit: str) -> str:
    """How a training ended, in words; `limit`: what ended it, if it was no reader."""
    if not run.steps_done:
        return f"Stopped{limit} before the first step: nothing was learnt"
    word = "Finished" if run.state == "finished" else f"Stopped{limit}; what was learnt is kept"
    return f"{word}: {counted(run.steps_done, 'step')} in {run.seconds:.0f} s"


def record_of(opened: Opened) -> Path | None:
    """Where a lesson keeps the record of its last training."""
    return opened.folder / "run.json" if opened.folder else None


def keep_record(run: Run, opened: Opened) -> str:
    """Write a run's record; a word on it if that was not possible."""
    path = record_of(opened)
    if path is None or not run.metrics or (opened.seat and run.state != "finished" and path.exists()):
        return ""  # in a class a closed tab, or a second thought, takes nobody's finished run away
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        run.save(path)
    except OSError as error:
        return f" (its record could not be written: {error})"
    return ""


def kept(opened: Opened) -> Report | None:
    """The reader's last training of this lesson that came to its end, whatever has happened to page or server since."""
    try:
        run = Run.load(record_of(opened))
    except (OSError, ValueError, TypeError):  # none yet, a damaged one, or nowhere to look
        return None
    if run.state != "finished" or opened.is_script:
        return None
    return Report(f"Your last training: {counted(run.steps_done, 'step')} in {run.seconds:.0f} s", run)
