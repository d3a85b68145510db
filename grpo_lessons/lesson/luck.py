"""One training with five seeds, paid by a judge that errs: how much of a curve is luck."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import marimo as mo

from grpo_lessons import curves, luck
from grpo_lessons.lesson.many import Pressed, Progress
from grpo_lessons.lesson.words import show
from grpo_lessons.luck import Outcome
from grpo_lessons.rewards import ErringReward
from grpo_lessons.training import Plan, Settings

CHANCES = (0, 0.05, 0.1, 0.2, 0.3, 0.5)  # that the judge errs
FEW = 5  # seeds at a press
STEPS, BATCH = 25, 32  # of each training: the smallest that has taught with every seed while the judge did not err


def seeds(plan: Callable[[Settings], Plan], settings: Settings, chance: float, which: Iterable[int]) -> dict[int, Plan]:
    """The lesson's training with other seeds, short, paid by a judge that errs with a chance; it is examined by one that does not."""

    def short(seed: int) -> Plan:
        asked = plan(replace(settings, steps=STEPS, batch_size=BATCH, seed=seed))
        (reward,) = asked.rewards
        return replace(asked, rewards=[ErringReward(reward, chance, seed)], sample_every=STEPS, evaluate_every=0)

    return {seed: short(seed) for seed in which}


class Luck(Pressed):
    """The lesson's training with several seeds, paid by a judge that errs as often as a slider says.

    Args:
        shared: what `Pressed` takes; the plan has one reward, of 0 or 1.
        recorded: the file of `notebooks/public` with the same as it was recorded once, for each chance.
    """

    number = "five"

    def __init__(self, *shared, recorded: str):
        super().__init__(*shared)
        self.recorded = recorded
        self.shown = self.trained = CHANCES[2]  # what was predicted
        self.earlier: dict[int, Outcome] = {}  # of the presses before, at the chance that was trained last

    def controls(self, busy: bool) -> mo.ui.dictionary:
        """The slider, Train and Stop. In marimo they must be a variable of the notebook."""

        def choose(chance: float) -> None:
            self.shown = chance

        slider = mo.ui.slider(
            steps=CHANCES,
            value=self.shown,
            show_value=True,
            label="chance that the judge errs",
            on_change=lambda chance: choose(chance),
        )
        return mo.ui.dictionary({"chance": slider, **self.buttons(busy, self._start)})

    def _start(self) -> None:
        """Train with the next five seeds; two presses at one chance stand together."""
        done = {seed: each for seed, each in self._live(self.progress()).items() if each.is_whole}
        if self.shown != self.trained:
            done = {}
        self.earlier = done if len(done) <= FEW else {}
        self.trained, first = self.shown, 1 + max(done, default=-1)
        self.many.start(seeds(self.plan, self.settings, self.trained, range(first, first + FEW)))

    def _live(self, progress: Progress | None) -> dict[int, Outcome]:
        """What the reader's own trainings have come to, by their seeds."""
        return self.earlier | {seed: Outcome.of(run) for seed, run in (progress.runs if progress else {}).items()}

    def show(self, controls: mo.ui.dictionary, progress: Progress | None) -> mo.Html:
        """The band of their curves, what each has come to, and in words what they say: live, or a recording."""
        chance = controls.value["chance"]
        live = progress if progress and self.trained == chance else None
        has_begun = live and (live.state != "failed" or live.steps[0])  # an old browser trains nothing
        outcomes = [*self._live(live).values()] if has_begun else self._recorded(chance)
        marks = {"always right": 1 - chance, "always wrong": chance} if 0 < chance < 0.5 else {}
        return show(
            controls["chance"],
            *self.train(controls, progress, live),
            '<div class="luck">'
            + curves.band("what the judge pays", [each.rewards for each in outcomes], STEPS, marks)
            + luck.table(outcomes)
            + f'</div><p class="note">{"this browser" if has_begun else self._where}</p>',
            *luck.in_words(outcomes, chance),
        )

    @property
    def _where(self) -> str:
        """Where the recording was made, in a line."""
        by = self.opened.numbers(self.recorded)["provenance"]
        return f"{by['model']} · {STEPS} steps of {BATCH} replies · {by['hardware']}, TRL {by['trl']} · {by['date']}"

    def _recorded(self, chance: float) -> list[Outcome]:
        runs = self.opened.numbers(self.recorded)["runs"][f"{chance:g}"]
        return [Outcome(each["seed"], each["rewards"], tuple(each["before"]), tuple(each["after"])) for each in runs]
