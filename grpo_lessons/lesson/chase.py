"""A target that moves: the pocket model trains in the reader's own browser, and the reader pulls its target meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import marimo as mo

from grpo_lessons import chasing
from grpo_lessons.lesson.engines import Across, Beside
from grpo_lessons.lesson.many import Many, Progress
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.questions import Question
from grpo_lessons.lesson.words import failed, show
from grpo_lessons.text import counted
from grpo_lessons.training import Plan, Settings

MOST = 300  # steps of one chase
BETWEEN = 0.4  # seconds between two looks: about two steps; a page takes a while to draw each
# The rate of a training falls to 0 over its steps; here it must still be able to learn when its target is moved late.
SETTINGS = {"learning_rate": 3e-3, "batch_size": 32, "steps": 10**6}

FIRST, THEN, AFTER = 10, 40, 45  # tokens, before and after the pull of the recorded runs; their steps after it
SOON, LATE, DOWN = "up after 30 steps", "up after 120 steps", "down after 50 steps"
RUNS = {SOON: (FIRST, 30, THEN), LATE: (FIRST, 120, THEN), DOWN: (THEN, 50, FIRST)}
SEEDS = range(6)  # of the first two

THERE = "there: the mean length is within 10 % of the target, for two steps or more"
ASKED = f"Two trainings for {FIRST} tokens. In one the target is pulled to {THEN} after 30 steps, in the other after 120, when its texts are nearly all of one length. **Which one comes to {THEN} sooner?**"
CHOICES = {
    "The one after 120 steps": f"It has learnt one length, not to count. All texts of a group are equally long, so they earn the same: nothing says which way {THEN} lies. Until an odd text comes: in the recorded run it gets the whole push, and throws the model past {THEN} into the cut-off, where all texts are alike again.",
    "The one after 30 steps": f"Of texts that differ, the longest earn most as soon as the target is {THEN}: there is something to compare, and it is pushed up. Texts that are all alike have nothing to choose from.",
    "Both alike": "The reward is the same. But it pushes only where texts of one group differ, and after 120 steps they hardly do.",
}
RIGHT = [*CHOICES][1]


def chase_plan(plan: Callable[[Settings], Plan], settings: Settings, reward: chasing.MovedReward) -> Plan:
    """A lesson's plan with a target that may be moved: sixteen held-out texts every five steps, without a reward."""
    asked = plan(replace(settings, **SETTINGS))
    return replace(
        asked,
        rewards=[reward],
        judges=[reward],
        prompts=[each | {"is_held_out": False} for each in asked.prompts],
        held_out=[each | {"is_held_out": True} for each in asked.held_out[:16]],
        choices={},
        sample_every=MOST,
        evaluate_every=5,
    )


class Chase:
    """A training that follows its target, and recorded ones that stand there until it has begun.

    Args:
        opened: how the lesson was opened.
        engine: of the reader's browser, None where there is none.
        plan: the lesson's function from settings to a `Plan`.
        settings: of the lesson; `SETTINGS` are changed.
    """

    def __init__(
        self, opened: Opened, engine: Beside | Across | None, plan: Callable[[Settings], Plan], settings: Settings
    ):
        self.opened, self.plan, self.settings = opened, plan, settings
        self.reward = chasing.MovedReward(FIRST)
        # A button's press belongs to the cell that made the button, and that cell must hear of it.
        self.progress, self._publish = mo.state(None, allow_self_loops=True)
        self.many = Many(opened, engine, self._hear, BETWEEN)

    def question(self) -> Question:
        """What is asked before anything is shown. In marimo it must be a variable of the notebook."""
        return Question(self.opened, ASKED, CHOICES, right=RIGHT)

    def controls(self) -> mo.ui.dictionary:
        """The target, Train and Stop, and which recording. In marimo they must be a variable of the notebook.

        They are made once, so that the slider stays under the hand that moves it.
        """
        cannot = self.many.engine is None
        return mo.ui.dictionary(
            {
                "target": mo.ui.slider(
                    4, 50, value=FIRST, show_value=True, label="pull it to (tokens)", on_change=lambda n: self.pull(n)
                ),
                "start": mo.ui.button(
                    label="Train, and pull the target", kind="success", disabled=cannot, on_click=lambda _: self.start()
                ),
                "stop": mo.ui.button(label="Stop", kind="danger", disabled=cannot, on_click=lambda _: self.many.stop()),
                "recorded": mo.ui.radio(
                    list(RUNS),
                    value=SOON,
                    inline=True,
                    label="recorded: pulled",
                    on_change=lambda _: self.many.is_on or self._publish(None),
                ),
            }
        )

    def pull(self, target: int) -> None:
        """Move the target; the next step is paid by it, and nothing begins anew."""
        self.reward.target = target

    def start(self) -> None:
        """Train, from the model before any training. While it trains, another start is not heard."""
        if not self.many.is_on:
            self.reward = chasing.MovedReward(self.reward.target)
            self.many.start({"": chase_plan(self.plan, self.settings, self.reward)})

    def _hear(self, progress: Progress) -> None:
        if progress.steps[0] >= min(MOST, self.opened.most_steps) or not self.opened.in_time(progress.seconds):
            self.many.stop()
        self._publish(progress)

    def show(self, controls: mo.ui.dictionary, progress: Progress | None, question: Question) -> mo.Html:
        """The question, and the chase as it runs; until it has a step, a recorded one, up to its pull if nothing is predicted."""
        recorded, engine = self.opened.numbers("length_chase"), self.many.engine
        live = self.reward.steps(next(iter(progress.runs.values())).metrics) if progress else []
        is_on = progress is not None and progress.state == "running"
        name = controls.value["recorded"]
        steps = live or chasing.from_record(recorded["runs"][name])
        if not live and not question.value:
            steps = steps[: RUNS[name][1]]
        target = controls.value["target"] if live and is_on else None
        buttons = f"<span>{controls['start']}</span>" + (f"<span>{controls['stop']}</span>" if is_on else "")
        lost = chasing.way_back(steps)
        return show(
            "**A target that moves.** Train, and pull the target while it trains: the next step is paid by it, and nothing begins anew.",
            question,
            question.answer(),
            controls["target"],
            f'<div class="train">{buttons}<p class="told">{_status(progress, len(live))}</p></div>',
            failed(progress.error) if progress and progress.error else None,
            None if is_on else controls["recorded"],
            chasing.figure(steps, target),
            f'<p role="status">{"<br>".join([*chasing.in_words(steps), *([f"<b>{lost}</b>"] if lost else [])])}</p>',
            f'<p class="note">{" · ".join([THERE, *(() if live else recorded["provenance"].values())])}</p>',
            _seeds(recorded["seeds"]) if question.value else None,
            engine.element if progress and engine is not None else None,
        )


def _status(progress: Progress | None, done: int) -> str:
    if progress is None:
        return "A recording. Train, and move the slider yourself, in this browser."
    if progress.state == "running":
        return f"Step {done}: pull the target, up and down." if done else "Loading the model (2 MB)"
    word = {"finished": "Ended", "stopped": "Stopped", "failed": "Ended with an error"}[progress.state]
    return f"<b>{word}: {counted(done, 'step')} in {progress.seconds:.0f} s.</b>"


def _seeds(pulled: Mapping[str, list[dict]]) -> str:
    """How long the pulls took, for all seeds: of each `entropy` and `dead` before it, and `steps`, None where it did not arrive.

    >>> came, lost = {"entropy": 0.8, "dead": 0.0, "steps": 31}, {"entropy": 0.01, "dead": 1.0, "steps": None}
    >>> _seeds({SOON: [came, came], LATE: [lost, came]}).partition(" Of these")[0]
    'Pulled up after 30 steps, 2 of 2 seeds came to 40 tokens within 45 steps (after 31, 31); up after 120 steps, 1 of 2 (after 31).'
    """

    def came(name: str) -> tuple[str, str]:
        there = [str(each["steps"]) for each in pulled[name] if each["steps"]]
        return f"{len(there)} of {len(pulled[name])}", f" (after {', '.join(there)})" if there else ""

    (soon, some), (late, few) = came(SOON), came(LATE)
    return (
        f"Pulled {SOON}, {soon} seeds came to {THEN} tokens within {AFTER} steps{some}; {LATE}, {late}{few}. Of these, lost were those "
        f"that had at least {chasing.DEAD:.0%} of their groups dead at an entropy below {chasing.SURE:g} when they were pulled, and no others. "
        f"Pulled down, to {FIRST}, every text of {2 * FIRST} tokens or more earns −1: nothing says that shorter is better, and where an odd push leads into the cut-off, all earn the same for good."
    )
