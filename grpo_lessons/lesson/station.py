"""The training station as one piece: choose, see the code and the cost, train and stop, watch, look inside, ask, keep.

A lesson names what is its own (`Station`), binds the station's states and elements to names, as marimo wants it, and shows
them in some ten short cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from html import escape

import marimo as mo

from grpo_lessons import cards, curves, luck
from grpo_lessons.lesson import keeping
from grpo_lessons.lesson.aside import Progress, in_background, outcome
from grpo_lessons.lesson.chase import Chase
from grpo_lessons.lesson.controls import Controls, about_model, chosen_model, model_menu, show_plan
from grpo_lessons.lesson.figures import load_drawing
from grpo_lessons.lesson.lexicon import curves_explained
from grpo_lessons.lesson.luck import Luck
from grpo_lessons.lesson.many import Map
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.pace import Measured, Measurer, show_cost
from grpo_lessons.lesson.practice import Exercises, recalled, shown_code
from grpo_lessons.lesson.questions import Question
from grpo_lessons.lesson.replay import IN_BROWSER, NO_TORCH, Replay
from grpo_lessons.lesson.script import as_script, left_over, settings_of
from grpo_lessons.lesson.session import Report, Session, kept
from grpo_lessons.lesson.tryout import Tryout, plain_widget
from grpo_lessons.lesson.words import failed, fold, row, show
from grpo_lessons.rewards import Reward, code_of, reward_name
from grpo_lessons.runs import Group, Run
from grpo_lessons.text import counted
from grpo_lessons.training import Plan, Settings, is_pocket
from grpo_lessons.training.sources import is_here, is_name

REAL = "SmolLM2-135M"  # the name of the recording of a real model
MOVED = "**Coloured is what the update of this step did to each token.** It was made from all groups of the step at once, and they share the model's weights: where other groups push harder, even a right answer loses, against its own reply's advantage. (And the optimizer, Adam, keeps some of the direction of the steps before.)"
COLOURLESS = (
    " · In a run that was trained here, in this page, each token has the colour of what the step’s update did to it."
)
ENGINES = {"TRL": "by TRL, on this machine", "browser": "here, in this page"}


class Station:
    """The training of a lesson.

    Args:
        opened: how the lesson was opened.
        defaults: the lesson's settings by model, for "pocket" and for `SMOLLM2`.
        runs: the files of recordings, by the name under which a reader can choose them; the first is the lesson's, `REAL` that
            of a real model.
        watch: the curves of the panel; a function of the run that is shown, if they depend on it.
        tags: those that are marked in completions.
        batch_in_browser: completions of a step in the reader's browser, if fewer are enough there and better to watch.
    """

    def __init__(
        self,
        opened: Opened,
        defaults: dict[str, Settings],
        runs: dict[str, str],
        watch: Sequence[curves.Curve] | Callable[[Run], Sequence[curves.Curve]] = curves.CURVES,
        tags: Sequence[str] = (),
        batch_in_browser: int | None = None,
    ):
        self.opened, self.runs, self.watch, self.tags = opened, opened.recordings(runs), watch, tags
        self.plan: Callable[..., Plan] | None = None
        self.ask_first: Callable[[Plan], None] = lambda plan: None  # what a program does before it trains
        self.settings = Controls(opened, defaults, batch_in_browser)
        last = kept(opened)

        def state(value):
            return mo.state(value, allow_self_loops=True)  # a button's press belongs to the cell that made the button

        self.report, publish = state(last)
        self.ended, ended = state(last)
        self.busy, busy = state(False)
        self.cost, cost = state(None)
        self.suited, self._suit = state({})
        self.at, at = state(None)
        self.drawing, drawing = state("ready" if opened.has_disk else "loading")
        self.session = Session(opened, publish, ended, busy, earlier=last.run if last else None)
        self.measurer = Measurer(opened, cost)
        self.replay = Replay(self.runs, publish, ended, at, busy)
        self.left, self.own, self._publish, self._ended = left_over(opened), None, publish, ended
        self.batches: dict[str, int] = {}
        self.engine = opened.engines[0]
        self._measure: Callable[[], None] = lambda: None  # what was last asked to be measured, once more
        if not opened.has_disk:
            load_drawing(drawing)

    @property
    def states(self) -> tuple:
        """Report, ended, busy, cost, suited, at, drawing: in marimo each must be bound to a name of the notebook."""
        return self.report, self.ended, self.busy, self.cost, self.suited, self.at, self.drawing

    # Choose ------------------------------------------------------------------------------------------------------

    def models(self) -> mo.ui.dictionary:
        """The menu of models. In marimo it must be a variable of the notebook."""
        return model_menu(self.opened)

    def first(self, model: str) -> Settings:
        """The settings of a model as the controls first stand, smaller where they would not fit this machine."""
        return self.suited().get(model) or self.settings.first(model)

    def controls(self, menu: dict, suited: dict, **own: Callable[[Controls, str], object]) -> mo.ui.dictionary:
        """The controls, behind a lesson's own. In marimo they must be a variable of the notebook.

        `suited`: the state of that name, which changes when the first settings turn out not to fit.
        `own`: by name, a function of the `Controls` and the model that makes the element, or None for none.
        """
        model = chosen_model(menu)
        made = {name: make(self.settings, model) for name, make in own.items()} | self.settings.example_box(model)
        return self.settings.show(self.first(model), **{name: each for name, each in made.items() if each is not None})

    def batch(self, menu: dict, group_size: int) -> mo.ui.slider:
        """How many completions a step has, in whole groups. In marimo it must be a variable of the notebook."""
        model = chosen_model(menu)
        settings = self.first(model)
        wanted = replace(settings, batch_size=self.batches.get(model, settings.batch_size))
        return self.settings.batch(wanted, group_size, on_change=lambda n: self.batches.update({model: n}))

    def asked(self, plan: Callable[..., Plan], menu: dict, values: dict, batch_size: int) -> Plan:
        """The plan that the controls ask for; carried out at once, where the lesson was opened as a program.

        `plan`: the lesson's function from settings, and what its own controls say, to a `Plan`. It is not the station's own,
        so that a training goes on when a reader changes the code of a reward.
        """
        self.plan = plan
        settings = self.settings.chosen(chosen_model(menu), values, batch_size)
        asked = plan(settings, **self.settings.own(values))
        as_script(self.opened, asked, self.ask_first)
        return asked

    def configuration(
        self, controls: mo.ui.dictionary, batch: mo.ui.slider, plan: Plan, folded: bool = False
    ) -> mo.Html:
        """A word on the model, the controls, and the code that follows them, folded where an earlier lesson has shown it."""
        about = about_model(self.opened, plan.settings.model)
        return show(about, row(*controls.elements.values(), batch), *show_plan(plan, folded))

    # Train -------------------------------------------------------------------------------------------------------

    def measure(self, plan: Callable[..., Plan], menu: dict, question: Question) -> None:
        """Find out what the lesson's training costs, once a prediction is made, or a real model chosen that is here.

        A model that is not here is fetched by Train and by nothing else; what can be no model's name is told at once.
        """
        self._measure = partial(self.measure, plan, menu, question)
        model, suit = chosen_model(menu), self._suit  # the thread must not hold the station: it ends with it
        if self.engine == "browser" and is_pocket(model):
            self.measurer.stop()  # it costs this machine nothing
        elif question.value if is_pocket(model) else is_here(model) or not is_name(model):
            first = plan(self.settings.first(model))
            self.measurer.measure(first, lambda better: suit({model: better.settings}))
        else:
            self.measurer.stop()  # a download, too, of a model that is not chosen any more

    def buttons(self, busy: bool, plan: Plan) -> mo.ui.dictionary:
        """Train and Stop, where it is trained if that can be chosen, and Go on after a kill; in a page, Play.

        In marimo they must be a variable of the notebook.
        """
        buttons = {
            "train": mo.ui.button(
                label="Train",
                kind="success",
                disabled=busy or bool(plan.problem or self._cannot(plan)),
                on_click=lambda _: self._start(plan),
            ),
            "stop": mo.ui.button(
                label="Stop", kind="danger", disabled=not busy, on_click=lambda _: self.session.stop()
            ),
        }
        if len(self.opened.engines) > 1 and is_pocket(plan.settings.model) and not plan.warm_start:
            names = {ENGINES[each]: each for each in ENGINES if each in self.opened.engines}
            buttons["engine"] = mo.ui.radio(
                names, value=ENGINES[self.engine], label="trained", inline=True, on_change=lambda each: self._by(each)
            )
        if not self.opened.trains:
            training = self.session.is_on
            buttons |= self.replay.controls(busy and not training, disabled=training)
        if self._is_left:
            done = f"Go on from step {self.left.run.steps_done} of {self.left.run.settings['steps']}"
            buttons["resume"] = mo.ui.button(label=done, kind="success", on_click=lambda _: self._resume())
        return mo.ui.dictionary(buttons)

    def _by(self, engine: str) -> None:
        self.engine = engine
        self._measure()

    def _in_browser(self, plan: Plan) -> bool:
        """Whether a plan would be trained in the reader's browser, whose engine knows no SFT."""
        return is_pocket(plan.settings.model) and self.engine == "browser" and not plan.warm_start

    @property
    def _is_left(self) -> bool:
        """Whether there is a killed training to go on with, and none has begun since."""
        return self.left is not None and self.session.last is None

    def _cannot(self, plan: Plan) -> str | None:
        """Why a plan cannot be trained in this opening."""
        if self.opened.trains or is_pocket(plan.settings.model):
            return None
        return "A web page trains the pocket model only. Of this one there is a recording below; on your own machine it trains."

    def _start(self, plan: Plan) -> None:
        self.measurer.stop()
        if not plan.problem:
            self.session.start(plan, in_browser=self._in_browser(plan))

    def exercises(self, *functions: Callable, trained: Callable) -> tuple[Exercises, Callable]:
        """The lesson's exercises, of which one is a reward to train with, and the state that holds what came of them.

        In marimo both must be variables of the notebook.
        """
        tries, publish = mo.state(recalled(self.opened, *functions), allow_self_loops=True)
        return Exercises(self.opened, *functions, trained=trained, train=self.train_with, publish=publish), tries

    def train_with(self, reward: Reward) -> None:
        """Train the pocket model with a reader's own reward, as a lesson's run is trained otherwise."""
        plan = replace(self.plan(self.first("pocket")), rewards=[reward], choices={})
        self.own = plan.new_run().rewards
        if plan.refusal:
            self._publish(Report(plan.refusal, plan.new_run()))
        else:
            self._start(plan)

    def show_own(self, report: Report | None) -> mo.Html | None:
        """What comes of `train_with`, under the exercise that it ends."""
        if report is None or report.run.rewards != self.own:
            return None
        run = report.run
        status = f'<div class="status">{curves.status(report.phase, run, report.speed)}</div>'
        failure = failed(report.error) if report.error else None
        return show(status, failure, curves.panel(run, None, self._watched(run)))

    def _resume(self) -> None:
        if self._is_left:
            self.session.start(self.plan(settings_of(self.left.run), **self.left.run.choices), resume=True)

    def scrub(self, at: int | None) -> mo.ui.slider:
        """The steps of a replay. In marimo it must be a variable of the notebook."""
        return self.replay.slider(at)

    def show(
        self,
        buttons: mo.ui.dictionary,
        scrub: mo.ui.slider,
        report: Report | None,
        cost: Measured | None,
        plan: Plan,
        question: Question,
    ) -> mo.Html:
        """The buttons, beside them how far the session is, then its curves and its newest group.

        A recorded run would give the answer to the lesson's question away: on a machine that trains it waits for a choice.
        """
        if report is None and self.opened.trains and self.opened.is_watched and not question.value:
            words = "<b>Predict, then press Train.</b> A recorded run stands here as soon as you have chosen."
            waits = f'<div class="status"><p>{words}</p></div>'
            return show(*self._above(cost, plan), *self._row(buttons, scrub, waits), curves_explained())
        report = self._or_recorded(report, plan)
        run = report.run
        watch = self._watched(run if run.metrics else report.before or run)
        status = f'<div class="status">{curves.status(report.phase, run, report.speed)}</div>'
        groups = run.groups or (report.before.groups if report.before and not run.metrics else [])
        shown = curves.warm_start(run) + curves.panel(run, report.before, watch, report.names)
        if groups and not run.groups:
            until = ", until this one begins" if run.state == "running" else ""
            whose = report.names[1] or f"your run before{until}"
            shown += f'<p class="note">From {escape(whose)}:</p>'
        shown += cards.group_panel(groups[-1], self.tags) if groups else ""
        failure = failed(report.error) if report.error else None
        return show(*self._above(cost, plan), *self._row(buttons, scrub, status), failure, shown, curves_explained())

    def _watched(self, run: Run) -> Sequence[curves.Curve]:
        """The curves to watch of a run."""
        return self.watch(run) if callable(self.watch) else self.watch

    def _above(self, cost: Measured | None, plan: Plan) -> list[mo.Html]:
        if self.opened.trains and self._in_browser(plan):
            return [_said(IN_BROWSER)]
        if self.opened.trains:
            return [show_cost(cost, plan)]
        awake = mo.Html('<i class="gl-awake"></i>')  # tells the page around the lesson that its controls now answer
        told = self._cannot(plan)
        return [awake, mo.callout(mo.md(told or NO_TORCH), kind="warn" if told else "info")]

    def _row(self, buttons: mo.ui.dictionary, scrub: mo.ui.slider, status: str) -> list[mo.Html]:
        pressed = [buttons[name] for name in ("train", "stop", "engine") if name in buttons.elements]
        below: list[mo.Html | None] = [_beside(pressed, status)]
        if self.engine == "browser" and self.session.engine is not None:
            below.append(self.session.engine.element)
        if not self.opened.trains:
            menu = row(*(buttons[name] for name in ("run", "against", "speed")))
            return [*below, fold("Recorded runs, replayed", menu, row(buttons["play"], scrub))]
        if self._is_left:
            words = "A training of this lesson ended before its time. Go on from its last checkpoint, with its settings; *Train* would begin afresh."
            offer = mo.hstack([mo.md(words), buttons["resume"]], align="center")
            below.insert(0, mo.callout(offer, kind="info"))
        return below

    def _or_recorded(self, report: Report | None, plan: Plan) -> Report:
        """A recorded run, until a session has something of its own to show; with the choices that are others than the reader's.

        A training that has ended, too, was of the choices before once they have changed, and so was its error.
        """
        recorded = self.recorded if is_pocket(plan.settings.model) else self.runs.get(REAL, self.recorded)
        others = _others(recorded, plan)
        if report is None:
            words = f", of other choices than yours ({others}). Press Train for your own."
            alike = "; no two runs are quite alike. Press Train to see it happen live."
            return Report(f"A recording{words if others else alike}", recorded, is_recording=True)
        if report.run.state != "running" and not report.is_recording and (changed := _others(report.run, plan)):
            words = (
                f"{report.phase}. But that was with other choices than yours now ({changed}). Press Train for these."
            )
            report = replace(report, phase=words, error=None)
        if report.run.metrics or report.before:
            return report
        until = ", until yours begins" if report.run.state == "running" else ""
        of = f", of other choices than yours ({others})" if others else ""
        return replace(report, before=recorded, names=("", f"a recording{of}{until}"))

    # Look inside -------------------------------------------------------------------------------------------------

    @property
    def recorded(self) -> Run:
        """The lesson's own run."""
        return next(iter(self.runs.values()))

    def inspected(self, ended: Report | None) -> Run:
        """The reader's last run that can be looked into, or the recorded one."""
        return self._found(ended, lambda run: run.groups)[0]

    def is_readers(self, ended: Report | None) -> bool:
        """Whether the inspected run is a training of the reader's own."""
        return self._found(ended, lambda run: run.groups)[1]

    def _found(self, ended: Report | None, has: Callable[[Run], object]) -> tuple[Run, bool]:
        """The last run of the reader's that has something, else the recorded one; and whether it is the reader's.

        What ended before its first step has nothing: then that before it stands again.
        """
        found = next((run for run in (ended.run, ended.before) if run and has(run)), None) if ended else None
        return (found, not ended.is_recording) if found else (self.recorded, False)

    def whose(self, ended: Report | None, plan: Plan) -> str | None:
        """A word on the inspected run, where it is not what the reader would now expect it to be: a paragraph of Markdown."""
        run, is_readers = self._found(ended, lambda run: run.groups)
        others, kind = _others(run, plan), "A recording"
        if is_readers:
            kind = "Your last run" if run is ended.run else "Your run before the last training, which came to no step"
        if is_readers and run is not ended.run and not others:
            return f"*{kind}.*"
        return f"*{kind}, of other choices than yours now ({others}).*" if others else None

    def named(self, run: Run) -> str:
        """The line that stands under what is made of a run, as HTML."""
        return f"{'A recording · ' if run is self.recorded else ''}{escape(run.label)}"

    def after_choice(self, ended: Report | None, question: Question, *parts: str | mo.Html | None) -> mo.Html:
        """What would give the answer to a question away: folded before a choice, while no run of the reader's own is there."""
        if question.value or self.is_readers(ended):
            return show(*parts)
        return fold("A recording has the answer to the prediction in station 4. Look without a choice", *parts)

    def explained(self, ended: Report | None) -> tuple[Run, str, str | None]:
        """The run whose diagnosis a reader wants: what to call it, and the error that the reader's last training has ended with."""
        if ended and ended.error:
            return ended.run, "Your last training ended with an error", ended.error
        run, is_readers = self._found(ended, lambda run: run.groups)
        return run, f"{'Your last training' if is_readers else 'A recording, and none of yours'} ({run.label})", None

    def steps(self, ended: Report | None) -> mo.ui.slider:
        """The steps of which the inspected run keeps a group. In marimo it must be a variable of the notebook."""
        steps = [group.step for group in self.inspected(ended).groups]
        return mo.ui.slider(steps=steps, value=steps[0], show_value=True, full_width=True, label="step")

    async def look_inside(
        self,
        step: mo.ui.slider,
        ended: Report | None,
        only: Sequence[str],
        above: Callable[[Group], str] = lambda group: "",
    ) -> mo.Html:
        """The slider over one step of the inspected run: where it stands on some curves, and its group, each token in the
        colour of what the update did to it, where that is known.

        `above`: what a lesson shows of the group over its texts.
        """
        run = self.inspected(ended)
        group = next((group for group in run.groups if group.step == step.value), run.groups[0])
        coloured = await self._coloured(group) if group.moved else None
        texts, colourless = [cards.group_panel(group, self.tags)], COLOURLESS if self.session.engine else ""
        if coloured is not None:
            texts, colourless = [cards.group_head(group), coloured, MOVED], ""
        named = self.named(run) if self.is_readers(ended) else f"A recording · {escape(run.label)}"
        note = f'<p class="note">{named}{colourless}</p>'
        return show(
            step,
            curves.curves({"this run": run}, at=group.step, only=only, watch=self._watched(run)),
            above(group),
            *texts,
            note,
        )

    async def _coloured(self, group: Group) -> mo.Html | None:
        """What the update did to each token; None where the page does not get what shows it."""
        facts = [
            [[name, cards.short(score)] for name, score in each.rewards.items()] + [["", counted(each.tokens, "token")]]
            for each in group.completions
        ]
        given = {"tokens": group.moved, "advantages": [each.advantage for each in group.completions], "facts": facts}
        try:
            return await plain_widget("moved", self.opened, mo.notebook_location(), **given)
        except Exception:  # no network, no anywidget: the texts are there without colours
            return None

    def map(self, plan: Callable[..., Plan], axes: dict[str, dict[str, list]], recorded: dict[str, list]) -> Map:
        """The training of the pocket model sixteen times, short, with two settings changed; see `Map`.

        `recorded`: by the names of the axes, the records of their runs, row by row.
        """
        shared = self.opened, self.session.engine, plan, self.settings.first("pocket")
        return Map(*shared, axes=axes, recorded=recorded, look=lambda run: self._ended(Report("", run)))

    def luck(self, plan: Callable[..., Plan], recorded: str) -> Luck:
        """The training of the pocket model with several seeds and a judge that errs; `recorded` is a file, see `Luck`."""
        return Luck(self.opened, self.session.engine, plan, self.settings.first("pocket"), recorded=recorded)

    def chase(self, plan: Callable[..., Plan]) -> tuple:
        """The pocket model trained to a length that is moved meanwhile; see `Chase`.

        The chase, its progress, its controls, its question: in marimo each must be bound to a name of the notebook.
        """
        chase = Chase(self.opened, self.session.engine, plan, self.settings.first("pocket"))
        return chase, chase.progress, chase.controls(), chase.question()

    def answered(self, ended: Report | None) -> Run:
        """The reader's last run that answered the held-out prompts in the end, or the recorded one."""
        return self._found(ended, lambda run: run.after)[0]

    def tryout(self, question: str, adapter: str) -> Tryout:
        """Ask the pocket model in the page; see `Tryout`."""
        return Tryout(self.opened, question, adapter, mo.notebook_location(), lambda: self.session.learnt)

    # Beside it ---------------------------------------------------------------------------------------------------

    def aside(self, function: Callable[[object], list[float]], label: str) -> tuple[object, mo.ui.button]:
        """The state and the button of a training of the lesson's plain code. In marimo both must be variables of the notebook."""
        said, publish = mo.state(None)
        return said, mo.ui.button(label=label, on_click=lambda _: in_background(self.opened, function, publish))

    def show_aside(
        self, function: Callable, elements: Sequence[mo.Html], said: Progress | None, waiting: str
    ) -> mo.Html:
        """The plain code where cells are hidden, what starts it, and what came of it."""
        buttons = row(*elements) if self.opened.trains else None
        return show(shown_code(self.opened, function), buttons, outcome(self.opened, said, waiting))

    def best_checkpoint(self, ended: Report | None) -> str | None:
        """Which checkpoint of the inspected run answered best, if its held-out questions were asked on the way."""
        return luck.best_checkpoint(self.answered(ended))

    def keep_menu(self) -> mo.ui.dictionary:
        """What can be done with a trained model. In marimo it must be a variable of the notebook."""
        return keeping.keep_menu()

    def keep(self, menu: mo.ui.dictionary) -> mo.Html:
        """That choice, its code, and its button."""
        return keeping.show_keeping(self.opened, menu)

    def kept(self, menu: mo.ui.dictionary, plan: Plan) -> mo.Html | None:
        """What came of it, in a cell of its own: some of it takes seconds."""
        return keeping.kept(self.opened, menu, lambda: self.session.trained, plan, self.session.earlier)


def _others(run: Run, plan: Plan) -> str:
    """What a run was made with that a plan is not: its model, the lesson's choices, its rewards and their code; "" for nothing."""
    made, now = (
        {"model": run.settings.get("model")} | run.choices,
        {"model": plan.settings.model} | plan.choices,
    )
    names = [reward_name(reward) for reward in plan.rewards]
    if "reward" not in now:
        made["reward"] = ", ".join(run.groups[-1].completions[0].rewards if run.groups else names)
        now["reward"] = ", ".join(names)
    apart = [f"{name}: {made[name]}" for name in made if str(made[name]) != str(now.get(name, made[name]))]
    if len(run.code) == len(names) and made.get("reward") == now.get("reward"):
        codes = zip(names, run.code, map(code_of, plan.rewards), strict=True)
        apart += [f"{name}: its code before you changed it" for name, was, code in codes if was != code]
    return ", ".join(apart)


@cache
def _said(words: str) -> mo.Html:
    """Words that stand over every step of a training: made once."""
    return mo.md(words)


def _beside(buttons: Sequence[mo.Html], status: str) -> mo.Html:
    """Buttons, and beside them, or under them where it is narrow, how far it is."""
    pressed = "".join(f"<span>{button}</span>" for button in buttons)
    return mo.Html(cards.page(f'<div class="train">{pressed}{status}</div>'))
