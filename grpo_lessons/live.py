"""The marimo pieces that lessons share: a session under way, a question answered at every choice, an exercise's verdict."""

import inspect
import re
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import marimo as mo

from grpo_lessons import cards, device
from grpo_lessons.problems import save_prompts
from grpo_lessons.runs import Run
from grpo_lessons.training import Settings, Trained, explain, load_libraries, snapshot, step_counter, train

STOPPING = "Stopping after this step"


@dataclass(frozen=True)
class Report:
    """What a session last said: its phase in words, the run so far, the run before it, and how it ended."""

    phase: str
    run: Run
    before: Run | None = None
    trained: Trained | None = None
    error: str | None = None

    def show(self, watch: Sequence[cards.Curve] = cards.CURVES) -> mo.Html:
        """The panel of the session, over the curves of the one before it, and under a callout if it failed."""
        panel = mo.Html(cards.page(cards.run_panel(self.phase, self.run, self.before, watch)))
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
        before = self.last.run if self.last and self.last.run.metrics else None

        def is_current() -> bool:
            return (me := owner()) is not None and me.halt is halt

        def say(phase: str, run: Run, **ending) -> None:
            if (me := owner()) is not None and me.halt is halt:
                me.last = Report(phase, snapshot(run), before, **ending)
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
                latest.state = "failed"
                say("The session ended with an error", latest, error=explain(error))
                traceback.print_exc()  # last: a stream may be gone, and the reader must be told first

        say("Starting", Run(settings=dict(vars(settings))))
        mo.Thread(target=work, daemon=True).start()


def _seconds(run: Run) -> float:
    return run.metrics[-1]["seconds"] if run.metrics else 0.0


def in_background(function: Callable[[object], object], publish: Callable[[tuple[str, object]], None]) -> None:
    """Run a slow function in a thread, with the device to itself; publish (state, what there is to say), see `outcome`.

    The function is given a callback for a trainer, which publishes its progress.
    """

    def progress(*so_far) -> None:
        publish(("running", so_far))

    def work() -> None:
        try:
            with device.turn(waiting=lambda ahead: publish(("waiting", ahead)), should_stop=lambda: False):
                progress(0, 1, 0.0)
                load_libraries()
                publish(("done", function(step_counter(progress))))
        except Exception as error:  # as above: whatever it is, the reader must be told
            publish(("failed", explain(error)))
            traceback.print_exc()

    progress(0, 1, 0.0)
    mo.Thread(target=work, daemon=True).start()


def outcome(said: tuple[str, object] | None, waiting: str) -> mo.Html:
    """What `in_background` has come to: a bar, or the rewards it returned, or why it failed."""
    state, what = said or ("not yet", waiting)
    if state == "waiting":
        return mo.Html(cards.page(cards.progress(device.in_words(what))))
    if state == "running":
        done, total, seconds = what
        phase = f"Step {done} of {total}" if done else "Running: loading torch, TRL and the model first"
        return mo.Html(cards.page(cards.progress(phase, done, total, seconds)))
    if state == "done":
        return mo.md("Reward of each step: " + ", ".join(f"**{reward:.2f}**" for reward in what))
    return mo.callout(mo.md(what), kind="danger") if state == "failed" else mo.md(f"*{what}*")


# What a learner may choose for every training, and where the choices begin and end.
_CHOICES = {
    "steps": lambda value: mo.ui.slider(5, 60, value=value, show_value=True, label="steps"),
    "group_size": lambda value: mo.ui.slider(1, 16, value=value, show_value=True, label="group size"),
    "batch_size": lambda value: mo.ui.slider(8, 96, value=value, show_value=True, label="completions a step"),
    "max_completion_length": lambda value: mo.ui.slider(
        8, 64, value=value, show_value=True, label="longest completion (tokens)"
    ),
    "temperature": lambda value: _dropdown("temperature", [0.2, 1.0, 1.5], value),
    "learning_rate": lambda value: _dropdown("learning rate", [1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2], value),
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


def shown_settings(settings: Settings, rewards: Sequence) -> mo.Html:
    """The code of a training, under what is wrong with its settings, or what a step will draw."""
    draws = f"Each step draws {settings.batch_size // max(1, settings.group_size)} prompts and samples {settings.batch_size} completions."
    first = mo.callout(mo.md(settings.problem), kind="danger") if settings.problem else mo.md(draws)
    return mo.vstack([first, mo.md(f"```python\n{settings.code(rewards)}\n```")])


def buttons(session: Session) -> tuple[mo.ui.run_button, mo.ui.button]:
    """Train and Stop. In marimo both must be variables of the notebook."""
    train = mo.ui.run_button(label="Train", kind="success")
    return train, mo.ui.button(label="Stop", kind="danger", on_click=lambda _: session.stop())


def step_slider(run: Run) -> mo.ui.slider:
    """A slider over the steps of which a run keeps a group."""
    steps = [group.step for group in run.groups]
    return mo.ui.slider(steps=steps, value=steps[0], show_value=True, full_width=True, label="step")


def show_step(run: Run, step: int, only: Sequence[str], tags: Sequence[str] = ()) -> mo.Html:
    """One step of a run: where it stands on some curves, and its group."""
    group = next((group for group in run.groups if group.step == step), run.groups[0])
    return mo.Html(
        cards.page(cards.curves({"this run": run}, at=group.step, only=only), cards.group_panel(group, tags))
    )


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
    verb: str = "Predict."

    def ask(self) -> mo.ui.radio:
        """The choices. In marimo the element must be a variable of the notebook."""
        return mo.ui.radio(options=list(self.options), label=f"**{self.verb}** {self.text}")

    def answer(self, choice: str | None) -> mo.Html:
        """What there is to say to a choice."""
        if choice is None:
            return mo.md("*Choose, then read on.*")
        right, why = self.options[choice]
        return mo.callout(
            mo.md(f"{'**Yes.**' if right else '**Not quite.**'} {why}"), kind="success" if right else "warn"
        )


def noted(choice: str | None, station: int) -> mo.Html:
    """What stands under a prediction that is answered later, in a station after the training.

    Whoever has chosen will press Train next: torch and TRL are loaded meanwhile.
    """
    if choice:
        threading.Thread(target=_load_quietly, daemon=True).start()
    return mo.md(
        f"*Noted. The answer stands in station {station}, after the run.*" if choice else "*Choose, then train.*"
    )


def _load_quietly() -> None:
    with suppress(ImportError):  # a browser has no torch; pressing Train says so
        load_libraries()


def where_to_write() -> str:
    """How the exercises are done, in this way of opening the notebook."""
    if mo.app_meta().mode == "edit":
        return "Write your answer in the cell and run it (Ctrl+Enter); the verdict stands below it."
    return "They are written in cells: open this lesson with `marimo edit` to do them."


def save_button(where: str) -> tuple[mo.ui.run_button, mo.Html | None]:
    """A button that saves, and how it is shown: on one's own machine only."""
    save = mo.ui.run_button(label="Save adapter and prompts")
    row = mo.hstack([save, mo.md(f"*into `{where}`*")], justify="start", align="center")
    return save, row if mo.app_meta().mode == "edit" else None


def shown_code(thing: object) -> mo.Html | None:
    """The code of a cell that a reader should see, where `marimo run` hides all cells."""
    code = re.sub(r"^@app\..*\n", "", inspect.getsource(thing))  # how marimo stores it is of no interest
    return mo.md(f"```python\n{code}\n```") if mo.app_meta().mode == "run" else None


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


def save(report: Report | None, prompts: list[dict], folder: Path) -> mo.Html:
    """Write what the last session learnt, and its prompts, into a folder; say so, or why there is nothing to write."""
    if report is None or report.trained is None or report.trained.model is None:
        words = "There is nothing to save yet: press Train, and wait until it has finished."
        return mo.callout(mo.md(words), kind="warn")
    report.trained.save(folder / "adapter")
    save_prompts(prompts, folder / "prompts")
    return mo.callout(mo.md(f"Saved: `{folder}`."), kind="success")


def keep_it(settings: Settings, rewards: Sequence[str], folder: str) -> mo.Html:
    """How to load, merge and share what `save` wrote, and the same training as a command, with rewards by their names."""
    return mo.md(f"""
```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{folder}/adapter")   # load
tokenizer = AutoTokenizer.from_pretrained("{folder}/adapter")
merged = model.merge_and_unload()                      # merge the adapter into the model
merged.save_pretrained("{folder}/merged")              # and keep both halves together
tokenizer.save_pretrained("{folder}/merged")
merged.push_to_hub("you/my-model")                     # needs `hf auth login`
```

The same training without a notebook, from the folder of this course; `accelerate`'s options take it to several GPUs:

```bash
{settings.command(rewards, folder)}
```
""")
