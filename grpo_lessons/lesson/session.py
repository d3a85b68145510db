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

from grpo_lessons.lesson.engines import Across, Beside
from grpo_lessons.lesson.in_browser import carried_out, course, in_thread
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.pace import PACE
from grpo_lessons.lesson.second_python import is_waited_for
from grpo_lessons.runs import Run
from grpo_lessons.text import counted
from grpo_lessons.training import Plan, Trained, Watch, explain, train
from grpo_lessons.training.exchange import from_page, to_page
from grpo_lessons.training.sources import is_pocket

STOPPING = "Stopping after this step"
ELSEWHERE = "Another page of yours is in the line, or trains on this machine: wait for it, or stop it there"


@dataclass(frozen=True)
class Report:
    """What a session last said: its phase in words, the run so far, the run before it, and how it ended.

    Args:
        names: of the two runs, where they have any.
        speed: how many times as fast as its record says a run goes, if it is replayed.
        is_recording: whether the run is one of ours, and no training of the reader's.
    """

    phase: str
    run: Run
    before: Run | None = None
    error: str | None = None
    names: tuple[str, str] = ("", "")
    speed: float = 1.0
    is_recording: bool = False


class Session:
    """One training at a time. While one is on, another start is no more than a slip of the hand, and is not heard.

    It runs in a thread, so that everything else stays alive. `publish` receives a `Report` after every step, `ended` the
    last one, `busy` whether one is on; all three are setters of `mo.state`s. The thread holds no reference to this object,
    and ends when it has gone, or when the thread of its notebook has ended: on a server a closed tab is that at once, while
    the notebook's variables wait to be collected, sometimes for minutes.
    """

    def __init__(
        self,
        opened: Opened,
        publish: Callable[[Report], None],
        ended: Callable[[Report], None],
        busy: Callable[[bool], None] = lambda on: None,
        earlier: Run | None = None,
    ):
        self.opened, self.publish, self.ended, self.busy = opened, publish, ended, busy
        self.halt = threading.Event()
        self.engine: Beside | Across | None = None  # that trains in the reader's browser, where there is one
        if "browser" in opened.engines:
            self.engine = Beside() if not opened.has_disk else Across() if opened.is_watched else None
        self.is_on = False
        self.last: Report | None = None
        self.earlier = earlier  # the reader's last run that did not end with an error
        # What the last training that has left something has learnt; one of before a restart, if it was kept.
        self._left: tuple[Run, bytes] | Trained | None = kept_learnt(opened)

    @property
    def trained(self) -> Trained | None:
        """The model of the last training that has one, wherever it was trained."""
        if isinstance(self._left, tuple):
            run, adapter = self._left
            self._left = from_page(adapter, run)
        return self._left

    @property
    def learnt(self) -> bytes | None:
        """What the last training of the pocket model has learnt, as the engine in a page reads it; None if there is none."""
        if isinstance(self._left, tuple):
            return self._left[1]
        return to_page(self._left) if self._left and is_pocket(self._left.run.settings["model"]) else None

    @property
    def doing(self) -> str:
        """What it does, for a teacher who may stop it."""
        return f"{self.opened.lesson}: {self.last.phase if self.last else 'Starting'}"

    def stop(self) -> None:
        """End the training after the step under way, or a download."""
        self.halt.set()
        if self.is_on and self.last:
            self.publish(replace(self.last, phase=STOPPING))

    def start(self, plan: Plan, resume: bool = False, in_browser: bool = False) -> None:
        """Start afresh, or from a checkpoint, see `training.train`; or in the reader's browser, see `in_browser`.

        In a class nobody has two places in the line for the device.
        """
        if self.is_on:
            return
        if not in_browser and self.opened.seat and not self.opened.seat.device.acquire(blocking=False):
            return self.publish(Report(ELSEWHERE, plan.new_run(), self.earlier))
        self.is_on, self.halt = True, threading.Event()
        if self.opened.seat:
            self.opened.seat.begun(self)
        before = self.earlier
        self.busy(True)
        self._say(Report("Starting", plan.new_run(), before))
        me, notebook = weakref.ref(self), threading.current_thread()

        def owner() -> Session | None:
            return me() if notebook.is_alive() else None

        told = _told(owner, self.opened, self.halt, plan, before, in_browser)
        if in_browser:
            in_thread(self.opened, partial(_in_browser, told, self.engine, plan))
        else:
            mo.Thread(target=partial(_by_trl, told, self.opened, plan, resume), daemon=True).start()

    def _say(self, report: Report, left: Trained | tuple[Run, bytes] | None = None, is_last: bool = False) -> None:
        self.last = replace(report, run=report.run.snapshot())
        if self.opened.seat and report.run.metrics:
            self.opened.seat.runs[self.opened.lesson] = self.last.run
        if is_last:
            self.is_on = False
            self._left = left or self._left
            if report.run.metrics and not report.error:
                self.earlier = self.last.run
        self.publish(self.last)
        if is_last:
            self.ended(self.last)
            self.busy(False)


@contextmanager
def _told(
    me: Callable[[], Session | None], opened: Opened, halt, plan: Plan, before: Run | None, in_browser: bool
) -> Iterator[tuple]:
    """What a training tells of itself: a `Watch`, and a function for its run, and for what it leaves; an error is its end."""
    latest, limit = plan.new_run(), ""

    def say(phase: str, run: Run, error: str | None = None, **ending) -> None:
        if (owner := me()) is not None:
            owner._say(Report(phase, run, before, error), **ending)

    def update(phase: str, run: Run) -> None:
        nonlocal latest, limit
        latest = run
        if not in_browser:  # which has a pace of its own
            PACE.learn(plan, run)
        if opened.is_late(run.seconds):
            limit = f" at the class's limit of {opened.seat.most_minutes:g} min"
        elif opened.seat and opened.seat.is_away:
            limit = " because nobody was there"
        say(STOPPING if halt.is_set() and run.state == "running" else phase, run)

    def is_gone() -> bool:
        return me() is None or bool(opened.seat and opened.seat.is_away)

    def should_stop() -> bool:
        return halt.is_set() or is_gone() or opened.is_late(latest.seconds)

    def done(run: Run, left: Trained | tuple[Run, bytes] | None = None) -> None:
        lost = keep_record(run, opened) or (keep_learnt(run, left, opened) if left else "")
        say(f"{ending(run, limit, left is not None)}{lost}", run, left=left, is_last=True)

    try:
        about = {"who": opened.who, "seconds": partial(PACE.expected, plan), "first": opened.goes_first}
        yield Watch(should_stop=should_stop, update=update, is_gone=is_gone, **about), done
    except Exception as error:  # anything a library may raise: the reader must be told, whatever it is
        latest.state = "failed"
        say("The session ended with an error", latest, explain(error), is_last=True)
        traceback.print_exc()  # last: a stream may be gone, and the reader must be told first


def _by_trl(told, opened: Opened, plan: Plan, resume: bool) -> None:
    with told as (watch, done):
        checkpoints = opened.folder / "unfinished" if opened.folder and opened.is_own else None
        try:
            trained = train(plan, watch, checkpoints, resume)
        finally:
            if opened.seat:
                opened.seat.device.release()
        run, left = trained.run, trained if trained.model else None
        if not opened.is_own and left:  # a server's visitor cannot save it; twenty of them took 4 GB
            left = trained = None
            gc.collect()  # the model stands in a circle of references
        done(run, left)


async def _in_browser(told, engine: Beside | Across, plan: Plan) -> None:
    with told as (watch, done):

        async def call(name: str, given: dict) -> dict | bytes | list:
            if name == "reward":
                return await given["of"].scores(given["seen"])
            return await engine.call(name, given, should_stop=watch.should_stop)

        try:
            for reward in filter(is_waited_for, plan.rewards):
                watch.update("Starting the Python that your reward runs in", plan.new_run())
                if refusal := await reward.refusal([*plan.prompts[0], "opened_thought"]):
                    raise ValueError(refusal)
            run, adapter = await carried_out(course(plan, watch), call)
        finally:
            engine.end()  # it gives its memory back
        done(run, (run, adapter) if run.steps_done else None)


def ending(run: Run, limit: str, is_kept: bool) -> str:
    """How a training ended, in words; `limit`: what ended it, if it was no reader; `is_kept`: whether the model is still there."""
    if not run.steps_done:
        return f"Stopped{limit} before the first step: nothing was learnt"
    word = "Finished" if run.state == "finished" else f"Stopped{limit}{'; what was learnt is kept' if is_kept else ''}"
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


def keep_learnt(run: Run, left: Trained | tuple[Run, bytes], opened: Opened) -> str:
    """Write what the pocket model has learnt, beside the record: small, it outlives the server unasked; a word on it if it cannot."""
    if opened.folder is None or not opened.is_own or not is_pocket(run.settings["model"]):
        return ""
    folder = opened.folder / "learnt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").unlink(missing_ok=True)  # without it the rest is half of something
        (folder / "adapter.safetensors").write_bytes(left[1] if isinstance(left, tuple) else to_page(left))
        run.save(folder / "run.json")
    except OSError as error:
        return f" (what it learnt could not be written: {error})"
    return ""


def kept_learnt(opened: Opened) -> tuple[Run, bytes] | None:
    """What `keep_learnt` has written, if no other training has ended since."""
    if opened.folder is None or not opened.is_own or opened.is_script:
        return None
    try:
        run = Run.load(opened.folder / "learnt/run.json")
        return (run, (opened.folder / "learnt/adapter.safetensors").read_bytes()) if run == _record(opened) else None
    except (OSError, ValueError, TypeError):  # none yet, or a damaged one
        return None


def _record(opened: Opened) -> Run | None:
    """The record of the reader's last training that did not end with an error; None for none, or a damaged one."""
    try:
        return Run.load(record_of(opened))
    except (OSError, ValueError, TypeError):
        return None


def kept(opened: Opened) -> Report | None:
    """The reader's last training of this lesson that came to its end, whatever has happened to page or server since."""
    run = _record(opened)
    if run is None or run.state != "finished" or opened.is_script:
        return None
    return Report(f"Your last training: {counted(run.steps_done, 'step')} in {run.seconds:.0f} s", run)
