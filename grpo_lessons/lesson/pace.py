"""What trainings cost on this machine, as this process has come to know it: measured before Train, corrected by what is seen."""

import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import marimo as mo

from grpo_lessons import cards
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import failed, warn
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Watch, explain, fit, line
from grpo_lessons.training.machine import load_libraries
from grpo_lessons.training.sources import Stopped, is_here


class Pace:
    """Each model is measured once; replies are shorter than they might be, so a training's own pace corrects the estimate."""

    def __init__(self):
        self.probes: dict[str, fit.Probe] = {}  # by model
        self.shares: dict[tuple, float] = {}  # by `Plan.kind`: a training's seconds over those that were estimated

    def estimate(self, plan: Plan) -> float:
        """Seconds that a training takes at most, by what was measured of its model; 0 if nothing was."""
        probe = self.probes.get(plan.settings.model)
        return fit.estimate(plan, probe).seconds if probe and not plan.problem else 0.0

    def expected(self, plan: Plan) -> float:
        """Seconds that a training will take, as far as this process can know; 0 if it cannot."""
        return max(1.0, most * self.shares.get(plan.kind, 1.0)) if (most := self.estimate(plan)) else 0.0

    def learn(self, plan: Plan, run: Run) -> None:
        """Expect what is seen, from the third step of the first training on."""
        if run.steps_done > 2 and (most := self.estimate(plan)):
            self.shares[plan.kind] = run.seconds / (most * run.steps_done / plan.settings.steps)

    def get_ready(self, plan: Plan) -> None:
        """Load the libraries and measure the plan's model before the first learner asks for it: for a server."""
        load_libraries()
        with line.turn(lambda in_front: None, lambda: False):
            self.probes[plan.settings.model] = fit.measure(plan)


PACE = Pace()


@dataclass(frozen=True)
class Measured:
    """How far the measuring of a model is, in words, or why it failed; what is found stands in `PACE`."""

    model: str
    phase: str
    error: str | None = None


class Measurer:
    """Finds out in a thread what a plan costs on this machine; a training that starts meanwhile ends it."""

    def __init__(self, opened: Opened, publish: Callable[[Measured | None], None]):
        self.opened, self.publish = opened, publish
        self.halt = threading.Event()

    def stop(self) -> None:
        """Give up; nothing is said of it any more."""
        self.halt.set()

    def measure(self, plan: Plan, suit: Callable[[Plan], None]) -> None:
        """`publish` hears how far it is, then the result; `suit` is given another plan, if this one would not fit."""
        if not self.opened.is_watched:
            return
        self.halt.set()
        self.halt = halt = threading.Event()
        me, model = weakref.ref(self), plan.settings.model

        def should_stop() -> bool:
            return halt.is_set() or me() is None

        def say(phase: str, **found) -> None:
            if (owner := me()) is not None and not halt.is_set():
                owner.publish(Measured(model, phase, **found))

        def work() -> None:
            try:
                if model not in PACE.probes:
                    load_libraries()
                    with line.turn(lambda in_front: say("Measured when the training under way has ended"), should_stop):
                        PACE.probes[model] = fit.measure(plan, Watch(say=say, should_stop=should_stop))
                better = fit.suited(plan, PACE.probes[model])
                if better != plan and not should_stop():
                    suit(better)
                say("Measured")
            except Stopped:
                if (owner := me()) is not None and owner.halt is halt:
                    owner.publish(None)
            except Exception as error:  # whatever a library may raise: the reader must be told
                say("", error=explain(error))
                traceback.print_exc()

        say("Loading torch and TRL, to measure what this training costs")
        mo.Thread(target=work, daemon=True).start()


def show_cost(measured: Measured | None, plan: Plan) -> mo.Html:
    """What the training costs, as far as it is known, and what to lower where it does not fit."""
    if plan.problem:
        return failed(plan.problem)
    if probe := PACE.probes.get(plan.settings.model):
        cost = fit.estimate(plan, probe)
        if cost.fits:
            return mo.md(f"{cost} *Measured on {probe.hardware}.*")
        return warn(f"**This does not fit.** {cost} {fit.what_to_lower(plan, probe)}")
    if measured is None or measured.model != plan.settings.model:
        if not is_here(plan.settings.model):
            return mo.md("*The model is not on this machine. Train fetches it, once; nothing is fetched before.*")
        return mo.md(
            "*What this training costs stands here, once it is measured: after your prediction, while no training runs.*"
        )
    return failed(measured.error) if measured.error else mo.Html(cards.page(cards.progress(measured.phase)))
