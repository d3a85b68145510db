"""The marimo pieces that lessons share: a session under way, a question answered at every choice, an exercise's verdict."""

import gc
import inspect
import json
import linecache
import os
import re
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path

import marimo as mo

from grpo_lessons import cards, device, fit, keep
from grpo_lessons.models import ReferenceLogProb
from grpo_lessons.rewards import reward_name
from grpo_lessons.runs import Run
from grpo_lessons.seat import Seat
from grpo_lessons.sources import PRESETS, SMOLLM2, Stopped, is_here, is_pocket
from grpo_lessons.training import (
    Settings,
    Trained,
    Unfinished,
    explain,
    load_libraries,
    snapshot,
    step_counter,
    train,
    unfinished,
)

STOPPING = "Stopping after this step"
MODELS = [*PRESETS, "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-0.6B"]


@dataclass(frozen=True)
class Report:
    """What a session last said: its phase in words, the run so far, the run before it, and how it ended."""

    phase: str
    run: Run
    before: Run | None = None
    trained: Trained | None = None
    error: str | None = None
    names: tuple[str, str] | None = None  # of the two runs, where they have any

    def show(self, watch: Sequence[cards.Curve] = cards.CURVES) -> mo.Html:
        """The panel of the session, over the curves of the one before it, and under a callout if it failed."""
        panel = mo.Html(cards.page(cards.run_panel(self.phase, self.run, self.before, watch, self.names)))
        return panel if self.error is None else mo.vstack([failed(self.error), panel])

    def show_group(self, tags: Sequence[str] = ()) -> mo.Html | None:
        """The newest sampled group, if there is one; while there is no step yet, of the run whose curves are shown."""
        groups = self.run.groups or (self.before.groups if self.before and not self.run.metrics else [])
        return mo.Html(cards.page(cards.group_panel(groups[-1], tags))) if groups else None


class Session:
    """The training of one notebook: started by Train, ended by Stop, by a second Train, or with the notebook itself.

    It runs in a thread, so that everything else stays alive. `publish` and `ended`, setters of `mo.state`s, receive a
    `Report` after every step and at the end. The thread holds no reference to this object: when a closed tab takes the
    notebook's variables with it, the thread notices and ends.
    """

    def __init__(self, publish: Callable[[Report], None], ended: Callable[[Report], None]):
        self.publish, self.ended = publish, ended
        self.halt = threading.Event()
        self.halt_measuring = threading.Event()
        self.last: Report | None = None
        self.seat = seat()

    def stop(self) -> None:
        """End the session after the step under way, or a download; what was learnt is kept."""
        self.halt.set()
        self.halt_measuring.set()
        if self.last and self.last.run.state == "running":
            self.publish(replace(self.last, phase=STOPPING))

    def start(self, plan: dict, folder: Path | None = None, resume: bool = False) -> None:
        """Start afresh, or from a checkpoint. An earlier session ends and is heard no more.

        Args:
            plan: the arguments of `training.train`.
            folder: where checkpoints go while it runs, and its record, run.json, when it has ended; None for nowhere.
            resume: see `training.train`.
        """
        settings = plan["settings"]
        self.halt.set()
        self.halt_measuring.set()
        self.halt = halt = threading.Event()
        owner, place = weakref.ref(self), self.seat
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
            limit = None  # what the teacher allows

            def update(phase: str, run: Run) -> None:
                nonlocal latest, limit
                latest = run
                _learn_pace(plan, run)
                if place and place.most_minutes and _seconds(run) > 60 * place.most_minutes:
                    limit = f"the class's limit of {place.most_minutes:g} min"
                say(STOPPING if halt.is_set() and run.state == "running" else phase, run)

            def should_stop() -> bool:
                return halt.is_set() or bool(limit) or not is_current() or bool(place and place.is_away)

            try:
                checkpoints = folder / "unfinished" if folder and _is_own() else None
                trained = train(
                    **plan,
                    on_update=update,
                    should_stop=should_stop,
                    checkpoints=checkpoints,
                    resume=resume,
                    who=place.name if place else "",
                    seconds=lambda: _expected(plan),
                )
                if not _is_own() and trained.model:  # a server's visitor cannot save it; twenty of them took 4 GB
                    trained = Trained(trained.run)
                    gc.collect()  # the model stands in a circle of references
                done = trained.run.steps_done
                word = f"Stopped{f' at {limit}' if limit else ''}; what was learnt is kept"
                word = "Finished" if trained.run.state == "finished" else word
                lost = _keep_record(trained.run, folder, place)
                say(f"{word}: {done} steps in {_seconds(trained.run):.0f} s{lost}", trained.run, trained=trained)
            except Exception as error:  # anything a library may raise: the reader must be told, whatever it is
                latest.state = "failed"
                say("The session ended with an error", latest, error=explain(error))
                traceback.print_exc()  # last: a stream may be gone, and the reader must be told first

        say("Starting", Run(settings=dict(vars(settings))))
        mo.Thread(target=work, daemon=True).start()

    def measure(
        self, plan: dict, publish: Callable[["Measured"], None], suit: Callable[[dict[str, Settings]], None]
    ) -> None:
        """Find out in a thread what the plan costs on this machine: `publish` hears how far it is, then the result.

        `suit` is given other settings for this model, if the plan's would not fit. A training that starts meanwhile ends
        the measuring; one that runs is waited for.
        """
        if device.IN_PAGE or way() == "script":
            return
        self.halt_measuring.set()
        self.halt_measuring = halt = threading.Event()
        settings, owner = plan["settings"], weakref.ref(self)

        def should_stop() -> bool:
            return halt.is_set() or owner() is None

        def say(phase: str, **found) -> None:
            if not should_stop():
                publish(Measured(settings.model, phase, **found))

        def work() -> None:
            try:
                if settings.model not in _PROBES:
                    load_libraries()
                    with device.turn(
                        lambda in_front: say("Measured when the training under way has ended"), should_stop
                    ):
                        probe = _PROBES[settings.model] = fit.measure(settings, plan["prompts"], say, should_stop)
                    better = fit.suited(settings, probe, **_extent(plan))
                    if better != settings:
                        suit({settings.model: better})
                say("", probe=_PROBES[settings.model])
            except Stopped:
                pass
            except Exception as error:  # as above
                say("", error=explain(error))
                traceback.print_exc()
            if halt.is_set() and owner() is not None and owner().halt_measuring is halt:
                publish(None)

        say("Loading torch and TRL, to measure what this training costs")
        mo.Thread(target=work, daemon=True).start()


_PROBES: dict[str, fit.Probe] = {}  # of each model on this machine: measured once
_PACES: dict[tuple, float] = {}  # of each model and rewards: a training's seconds over those that were estimated


def _expected(plan: dict) -> float:
    """Seconds that a training will take, as far as this process can know; 0 if it cannot."""
    return max(1.0, estimate * _PACES.get(_kind(plan), 1.0)) if (estimate := _estimated(plan)) else 0.0


def _estimated(plan: dict) -> float:
    """The same by what was measured of the model alone; 0 if nothing was."""
    settings = plan["settings"]
    if settings.problem or settings.model not in _PROBES:
        return 0.0
    return fit.estimate(settings, _PROBES[settings.model], **_extent(plan)).seconds


def _learn_pace(plan: dict, run: Run) -> None:
    """Replies are shorter than they might be: expect what is seen, from the third step of the first training on."""
    if run.steps_done > 2 and (estimate := _estimated(plan)):
        _PACES[_kind(plan)] = _seconds(run) / (estimate * run.steps_done / plan["settings"].steps)


def _kind(plan: dict) -> tuple:
    return plan["settings"].model, *map(reward_name, plan["rewards"])


def get_ready(plan: dict) -> None:
    """Load the libraries and measure the plan's model before the first learner asks for it: for a server."""
    load_libraries()
    settings = plan["settings"]
    with device.turn(lambda in_front: None, lambda: False):
        _PROBES[settings.model] = fit.measure(settings, plan["prompts"], lambda phase: None, lambda: False)


@dataclass(frozen=True)
class Measured:
    """How far the measuring of a model is: a phase in words, then the probe or why there is none."""

    model: str
    phase: str
    probe: fit.Probe | None = None
    error: str | None = None


def show_cost(measured: Measured | None, plan: dict) -> mo.Html:
    """What the training costs, as far as it is known, and what to lower where it does not fit."""
    settings = plan["settings"]
    if device.IN_PAGE:
        return mo.md("")
    if settings.problem:
        return mo.callout(mo.md(settings.problem), kind="danger")
    if measured is None or measured.model != settings.model:
        return mo.md("*Predict first: what this training costs is measured then, and stands here.*")
    if measured.error:
        return failed(measured.error)
    if measured.probe is None:
        return mo.Html(cards.page(cards.progress(measured.phase)))
    cost = fit.estimate(settings, measured.probe, **_extent(plan))
    if cost.fits:
        return mo.md(f"{cost} *Measured on {measured.probe.hardware}.*")
    return _warn(f"**This does not fit.** {cost} {fit.what_to_lower(settings, measured.probe, **_extent(plan))}")


def _extent(plan: dict) -> dict:
    """What of a plan its cost depends on, besides the settings."""
    judged = any(isinstance(judge, ReferenceLogProb) for judge in plan["judges"])
    return {"held_out": len(plan["held_out"]), "judged": judged}


def _keep_record(run: Run, folder: Path | None, place: Seat | None = None) -> str:
    """Write a run's record; a word on it if that was not possible."""
    if folder is None or not run.metrics or (run.state != "finished" and place and (folder / "run.json").exists()):
        return ""  # in a class a closed tab, or a second thought, takes nobody's finished run away
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run.save(folder / "run.json")
    except OSError as error:
        return f" (its record could not be written: {error})"
    return ""


def _seconds(run: Run) -> float:
    return run.metrics[-1]["seconds"] if run.metrics else 0.0


def in_background(function: Callable[[object], object], publish: Callable[[tuple[str, object]], None]) -> None:
    """Run a slow function in a thread, with the device to itself; publish (state, what there is to say), see `outcome`.

    The function is given a callback for a trainer, which publishes its progress, and ends it where a class's limit is.
    """
    place, most = seat(), _most_steps()

    def progress(done: int, total: int, seconds: float, tell: Callable[[float], None] = lambda left: None) -> bool:
        total = min(total, most)
        publish(("running", (done, total, seconds)))
        tell(device.seconds_left(done, total, seconds))
        late = place and (place.is_away or (place.most_minutes and seconds > 60 * place.most_minutes))
        return done >= most or bool(late)

    def work() -> None:
        try:
            with device.turn(
                waiting=lambda in_front: publish(("waiting", in_front)),
                should_stop=lambda: bool(place and place.is_away),
                who=place.name if place else "",
            ) as tell:
                if tell:
                    progress(0, 1, 0.0)
                    load_libraries()
                    publish(("done", function(step_counter(partial(progress, tell=tell)))))
        except Exception as error:  # as above: whatever it is, the reader must be told
            publish(("failed", explain(error)))
            traceback.print_exc()

    progress(0, 1, 0.0)
    mo.Thread(target=work, daemon=True).start()


def outcome(said: tuple[str, object] | None, waiting: str) -> mo.Html:
    """What `in_background` has come to: a bar, or the rewards it returned, or why it failed."""
    if device.IN_PAGE:
        waiting = "It needs torch, which a web page does not have: run it in the course on your own machine."
    state, what = said or ("not yet", waiting)
    if state == "waiting":
        return mo.Html(cards.page(cards.progress(device.in_words(what))))
    if state == "running":
        done, total, seconds = what
        phase = f"Step {done} of {total}" if done else "Running: loading torch, TRL and the model first"
        return mo.Html(cards.page(cards.progress(phase, done, total, seconds)))
    if state == "done":
        return mo.md("Reward of each step: " + ", ".join(f"**{reward:.2f}**" for reward in what))
    return failed(what) if state == "failed" else mo.md(f"*{what}*")


def failed(why: str) -> mo.Html:
    """A sentence of `explain`."""
    return _callout(why, "danger")


def _callout(words: str, kind: str) -> mo.Html:
    """Words that may hold what a reader or a library wrote: no tag in them becomes one of the page."""
    return mo.callout(mo.md(words.replace("<", "‹")), kind=kind)


# What a learner may choose for every training, and where the choices begin and end.
_CHOICES = {
    "steps": lambda value: _slider("steps", min(5, _most_steps()), min(60, _most_steps()), min(value, _most_steps())),
    "group_size": lambda value: _slider("group size", 1, 16, value),
    "batch_size": lambda value: _slider("completions a step", 8, 96, value),
    "accumulation": lambda value: _dropdown("parts (accumulation)", [1, 2, 4, 8], value),
    "max_completion_length": lambda value: _slider("longest completion (tokens)", 8, 64, value),
    "temperature": lambda value: _dropdown("temperature", [0.2, 1.0, 1.5], value),
    "learning_rate": lambda value: _dropdown(
        "learning rate", [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2], value
    ),
    "beta": lambda value: _dropdown("beta (KL)", [0.0, 0.04, 0.1, 0.5], value),
    "seed": lambda value: _dropdown("seed", range(5), value),
    "gradient_checkpointing": lambda value: mo.ui.checkbox(value=value, label="gradient checkpointing"),
    "use_vllm": lambda value: mo.ui.checkbox(value=value, label="sample with vLLM"),
}


def _slider(label: str, low: int, high: int, value: int) -> mo.ui.slider:
    low, high = min(low, value), max(high, value)  # a command line may ask for more
    return mo.ui.slider(low, high, value=value, show_value=True, label=label)


def _dropdown(label: str, values: Sequence, value: object) -> mo.ui.dropdown:
    names = {each: f"{each:g}".replace("e-0", "e-") for each in sorted({*values, value})}
    return mo.ui.dropdown({name: each for each, name in names.items()}, value=names[value], label=label)


def command_line() -> dict[str, str]:
    """What stood behind `--` when the notebook was opened or run: `-- --model smollm2-135m --steps 10`."""
    if way() == "script" and not _is_script():
        return {}  # a notebook run by another program, which has words of its own
    return {name.replace("-", "_"): str(value) for name, value in mo.cli_args().to_dict().items() if name.strip("-")}


def _is_script(lesson: str = "") -> bool:
    return Path(sys.argv[0]).name.startswith(f"grpo_{lesson}")


def model_menu() -> mo.ui.dictionary:
    """The models to choose from, the one of the command line or of this device first; see `chosen_model`."""
    value = command_line().get("model") or (SMOLLM2 if device.gpu() and not seat() else "pocket")
    offered = MODELS if _is_own() else ["pocket"] if has_pocket_only() else PRESETS
    names = list(dict.fromkeys([*offered, value]))
    menu = {"preset": mo.ui.dropdown(names, value=value, label="model")}
    if _is_own():  # a visitor of a server shall not fill its disk
        menu["other"] = mo.ui.text(label="or a Hub id, or a folder", max_length=200, full_width=False)
    return mo.ui.dictionary(menu)


def chosen_model(menu: dict) -> str:
    """The name of the chosen model."""
    return (menu.get("other") or "").strip() or menu["preset"]


def about_model(name: str) -> mo.Html:
    """What the choice of a model costs, in a line."""
    if is_pocket(name):
        most = f" In this class a training has at most {_most_steps()} steps." if _most_steps() < sys.maxsize else ""
        return mo.md(f"The tiny model that ships with this course: half a minute to a minute on any laptop.{most}")
    if device.IN_PAGE:
        there = ""
    elif is_here(name):
        there = "It is on this machine."
    else:
        there = "It was not on this machine: it is fetched once, see *Train*."
    kind = "A real model of 135 million parameters: minutes on a laptop." if name == SMOLLM2 else "Wants a GPU."
    return mo.md(f"{kind} {there}")


def settings_for(model: str, defaults: dict[str, Settings]) -> Settings:
    """A lesson's settings for a model on this device: those of SmolLM2 for any real one, in bfloat16 and larger steps on a GPU."""
    settings = replace(defaults["pocket" if is_pocket(model) else SMOLLM2], model=model)
    if (capability := device.gpu()) and not is_pocket(model):
        dtype = "bfloat16" if capability >= 8 else "float32"
        settings = replace(settings, dtype=dtype, batch_size=2 * settings.batch_size, accumulation=1)
    return settings


def controls(settings: Settings, **own) -> mo.ui.dictionary:
    """The controls of a training as they first stand, behind a lesson's own; see `chosen_settings` and `own_choices`.

    Raises: SystemExit for a word on the command line that is no setting, or a value that is none of its kind.
    """
    given = command_line()
    known = {*_CHOICES, *own, "model"}
    if unknown := [name for name in given if name not in known]:
        raise SystemExit(f"--{unknown[0].replace('_', '-')}: no such setting. There are: {', '.join(sorted(known))}.")
    settings = replace(settings, **{name: given_or(getattr(settings, name), name) for name in _CHOICES})
    offered = [name for name in _CHOICES if name != "use_vllm" or _is_own()]  # a visitor cannot install it
    shared = {name: _CHOICES[name](getattr(settings, name)) for name in offered}
    return mo.ui.dictionary(own | shared)


def choice(name: str, options: Sequence, default, label: str | None = None) -> mo.ui.dropdown:
    """A choice of a lesson's own, as the command line has it, else its default."""
    return mo.ui.dropdown(options, value=given_or(default, name, options), label=label or name)


def given_or(default, name: str, options: Sequence | None = None):
    """What the command line says for a setting, else its default: of the default's kind, and one of the options.

    Raises: SystemExit if it is not.
    """
    if (text := command_line().get(name)) is None:
        return default
    option = f"--{name.replace('_', '-')} {text!r}"
    try:
        value = {"true": True, "false": False}[text.lower()] if isinstance(default, bool) else type(default)(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise SystemExit(f"{option}: expected {kind}.") from None
    if options is not None and value not in options:
        raise SystemExit(f"{option}: expected one of {', '.join(map(repr, options))}.")
    return value


def example_box(model: str) -> dict[str, mo.ui.checkbox]:
    """The choice of an example in the prompt, ticked; none for the pocket model, which reads nothing but a question."""
    return (
        {}
        if is_pocket(model)
        else {"example": mo.ui.checkbox(value=given_or(True, "example"), label="one example in the prompt")}
    )


def own_choices(values: dict) -> dict:
    """What a lesson's own controls say."""
    return {name: value for name, value in values.items() if name not in _CHOICES}


def shown_settings(settings: Settings, rewards: Sequence) -> mo.Html:
    """The code of a training, under what is wrong with its settings, or what a step will draw."""
    draws = f"Each step draws {settings.batch_size // max(1, settings.group_size)} prompts and samples {settings.batch_size} completions."
    first = mo.callout(mo.md(settings.problem), kind="danger") if settings.problem else mo.md(draws)
    return mo.vstack([first, mo.md(f"```python\n{settings.code(rewards)}\n```")])


def settings_explained() -> mo.Html:
    """What each setting does, to be unfolded under the code."""
    return mo.md(_EXPLAINED)


_EXPLAINED = """
/// details | What each setting does, and what TRL would do without it
- `num_generations`: the group size G, 8 by default. (`num_generation`, in some tutorials, is a TypeError.)
- `per_device_train_batch_size` counts **completions**, not prompts; times `gradient_accumulation_steps` it must be a multiple of G. The same completions learnt from in more parts are the same step in less memory: 32 of SmolLM2 took 16.8 GB at once and 3.4 GB in eight parts, at the same speed.
- `learning_rate`: TRL's default of 1e-6 suits full fine-tuning of large models. A LoRA adapter wants 1e-5 to some 1e-4, a tiny model more than 1e-3. It falls to 0 over the run. Try 1e-6: a flat line.
- `max_grad_norm`: longer gradients are cut to this length, so that one odd batch cannot throw the model off. TRL's default is 1.
- `max_completion_length`: what runs past it is cut off, and a cut reply lacks its end: a closing tag, an answer. The commonest reason for a reward that stays 0: try 16.
- `temperature`: at 1 the model is sampled as it is. Near 0 all replies of a group are alike: no difference, no signal.
- `beta`: the price of straying from the starting model (a KL penalty). TRL's default of 0 means no reference model, and no `kl` in the log.
- `num_train_epochs`: left out, as `max_steps` says when to stop. `use_vllm=True` samples faster on a GPU, in the same process (`vllm_mode="colocate"`); it needs `pip install vllm`.
- `chat_template_kwargs`: switches off the thinking of models that have a switch for it, such as Qwen3; others do not know the word.
- `gradient_checkpointing`: forgets what the backward pass needs and computes it again: a third slower, a fraction of the memory. On by default; off here until memory is short.
- `bf16`: numbers of half the size; on by default, and here on a GPU that computes in them.
///
"""


def buttons(session: Session) -> tuple[mo.ui.run_button, mo.ui.button]:
    """Train and Stop. In marimo both must be variables of the notebook."""
    train = mo.ui.run_button(label="Train", kind="success")
    return train, mo.ui.button(label="Stop", kind="danger", on_click=lambda _: session.stop())


def unless_in_page(*buttons: mo.Html) -> mo.Html | None:
    """Buttons for what needs torch, in a row; nothing in a web page."""
    return None if device.IN_PAGE else mo.hstack(buttons, justify="start", align="center", wrap=True)


def or_recorded(report: Report | None, run: Run) -> Report:
    """What the panel shows: a recorded run, until a session has something of its own to show."""
    if report is None:
        how = "Press Play to see it happen." if device.IN_PAGE else "Press Train to see it happen live."
        return Report(f"A recording. {how}", run)
    if report.run.metrics or report.before:
        return report
    return replace(report, before=run, names=("", "a recording, until yours begins"))


def step_slider(run: Run) -> mo.ui.slider:
    """A slider over the steps of which a run keeps a group."""
    steps = [group.step for group in run.groups]
    return mo.ui.slider(steps=steps, value=steps[0], show_value=True, full_width=True, label="step")


def show_step(run: Run, step: int, only: Sequence[str], tags: Sequence[str] = ()) -> mo.Html:
    """One step of a run: where it stands on some curves, and its group."""
    group = next((group for group in run.groups if group.step == step), run.groups[0])
    return mo.Html(
        cards.page(
            cards.curves({"this run": run}, at=group.step, only=only),
            cards.group_panel(group, tags),
            f'<p class="note">{escape(run.label)}</p>',
        )
    )


def chosen_settings(settings: Settings, values: dict) -> Settings:
    """The settings with what the controls now say, within what the class allows."""
    settings = replace(settings, **{name: values[name] for name in _CHOICES if name in values})
    return replace(settings, steps=min(settings.steps, _most_steps()))


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
    """What stands under a prediction that is answered later, in a station after the training."""
    first = "*Choose, then play the run.*" if device.IN_PAGE else "*Choose, then train.*"
    return mo.md(f"*Noted. The answer stands in station {station}, after the run.*" if choice else first)


def where_to_write() -> str:
    """How the exercises are done, in this way of opening the notebook."""
    if device.IN_PAGE and way() == "run":
        return "Write your answer in the box, click beside it, and the verdict stands below. It runs here, in your browser."
    if way() == "edit":
        return "Write your answer in the cell and run it (Ctrl+Enter); the verdict stands below it."
    return "A server runs nobody's code: find what is wrong by reading, and mend it in `marimo edit`, or in the course's web page."


def exercise(function: Callable, editor: mo.Html | None) -> mo.Html | None:
    """An exercise's function: where a page's visitor writes it, or where neither cell nor editor is, as it stands."""
    return shown_code(function) if editor is None else editor


def shown_code(thing: object) -> mo.Html | None:
    """The code of a cell that a reader should see, where `marimo run` hides all cells."""
    return mo.md(f"```python\n{code_of(thing)}\n```") if way() == "run" else None


def code_of(thing: object) -> str:
    """The code of a function or class of a notebook; how marimo stores it is of no interest."""
    if device.IN_PAGE and inspect.isclass(thing):
        # inspect would look in the notebook's file, at the line that the class has in its cell. The methods know their
        # cell; those that a dataclass has made have no file.
        files = [each.__code__.co_filename for each in vars(thing).values() if inspect.isfunction(each)]
        return "".join(next(lines for lines in map(linecache.getlines, files) if lines))
    return re.sub(r"^@app\..*\n", "", inspect.getsource(thing))


def source(function: Callable) -> str:
    """The code of a function without its docstring, to be shown."""
    return re.sub(r'\n\s*""".*?"""', "", inspect.cleandoc("\n" + inspect.getsource(function)), count=1, flags=re.DOTALL)


def verdict(mistake: str | None) -> mo.Html | None:
    """The callout under an exercise, of what `first_mistake` found; nothing where there is no cell to write in."""
    if way() == "run" and not device.IN_PAGE:
        return None
    if mistake is None:
        return mo.callout(mo.md("**Right.** All cases pass."), kind="success")
    return mo.callout(mo.md("**Not yet.** " + mistake.replace("<", "&lt;")), kind="warn")


# Keep it ---------------------------------------------------------------------------------------------------------

_KEEP = {
    "save the adapter": [keep.save],
    "load it in a new process and ask": [keep.load, keep.ask],
    "merge it into the model": [keep.merge],
    "push it to the Hub": [keep.push],
    "write a folder for many GPUs": [keep.hand_over],
}


def keep_menu() -> tuple[mo.ui.dictionary, mo.ui.run_button]:
    """What can be done with a trained model, and the button that does it. In marimo both must be variables of the notebook."""
    what = mo.ui.radio(list(_KEEP), value="save the adapter", label="What to do")
    name = mo.ui.text(value="you/my-model", max_length=100, label="name on the Hub")
    return mo.ui.dictionary({"what": what, "name": name}), mo.ui.run_button(label="Run this code")


def keep_code(choice: mo.ui.dictionary, button: mo.ui.run_button) -> mo.Html:
    """The code behind a choice of `keep_menu`, over the button that runs it; on a server only the code."""
    what = choice.value["what"]
    code = "\n\n".join(source(function) for function in _KEEP[what])
    shown = mo.md(f"```python\n{code}\n```")
    if way() != "edit" or device.IN_PAGE:
        return mo.vstack([shown, mo.md("*Open this lesson with `marimo edit` to run it.*")])
    return mo.vstack(
        [shown, mo.hstack([choice["name"], button] if keep.push in _KEEP[what] else [button], justify="start")]
    )


def keep_it(choice: dict, report: Report | None, plan: dict, folder: Path) -> mo.Html:
    """Do what was chosen in `keep_menu`; say what came of it, or why it could not be done."""
    what = choice["what"]
    try:
        if keep.hand_over in _KEEP[what]:
            return _good(_handed_over(plan, folder))
        if keep.save in _KEEP[what]:
            if report is None or report.trained is None or report.trained.model is None:
                return _warn("There is nothing to save yet: press Train, and wait until it has finished.")
            return _good(f"Saved: `{keep.save(report.trained, folder)}`, with tokenizer, card and the run's record.")
        if not (folder / "adapter").exists():
            return _warn(f"There is no adapter in `{folder}` yet: save it first.")
        if keep.push in _KEEP[what]:
            try:
                return _good(f"Pushed: {keep.push(folder, choice['name'].strip())}")
            except Exception as error:  # whatever the network or the Hub may do
                return _warn(keep.not_pushed(error))
        if keep.merge in _KEEP[what]:
            merged = keep.merge(folder)
            return _good(
                f"Merged: `{merged}`. It loads like any model; name this folder in the configuration to train on."
            )
        asked = plan["prompts"][0]["prompt"]
        with mo.status.spinner("Asking in a new process, which loads torch first", remove_on_exit=True):
            said = keep.ask_anew(folder, asked)
        return _good(f"Asked in a new process:\n\n> {_quoted(asked[-1]['content'])}\n\n`{_quoted(said)}`")
    except Exception as error:  # a full disk, a damaged file: the reader must be told, whatever it is
        return failed(explain(error))


def _handed_over(plan: dict, folder: Path) -> str:
    name = "/".join(folder.parts[-2:])
    command = keep.hand_over(plan["settings"], plan["rewards"], plan["prompts"], folder.parents[1], name)
    return (
        f"Written: `{folder}`. The same training, from the folder of this course, on one device:\n\n"
        f"```bash\n{command}\n```\n\n`{name}/README.md` has the commands for more."
    )


def _good(words: str) -> mo.Html:
    return _callout(words, "success")


def _warn(words: str) -> mo.Html:
    return _callout(words, "warn")


def _quoted(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("`", "'")


# Ways of opening ---------------------------------------------------------------------------------------------------


_ROOM = threading.local()  # on a server every lesson that is open has a thread of its own


def seat() -> Seat | None:
    """The learner's seat, where a class's server has opened this lesson; see `grpo_lessons.classroom`. For cells only."""
    if not device.IN_PAGE and (request := mo.app_meta().request) and "seat" in request.meta:
        _ROOM.seat = request.meta["seat"]  # the request that opens a lesson has it, later ones do not
    return getattr(_ROOM, "seat", None)


def has_pocket_only() -> bool:
    """In a class that shares a CPU: one training of SmolLM2 would keep thirty waiting for minutes."""
    return bool(seat()) and not device.gpu()


def _most_steps() -> int:
    """How many steps a training may have: what the teacher says, if one does."""
    here = seat()
    return here.most_steps if here and here.most_steps else sys.maxsize


def kept(folder: Path | None) -> Report | None:
    """In a class, the learner's last training of this lesson, whatever has happened to the page or the server since."""
    if folder is None or seat() is None:
        return None
    try:
        run = Run.load(folder / "run.json")
    except (OSError, ValueError):  # none yet, or a damaged one
        return None
    return Report(f"Your last training: {run.steps_done} steps in {_seconds(run):.0f} s", run) if run.metrics else None


def folder(lesson: str) -> Path | None:
    """Where a lesson writes: runs/LESSON beside the notebooks, in a class the learner's own folder.

    None on any other server, where visitors shall write nothing.
    """
    if here := seat():
        return here.folder / lesson
    if not _is_own() and not command_line():
        return None
    runs = os.environ.get("GRPO_LESSONS_RUNS") or mo.notebook_dir().parent / "runs"
    return Path(runs) / lesson


def lesson_link(name: str) -> str:
    """A link to another lesson, in Markdown, that leads there from a notebook, from a page and in a class."""
    if seat():
        return f"[`{name}`](../{name}/)"
    return f"[`{name}.html`]({name}.html)" if device.IN_PAGE else f"[`grpo_{name}.py`](grpo_{name}.py)"


def speaker_notes(stations: Sequence[tuple[int, int, str, str]]) -> mo.Html | None:
    """What the notes of `step.html` are made of, not shown in the lesson: one entry for each station, the first for the top.

    They have all the answers: in a class only the teacher gets them.

    Args:
        stations: minutes in a plan of 45, minutes in one of 90 (0: left out), what to ask, what to expect.
    """
    if (here := seat()) and not here.is_teacher:
        return None
    return mo.Html(f'<div class="gl-notes" hidden data-notes="{escape(json.dumps(stations), quote=True)}"></div>')


def stepper() -> mo.Html | None:
    """In `marimo edit`, the bar that shows a lesson one station at a time; a page or a server has it in the page's head."""
    if way() != "edit" or device.IN_PAGE or mo.app_meta().request is None:  # without a request: an export
        return None
    import anywidget

    script = (mo.notebook_dir() / "public/step.html").read_text(encoding="utf-8")
    script = script.replace("<script>", "").replace("</script>", "")

    class Stepper(anywidget.AnyWidget):
        _esm = f"{script}\nexport default {{ render() {{}} }};"

    return mo.ui.anywidget(Stepper())


def way() -> str:
    """How the lesson was opened: "edit", "run" or "script". For marimo every web page is "edit"; ours say which they are."""
    if device.IN_PAGE:
        return "edit" if mo.query_params().get("view") == "edit" else "run"
    return mo.app_meta().mode or "script"


def _is_own() -> bool:
    """Whether this is somebody's own notebook, and not a page, or a server's for many visitors."""
    return way() != "run" and not device.IN_PAGE


def left_over(where: Path | None) -> tuple[Unfinished | None, mo.ui.run_button]:
    """A training that was killed, and the button that goes on with it. In marimo it must be a variable of the notebook."""
    left = unfinished(where / "unfinished") if where and _is_own() else None
    done = f"Go on from step {left.run.steps_done} of {left.run.settings['steps']}" if left else ""
    return left, mo.ui.run_button(label=done, kind="success")


def show_left_over(left: Unfinished | None, resume: mo.ui.run_button, report: Report | None) -> mo.Html | None:
    """The offer to go on, if there is something to go on with, until a training begins."""
    if left is None or report is not None:
        return None
    words = "A training of this lesson ended before its time. Go on from its last checkpoint, with its settings; *Train* would begin afresh."
    return mo.callout(mo.hstack([mo.md(words), resume], align="center"), kind="info")


def settings_of(run: Run) -> Settings:
    """The settings that a run was made with."""
    weights = run.settings.get("reward_weights")
    return Settings(**run.settings | {"reward_weights": tuple(weights) if weights else None})


def as_script(plan: dict, lesson: str) -> None:
    """`python notebooks/grpo_LESSON.py -- --steps 10`: train with a progress bar and write the run's record; else nothing."""
    if way() != "script" or not _is_script(lesson):
        return
    from tqdm import tqdm

    where = folder(lesson)
    left = unfinished(where / "unfinished")
    resume = left is not None and (settings_of(left.run), left.run.choices) == (plan["settings"], plan["choices"])
    if resume:
        print(f"Going on from step {left.run.steps_done}, where this training was killed.")
    with tqdm(total=plan["settings"].steps, unit="step", desc=lesson) as bar:

        def update(phase: str, run: Run) -> None:
            bar.n = run.steps_done
            bar.set_postfix_str(f"reward {run.metrics[-1]['reward']:.2f}, {phase}" if run.metrics else phase)

        try:
            run = train(**plan, on_update=update, checkpoints=where / "unfinished", resume=resume).run
        except Exception as error:
            raise SystemExit(explain(error)) from error
    if lost := _keep_record(run, where):
        raise SystemExit(f"The training has ended{lost}.")
    print(run.label)
    for name in run.after.completions[0].rewards:
        print(f"held-out {name}: {run.before.mean(name):.3f} before, {run.after.mean(name):.3f} after")
    print(f"record: {where / 'run.json'}")
