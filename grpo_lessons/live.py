"""The marimo pieces that lessons share: a session under way, a question answered at every choice, an exercise's verdict."""

import inspect
import re
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import marimo as mo

from grpo_lessons import cards, device
from grpo_lessons.runs import Run
from grpo_lessons.training import Settings, Trained, explain, snapshot, train

STOPPING = "Stopping after this step"


@dataclass(frozen=True)
class Report:
    """What a session last said: its phase in words, the run so far, and how it ended."""

    phase: str
    run: Run
    trained: Trained | None = None
    error: str | None = None

    def show(self) -> mo.Html:
        """The panel of the session, under a callout if it failed."""
        panel = mo.Html(cards.page(cards.run_panel(self.phase, self.run)))
        return panel if self.error is None else mo.vstack([mo.callout(mo.md(self.error), kind="danger"), panel])

    def show_group(self, tags: Sequence[str] = ()) -> mo.Html | None:
        """The newest sampled group, if there is one."""
        return mo.Html(cards.page(cards.group_panel(self.run.groups[-1], tags))) if self.run.groups else None


class Session:
    """The training of one notebook: started by Train, ended by Stop, by a second Train, or with the notebook itself.

    It runs in a thread, so that everything else stays alive. `publish` and `ended`, setters of `mo.state`s, receive a
    `Report` after every step and at the end. The thread holds no reference to this object: when a closed tab takes the
    notebook's variables with it, the thread notices and ends.
    """

    def __init__(self, publish: Callable[[Report], None], ended: Callable[[Report], None]):
        self.publish, self.ended = publish, ended
        self.halt = threading.Event()
        self.last: Report | None = None

    def stop(self) -> None:
        """End the session after the step under way; what was learnt is kept."""
        self.halt.set()
        if self.last and self.last.run.state == "running":
            self.publish(replace(self.last, phase=STOPPING))

    def start(self, settings: Settings, rewards: Sequence, prompts: list[dict], **options) -> None:
        """Start afresh; arguments as for `training.train`. An earlier session ends and is heard no more."""
        self.halt.set()
        self.halt = halt = threading.Event()
        owner = weakref.ref(self)

        def is_current() -> bool:
            return (me := owner()) is not None and me.halt is halt

        def say(phase: str, run: Run, **ending) -> None:
            if (me := owner()) is not None and me.halt is halt:
                me.last = Report(phase, snapshot(run), **ending)
                me.publish(me.last)
                if ending:
                    me.ended(me.last)

        def work() -> None:
            latest = Run(settings=dict(vars(settings)))

            def update(phase: str, run: Run) -> None:
                nonlocal latest
                latest = run
                say(STOPPING if halt.is_set() and run.state == "running" else phase, run)

            def should_stop() -> bool:
                return halt.is_set() or not is_current()

            try:
                trained = train(settings, rewards, prompts, on_update=update, should_stop=should_stop, **options)
                done = trained.run.steps_done
                word = "Finished" if trained.run.state == "finished" else "Stopped; what was learnt is kept"
                say(f"{word}: {done} steps in {_seconds(trained.run):.0f} s", trained.run, trained=trained)
            except Exception as error:  # anything a library may raise: the reader must be told, whatever it is
                traceback.print_exc()
                latest.state = "failed"
                say("The session ended with an error", latest, error=explain(error))

        say("Starting", Run(settings=dict(vars(settings))))
        mo.Thread(target=work, daemon=True).start()


def _seconds(run: Run) -> float:
    return run.metrics[-1]["seconds"] if run.metrics else 0.0


def in_background(function: Callable[[], object], publish: Callable[[tuple[str, object]], None]) -> None:
    """Run a slow function in a thread, with the device to itself; publish ("running" | "done" | "failed", result)."""

    def work() -> None:
        try:
            with device.turn(waiting=lambda ahead: None, should_stop=lambda: False):
                publish(("done", function()))
        except Exception as error:  # as above: whatever it is, the reader must be told
            traceback.print_exc()
            publish(("failed", explain(error)))

    publish(("running", None))
    mo.Thread(target=work, daemon=True).start()


# What a learner may choose for every training, and where the choices begin and end.
_CHOICES = {
    "steps": lambda value: mo.ui.slider(5, 60, value=value, show_value=True, label="steps"),
    "group_size": lambda value: mo.ui.slider(1, 16, value=value, show_value=True, label="group size"),
    "batch_size": lambda value: mo.ui.slider(8, 96, value=value, show_value=True, label="completions a step"),
    "max_completion_length": lambda value: mo.ui.slider(
        8, 64, value=value, show_value=True, label="longest completion (tokens)"
    ),
    "temperature": lambda value: _dropdown("temperature", [0.2, 1.0, 1.5], value),
    "learning_rate": lambda value: _dropdown("learning rate", [1e-6, 1e-5, 1e-4, 5e-4, 1.5e-3, 3e-3, 1e-2], value),
    "beta": lambda value: _dropdown("beta (KL)", [0.0, 0.04, 0.1, 0.5], value),
    "seed": lambda value: _dropdown("seed", range(5), value),
}


def _dropdown(label: str, values: Sequence, value: object) -> mo.ui.dropdown:
    names = {each: f"{each:g}".replace("e-0", "e-") for each in values}
    return mo.ui.dropdown({name: each for each, name in names.items()}, value=names[value], label=label)


def controls(settings: Settings, **first) -> mo.ui.dictionary:
    """The controls of a training as they first stand, behind a lesson's own (`first`); see `chosen_settings`."""
    shared = {name: control(getattr(settings, name)) for name, control in _CHOICES.items()}
    return mo.ui.dictionary(first | shared)


def chosen_settings(settings: Settings, values: dict) -> Settings:
    """The settings with what the controls now say."""
    return replace(settings, **{name: values[name] for name in _CHOICES})


@dataclass(frozen=True)
class Question:
    """A prediction: the reader chooses first, and every choice has its answer.

    `options` maps what can be chosen to (whether it is right, why).
    """

    text: str
    options: dict[str, tuple[bool, str]]

    def ask(self) -> mo.ui.radio:
        """The choices. In marimo the element must be a variable of the notebook."""
        return mo.ui.radio(options=list(self.options), label=f"**Predict.** {self.text}")

    def answer(self, choice: str | None) -> mo.Html:
        """What there is to say to a choice."""
        if choice is None:
            return mo.md("*Choose, then read on.*")
        right, why = self.options[choice]
        return mo.callout(
            mo.md(f"{'**Yes.**' if right else '**Not quite.**'} {why}"), kind="success" if right else "warn"
        )


def shown_code(thing: object) -> mo.Html | None:
    """The code of a cell that a reader should see, where `marimo run` hides all cells."""
    return mo.md(f"```python\n{inspect.getsource(thing)}\n```") if mo.app_meta().mode == "run" else None


def source(function: Callable) -> str:
    """The code of a function without its docstring, to be shown."""
    return re.sub(r'\n\s*""".*?"""', "", inspect.cleandoc("\n" + inspect.getsource(function)), count=1, flags=re.DOTALL)


def verdict(mistake: str | None) -> mo.Html | None:
    """The callout under an exercise, of what `first_mistake` found; nothing where there is no cell to write in."""
    if mo.app_meta().mode == "run":
        return None
    if mistake is None:
        return mo.callout(mo.md("**Right.** All cases pass."), kind="success")
    return mo.callout(mo.md("**Not yet.** " + mistake.replace("<", "&lt;")), kind="warn")
